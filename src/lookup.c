/*
 * lookup.c
 *		Looking objects up in the tables that their types are connected to.
 *
 * An object is looked up in an index of its table (index_lookup.c) where that finds
 * what a query of the table's owner would find. Elsewhere it is such a query: it
 * runs as the owner, as a foreign-key check does, so that a submitter needs no
 * right on the table, and under SECURITY_RESTRICTED_OPERATION, so that code behind
 * a view or a policy gains nothing.
 *
 * A kept plan finds its table by name, and a table that was renamed may have
 * left its name to another one. So the OID that was registered is locked first,
 * and what it is now (name, schema, owner, types of the columns) is compared
 * with what the plans were made for, whenever an invalidation says that it may
 * have changed. A schema can be renamed without any lock; so before a plan runs,
 * the tables that it is going to read are checked too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "extension.h"
#include "id_value.h"
#include "nodes/pg_list.h"
#include "object_type.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "values.h"

/* A column and its type, or a problem. An empty name is no column. */
static AtlasKeyColumn
find_column(Oid relation, const NameData *name, const char **problem)
{
	AtlasKeyColumn column = {0};
	HeapTuple	tuple;

	if (NameStr(*name)[0] == '\0')
		return column;
	tuple = SearchSysCacheAttName(relation, NameStr(*name));
	if (!HeapTupleIsValid(tuple))
	{
		*problem = "a column of the table it is connected to is gone";
		return column;
	}
	column.attribute = ((Form_pg_attribute) GETSTRUCT(tuple))->attnum;
	column.type = atlas_id_base_type(((Form_pg_attribute) GETSTRUCT(tuple))->atttypid);
	ReleaseSysCache(tuple);
	if (!OidIsValid(column.type))
		*problem = "a column of the table it is connected to has a type that ids cannot have";
	return column;
}

/* What the registered table is now; false when it cannot be used. */
static bool
read_target(AtlasObjectType *type, AtlasTarget *target)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(type->relation));
	Form_pg_class form;
	char	   *schema_name;

	type->problem = NULL;
	memset(target, 0, sizeof(*target));
	if (!HeapTupleIsValid(tuple))
	{
		type->problem = "the table it was connected to has been dropped";
		return false;
	}
	form = (Form_pg_class) GETSTRUCT(tuple);
	schema_name = get_namespace_name(form->relnamespace);
	if (schema_name != NULL)
		strlcpy(target->relation_name,
				quote_qualified_identifier(schema_name, NameStr(form->relname)),
				sizeof(target->relation_name));
	target->owner = form->relowner;
	ReleaseSysCache(tuple);

	target->id = find_column(type->relation, &type->id_column, &type->problem);
	target->external_id = find_column(type->relation, &type->external_id_column, &type->problem);
	target->tenant = find_column(type->relation, &type->tenant_column, &type->problem);
	if (type->problem != NULL)
		return false;
	atlas_choose_index(type->relation, &target->id, &target->tenant, &target->id_index);
	atlas_choose_index(type->relation, &target->external_id, &target->tenant,
					   &target->external_id_index);
	return true;
}

/* While a lookup is under way they are left alone: it may be running one. */
void
atlas_forget_plans(AtlasObjectType *type)
{
	for (int i = 0; i < lengthof(type->plans); i++)
	{
		SPIPlanPtr	plan = type->plans[i];

		type->plans[i] = NULL;
		if (plan != NULL && !atlas_object_types_pinned())
			SPI_freeplan(plan);
	}
}

bool
atlas_connect(AtlasObjectType *type, bool nowait)
{
	if (!OidIsValid(type->relation))
	{
		type->connection = ATLAS_NOT_CONNECTED;
		return true;
	}
	if (!nowait)
		LockRelationOid(type->relation, AccessShareLock);
	else if (!ConditionalLockRelationOid(type->relation, AccessShareLock))
		return false;

	while (!type->checked)
	{
		AtlasTarget target;
		uint64		before = type->invalidations;

		type->connection = read_target(type, &target) ? ATLAS_CONNECTED : ATLAS_BROKEN;
		if (memcmp(&target, &type->target, sizeof(target)) != 0)
		{
			atlas_forget_plans(type);
			memcpy(&type->target, &target, sizeof(target));
		}
		type->checked = before == type->invalidations;
	}
	return true;
}

