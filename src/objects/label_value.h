/*
 * label_value.h
 *		Values of label columns: which types they may have, and their text.
 */
#ifndef ATLAS_LABEL_VALUE_H
#define ATLAS_LABEL_VALUE_H

#define ATLAS_MAX_LABEL 255		/* characters; what is longer is cut */

/*
 * The base type of a label column, beneath any domains; InvalidOid if it is not one of
 * text, varchar, char, name and citext.
 */
extern Oid	atlas_label_base_type(Oid type);

/* The text of such a value, of its first characters. */
extern text *atlas_label_to_text(Oid base_type, Datum value);

#endif							/* ATLAS_LABEL_VALUE_H */
