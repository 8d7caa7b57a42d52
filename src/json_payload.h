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
} AtlasSpan;

/*
 * Copies an event and puts the number 0 in place of its payload, whose place in
 * the event is returned. The copy has the length and the line breaks of the
 * event. Malformed JSON is left for the real parser to complain about.
 */
extern char *atlas_cut_payload(const char *json, Size length, AtlasSpan *payload);

/*
 * Finds the first items of an array, up to a limit, counts them all, and copies it
 * with the number 0 in place of each. The copy is an array of as many zeros if
 * and only if the body is an array, whatever the items are.
 */
extern char *atlas_split_array(const char *json, Size length, int limit,
							   AtlasSpan **items, int *nitems);

#endif							/* ATLAS_JSON_PAYLOAD_H */