/* "t.tenant = <expression>" for types with a tenant column, with an AND. */
static const char *
tenant_condition(const AtlasObjectType *type, const char *expression)
{
	if (!OidIsValid(type->target.tenant.type))
		return "";
	return psprintf(" AND t.%s OPERATOR(pg_catalog.=) %s",
					quote_identifier(NameStr(type->tenant_column)), expression);
}

/* "t.id::text, t.external_id::text" */
static const char *
result_columns(const AtlasObjectType *type)
{
	return psprintf("t.%s::pg_catalog.text, %s",
					quote_identifier(NameStr(type->id_column)),
					OidIsValid(type->target.external_id.type) ?
					psprintf("t.%s::pg_catalog.text",
							 quote_identifier(NameStr(type->external_id_column))) :
					"NULL::pg_catalog.text");
}

/* SELECT t.id::text, t.ext::text FROM s.customers t WHERE t.id = $1 AND t.tenant = $2 */
static SPIPlanPtr
plan_one(const AtlasObjectType *type, const NameData *column, Oid column_type)
{
	Oid			parameters[2];

	parameters[0] = atlas_id_operator_type(column_type);
	parameters[1] = atlas_id_operator_type(type->target.tenant.type);
	return atlas_prepare(psprintf("SELECT %s FROM %s t WHERE t.%s OPERATOR(pg_catalog.=) $1%s",
								  result_columns(type), type->target.relation_name,
								  quote_identifier(NameStr(*column)),
								  tenant_condition(type, "$2")),
						 OidIsValid(type->target.tenant.type) ? 2 : 1, parameters);
}

/*
 * SELECT k.n, t.id::text, t.ext::text
 *   FROM unnest($1::int[], $2::uuid[], $3::text[]) k (n, id, tenant)
 *   JOIN s.customers t ON t.id = k.id AND t.tenant = k.tenant
 * and the same by external id, with $4 to $6.
 */
static char *
many_branch(const AtlasObjectType *type, const NameData *column, int first_parameter)
{
	bool		has_tenant = OidIsValid(type->target.tenant.type);

	return psprintf("SELECT k.n, %s FROM ROWS FROM (pg_catalog.unnest($%d), pg_catalog.unnest($%d)%s)"
					" AS k (n, id%s) JOIN %s t ON t.%s OPERATOR(pg_catalog.=) k.id%s",
					result_columns(type), first_parameter, first_parameter + 1,
					has_tenant ? psprintf(", pg_catalog.unnest($%d)", first_parameter + 2) : "",
					has_tenant ? ", tenant" : "",
					type->target.relation_name, quote_identifier(NameStr(*column)),
					tenant_condition(type, "k.tenant"));
}

static SPIPlanPtr
plan_many(const AtlasObjectType *type)
{
	const AtlasTarget *target = &type->target;
	bool		has_external_id = OidIsValid(target->external_id.type);
	Oid			tenant_array = OidIsValid(target->tenant.type) ?
		get_array_type(atlas_id_operator_type(target->tenant.type)) : TEXTARRAYOID;
	Oid			parameters[6];

	parameters[0] = parameters[3] = INT4ARRAYOID;
	parameters[1] = get_array_type(atlas_id_operator_type(target->id.type));
	parameters[2] = parameters[5] = tenant_array;
	parameters[4] = has_external_id ?
		get_array_type(atlas_id_operator_type(target->external_id.type)) : TEXTARRAYOID;
	return atlas_prepare(psprintf("%s%s", many_branch(type, &type->id_column, 1),
								  has_external_id ?
								  psprintf(" UNION ALL %s",
										   many_branch(type, &type->external_id_column, 4)) : ""),
						 6, parameters);
}

/*
 * Does t stand for the registered table, and not for one that took its name, such as
 * a view of the registered table? Each branch of the query for many has its own t.
 */
