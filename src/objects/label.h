/*
 * label.h
 *		What people call an object.
 */
#ifndef ATLAS_LABEL_H
#define ATLAS_LABEL_H

#include "objects/lookup.h"

/*
 * The label of an object that is named by its own id: the text of the type's label column. NULL if
 * the type has none, is not connected or cannot be read now, or if the object is not there. Raises nothing but a cancel or a
 * lack of memory. Inside SPI_connect().
 */
extern text *atlas_label(const char *object_type, const text *tenant, const text *object_id);

#endif							/* ATLAS_LABEL_H */
