/*
 * id_value.h
 *		Ids of the object tables: which types they may have, and which texts
 *		are ids of such a type.
 */
#ifndef ATLAS_ID_VALUE_H
#define ATLAS_ID_VALUE_H

/* The base type of an id column, beneath any domains; InvalidOid if ids cannot have it. */
extern Oid	atlas_id_base_type(Oid type);

/* The same for an external id, which may also be of type citext: an e-mail address. */
extern Oid	atlas_external_id_base_type(Oid type);

/*
 * Why a column cannot hold ids although its base type is supported, and what to do about
 * it: a numeric may have a scale. NULL if it can hold them.
 */
extern const char *atlas_id_type_problem(Oid type, int32 typmod);

/* The type whose operators compare values of a base type: varchar has none of its own. */
extern Oid	atlas_id_operator_type(Oid base_type);

/*
 * Turns a text into a value of an id's base type. Returns false unless the text is in
 * the canonical form: no braces, blanks or leading zeros. The hexadecimal digits of a
 * uuid may be of either case. Never raises an error.
 */
extern bool atlas_id_from_text(Oid base_type, const char *string, int length, Datum *value);

/*
 * The text by which ids of this type are told apart: two ids are the same if and only if
 * these texts are equal byte by byte. It is the id itself unless the type ignores case.
 */
extern text *atlas_id_normalised(Oid base_type, text *id);

/* The text of such a value, in the form in which ids are stored. */
extern text *atlas_id_to_text(Oid base_type, Datum value);

#endif							/* ATLAS_ID_VALUE_H */
