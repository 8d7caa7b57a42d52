/*
 * json_payload.h
 *		Takes a request body apart before it is parsed: the events of an array,
 *		and the payload of an event.
 */
#ifndef ATLAS_JSON_PAYLOAD_H
#define ATLAS_JSON_PAYLOAD_H

/* A part of the request body; of no length when there is none. */
typedef struct AtlasSpan
{
	Size		start;
	Size		length;
	Size		printed_length; /* of a payload: bytes of its text as jsonb prints it, at most */
} AtlasSpan;

/*
 * A body with the number 0 in place of some values. In one that keeps the places the
 * 0 is followed by blanks and line breaks, so that all the rest is where it was: for
 * messages, as the blanks take time to parse.
 *
 * An event's skeleton has no numbers that jansson cannot hold, either. In place of an
 * integer of more than ATLAS_SHORT_INTEGER_DIGITS stands ATLAS_LONG_INTEGER plus the
 * place of its first character in the event. In place of a real stands another real,
 * and in place of -0 an empty object as a field of the event and an empty array
 * deeper down, which are as wrong there.
 */
#define ATLAS_SHORT_INTEGER_DIGITS 18
#define ATLAS_LONG_INTEGER INT64CONST(1000000000000000000)

typedef struct AtlasSkeleton
{
	char	   *json;
	Size		length;
} AtlasSkeleton;

/*
 * Copies an event without its payload, whose place in the event is returned, and
 * without the numbers that jansson cannot hold.
 * Malformed JSON is left for the real parser to complain about.
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
