/*
 * partitions.c
 *		Partitions of the log, and of the tables that go with it, by event id.
 *
 * A partition is made when the first event of its month comes, or of its year if the
 * month is old (see partition_range.c), in the transaction that brings the event, or
 * ahead of time by the linker. It is created as a table of its own, indexed, and then
 * attached, which takes SHARE UPDATE EXCLUSIVE on the parent: other sessions go on
 * reading and writing. Only a session that needs another new partition waits.
 *
 * The log decides the bounds, and the other tables take the same ones, so that what
 * belongs to the same events can be dropped together. When a partition of another table
 * is needed, that of the log is found or made first. All sessions take the lock of the
 * log before that of another table.
 *
 * Partitions that a DBA has made, of any width, are used as they are; a month or year
 * that they cover in part gets a partition for the gap.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/partition.h"
#include "commands/defrem.h"
#include "commands/tablespace.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/extension.h"
#include "base/invalidation.h"
#include "base/tables.h"
#include "store/partition_range.h"
#include "store/partitions.h"

#define MONTHS_AHEAD 2
#define MAX_OTHER_INDEXES 4

/*
 * The indexes of a partition; its columns and the rest are those of the parent. Each B-tree
 * ends with the event, so that no two entries are equal. The other one, which is not unique,
 * is told so: otherwise PostgreSQL looks for equal entries before it splits a page. The
 * documents' GIN index has no pending list, which searches would have to read: see
 * gin_documents.c. Their BRIN index tells a search which pages have the newest of the events
 * that GIN has found: see page_ranges.c.
 */
typedef struct PartitionIndexes
{
	const char *primary_key;
	const char *others[MAX_OTHER_INDEXES];
} PartitionIndexes;

#define UNIQUE_ENTRIES " WITH (deduplicate_items = off)"
#define AS_TEXT(value) #value
#define RANGES_OF(pages) " WITH (autosummarize = on, pages_per_range = " AS_TEXT(pages) ")"

static const PartitionIndexes indexes[ATLAS_NTABLES] = {
	[ATLAS_EVENTS] = {
		.primary_key = "tenant_id, event_id",
		.others = {"(tenant_id, object_type, object_id, event_id)" UNIQUE_ENTRIES},
	},
	[ATLAS_EVENT_LINKS] = {
		.primary_key = "tenant_id, object_type, object_id, event_id",
		.others = {"(tenant_id, event_id)" UNIQUE_ENTRIES},
	},
	[ATLAS_EVENT_SEARCH] = {
		.primary_key = "tenant_id, event_id",
		.others = {"USING gin (document) WITH (fastupdate = off)",
			"USING brin (event_id)" RANGES_OF(ATLAS_PAGES_PER_RANGE)},
	},
	[ATLAS_RULE_HITS] = {
		.primary_key = "tenant_id, rule_id, object_id, event_id",
	},
	[ATLAS_RULE_MATCHES] = {
		.primary_key = "tenant_id, rule_id, event_id, object_id",
		.others = {"(tenant_id, event_id)", "(tenant_id, rule_name, event_id)",
			"(tenant_id, object_type, object_id, event_id)", "(tenant_id, match_id)" UNIQUE_ENTRIES},
	},
};

/* A range that is known to have a partition, so that most calls end there. */
typedef struct KnownRange
{
	Oid			parent;
	Oid			partition;
	AtlasIdRange		range;
	bool		valid;
} KnownRange;

static KnownRange known[ATLAS_NTABLES];
static uint64 invalidations = 0;

/* Called by the relation cache: the partitions of a table may have changed. */
static void
partitioned_table_changed(Oid relid)
{
	invalidations++;
	for (int i = 0; i < ATLAS_NTABLES; i++)
		if (relid == InvalidOid || relid == known[i].parent)
			known[i].valid = false;
}

void
atlas_partition_init(void)
{
	atlas_listen_to_relations(partitioned_table_changed);
}

/* Is it remembered which partition the id goes to? */
static bool
is_known(AtlasTableId table, const pg_uuid_t *id)
{
	return known[table].valid && atlas_range_has(&known[table].range, id);
}

/* Finds the last bound of the partitions that is not above the id; -1 if there is none. */
static int
bound_below(Relation parent, PartitionDesc desc, const pg_uuid_t *id, bool *is_equal)
{
	PartitionKey key = RelationGetPartitionKey(parent);
	Datum		value = UUIDPGetDatum(id);

	return partition_range_datum_bsearch(key->partsupfunc, key->partcollation, desc->boundinfo,
										 1, &value, is_equal);
}

