/*
 * registry.c
 *		The registry of object types: built-in names, aliases, and the tables
 *		that atlas_object_types connects them to.
 *
 * Each backend keeps the whole registry in memory. A trigger on the table sends
 * a relation cache invalidation when it changes, in whatever way, and the next
 * question reads it again, with a snapshot of that moment, however old the
 * transaction's own may be.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/parallel.h"
#include "access/transam.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "objects/lookup_statement.h"
#include "objects/registry.h"

const AtlasBuiltInType atlas_built_in_types[] = {
	{"CONVERSATION", {"TICKET"}, {"conversations", "conversation", "tickets", "ticket"}},
	{"ACCOUNT", {0}, {"accounts", "account"}},
	{"CUSTOMER", {0}, {"customers", "customer"}},
	{"USER", {"AGENT", "USER (AGENT)"}, {"users", "user", "agents", "agent"}},
	{"CHATBOT", {0}, {"chatbots", "chatbot"}},
	{"COMPANY", {0}, {"companies", "company"}},
	{"HELPCENTER", {0}, {"helpcenters", "helpcenter", "help_centers", "help_center"}},
	{"SESSION_RECORDING", {"SESSION RECORDING"}, {"session_recordings", "session_recording", "sessionrecordings", "sessionrecording"}},
};

const int	atlas_built_in_type_count = lengthof(atlas_built_in_types);

static AtlasStatement select_types = {
	.sql =
	"SELECT object_type, relation::pg_catalog.oid, id_column, external_id_column, tenant_column,"
	"       aliases, owner"
	"  FROM @extschema@.atlas_object_types"
	" ORDER BY object_type",
};

/* A name or an alias, and the type that it means. */
typedef struct NameEntry
{
	char		name[NAMEDATALEN];	/* hash key */
	AtlasObjectType *type;
} NameEntry;

static MemoryContext registry_context = NULL;
static HTAB *names = NULL;		/* of NameEntry */
static List *types = NIL;		/* of AtlasObjectType */
static bool registry_valid = false;
static Oid	registry_relid = InvalidOid;
static int	registry_pins = 0;

/* A leaf of the type has changed, or all of them. */
static void
forget_leaf(AtlasObjectType *type, Oid relid)
{
	HASH_SEQ_STATUS status;
	AtlasLeaf  *leaf;

	if (type->leaves == NULL)
		return;
	if (OidIsValid(relid))
	{
		leaf = hash_search(type->leaves, &relid, HASH_FIND, NULL);
		if (leaf != NULL)
			leaf->valid = false;
		return;
	}
	hash_seq_init(&status, type->leaves);
	while ((leaf = hash_seq_search(&status)) != NULL)
		leaf->valid = false;
}

/* The registry changed, or a registered table: look again before it is used. */
static void
relation_changed(Datum arg, Oid relid)
{
	ListCell   *cell;

	if (relid == InvalidOid || relid == registry_relid)
		registry_valid = false;
	foreach(cell, types)
	{
		AtlasObjectType *type = lfirst(cell);

		if (relid == InvalidOid || relid == type->relation)
		{
			type->checked = false;
			type->invalidations++;
		}
		type->leaf_changes++;
		forget_leaf(type, relid);
		type->code_changes++;
		if (relid == InvalidOid || list_member_oid(type->beneath.relations, relid))
			type->code_checked = false;
	}
}

/* A schema was renamed. */
static void
a_schema_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	relation_changed(arg, InvalidOid);
}

/*
 * Code may have changed hands: a function, an operator, a type, a server, or a role its
 * rights. The comparison of a type that is not PostgreSQL's own (citext) runs in direct
 * lookups, too: whether it is still the one of the library is asked again.
 */
static void
code_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	ListCell   *cell;

	foreach(cell, types)
	{
		AtlasObjectType *type = lfirst(cell);

		type->code_changes++;
		if (hashvalue == 0 || list_member_int(type->beneath.hashes, (int) hashvalue))
			type->code_checked = false;
		if (type->target.columns.external_id.type < FirstNormalObjectId && type->connection != ATLAS_BROKEN)
			continue;
		type->checked = false;
		type->invalidations++;
		type->leaf_changes++;
		forget_leaf(type, InvalidOid);
	}
}