static bool
reads_registered_table(const Query *query, Oid registered)
{
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst(cell);
		Oid			relation = entry->relid;

		if (strcmp(entry->eref->aliasname, "t") != 0)
		{
			if (entry->rtekind == RTE_SUBQUERY &&
				!reads_registered_table(entry->subquery, registered))
				return false;
			continue;
		}
		if (entry->rtekind == RTE_SUBQUERY)
			relation = atlas_view_of_entry(entry);
		if (relation != registered)
			return false;
	}
	return true;
}

static void
check_plan(AtlasObjectType *type, SPIPlanPtr plan)
{
	if (reads_registered_table(atlas_plan_query(plan), type->relation))
		return;
	type->checked = false;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the table of object type \"%s\" was renamed just now", type->name),
			 errhint("Try again.")));
}

/* Makes the plan if there is none yet; as the owner of the table. */
static SPIPlanPtr
get_plan(AtlasObjectType *type, AtlasPlanKind kind)
{
	SPIPlanPtr *plan = &type->plans[kind];

	if (*plan != NULL)
		return *plan;
	switch (kind)
	{
		case ATLAS_BY_ID:
			*plan = plan_one(type, &type->id_column, type->target.id.type);
			break;
		case ATLAS_BY_EXTERNAL_ID:
			*plan = plan_one(type, &type->external_id_column, type->target.external_id.type);
			break;
		case ATLAS_MANY:
			*plan = plan_many(type);
			break;
	}
	return *plan;
}

/*
 * Runs a lookup as the owner of the table. The rows are in SPI_tuptable. Code of
 * the owner may run: a view and a policy are such, and planning evaluates the
 * predicates of indexes.
 */
static void
execute_as_owner(AtlasObjectType *type, AtlasPlanKind kind, Datum *values)
{
	AtlasIdentity saved;

	atlas_object_types_pin(true);
	PG_TRY();
	{
		SPIPlanPtr	plan;
		int			code;

		atlas_become(type->target.owner, &saved);
		plan = get_plan(type, kind);
		check_plan(type, plan);
		code = SPI_execute_plan(plan, values, NULL, false, 0);
		if (code != SPI_OK_SELECT)
			elog(ERROR, "could not look up objects: %s", SPI_result_code_string(code));
		atlas_return(&saved);
	}
	PG_FINALLY();
	{
		atlas_object_types_pin(false);
	}
	PG_END_TRY();
}

/* Takes an object that was found. A collation may find equal what is not the same. */
static void
take_object(AtlasLookup *lookup, const AtlasTarget *target, text *id, text *external_id)
{
	if (id == NULL)
		return;					/* no event could be about it */
	if (lookup->object_id == NULL)
	{
		if (external_id == NULL || atlas_compare_text(external_id, lookup->external_id) != 0)
			return;
	}
	else if (target->id.type != UUIDOID && atlas_compare_text(id, lookup->object_id) != 0)
		return;

	if (lookup->result == ATLAS_FOUND)
		lookup->result = ATLAS_AMBIGUOUS;
	if (lookup->result != ATLAS_NOT_FOUND)
		return;
	lookup->found_id = id;
	lookup->found_external_id = external_id;
	lookup->result = ATLAS_FOUND;
	if (lookup->object_id != NULL && lookup->external_id != NULL && external_id != NULL &&
		atlas_compare_text(external_id, lookup->external_id) != 0)
		lookup->result = ATLAS_DIFFERENT;
}

/* Takes a row, whose id is in the given column and its external id in the next. */
static void
take_row(AtlasLookup *lookup, const AtlasTarget *target, HeapTuple row, int column)
{
	take_object(lookup, target, atlas_result_text(row, SPI_tuptable->tupdesc, column),
				atlas_result_text(row, SPI_tuptable->tupdesc, column + 1));
}

static text *
text_in_slot(TupleTableSlot *slot, const AtlasKeyColumn *column)
{
	bool		isnull = true;
	Datum		value = (Datum) 0;

	if (AttributeNumberIsValid(column->attribute))
		value = slot_getattr(slot, column->attribute, &isnull);
	return isnull ? NULL : atlas_id_to_text(column->type, value);
}

