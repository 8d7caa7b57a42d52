/*
 * pending_lists.c
 *		The pending lists of the documents' GIN indexes, which the linker empties.
 *
 * A document adds its words to the pending list of the index of its partition. PostgreSQL
 * moves them into the tree when the list is full (gin_pending_list_limit), and whoever adds the
 * document then does the work; until then each search reads the list. So that neither searches nor
 * submits pay for it, the linker empties the lists when it has nothing better to do, and
 * when nothing more comes.
 *
 * A process remembers to which partitions it has written. A linker that begins does not know
 * what the one before has left, and looks at all of them: for a list that is empty that is one
 * page.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "base/extension.h"
#include "base/retry.h"
#include "base/subtransaction.h"
#include "work/pending_lists.h"

#define ENOUGH_DOCUMENTS 250	/* to empty the lists for */
#define ENOUGH_MILLISECONDS 1000
#define LOG_AGAIN_MILLISECONDS 3600000

static List *noted = NIL;		/* partitions, in TopMemoryContext */
static bool all_noted = false;
static int	documents_noted = 0;
static TimestampTz last_cleaned = 0;

void
atlas_pending_list_note(Oid partition, int ndocuments)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	noted = list_append_unique_oid(noted, partition);
	MemoryContextSwitchTo(old);
	documents_noted += Min(ndocuments, PG_INT32_MAX - documents_noted);
}

void
atlas_pending_lists_note_all(void)
{
	all_noted = true;
}

bool
atlas_pending_lists_due(TimestampTz now, bool nothing_comes)
{
	if (nothing_comes)
		return all_noted || noted != NIL;
	/* A clock that was set back makes them due. */
	return documents_noted >= ENOUGH_DOCUMENTS ||
		(noted != NIL &&
		 (now < last_cleaned || TimestampDifferenceExceeds(last_cleaned, now, ENOUGH_MILLISECONDS)));
}

/*
 * Empties the lists of one partition, which may have been dropped. One that is locked is left
 * alone, because links would wait for each of them.
 */
static void
clean_partition(void *argument)
{
	Oid			relid = *(const Oid *) argument;
	Relation	partition;
	List	   *indexes;

	if (!ConditionalLockRelationOid(relid, AccessShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("partition %u of atlas_event_search is locked", relid)));
	partition = try_relation_open(relid, NoLock);
	if (partition == NULL)
		return;
	indexes = RelationGetIndexList(partition);
	for (int i = 0; i < list_length(indexes); i++)
	{
		Oid			index_relid = list_nth_oid(indexes, i);
		Relation	index = index_open(index_relid, AccessShareLock);
		bool		is_gin = index->rd_rel->relam == GIN_AM_OID && index->rd_index->indisready;

		index_close(index, NoLock);
		if (is_gin)
			(void) DirectFunctionCall1(gin_clean_pending_list, ObjectIdGetDatum(index_relid));
	}
	table_close(partition, NoLock);
}

/* Writes into the server log why a list could not be emptied, once an hour. */
static void
log_pending_error(const ErrorData *error, TimestampTz now)
{
	static TimestampTz last_logged = 0;

	if (last_logged != 0 && now >= last_logged &&
		!TimestampDifferenceExceeds(last_logged, now, LOG_AGAIN_MILLISECONDS))
		return;
	last_logged = now;
	ereport(LOG,
			(errcode(error->sqlerrcode),
			 errmsg("the pending list of an index of atlas_event_search could not be emptied: %s", error->message),
			 errhint("Events are found nevertheless. It is tried again, and this is said once an hour.")));
}

void
atlas_pending_lists_clean(TimestampTz now)
{
	List	   *partitions = all_noted ?
		find_inheritance_children(atlas_relation(ATLAS_EVENT_SEARCH), NoLock) : list_copy(noted);

	list_free(noted);
	noted = NIL;
	all_noted = false;
	documents_noted = 0;
	last_cleaned = now;
	for (int i = 0; i < list_length(partitions); i++)
	{
		Oid			partition = list_nth_oid(partitions, i);
		ErrorData  *error;

		CHECK_FOR_INTERRUPTS();
		error = atlas_try(clean_partition, &partition);
		if (error == NULL)
			continue;
		if (atlas_is_cancel(error))
			ReThrowError(error);
		if (atlas_is_lock_conflict(error))
			atlas_pending_list_note(partition, 0);
		else
			log_pending_error(error, now);
	}
}