/*
 * The range between a bound and the next one, and the partition that it is of: the default
 * one, or InvalidOid, when it is a gap.
 */
static Oid
range_above(PartitionDesc desc, int bound, AtlasIdRange *range)
{
	PartitionBoundInfo bounds = desc->boundinfo;

	if (bound >= 0 && bounds->kind[bound][0] == PARTITION_RANGE_DATUM_VALUE)
	{
		range->low = *DatumGetUUIDP(bounds->datums[bound][0]);
		range->bounded_low = true;
	}
	if (bound + 1 < bounds->ndatums &&
		bounds->kind[bound + 1][0] == PARTITION_RANGE_DATUM_VALUE)
	{
		range->high = *DatumGetUUIDP(bounds->datums[bound + 1][0]);
		range->bounded_high = true;
	}
	if (bounds->indexes[bound + 1] >= 0)
		return desc->oids[bounds->indexes[bound + 1]];
	return bounds->default_index >= 0 ? desc->oids[bounds->default_index] : InvalidOid;
}

/* Finds the range between two bounds that has the id, and its partition, as above. */
static Oid
find_range(Relation parent, const pg_uuid_t *id, bool omit_detached, AtlasIdRange *range)
{
	PartitionDesc desc = RelationGetPartitionDesc(parent, omit_detached);
	bool		is_equal;

	memset(range, 0, sizeof(*range));
	return desc->nparts == 0 ? InvalidOid :
		range_above(desc, bound_below(parent, desc, id, &is_equal), range);
}

Oid
atlas_partition_at(Relation parent, const pg_uuid_t *id, AtlasIdRange *range)
{
	return find_range(parent, id, true, range);
}

Oid
atlas_partition_below(Relation parent, const pg_uuid_t *id, AtlasIdRange *range)
{
	PartitionDesc desc = RelationGetPartitionDesc(parent, true);
	bool		is_equal = false;
	int			bound;

	memset(range, 0, sizeof(*range));
	if (desc->nparts == 0)
		return InvalidOid;
	bound = bound_below(parent, desc, id, &is_equal);
	return range_above(desc, is_equal ? bound - 1 : bound, range);
}

Oid
atlas_partition_part_below(Relation parent, const pg_uuid_t *low, const pg_uuid_t *bound,
						   AtlasIdRange *part)
{
	AtlasIdRange range;
	Oid			partition = atlas_partition_below(parent, bound, &range);

	*part = (AtlasIdRange) {.low = *low, .high = *bound, .bounded_low = true, .bounded_high = true};
	atlas_range_narrow(part, &range);
	return partition;
}

static char *
partition_name(AtlasTableId table, const AtlasIdRange *range)
{
	return atlas_range_name(atlas_tables[table].name, range);
}

/*
 * PostgreSQL attaches no partition to a table that a query of the same session is
 * reading or writing, or that has trigger events pending. Refuses before anything
 * is made, and says what the caller can do.
 */
static void
refuse_if_used_here(AtlasTableId table, const AtlasIdRange *range)
{
	Relation	parent = table_open(atlas_relation(table), NoLock);
	bool		is_used = parent->rd_refcnt > 1 || AfterTriggerPendingOnRel(RelationGetRelid(parent));

	table_close(parent, NoLock);
	if (is_used)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("partition \"%s\" cannot be made while a query of this session uses table \"%s\"",
						partition_name(table, range), atlas_tables[table].name),
				 errdetail("The first event of a month, or of a year if it is old, makes a partition, which PostgreSQL does not attach to a table that a loop, a cursor or a trigger of the same session is at work on."),
				 errhint("Submit or link such events after that query: collect what it finds in an array or a temporary table first.")));
}

/* Runs a statement that has no plan, such as CREATE TABLE. */
static void
execute_utility(char *sql)
{
	int			code = SPI_execute(sql, false, 0);

	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
}

/* Changes a setting until the nest level of settings ends, with the rights of any user. */
static void
set_locally(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							 true, 0, false);
}