static bool
text_to_id(Oid base_type, const text *string, Datum *value)
{
	return atlas_id_from_text(base_type, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string), value);
}

/*
 * The values to look for. False when the text cannot be an id of this table,
 * which is then simply not found.
 */
static bool
lookup_values(const AtlasTarget *target, const AtlasLookup *lookup, Datum *id, Datum *tenant)
{
	if (lookup->object_id != NULL)
	{
		if (!text_to_id(target->id.type, lookup->object_id, id))
			return false;
	}
	else if (!OidIsValid(target->external_id.type) ||
			 !text_to_id(target->external_id.type, lookup->external_id, id))
		return false;
	return !OidIsValid(target->tenant.type) ||
		text_to_id(target->tenant.type, lookup->tenant, tenant);
}

/* The index in which the object is found; NULL: a query is needed. */
static const AtlasLookupIndex *
index_of(const AtlasObjectType *type, const AtlasLookup *lookup)
{
	const AtlasLookupIndex *index = lookup->object_id != NULL ?
		&type->target.id_index : &type->target.external_id_index;

	return atlas_direct_access && OidIsValid(index->index) &&
		atlas_may_read(type->relation, type->target.owner) ? index : NULL;
}

static void
scan_for(AtlasIndexScan *scan, const AtlasTarget *target, AtlasLookup *lookup, Datum id, Datum tenant)
{
	TupleTableSlot *slot;

	atlas_index_scan_key(scan, id, tenant);
	while (lookup->result != ATLAS_AMBIGUOUS && (slot = atlas_index_scan_next(scan)) != NULL)
		take_object(lookup, target, text_in_slot(slot, &target->id),
					text_in_slot(slot, &target->external_id));
}

void
atlas_lookup_one(AtlasObjectType *type, AtlasLookup *lookup)
{
	Datum		values[2] = {0};
	const AtlasLookupIndex *index;

	lookup->result = type->connection == ATLAS_CONNECTED ? ATLAS_NOT_FOUND : ATLAS_UNAVAILABLE;
	if (type->connection != ATLAS_CONNECTED ||
		!lookup_values(&type->target, lookup, &values[0], &values[1]))
		return;

	index = index_of(type, lookup);
	if (index != NULL)
	{
		AtlasIndexScan *scan = atlas_index_scan_begin(type->relation, index);

		scan_for(scan, &type->target, lookup, values[0], values[1]);
		atlas_index_scan_end(scan);
		return;
	}
	execute_as_owner(type, lookup->object_id != NULL ? ATLAS_BY_ID : ATLAS_BY_EXTERNAL_ID, values);
	for (uint64 i = 0; i < SPI_processed; i++)
		take_row(lookup, &type->target, SPI_tuptable->vals[i], 1);
}

/* One side of the query for many: those by id, or those by external id. */
typedef struct LookupKeys
{
	AtlasColumn numbers;
	AtlasColumn ids;
	AtlasColumn tenants;
} LookupKeys;

static void
init_keys(LookupKeys *keys, int size)
{
	atlas_column_init(&keys->numbers, size);
	atlas_column_init(&keys->ids, size);
	atlas_column_init(&keys->tenants, size);
}

static void
add_key(LookupKeys *keys, const AtlasTarget *target, int number, Datum id, Datum tenant)
{
	atlas_column_add(&keys->numbers, Int32GetDatum(number));
	atlas_column_add(&keys->ids, id);
	if (OidIsValid(target->tenant.type))
		atlas_column_add(&keys->tenants, tenant);
}

static void
keys_to_arrays(const LookupKeys *keys, Oid id_type, Oid tenant_type, Datum *values)
{
	values[0] = atlas_column_array(&keys->numbers, INT4OID);
	values[1] = atlas_column_array(&keys->ids, OidIsValid(id_type) ?
								   atlas_id_operator_type(id_type) : TEXTOID);
	values[2] = atlas_column_array(&keys->tenants, OidIsValid(tenant_type) ?
								   atlas_id_operator_type(tenant_type) : TEXTOID);
}

