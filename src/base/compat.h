/*
 * compat.h
 *		Everything that differs between PostgreSQL 15 and 18 stands here, and nowhere else.
 */
#ifndef ATLAS_COMPAT_H
#define ATLAS_COMPAT_H

#include "access/brin_revmap.h"
#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "nodes/parsenodes.h"
#include "nodes/tidbitmap.h"
#include "parser/parsetree.h"
#include "storage/bufmgr.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/wait_event.h"

#if PG_VERSION_NUM < 150000
#error "atlas_events needs PostgreSQL 15 or later"
#endif

/* VARDATA_ANY() and the like have a header of their own since 16. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* Marks a function that does not return; it stands before the declaration. */
#if PG_VERSION_NUM >= 180000
#define atlas_noreturn pg_noreturn
#else
#define atlas_noreturn pg_attribute_noreturn()
#endif

#if PG_VERSION_NUM >= 160000
#define atlas_owns_relation(relid, roleid) \
	object_ownercheck(RelationRelationId, (relid), (roleid))
#define atlas_owns_database(dbid, roleid) \
	object_ownercheck(DatabaseRelationId, (dbid), (roleid))
#define atlas_may_use_schema(schema, roleid) \
	(object_aclcheck(NamespaceRelationId, (schema), (roleid), ACL_USAGE) == ACLCHECK_OK)
#define atlas_may_execute(function, roleid) \
	(object_aclcheck(ProcedureRelationId, (function), (roleid), ACL_EXECUTE) == ACLCHECK_OK)
#define atlas_may_connect(dbid, roleid) \
	(object_aclcheck(DatabaseRelationId, (dbid), (roleid), ACL_CONNECT) == ACLCHECK_OK)
#else
#define atlas_owns_relation(relid, roleid) pg_class_ownercheck((relid), (roleid))
#define atlas_owns_database(dbid, roleid) pg_database_ownercheck((dbid), (roleid))
#define atlas_may_use_schema(schema, roleid) \
	(pg_namespace_aclcheck((schema), (roleid), ACL_USAGE) == ACLCHECK_OK)
#define atlas_may_execute(function, roleid) \
	(pg_proc_aclcheck((function), (roleid), ACL_EXECUTE) == ACLCHECK_OK)
#define atlas_may_connect(dbid, roleid) \
	(pg_database_aclcheck((dbid), (roleid), ACL_CONNECT) == ACLCHECK_OK)
#endif

/* Can a background worker have the session of a role that may not log in, and how? */
#if PG_VERSION_NUM >= 170000
#define ATLAS_WORKERS_NEED_NO_LOGIN true
#define ATLAS_WORKER_CONNECTION_FLAGS BGWORKER_BYPASS_ROLELOGINCHECK
#else
#define ATLAS_WORKERS_NEED_NO_LOGIN false
#define ATLAS_WORKER_CONNECTION_FLAGS 0
#endif

/* The view that a range table entry, rewritten to a subquery, stands for. */
#if PG_VERSION_NUM >= 160000
#define atlas_view_of_entry(entry) ((entry)->relid)
#else
#define atlas_view_of_entry(entry) \
	(rt_fetch(PRS2_OLD_VARNO, (entry)->subquery->rtable)->relid)
#endif

/* Adds a row that is new to the indexes of its table. */
#if PG_VERSION_NUM >= 160000
#define atlas_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples((result), (slot), (estate), false, false, NULL, NIL, false)
#else
#define atlas_insert_index_tuples(result, slot, estate) \
	ExecInsertIndexTuples((result), (slot), (estate), false, false, NULL, NIL)
#endif

/* Begins to read an index for rows of its table. */
#if PG_VERSION_NUM >= 180000
#define atlas_begin_index_scan(relation, index, snapshot, nkeys) \
	index_beginscan((relation), (index), (snapshot), NULL, (nkeys), 0)
#else
#define atlas_begin_index_scan(relation, index, snapshot, nkeys) \
	index_beginscan((relation), (index), (snapshot), (nkeys), 0)
