/*
 * byte_order.h
 *		The order of texts as bytes, as a tsvector and its GIN index have it, for sorting many
 *		of them: most are told apart by their first bytes, which are compared as a number. No
 *		text has a zero.
 */
#ifndef ATLAS_BYTE_ORDER_H
#define ATLAS_BYTE_ORDER_H

#include "port/pg_bswap.h"

/* The first bytes, as a number, with zeros behind a text that is shorter. */
static inline uint64
atlas_first_bytes(const char *text, int length)
{
	uint64		bytes = 0;

	memcpy(&bytes, text, Min(length, (int) sizeof(bytes)));
	return pg_ntoh64(bytes);
}

/* Compares two texts, a and b, whose first bytes are known. */
static inline int
atlas_compare_bytes(uint64 first_a, const char *a, int length_a, uint64 first_b, const char *b, int length_b)
{
	int			common = Min(length_a, length_b);
	int			order;

	if (first_a != first_b)
		return first_a < first_b ? -1 : 1;
	if (common > (int) sizeof(uint64))
	{
		order = memcmp(a + sizeof(uint64), b + sizeof(uint64), common - sizeof(uint64));
		if (order != 0)
			return order;
	}
	return length_a - length_b;
}

#endif							/* ATLAS_BYTE_ORDER_H */
