/*
 * label.h
 *		What people call an object.
 */
#ifndef ATLAS_LABEL_H
#define ATLAS_LABEL_H

#include "objects/lookup.h"

/* What the row of an object says of it now. */
typedef struct AtlasDescription
{
	text	   *external_id;	/* NULL if there is none, as below */
	text	   *label;			/* at most 255 characters */
} AtlasDescription;

/*
 * Reads the row of an object that is named by its own id. Everything is NULL if the type is
 * not connected or cannot be read now, or if the object is not there. Raises nothing but a
 * cancel or a lack of memory, and does not wait for a lock of the type's tables. Inside
 * SPI_connect().
 */
extern AtlasDescription atlas_describe(const char *object_type, const text *tenant,
									   const text *object_id);

/* The label alone: the text of the type's label column. */
extern text *atlas_label(const char *object_type, const text *tenant, const text *object_id);

#endif							/* ATLAS_LABEL_H */
