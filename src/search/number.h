/*
 * number.h
 *		Numbers as exact values: those that are equal have the same text.
 */
#ifndef ATLAS_NUMBER_H
#define ATLAS_NUMBER_H

#include "utils/numeric.h"

/*
 * Is this text, which is folded, written like a number of JSON? Then it returns the one text
 * that all texts of this number share: 50 for 50.0 and 5e1. Else it returns NULL.
 */
extern char *atlas_number_of_text(const char *text, int length, int *number_length);

/* The same of a number of jsonb. */
extern char *atlas_number_of_numeric(Numeric numeric, int *number_length);

/*
 * The number as it is printed, for its words; for a number that has very many zeros the same
 * as atlas_number_of_numeric().
 */
extern char *atlas_printed_number(Numeric numeric, int *length);

#endif							/* ATLAS_NUMBER_H */