/* A partition is stored where and how its parent says, whatever the submitter's settings are. */
static void
use_settings_of(Oid parent_relid)
{
	Relation	parent = table_open(parent_relid, NoLock);
	Oid			tablespace = parent->rd_rel->reltablespace;
	Oid			access_method = parent->rd_rel->relam;	/* from 17 on it can have one */

	table_close(parent, NoLock);
	set_locally("default_tablespace", OidIsValid(tablespace) ? get_tablespace_name(tablespace) : "");
	set_locally("default_table_access_method",
				OidIsValid(access_method) ? get_am_name(access_method) : "heap");
	set_locally("search_path", "pg_catalog, pg_temp");
}

/* A bound of a partition, as ATTACH takes it. */
static const char *
bound_value(const pg_uuid_t *bound, bool is_bounded, const char *unbounded)
{
	return is_bounded ? psprintf("'%s'", atlas_event_id_string(bound)) : unbounded;
}

/*
 * Creates, indexes and attaches a partition; the parent is locked. LIKE copies what
 * the columns and the CHECK constraints of the parent are, which ATTACH compares;
 * ATTACH itself copies the parent's indexes, foreign keys, row triggers and identity
 * columns, and refuses a table that has an identity column already.
 */
static void
build_partition(AtlasTableId table, const AtlasIdRange *range)
{
	const AtlasExtension *extension = atlas_extension();
	const char *parent = atlas_tables[table].name;
	Oid			schema = extension->schema;
	char	   *schema_name = pstrdup(extension->schema_name);
	char	   *name = partition_name(table, range);
	Oid			partition;

	/* A table that was detached keeps its name. */
	if (OidIsValid(get_relname_relid(name, schema)))
		name = ChooseRelationName(name, NULL, "part", schema, false);

	execute_utility(psprintf("CREATE TABLE %s.%s (LIKE %s.%s INCLUDING ALL EXCLUDING INDEXES EXCLUDING IDENTITY)",
							 schema_name, name, schema_name, parent));
	execute_utility(psprintf("ALTER TABLE %s.%s ADD PRIMARY KEY (%s)",
							 schema_name, name, indexes[table].primary_key));
	for (int i = 0; i < MAX_OTHER_INDEXES && indexes[table].others[i] != NULL; i++)
		execute_utility(psprintf("CREATE INDEX ON %s.%s %s",
								 schema_name, name, indexes[table].others[i]));
	/* Without a policy of its own, so that it is read through the parent only. */
	execute_utility(psprintf("ALTER TABLE %s.%s ENABLE ROW LEVEL SECURITY", schema_name, name));
	execute_utility(psprintf("ALTER TABLE %s.%s ATTACH PARTITION %s.%s FOR VALUES FROM (%s) TO (%s)",
							 schema_name, parent, schema_name, name,
							 bound_value(&range->low, range->bounded_low, "MINVALUE"),
							 bound_value(&range->high, range->bounded_high, "MAXVALUE")));

	/* The names may have changed hands: see atlas_plan(). */
	partition = get_relname_relid(name, schema);
	if (!OidIsValid(partition) || get_partition_parent(partition, true) != atlas_relation(table))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("the schema of extension \"%s\" was renamed just now", ATLAS_EXTENSION_NAME),
				 errhint("Try again.")));
}

/* Tells which partition an error is about. */
static void
add_partition_context(void *name)
{
	errcontext("making partition \"%s\"", (const char *) name);
}

/* Makes the partition for a range that has none; an error says what it was about. */
static void
create_partition(AtlasTableId table, const AtlasIdRange *range)
{
	ErrorContextCallback context = {.callback = add_partition_context};
	int			guc_level;

	refuse_if_used_here(table, range);
	context.arg = partition_name(table, range);
	context.previous = error_context_stack;
	error_context_stack = &context;
	guc_level = NewGUCNestLevel();
	use_settings_of(atlas_relation(table));
	build_partition(table, range);
	AtEOXact_GUC(false, guc_level);
	error_context_stack = context.previous;
}

/* Says whether the id has a partition, and remembers it; else gives the gap. */
static bool
has_partition(AtlasTableId table, Oid parent_relid, const pg_uuid_t *id, AtlasIdRange *gap)
{
	Relation	parent = table_open(parent_relid, AccessShareLock);
	Oid			partition;
	AtlasIdRange		ignored;
	bool		detaching;
	uint64		before = invalidations;

	/* The caller's snapshot may be older than a DETACH CONCURRENTLY. */
	PushActiveSnapshot(GetLatestSnapshot());
	partition = find_range(parent, id, true, gap);
	detaching = !OidIsValid(partition) &&
		OidIsValid(find_range(parent, id, false, &ignored));
	PopActiveSnapshot();
	table_close(parent, NoLock);
	if (detaching)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("the partition for event %s is being detached", atlas_event_id_string(id)),
				 errhint("Try again when DETACH PARTITION CONCURRENTLY has finished.")));
	if (!OidIsValid(partition))
		return false;
	known[table].parent = parent_relid;
	known[table].partition = partition;
	known[table].range = *gap;

	/* If an invalidation came while the bounds were read, they are read again next time. */
	known[table].valid = before == invalidations;
	return true;
}