static void
query_many(AtlasObjectType *type, AtlasLookup *lookups, const LookupKeys *by_id,
		   const LookupKeys *by_external_id)
{
	const AtlasTarget *target = &type->target;
	Datum		values[6];
	bool		isnull;

	keys_to_arrays(by_id, target->id.type, target->tenant.type, &values[0]);
	keys_to_arrays(by_external_id, target->external_id.type, target->tenant.type, &values[3]);
	execute_as_owner(type, ATLAS_MANY, values);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		int			number = DatumGetInt32(SPI_getbinval(row, SPI_tuptable->tupdesc, 1, &isnull));

		take_row(&lookups[number], target, row, 2);
	}
}

/* Those that are in an index are looked up there, the others in one query. */
void
atlas_lookup_many(AtlasObjectType *type, AtlasLookup *lookups, int nlookups)
{
	AtlasIndexScan *scans[2] = {NULL, NULL};	/* by id, by external id */
	LookupKeys	keys[2];

	for (int i = 0; i < lengthof(keys); i++)
		init_keys(&keys[i], nlookups);
	for (int i = 0; i < nlookups; i++)
	{
		AtlasLookup *lookup = &lookups[i];
		int			side = lookup->object_id != NULL ? 0 : 1;
		const AtlasLookupIndex *index;
		Datum		id;
		Datum		tenant = (Datum) 0;

		lookup->result = type->connection == ATLAS_CONNECTED ? ATLAS_NOT_FOUND : ATLAS_UNAVAILABLE;
		if (type->connection != ATLAS_CONNECTED ||
			!lookup_values(&type->target, lookup, &id, &tenant))
			continue;
		if (scans[side] == NULL && (index = index_of(type, lookup)) == NULL)
		{
			add_key(&keys[side], &type->target, i, id, tenant);
			continue;
		}
		if (scans[side] == NULL)
			scans[side] = atlas_index_scan_begin(type->relation, index);
		scan_for(scans[side], &type->target, lookup, id, tenant);
	}
	for (int i = 0; i < lengthof(scans); i++)
		if (scans[i] != NULL)
			atlas_index_scan_end(scans[i]);
	if (keys[0].numbers.nvalues + keys[1].numbers.nvalues > 0)
		query_many(type, lookups, &keys[0], &keys[1]);
}

void
atlas_refuse_lookup(const AtlasObjectType *type, const AtlasLookup *lookup, AtlasError *error)
{
	switch (lookup->result)
	{
		case ATLAS_FOUND:
			break;
		case ATLAS_NOT_FOUND:
			atlas_refuse(error, ATLAS_OBJECT_NOT_FOUND,
						 psprintf("There is no such object of type %s.", type->name),
						 "Check objectType, objectId and externalId.");
			break;
		case ATLAS_UNAVAILABLE:
			atlas_refuse(error, ATLAS_OBJECT_NOT_FOUND,
						 type->connection == ATLAS_BROKEN ?
						 psprintf("Object type %s cannot be looked up: %s.",
								  type->name, type->problem) :
						 psprintf("Object type %s is not connected to a table.", type->name),
						 "Connect it with atlas_register_object_type() or atlas_discover_object_types().");
			break;
		case ATLAS_AMBIGUOUS:
			atlas_refuse(error, ATLAS_CONFLICT,
						 psprintf("The id names more than one object of type %s.", type->name),
						 "Make the column unique, or name the object by its other id.");
			break;
		case ATLAS_DIFFERENT:
			atlas_refuse(error, ATLAS_CONFLICT,
						 psprintf("objectId and externalId name two different objects of type %s.",
								  type->name),
						 "Correct one of them, or leave it out.");
			break;
	}
}

const char *
atlas_lookup_reason(const AtlasObjectType *type, const AtlasLookup *lookup)
{
	switch (lookup->result)
	{
		case ATLAS_FOUND:
			break;
		case ATLAS_NOT_FOUND:
			return "there is no such object";
		case ATLAS_UNAVAILABLE:
			return type->connection == ATLAS_BROKEN ? type->problem :
				"the object type is not connected to a table";
		case ATLAS_AMBIGUOUS:
			return "the id names more than one object";
		case ATLAS_DIFFERENT:
			return "objectId and externalId name two different objects";
	}
	return "";
}