void
atlas_object_type_init(void)
{
	static const int code_caches[] = {
		PROCOID, OPEROID, TYPEOID, FOREIGNSERVEROID, AUTHOID
	};

	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, a_schema_changed, (Datum) 0);
	for (int i = 0; i < lengthof(code_caches); i++)
		CacheRegisterSyscacheCallback(code_caches[i], code_changed, (Datum) 0);
}

MemoryContext
atlas_object_type_memory(void)
{
	return registry_context;
}

static bool
is_folded_form(const char *folded_name, const char *alias)
{
	char	   *folded = atlas_fold_object_type(alias, strlen(alias));
	bool		result = strcmp(folded, folded_name) == 0;

	pfree(folded);
	return result;
}

static bool
is_name_of(const AtlasBuiltInType *built_in, const char *folded_name)
{
	if (strcmp(built_in->name, folded_name) == 0)
		return true;
	for (int i = 0; i < lengthof(built_in->aliases) && built_in->aliases[i] != NULL; i++)
		if (is_folded_form(folded_name, built_in->aliases[i]))
			return true;
	return false;
}

const AtlasBuiltInType *
atlas_built_in_type(const char *folded_name)
{
	for (int i = 0; i < atlas_built_in_type_count; i++)
		if (is_name_of(&atlas_built_in_types[i], folded_name))
			return &atlas_built_in_types[i];
	return NULL;
}

static void
add_name(const char *name, AtlasObjectType *type)
{
	bool		found;
	NameEntry  *entry = hash_search(names, name, HASH_ENTER, &found);

	if (!found)
		entry->type = type;
}

static AtlasObjectType *
add_type(const char *name)
{
	AtlasObjectType *type = MemoryContextAllocZero(registry_context, sizeof(AtlasObjectType));
	MemoryContext old = MemoryContextSwitchTo(registry_context);

	strlcpy(type->name, name, sizeof(type->name));
	types = lappend(types, type);
	MemoryContextSwitchTo(old);
	add_name(name, type);
	return type;
}

/* Copies a name column; a null leaves it empty. */
static void
copy_name(HeapTuple row, int column, NameData *name)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, column, &isnull);

	if (!isnull)
		*name = *DatumGetName(value);
}

static void
add_row(HeapTuple row)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	AtlasObjectType *type = add_type(SPI_getvalue(row, tupdesc, 1));
	bool		isnull;
	Datum	   *aliases;
	int			naliases;

	type->relation = DatumGetObjectId(SPI_getbinval(row, tupdesc, 2, &isnull));
	copy_name(row, 3, &type->columns.id);
	copy_name(row, 4, &type->columns.external_id);
	copy_name(row, 5, &type->columns.tenant);
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(row, tupdesc, 6, &isnull)),
					  TEXTOID, -1, false, TYPALIGN_INT, &aliases, NULL, &naliases);
	for (int i = 0; i < naliases; i++)
		add_name(TextDatumGetCString(aliases[i]), type);
	copy_name(row, 7, &type->vouched_owner);
}

static void
forget_registry(void)
{
	ListCell   *cell;

	foreach(cell, types)
		atlas_forget_plans(lfirst(cell));
	types = NIL;
	names = NULL;
	if (registry_context != NULL)
		MemoryContextReset(registry_context);
	else
		registry_context = AllocSetContextCreate(TopMemoryContext, "atlas_events registry",
												 ALLOCSET_SMALL_SIZES);
}

/* Reads the registry as it is now, whatever the transaction's snapshot. */
static void
read_rows(void)
{
	int			code = SPI_execute_snapshot(atlas_plan(&select_types), NULL, NULL,
											GetLatestSnapshot(), InvalidSnapshot,
											true, false, 0);

	if (code != SPI_OK_SELECT)
		elog(ERROR, "could not read the object types: %s", SPI_result_code_string(code));
	for (uint64 i = 0; i < SPI_processed; i++)
		add_row(SPI_tuptable->vals[i]);
}

