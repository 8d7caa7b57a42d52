/*
 * gin_documents.h
 *		Adding documents to a GIN index, many at once.
 */
#ifndef ATLAS_GIN_DOCUMENTS_H
#define ATLAS_GIN_DOCUMENTS_H

#include "nodes/execnodes.h"
#include "storage/itemptr.h"
#include "tsearch/ts_type.h"
#include "utils/relcache.h"

/* Is it a GIN index of one column with documents, of PostgreSQL's own operator class, and of nothing else? */
extern bool atlas_gin_takes_documents(Relation index, const IndexInfo *info);

/*
 * Adds documents that have been written to the table, at these places. All memory that it takes
 * is freed at the end.
 */
extern void atlas_gin_add_documents(Relation index, const TSVector *documents,
									const ItemPointerData *places, int ndocuments);

#endif							/* ATLAS_GIN_DOCUMENTS_H */
