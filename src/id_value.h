/*
 * id_value.h
 *		Ids of the object tables: which types they may have, and which texts
 *		are ids of such a type.
 */
#ifndef ATLAS_ID_VALUE_H
#define ATLAS_ID_VALUE_H

/* The base type of an id column, behind any domain; InvalidOid if unsupported. */
extern Oid	atlas_id_base_type(Oid type);

/* The type as which values of a base type are compared: varchar has no operators. */
extern Oid	atlas_id_operator_type(Oid base_type);

/*
 * Turns a text into a value of an id's base type. Only the canonical form of an
 * id is one: no braces, blanks or leading zeros; the hexadecimal digits of a
 * uuid may be of either case. Never raises an error.
 */
extern bool atlas_id_from_text(Oid base_type, const char *string, int length, Datum *value);

/* The text of such a value, as it is stored. */
extern text *atlas_id_to_text(Oid base_type, Datum value);

#endif							/* ATLAS_ID_VALUE_H */
