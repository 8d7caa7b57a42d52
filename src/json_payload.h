/*
 * json_payload.h
 *		Cuts the payloads out of a request body, so that their bytes reach
 *		PostgreSQL as they are.
 */
#ifndef ATLAS_JSON_PAYLOAD_H
#define ATLAS_JSON_PAYLOAD_H

/* Where the payload of an event stands in the request body. */
typedef struct AtlasPayloadSpan
{
	Size		start;
	Size		length;			/* 0 when there is none */
} AtlasPayloadSpan;

typedef struct AtlasPayloads
{
	char	   *envelope;		/* the body with placeholders for the payloads */
	AtlasPayloadSpan *spans;	/* one an event */
	int			nspans;
} AtlasPayloads;

/*
 * Scans a body, one event or (is_batch) an array of them. The envelope has the
 * length and the line breaks of the body; each payload in it is the number 0.
 * Malformed JSON is left for the real parser to complain about.
 */
extern void atlas_cut_payloads(const char *json, Size length, bool is_batch,
							   AtlasPayloads *payloads);

#endif							/* ATLAS_JSON_PAYLOAD_H */
