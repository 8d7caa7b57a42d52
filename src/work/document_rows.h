/*
 * document_rows.h
 *		Rows of atlas_event_search.
 */
#ifndef ATLAS_DOCUMENT_ROWS_H
#define ATLAS_DOCUMENT_ROWS_H

#include "tsearch/ts_type.h"

#include "store/event_keys.h"
#include "store/rows.h"

/* How documents are written that may be there already. */
typedef enum AtlasExistingDocuments
{
	ATLAS_NONE_EXISTS,			/* one that does is an error */
	ATLAS_SKIP_EXISTING,
	ATLAS_REPLACE_EXISTING
} AtlasExistingDocuments;

/* Rows of events, in the order of their ids; a document of NULL could not be made, because of the problem. */
extern void atlas_document_rows_init(AtlasRows *rows, int size);
extern void atlas_document_rows_add(AtlasRows *rows, const AtlasEventKey *key, TSVector document,
									const char *problem);

/* Writes the rows; the partitions must be there. */
extern void atlas_document_rows_write(const AtlasRows *rows, AtlasExistingDocuments existing);

#endif							/* ATLAS_DOCUMENT_ROWS_H */