#endif

/* Begins to read an index for the places of rows. */
#if PG_VERSION_NUM >= 180000
#define atlas_begin_bitmap_scan(index, snapshot, nkeys) \
	index_beginscan_bitmap((index), (snapshot), NULL, (nkeys))
#else
#define atlas_begin_bitmap_scan(index, snapshot, nkeys) \
	index_beginscan_bitmap((index), (snapshot), (nkeys))
#endif

/* The places of a bitmap, page by page. */
typedef struct AtlasBitmapPage
{
	BlockNumber block;
	int			noffsets;		/* -1: any row of the page may be meant */
	OffsetNumber offsets[MaxHeapTuplesPerPage];
} AtlasBitmapPage;

#if PG_VERSION_NUM >= 180000
typedef TBMPrivateIterator AtlasBitmapIterator;

#define atlas_begin_bitmap(bitmap) tbm_begin_private_iterate(bitmap)
#define atlas_end_bitmap(iterator) tbm_end_private_iterate(iterator)
#else
typedef TBMIterator AtlasBitmapIterator;

#define atlas_begin_bitmap(bitmap) tbm_begin_iterate(bitmap)
#define atlas_end_bitmap(iterator) tbm_end_iterate(iterator)
#endif

static inline bool
atlas_next_bitmap_page(AtlasBitmapIterator *iterator, AtlasBitmapPage *page)
{
#if PG_VERSION_NUM >= 180000
	TBMIterateResult result;

	if (!tbm_private_iterate(iterator, &result))
		return false;
	page->block = result.blockno;
	page->noffsets = result.lossy ? -1 :
		tbm_extract_page_tuple(&result, page->offsets, MaxHeapTuplesPerPage);
#else
	const TBMIterateResult *result = tbm_iterate(iterator);

	if (result == NULL)
		return false;
	page->block = result->blockno;
	page->noffsets = result->ntuples;
	if (result->ntuples > 0)
		memcpy(page->offsets, result->offsets, sizeof(OffsetNumber) * result->ntuples);
#endif
	return true;
}

/* Begins to read a BRIN index, and reads the summary of the range that begins with a page. */
#if PG_VERSION_NUM >= 170000
#define atlas_brin_map(index, pages) brinRevmapInitialize((index), (pages))
#define atlas_brin_tuple(map, page, buffer, offset, size) \
	brinGetTupleForHeapBlock((map), (page), (buffer), (offset), (size), BUFFER_LOCK_SHARE)
#else
#define atlas_brin_map(index, pages) brinRevmapInitialize((index), (pages), NULL)
#define atlas_brin_tuple(map, page, buffer, offset, size) \
	brinGetTupleForHeapBlock((map), (page), (buffer), (offset), (size), BUFFER_LOCK_SHARE, NULL)
#endif

/* 18 can compute columns when they are read: their values are not in the row. */
#if PG_VERSION_NUM >= 180000
#define atlas_is_virtual(attribute) ((attribute)->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL)
#else
#define atlas_is_virtual(attribute) false
#endif

/* 17 can limit the time of a whole transaction; a linker's is not limited. */
#if PG_VERSION_NUM >= 170000
#define ATLAS_TRANSACTION_TIMEOUT {"transaction_timeout", "0"},
#else
#define ATLAS_TRANSACTION_TIMEOUT
#endif

/* All settings, including those that were set before they were defined. */
#if PG_VERSION_NUM >= 160000
#define atlas_all_settings(count) get_guc_variables(count)
#else
#define atlas_all_settings(count) (*(count) = GetNumConfigOptions(), get_guc_variables())
#endif

/* 17 lets an extension name what it waits for. */
#if PG_VERSION_NUM >= 170000
#define atlas_wait_event(name) WaitEventExtensionNew(name)
#else
#define atlas_wait_event(name) PG_WAIT_EXTENSION
#endif

#endif							/* ATLAS_COMPAT_H */
