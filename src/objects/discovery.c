/*
 * discovery.c
 *		Finding the tables that are named after the built-in types.
 *
 * Names are compared without case and underscores, singular or plural. A type
 * is registered only when there is no doubt: one table, with a unique id column
 * that is named like one, and no column that looks like a tenant's. Everything
 * that was found is returned, and a notice says why it was not registered.
 */
#include "postgres.h"

#include "access/relation.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "base/statement.h"
#include "objects/discovery.h"
#include "objects/id_value.h"
#include "objects/label_value.h"
#include "objects/registry.h"

/* This runs as the caller, and finds only tables that the caller owns. */
static AtlasStatement select_candidates = {
	.sql =
	"SELECT c.oid"
	"  FROM pg_catalog.pg_class c"
	"  JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace"
	" WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.\"char\"[])"
	"   AND NOT c.relispartition"
	"   AND c.relpersistence OPERATOR(pg_catalog.<>) 't'"
	"   AND n.nspname OPERATOR(pg_catalog.!~) '^(pg_|information_schema$)'"
	"   AND pg_catalog.pg_has_role(c.relowner, 'USAGE')"
	"   AND ($2 IS NULL OR c.relnamespace OPERATOR(pg_catalog.=) $2)"
	"   AND pg_catalog.replace(pg_catalog.lower(c.relname::pg_catalog.text), '_', '')"
	"       OPERATOR(pg_catalog.=) ANY ($1)"
	" ORDER BY n.nspname, c.relname",
	.nparameters = 2,
	.parameters = {TEXTARRAYOID, OIDOID},
};

/* A name without case and underscores, in memory of its own. */
static char *
plain_name(const char *name)
{
	char	   *result = pstrdup(name);
	char	   *end = result;

	for (const char *c = name; *c != '\0'; c++)
		if (*c != '_')
			*end++ = pg_ascii_tolower((unsigned char) *c);
	*end = '\0';
	return result;
}

/* Are two names the same but for case and underscores? */
static bool
is_plainly(const char *name, const char *expected)
{
	return strcmp(plain_name(name), plain_name(expected)) == 0;
}

/* Is this the name of an id column, such as id, customer_id or "customerId"? */
static bool
is_id_name(const char *column, const AtlasBuiltInType *type)
{
	if (is_plainly(column, "id") || is_plainly(column, psprintf("%sid", type->name)))
		return true;
	for (int i = 0; i < lengthof(type->tables) && type->tables[i] != NULL; i++)
		if (is_plainly(column, psprintf("%sid", type->tables[i])))
			return true;
	return false;
}

/* Can the column hold ids, or external ids if it is not the unique one? */
static bool
has_id_type(const FormData_pg_attribute *attribute, bool is_unique)
{
	Oid			type = is_unique ? atlas_id_base_type(attribute->atttypid) :
		atlas_external_id_base_type(attribute->atttypid);

	return OidIsValid(type) && atlas_id_type_problem(attribute->atttypid, attribute->atttypmod) == NULL;
}

/*
 * Finds the first column with such a name that can hold ids and has the index that it
 * needs. Without a name this is the first one that is named like an id.
 */
static const char *
find_column(Relation relation, const AtlasBuiltInType *type, const char *name, AttrNumber tenant)
{
	bool		unique = name == NULL;
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		const char *column = NameStr(attribute->attname);

		if (attribute->attisdropped || !has_id_type(attribute, unique) ||
			!(name == NULL ? is_id_name(column, type) : is_plainly(column, name)))
			continue;
		if ((!unique || atlas_is_unique_column(relation, attribute->attnum, tenant)) &&
			atlas_is_indexed_column(relation, attribute->attnum, tenant))
			return pstrdup(column);
	}
	return NULL;
}

/* The first column that is named tenant_id, or like it. */
static AttrNumber
tenant_column(Relation relation)
{
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped &&
			is_plainly(NameStr(TupleDescAttr(tupdesc, i)->attname), "tenantid"))
			return i + 1;
	return InvalidAttrNumber;
}

/* The first of the usual names of labels under which the table has a column that can hold them. */
static const char *
find_label(Relation relation)
{
	static const char *const usual_names[] = {"name", "title", "subject", "full_name", "email"};
	TupleDesc	tupdesc = RelationGetDescr(relation);

	for (int i = 0; i < lengthof(usual_names); i++)
	{
		for (int j = 0; j < tupdesc->natts; j++)
		{
			const FormData_pg_attribute *attribute = TupleDescAttr(tupdesc, j);

			if (!attribute->attisdropped && is_plainly(NameStr(attribute->attname), usual_names[i]) &&
				!atlas_is_virtual(attribute) && OidIsValid(atlas_label_base_type(attribute->atttypid)))
				return pstrdup(NameStr(attribute->attname));
		}
	}
	return NULL;
}

