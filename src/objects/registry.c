/*
 * registry.c
 *		The registry of object types: built-in names, aliases, and the tables
 *		that atlas_object_types connects them to.
 *
 * Each backend keeps the whole registry in memory. However the table is changed, a
 * trigger sends a relation cache invalidation, and the next question reads the table
 * again. It is read with a snapshot of that moment, however old the snapshot of the
 * transaction may be.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/extension.h"
#include "base/identity.h"
#include "base/invalidation.h"
#include "base/statement.h"
#include "base/tenant.h"
#include "event/validation.h"
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
	"       aliases, owner, label_column"
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

/* One leaf of the type has changed, or all of them if none is named. */
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

/*
 * The registry has changed, or a table that may be a registered one, a leaf or beneath
 * one. What depends on it is looked at again before it is used.
 */
static void
table_changed(Oid relid)
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

/* The names of all tables in it may be others now. */
static void
schema_renamed(uint32 hash)
{
	table_changed(InvalidOid);
}

/*
 * Code may have changed hands: a function, an operator, a type or a server has another
 * owner, or a role has other rights. Direct lookups, too, run the comparison of a type
 * that is not part of PostgreSQL (citext), so it is checked again whether that is still
 * the library's.
 */
static void
code_changed(uint32 hash)
{
	ListCell   *cell;

	foreach(cell, types)
	{
		AtlasObjectType *type = lfirst(cell);

		type->code_changes++;
		if (hash == 0 || list_member_int(type->beneath.hashes, (int) hash))
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

	atlas_listen_to_relations(table_changed);
	atlas_listen_to_catalog(NAMESPACEOID, schema_renamed);
	for (int i = 0; i < lengthof(code_caches); i++)
		atlas_listen_to_catalog(code_caches[i], code_changed);
}

/* Is this the name of a built-in type, or one of its aliases? */
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

/* Adds a name of a type, unless another type has it already. */
static void
add_name(const char *name, AtlasObjectType *type)
{
	bool		found;
	NameEntry  *entry = hash_search(names, name, HASH_ENTER, &found);

	if (!found)
		entry->type = type;
}

/* Adds a type to the registry in memory. */
static AtlasObjectType *
add_type(const char *name)
{
	AtlasObjectType *type = MemoryContextAllocZero(registry_context, sizeof(AtlasObjectType));
	MemoryContext old = MemoryContextSwitchTo(registry_context);

	strlcpy(type->name, name, sizeof(type->name));
	type->memory = registry_context;
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

/* Adds a row of the table to the registry in memory. */
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
	copy_name(row, 8, &type->columns.label);
}

/* Frees everything that is known of the types. Their plans are freed one by one. */
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

/*
 * A snapshot of this moment. While there are parallel workers PostgreSQL refuses that one, but
 * gives the one for reading catalogs, which it takes anew for a table like ours.
 */
static Snapshot
present_snapshot(void)
{
	return IsInParallelMode() ? GetCatalogSnapshot(registry_relid) : GetLatestSnapshot();
}

/* Reads the registry as it is now, whatever the snapshot of the transaction is. */
static void
read_rows(void)
{
	int			code = SPI_execute_snapshot(atlas_plan(&select_types), NULL, NULL,
											present_snapshot(), InvalidSnapshot,
											true, false, 0);

	if (code != SPI_OK_SELECT)
		elog(ERROR, "could not read the object types: %s", SPI_result_code_string(code));
	for (uint64 i = 0; i < SPI_processed; i++)
		add_row(SPI_tuptable->vals[i]);
}

/*
 * Reads the registry. If an error is raised it stays invalid, and the next caller reads
 * it.
 */
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
	registry_relid = atlas_relation(ATLAS_OBJECT_TYPES);
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

	/* Built-in names and aliases are there whether they are registered or not. */
	for (int i = 0; i < atlas_built_in_type_count; i++)
	{
		const AtlasBuiltInType *built_in = &atlas_built_in_types[i];
		NameEntry  *entry = hash_search(names, built_in->name, HASH_FIND, NULL);
		AtlasObjectType *type = entry ? entry->type : add_type(built_in->name);

		for (int j = 0; j < lengthof(built_in->aliases) && built_in->aliases[j] != NULL; j++)
			add_name(atlas_fold_object_type(built_in->aliases[j], strlen(built_in->aliases[j])), type);
	}
}

/*
 * Reads the registry unless what is in memory still holds. The code that a lookup runs,
 * say that of a view, may ask for a type while another one is in use, so nothing is read
 * then.
 */
static inline void
refresh_registry(void)
{
	if (names == NULL || (!atlas_in_lookup_of_owner() &&
						  (!registry_valid || registry_relid != atlas_relation(ATLAS_OBJECT_TYPES))))
		read_registry();
}

/* A name that is too long for the registry is not looked for. */
AtlasObjectType *
atlas_object_type(const char *folded_name)
{
	NameEntry  *entry;

	refresh_registry();
	if (strlen(folded_name) > ATLAS_MAX_TYPE_LENGTH)
		return NULL;
	entry = hash_search(names, folded_name, HASH_FIND, NULL);
	return entry ? entry->type : NULL;
}

List *
atlas_object_types(void)
{
	refresh_registry();
	return types;
}

bool
atlas_make_type_canonical(AtlasReference *reference)
{
	AtlasObjectType *type = atlas_object_type(reference->object_type);

	if (type != NULL)
		reference->object_type = pstrdup(type->name);
	return type != NULL;
}
