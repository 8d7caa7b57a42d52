/*
 * json_payload.h
 *		Takes a request body apart before it is parsed: the events of an array,
 *		and the payload of an event.
 */
#ifndef ATLAS_JSON_PAYLOAD_H
#define ATLAS_JSON_PAYLOAD_H

/* A part of the request body. It has no length if there is no such part. */
typedef struct AtlasSpan
{
	Size		start;
	Size		length;
	Size		printed_length; /* of a payload: the most bytes that jsonb prints for it */
} AtlasSpan;

/*
 * A body with the number 0 in place of some values. If the skeleton keeps the places, the
 * 0 is followed by blanks and line breaks, so that everything else is where it was. This
 * is needed for messages only, because it takes time to parse the blanks.
 *
 * The skeleton of an event also has no numbers that jansson cannot hold:
 *	- an integer of more than ATLAS_SHORT_INTEGER_DIGITS is replaced by ATLAS_LONG_INTEGER
 *	  plus the position of its first character in the event;
 *	- a real is replaced by another real;
 *	- -0 is replaced by an empty object if it is a field of the event, and by an empty
 *	  array deeper down, where these are just as wrong.
 */
#define ATLAS_SHORT_INTEGER_DIGITS 18
#define ATLAS_LONG_INTEGER INT64CONST(1000000000000000000)

typedef struct AtlasSkeleton
{
	char	   *json;
	Size		length;
} AtlasSkeleton;

/*
 * Copies an event without its payload and without the numbers that jansson cannot hold,
 * and returns where the payload is. Malformed JSON is left for the real parser to
 * complain about.
 */
extern AtlasSkeleton atlas_cut_payload(const char *json, Size length, bool keeps_places,
									   AtlasSpan *payload);

/*
 * Finds the first items of an array, up to a limit, counts them all, and copies it
 * without them. The copy is an array of as many zeros if and only if the body is an
 * array, whatever the items are.
 */
extern AtlasSkeleton atlas_split_array(const char *json, Size length, bool keeps_places,
									   int limit, AtlasSpan **items, int *nitems);

/* Finds the value of a field of an object that is known to be well-formed. */
extern AtlasSpan atlas_find_field(const char *json, Size length, const char *field);

#endif							/* ATLAS_JSON_PAYLOAD_H */