/* An error while reading leaves it invalid, for the next caller to read. */
static void
read_registry(void)
{
	HASHCTL		control = {0};
	AtlasIdentity saved;

	forget_registry();
	control.keysize = NAMEDATALEN;
	control.entrysize = sizeof(NameEntry);
	control.hcxt = registry_context;
	names = hash_create("atlas_events names", 32, &control,
						HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);

	/* An invalidation that comes while it is read must not be lost. */
	registry_relid = atlas_extension()->object_types;
	registry_valid = true;

	PG_TRY();
	{
		atlas_become_owner(&saved);
		SPI_connect();
		read_rows();
		SPI_finish();
		atlas_return(&saved);
	}
	PG_CATCH();
	{
		registry_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();

	/* Built-in names and aliases, registered or not. */
	for (int i = 0; i < atlas_built_in_type_count; i++)
	{
		const AtlasBuiltInType *built_in = &atlas_built_in_types[i];
		NameEntry  *entry = hash_search(names, built_in->name, HASH_FIND, NULL);
		AtlasObjectType *type = entry ? entry->type : add_type(built_in->name);

		for (int j = 0; j < lengthof(built_in->aliases) && built_in->aliases[j] != NULL; j++)
			add_name(atlas_fold_object_type(built_in->aliases[j], strlen(built_in->aliases[j])), type);
	}
}

void
atlas_object_types_pin(bool pin)
{
	registry_pins += pin ? 1 : -1;
}

bool
atlas_in_code_of_owner(void)
{
	/* A parallel worker has the security context of its leader, but not the pins. */
	return registry_pins > 0 || (IsParallelWorker() && InSecurityRestrictedOperation());
}

void
atlas_refuse_code_of_owner(void)
{
	if (atlas_in_code_of_owner())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("events cannot be used while an object is looked up"),
				 errdetail("Code of a registered view, policy or index runs in the session of others, but not with their tenant.")));
}

AtlasObjectType *
atlas_object_type(const char *folded_name)
{
	NameEntry  *entry;

	/* Code that a lookup runs, of a view say, may ask while it is in use. */
	if (names == NULL || (registry_pins == 0 &&
						  (!registry_valid || registry_relid != atlas_extension()->object_types)))
		read_registry();
	if (strlen(folded_name) > ATLAS_MAX_TYPE_LENGTH)
		return NULL;
	entry = hash_search(names, folded_name, HASH_FIND, NULL);
	return entry ? entry->type : NULL;
}

/* What is wrong with the table of a type, or will be; NULL: nothing. */
static const char *
advice_about(AtlasObjectType *type)
{
	if (!OidIsValid(type->relation) || !atlas_connect(type, true))
		return NULL;
	if (type->connection == ATLAS_BROKEN)
		return psprintf("Events of object type %s are refused, since %s: register it again with atlas_register_object_type().",
						type->name, type->problem);
	if (type->target.way == ATLAS_BY_LEAVES &&
		atlas_count_leaves(type->relation, &type->columns, false) > ATLAS_MAX_LEAVES)
		return psprintf("Each lookup of an object of type %s reads more than %d partitions: partition its table by the id, or into fewer partitions.",
						type->name, ATLAS_MAX_LEAVES);
	if (type->target.way == ATLAS_BY_LEAF && !OidIsValid(type->leaf.id_index.index))
		return psprintf("Each lookup of an object of type %s reads its whole table: create a unique index on its id column.",
						type->name);
	return NULL;
}

const char *
atlas_object_types_advice(void)
{
	(void) atlas_object_type("");	/* reads the registry, if it has changed */
	for (int i = 0; i < list_length(types); i++)
	{
		const char *advice = advice_about(list_nth(types, i));

		if (advice != NULL)
			return advice;
	}
	return NULL;
}

bool
atlas_make_type_canonical(AtlasReference *reference)
{
	AtlasObjectType *type = atlas_object_type(reference->object_type);

	if (type != NULL)
		reference->object_type = pstrdup(type->name);
	return type != NULL;
}

PG_FUNCTION_INFO_V1(atlas_object_types_changed);

Datum
atlas_object_types_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("atlas_object_types_changed() is a trigger function")));

	/* Reaches every session, this one at the next command. */
	CacheInvalidateRelcache(trigger->tg_relation);
	return PointerGetDatum(NULL);
}