/* Why a table cannot be registered without more ado. NULL if it can. */
static const char *
why_not_looked_up(Relation relation, const AtlasRegistration *found)
{
	const char *reason = atlas_why_not_direct(relation, found);

	if (reason == NULL && (atlas_leaves_searched(relation, found, false) > ATLAS_MAX_LEAVES ||
						   atlas_leaves_searched(relation, found, true) > ATLAS_MAX_LEAVES))
		reason = psprintf("each object would be looked for in more than %d partitions", ATLAS_MAX_LEAVES);
	return reason;
}

/* Finds out what a table offers. Returns false if it has no usable id column. */
static bool
examine(Oid relid, const AtlasBuiltInType *type, AtlasRegistration *found, bool *has_tenant,
		const char **why_not)
{
	Relation	relation = try_relation_open(relid, AccessShareLock);
	AttrNumber	tenant;

	if (relation == NULL)
		return false;			/* dropped meanwhile */
	tenant = tenant_column(relation);
	found->object_type = pstrdup(type->name);
	found->relation = relid;
	*has_tenant = tenant != InvalidAttrNumber;
	*why_not = NULL;
	found->id_column = find_column(relation, type, NULL, tenant);
	found->external_id_column = find_column(relation, type, "externalid", tenant);
	found->label_column = find_label(relation);
	if (found->id_column != NULL)
		*why_not = why_not_looked_up(relation, found);
	relation_close(relation, NoLock);
	return found->id_column != NULL;
}

/* The OIDs of the tables that are named like a type, in the memory of the caller. */
static List *
find_candidates(const AtlasBuiltInType *type, Oid schema, MemoryContext context)
{
	AtlasColumn names;
	Datum		values[2];
	MemoryContext old;
	List	   *result = NIL;
	bool		isnull;

	atlas_column_init(&names, lengthof(type->tables));
	for (int i = 0; i < lengthof(type->tables) && type->tables[i] != NULL; i++)
		atlas_column_add(&names, CStringGetTextDatum(plain_name(type->tables[i])));
	values[0] = atlas_column_array(&names, TEXTOID);
	values[1] = ObjectIdGetDatum(schema);
	(void) atlas_execute(&select_candidates, values, OidIsValid(schema) ? "  " : " n", true, 0);

	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < SPI_processed; i++)
		result = lappend_oid(result, DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i],
																	SPI_tuptable->tupdesc, 1, &isnull)));
	MemoryContextSwitchTo(old);
	return result;
}

/*
 * Adds the usable candidates to the result. If there is only one, and nothing speaks
 * against it, it is registered; otherwise a notice says why none was.
 */
static List *
discover_type(List *result, const AtlasBuiltInType *built_in, List *candidates)
{
	bool		is_registered = OidIsValid(atlas_object_type(built_in->name)->relation);
	List	   *usable = NIL;
	bool		has_tenant = false;
	const char *not_direct = NULL;
	ListCell   *cell;

	foreach(cell, candidates)
	{
		const char *why_not;
		AtlasDiscovery *found = palloc0(sizeof(AtlasDiscovery));
		bool		tenant;

		if (!examine(lfirst_oid(cell), built_in, &found->registration, &tenant, &why_not))
			continue;
		usable = lappend(usable, found);
		has_tenant |= tenant;
		if (why_not != NULL)
			not_direct = why_not;
	}

	foreach(cell, usable)
	{
		AtlasDiscovery *found = lfirst(cell);

		found->is_registered = !is_registered && list_length(usable) == 1 && !has_tenant &&
			not_direct == NULL;
		if (found->is_registered)
			atlas_write_registration(&found->registration);
	}
	if (!is_registered && list_length(usable) > 1)
		ereport(NOTICE,
				(errmsg("several tables could be object type %s; none was registered", built_in->name),
				 errhint("Choose one with atlas_register_object_type().")));
	else if (!is_registered && not_direct != NULL)
		ereport(NOTICE,
				(errmsg("the table of object type %s is not simply looked up, since %s; it was not registered",
						built_in->name, not_direct),
				 errhint("Call atlas_register_object_type(), which says what can be done about it.")));
	else if (!is_registered && has_tenant)
		ereport(NOTICE,
				(errmsg("the table of object type %s has a tenant column; it was not registered",
						built_in->name),
				 errhint("Call atlas_register_object_type(), with tenant_column if it separates tenants.")));
	return list_concat(result, usable);
}

/* Looks for the tables of one built-in type after the other. */
List *
atlas_discover(Oid schema)
{
	MemoryContext context = CurrentMemoryContext;
	List	   *result = NIL;

	atlas_lock_registry();
	for (int i = 0; i < atlas_built_in_type_count; i++)
	{
		List	   *candidates;

		SPI_connect();
		candidates = find_candidates(&atlas_built_in_types[i], schema, context);
		SPI_finish();
		result = discover_type(result, &atlas_built_in_types[i], candidates);
	}
	return result;
}