/*
 * Narrows a gap to the range of the partition that is made for an id: that of the log's
 * partition. Where the log has only its default partition, or is the table itself, the
 * range is a month or a year.
 */
static void
choose_range(AtlasTableId table, const pg_uuid_t *id, TimestampTz now, AtlasIdRange *gap)
{
	Oid			log = atlas_relation(ATLAS_EVENTS);
	AtlasIdRange range;

	if (table != ATLAS_EVENTS && has_partition(ATLAS_EVENTS, log, id, &range) &&
		known[ATLAS_EVENTS].partition != get_default_partition_oid(log))
		atlas_range_narrow(gap, &range);
	else
		atlas_range_for_new_partition(gap, id, now);
}

/* Finds or makes a partition of one table for each of the ids. */
static void
ensure_partitions(AtlasTableId table, const pg_uuid_t *ids, int nids)
{
	Oid			parent = atlas_relation(table);
	AtlasIdRange gap;

	/* An INSERT takes this lock as well. While it is held, what is known of partitions stays true. */
	LockRelationOid(parent, RowExclusiveLock);
	for (int i = 0; i < nids; i++)
	{
		if (is_known(table, &ids[i]) || has_partition(table, parent, &ids[i], &gap))
			continue;

		/* Another session may have made it while this one waited. */
		LockRelationOid(parent, ShareUpdateExclusiveLock);
		if (has_partition(table, parent, &ids[i], &gap))
			continue;
		choose_range(table, &ids[i], GetCurrentTimestamp(), &gap);
		create_partition(table, &gap);
		(void) has_partition(table, parent, &ids[i], &gap);
	}
}

/* Does the log have a partition for the id? */
static bool
is_in_log(const pg_uuid_t *id)
{
	AtlasIdRange ignored;

	return is_known(ATLAS_EVENTS, id) ||
		has_partition(ATLAS_EVENTS, atlas_relation(ATLAS_EVENTS), id, &ignored);
}

void
atlas_partition_ensure(AtlasTableId table, const pg_uuid_t *ids, int nids)
{
	if (table != ATLAS_EVENTS)
		for (int i = 0; i < nids; i++)
			if (!is_known(table, &ids[i]) && !is_in_log(&ids[i]))
				ensure_partitions(ATLAS_EVENTS, &ids[i], 1);
	ensure_partitions(table, ids, nids);
}

Oid
atlas_partition_of(AtlasTableId table, const Datum *ids, int first, int *end)
{
	AtlasIdRange range;

	if (!is_known(table, DatumGetUUIDP(ids[first])) &&
		!has_partition(table, atlas_relation(table), DatumGetUUIDP(ids[first]), &range))
		return InvalidOid;
	for (int i = first + 1; i < *end; i++)
		if (!atlas_range_has(&known[table].range, DatumGetUUIDP(ids[i])))
			*end = i;
	return known[table].partition;
}

void
atlas_partition_ahead(AtlasTableId table, TimestampTz now)
{
	Oid			parent = atlas_relation(table);

	for (int months = 0; months <= MONTHS_AHEAD; months++)
	{
		pg_uuid_t	id;
		AtlasIdRange gap;

		atlas_event_id_floor(atlas_month_start(now, months), &id);
		if (is_known(table, &id) || has_partition(table, parent, &id, &gap))
			continue;
		if (!gap.bounded_low && !gap.bounded_high)
			return;				/* no partition yet */
		if (table != ATLAS_EVENTS && !is_in_log(&id))
			return;
		if (!ConditionalLockRelationOid(parent, ShareUpdateExclusiveLock))
			return;
		if (has_partition(table, parent, &id, &gap))
			continue;
		choose_range(table, &id, now, &gap);
		if (OidIsValid(get_relname_relid(partition_name(table, &gap),
										 atlas_extension()->schema)))
			return;
		create_partition(table, &gap);
	}
}
