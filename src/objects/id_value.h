/*
 * id_value.h
 *		Ids of the object tables: which types they may have, and which texts
 *		are ids of such a type.
 */
#ifndef ATLAS_ID_VALUE_H
#define ATLAS_ID_VALUE_H

/* The base type of an id column, behind any domain; InvalidOid if unsupported. */
extern Oid	atlas_id_base_type(Oid type);

/* The same for an external id, which may also be of type citext: an e-mail address. */
extern Oid	atlas_external_id_base_type(Oid type);

/*
 * Why a column of this type cannot hold ids, with a hint what to do, although its
 * base type is one of them: a numeric with a scale. NULL: it can.
 */
extern const char *atlas_id_type_problem(Oid type, int32 typmod);

/* The type as which values of a base type are compared: varchar has no operators. */
extern Oid	atlas_id_operator_type(Oid base_type);

/*
 * Turns a text into a value of an id's base type. Only the canonical form of an
 * id is one: no braces, blanks or leading zeros; the hexadecimal digits of a
 * uuid may be of either case. Never raises an error.
 */
extern bool atlas_id_from_text(Oid base_type, const char *string, int length, Datum *value);

/*
 * The text by which ids of this type are told apart: two are the same if and only if
 * these are equal, byte by byte. It is the text itself, but for types without case.
 */
extern text *atlas_id_normalised(Oid base_type, text *id);

/* The text of such a value, as it is stored. */
extern text *atlas_id_to_text(Oid base_type, Datum value);

#endif							/* ATLAS_ID_VALUE_H */
