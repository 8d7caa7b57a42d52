/*
 * lookup_statement.c
 *		Looking objects up by a statement.
 *
 * A view, a foreign table, or a table with forced row security can be read only by a
 * statement, which runs code: that of the view, of policies, and of everything beneath.
 * A superuser has vouched for this code at registration. The statement runs
 *	- as the owner of the relation, whom the superuser vouched for, under
 *	  SECURITY_RESTRICTED_OPERATION, as foreign-key checks do;
 *	- only if everything beneath belongs to that owner or to a superuser, which is checked
 *	  again whenever some of it may have changed, see code_beneath.c;
 *	- in a subtransaction that is always rolled back, so that it leaves nothing behind:
 *	  no cursor, no deferred constraint, no setting, no row;
 *	- without the tenant, the claims, headers and other settings of the request, without
 *	  the text of the caller's statements, and without the use of the caller's cursors.
 *
 * A kept plan finds its table by name, and after a renaming another table may have that
 * name. So before a plan runs, the tables that it is going to read are compared with the
 * registered one, which is locked.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/transam.h"
#include "catalog/pg_am.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/syscache.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "base/identity.h"
#include "base/statement.h"
#include "base/subtransaction.h"
#include "base/tenant.h"
#include "objects/code_beneath.h"
#include "objects/id_value.h"
#include "objects/label_value.h"
#include "objects/lookup_statement.h"

#define CHECK_ATTEMPTS 10

/* ----- Plans ----- */

/* A plan may be running just now, so it is freed later. */
void
atlas_forget_plans(AtlasObjectType *type)
{
	for (int i = 0; i < lengthof(type->plans); i++)
	{
		if (type->plans[i] != NULL)
			atlas_free_plan_later(type->plans[i]);
		type->plans[i] = NULL;
	}
}

/* Returns " AND t.tenant = <expression>", or nothing if the type has no tenant column. */
static const char *
tenant_condition(const AtlasObjectType *type, const char *expression)
{
	if (!OidIsValid(type->target.columns.tenant.type))
		return "";
	return psprintf(" AND t.%s OPERATOR(pg_catalog.=) %s",
					quote_identifier(NameStr(type->columns.tenant)), expression);
}

/* Returns "t.id::text, t.external_id::text", to which labels are added if they are wanted. */
static const char *
result_columns(const AtlasObjectType *type)
{
	return psprintf("t.%s::pg_catalog.text, %s",
					quote_identifier(NameStr(type->columns.id)),
					OidIsValid(type->target.columns.external_id.type) ?
					psprintf("t.%s::pg_catalog.text",
							 quote_identifier(NameStr(type->columns.external_id))) :
					"NULL::pg_catalog.text");
}

/* Returns ", left(t.label::text, 255)". The type has a label column. */
static const char *
label_column(const AtlasObjectType *type)
{
	return psprintf(", pg_catalog.\"left\"(t.%s::pg_catalog.text, %d)",
					quote_identifier(NameStr(type->columns.label)), ATLAS_MAX_LABEL);
}

/*
 * The operator that compares ids of a type: PostgreSQL's own, or that of citext, by its
 * name.
 */
static const char *
equality(Oid type)
{
	const char *result = "OPERATOR(pg_catalog.=)";
	HeapTuple	tuple;

	if (type < FirstNormalObjectId)
		return result;
	tuple = SearchSysCache1(OPEROID,
							ObjectIdGetDatum(get_opfamily_member(get_opclass_family(GetDefaultOpClass(type, BTREE_AM_OID)),
																 type, type, BTEqualStrategyNumber)));
	if (!HeapTupleIsValid(tuple))
		return result;
	result = psprintf("OPERATOR(%s.%s)",
					  quote_identifier(get_namespace_name(((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)),
					  NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	ReleaseSysCache(tuple);
	return result;
}

/* SELECT t.id::text, t.ext::text FROM s.customers t WHERE t.id = $1 AND t.tenant = $2 */
static SPIPlanPtr
plan_one(const AtlasObjectType *type, const NameData *column, Oid column_type, const char *label)
{
	Oid			parameters[2];

	parameters[0] = atlas_id_operator_type(column_type);
	parameters[1] = atlas_id_operator_type(type->target.columns.tenant.type);
	return atlas_prepare(psprintf("SELECT %s%s FROM %s t WHERE t.%s %s $1%s",
								  result_columns(type), label, type->target.relation_name,
								  quote_identifier(NameStr(*column)), equality(column_type),
								  tenant_condition(type, "$2")),
						 OidIsValid(type->target.columns.tenant.type) ? 2 : 1, parameters);
}

/*
 * SELECT k.n, t.id::text, t.ext::text
 *   FROM unnest($1::int[], $2::uuid[], $3::text[]) k (n, id, tenant)
 *   JOIN s.customers t ON t.id = k.id AND t.tenant = k.tenant
 * and the same by external id, with $4 to $6.
 */
static char *
many_branch(const AtlasObjectType *type, const NameData *column, Oid column_type,
			int first_parameter)
{
	bool		has_tenant = OidIsValid(type->target.columns.tenant.type);

	return psprintf("SELECT k.n, %s FROM ROWS FROM (pg_catalog.unnest($%d), pg_catalog.unnest($%d)%s)"
					" AS k (n, id%s) JOIN %s t ON t.%s %s k.id%s",
					result_columns(type), first_parameter, first_parameter + 1,
					has_tenant ? psprintf(", pg_catalog.unnest($%d)", first_parameter + 2) : "",
					has_tenant ? ", tenant" : "",
					type->target.relation_name, quote_identifier(NameStr(*column)),
					equality(column_type), tenant_condition(type, "k.tenant"));
}

/*
 * The statement for many objects: those by id, and, if the type has such a column, those
 * by external id. Both parts have all parameters, so that the numbers of the parameters
 * stay.
 */
static SPIPlanPtr
plan_many(const AtlasObjectType *type)
{
	const AtlasColumns *columns = &type->target.columns;
	bool		has_external_id = OidIsValid(columns->external_id.type);
	Oid			tenant_array = OidIsValid(columns->tenant.type) ?
		get_array_type(atlas_id_operator_type(columns->tenant.type)) : TEXTARRAYOID;
	Oid			parameters[6];

	parameters[0] = parameters[3] = INT4ARRAYOID;
	parameters[1] = get_array_type(atlas_id_operator_type(columns->id.type));
	parameters[2] = parameters[5] = tenant_array;
	parameters[4] = has_external_id ?
		get_array_type(atlas_id_operator_type(columns->external_id.type)) : TEXTARRAYOID;
	return atlas_prepare(psprintf("%s%s", many_branch(type, &type->columns.id, columns->id.type, 1),
								  has_external_id ?
								  psprintf(" UNION ALL %s",
										   many_branch(type, &type->columns.external_id,
													   columns->external_id.type, 4)) : ""),
						 6, parameters);
}

/*
 * Does t stand for the registered table, and not for one that took its name, such as a
 * view of the registered table? Each branch of the query for many objects has its own t.
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

/*
 * Returns the plan, and makes it if there is none yet. The current user is the owner of
 * the table.
 */
static SPIPlanPtr
get_plan(AtlasObjectType *type, AtlasPlanKind kind)
{
	SPIPlanPtr *plan = &type->plans[kind];

	if (*plan != NULL)
		return *plan;
	switch (kind)
	{
		case ATLAS_BY_ID:
			*plan = plan_one(type, &type->columns.id, type->target.columns.id.type, "");
			break;
		case ATLAS_BY_ID_WITH_LABEL:
			*plan = plan_one(type, &type->columns.id, type->target.columns.id.type, label_column(type));
			break;
		case ATLAS_BY_EXTERNAL_ID:
			*plan = plan_one(type, &type->columns.external_id, type->target.columns.external_id.type, "");
			break;
		case ATLAS_MANY:
			*plan = plan_many(type);
			break;
	}
	return *plan;
}

/* ----- Checking whose code it is ----- */

/* A row that was found. The texts are in the memory of the caller. */
typedef struct FoundRow
{
	int			number;
	text	   *id;
	text	   *external_id;
	text	   *label;
} FoundRow;

typedef struct StatementSearch
{
	AtlasObjectType *type;
	const AtlasWanted *wanted;
	int			nwanted;
	MemoryContext memory;
	FoundRow   *rows;
	uint64		nrows;
	bool		is_refused;		/* somebody else's code is beneath the relation */
	List	   *held_cursors;	/* of Portal */
} StatementSearch;

/* Puts a copy of a list in the place of another, in memory that lives as long as the type. */
static void
keep_list(List **kept, const List *list, MemoryContext memory)
{
	MemoryContext old = MemoryContextSwitchTo(memory);
	List	   *copy = list_copy(list);

	MemoryContextSwitchTo(old);
	list_free(*kept);
	*kept = copy;
}

/*
 * Does everything beneath the relation belong to its owner or to a superuser? The answer
 * holds until something that it depends on changes. If something changes while the
 * catalog is being read, it is read again. If an error is raised, the question stays
 * open.
 */
static bool
is_trusted(AtlasObjectType *type)
{
	for (int attempt = 0; attempt < CHECK_ATTEMPTS && !type->code_checked; attempt++)
	{
		uint64		before = type->code_changes;
		AtlasBeneath beneath;

		if (atlas_foreign_code_beneath(type->relation, type->target.owner, &beneath) != NULL)
			return false;
		keep_list(&type->beneath.relations, beneath.relations, type->memory);
		keep_list(&type->beneath.hashes, beneath.hashes, type->memory);
		type->code_checked = before == type->code_changes;
	}
	return type->code_checked;
}

/*
 * Returns the plan after its code and its tables have been checked, or NULL if the code
 * is not to be trusted. If anything changes while it is planned, all is checked again.
 */
static SPIPlanPtr
checked_plan(StatementSearch *search, AtlasPlanKind kind)
{
	AtlasObjectType *type = search->type;

	for (int attempt = 0; attempt < CHECK_ATTEMPTS; attempt++)
	{
		SPIPlanPtr	plan;

		search->is_refused = !is_trusted(type);
		if (search->is_refused)
			return NULL;
		plan = get_plan(type, kind);
		if (!reads_registered_table(atlas_plan_query(plan), type->relation))
			break;
		if (type->code_checked)
			return plan;
	}
	type->checked = false;
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("the table of object type \"%s\" was changed or renamed just now", type->name),
			 errhint("Try again.")));
}

/* ----- The caller's cursors ----- */

static AtlasStatement select_cursors = {
	.sql = "SELECT name FROM pg_catalog.pg_cursor()",
};

/*
 * Makes the caller's cursors look as if they were being read, so that the code can
 * neither read nor move nor close them: they have rows of the caller, and a loop in the
 * caller's PL/pgSQL is one of them. This happens inside the subtransaction, because
 * ThereAreNoReadyPortals() leaves its scan of all portals open, and the end of the
 * subtransaction cleans that up.
 */
static void
hold_cursors(StatementSearch *search)
{
	MemoryContext old;
	ListCell   *cell;
	bool		isnull;

	if (ThereAreNoReadyPortals())
		return;
	(void) atlas_execute(&select_cursors, NULL, NULL, true, 0);
	old = MemoryContextSwitchTo(search->memory);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Datum		name = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		Portal		portal = GetPortalByName(TextDatumGetCString(name));

		if (PortalIsValid(portal) && portal->status == PORTAL_READY)
			search->held_cursors = lappend(search->held_cursors, portal);
	}
	MemoryContextSwitchTo(old);
	foreach(cell, search->held_cursors)
		((Portal) lfirst(cell))->status = PORTAL_ACTIVE;
}

/* Gives the cursors back to the caller. */
static void
release_cursors(const StatementSearch *search)
{
	ListCell   *cell;

	foreach(cell, search->held_cursors)
		((Portal) lfirst(cell))->status = PORTAL_READY;
}

/* ----- Running it ----- */

/*
 * Blanks the settings that the session, its role or its client has made under names that
 * nobody defines: claims, headers and tokens of a request. What the database or the
 * server sets for everybody stays. The end of the subtransaction undoes this.
 */
static void
blank_settings(void)
{
	int			count;
	struct config_generic **settings = atlas_all_settings(&count);

	for (int i = 0; i < count; i++)
	{
		const struct config_generic *setting = settings[i];
		const char *value;

		if ((setting->flags & GUC_CUSTOM_PLACEHOLDER) == 0 || setting->source <= PGC_S_DATABASE)
			continue;
		value = *((const struct config_string *) setting)->variable;
		if (value != NULL && value[0] != '\0')
			atlas_set_for_now(setting->name, "");
	}
	atlas_set_for_now("atlas_events.tenant", "");
}

/* One side of the statement for many: those by id, or those by external id. */
typedef struct LookupKeys
{
	AtlasColumn numbers;
	AtlasColumn ids;
	AtlasColumn tenants;
} LookupKeys;

/* Fills the parameters of one side of the statement for many objects. */
static void
fill_keys(const StatementSearch *search, bool by_external_id, Oid id_type, Datum *values)
{
	Oid			tenant_type = search->type->target.columns.tenant.type;
	LookupKeys	keys;

	atlas_column_init(&keys.numbers, search->nwanted);
	atlas_column_init(&keys.ids, search->nwanted);
	atlas_column_init(&keys.tenants, search->nwanted);
	for (int i = 0; i < search->nwanted; i++)
	{
		const AtlasWanted *wanted = &search->wanted[i];

		if (wanted->by_external_id != by_external_id)
			continue;
		atlas_column_add(&keys.numbers, Int32GetDatum(wanted->number));
		atlas_column_add(&keys.ids, wanted->key);
		if (OidIsValid(tenant_type))
			atlas_column_add(&keys.tenants, wanted->tenant);
	}
	values[0] = atlas_column_array(&keys.numbers, INT4OID);
	values[1] = atlas_column_array(&keys.ids, OidIsValid(id_type) ?
								   atlas_id_operator_type(id_type) : TEXTOID);
	values[2] = atlas_column_array(&keys.tenants, OidIsValid(tenant_type) ?
								   atlas_id_operator_type(tenant_type) : TEXTOID);
}

/*
 * Copies the rows into the memory of the caller, because that of SPI goes with the
 * subtransaction. In the statement for many objects the first column is the number of
 * the object.
 */
static void
copy_rows(StatementSearch *search, AtlasPlanKind kind)
{
	MemoryContext old = MemoryContextSwitchTo(search->memory);
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	bool		is_many = kind == ATLAS_MANY;
	int			column = is_many ? 2 : 1;
	bool		isnull;

	search->nrows = SPI_processed;
	search->rows = MemoryContextAllocHuge(search->memory, sizeof(FoundRow) * Max(search->nrows, 1));
	for (uint64 i = 0; i < search->nrows; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];

		CHECK_FOR_INTERRUPTS();
		search->rows[i].number = is_many ? DatumGetInt32(SPI_getbinval(row, tupdesc, 1, &isnull)) :
			search->wanted[0].number;
		search->rows[i].id = atlas_result_text(row, tupdesc, column);
		search->rows[i].external_id = atlas_result_text(row, tupdesc, column + 1);
		search->rows[i].label = kind == ATLAS_BY_ID_WITH_LABEL ?
			atlas_result_text(row, tupdesc, column + 2) : NULL;
	}
	MemoryContextSwitchTo(old);
}

/* Becomes the owner, hides what is the caller's, and runs the statement. */
static void
execute_search(StatementSearch *search)
{
	AtlasObjectType *type = search->type;
	const AtlasColumns *columns = &type->target.columns;
	bool		is_many = search->nwanted > 1;
	AtlasPlanKind kind = is_many ? ATLAS_MANY :
		search->wanted[0].by_external_id ? ATLAS_BY_EXTERNAL_ID :
		search->wanted[0].with_label ? ATLAS_BY_ID_WITH_LABEL : ATLAS_BY_ID;
	Datum		values[6];
	SPIPlanPtr	plan;
	AtlasIdentity saved;
	int			code;

	if (is_many)
	{
		fill_keys(search, false, columns->id.type, &values[0]);
		fill_keys(search, true, columns->external_id.type, &values[3]);
	}
	else
	{
		values[0] = search->wanted[0].key;
		values[1] = search->wanted[0].tenant;
	}
	atlas_become(type->target.owner, &saved);
	blank_settings();
	hold_cursors(search);
	plan = checked_plan(search, kind);
	if (plan != NULL)
	{
		code = SPI_execute_plan(plan, values, NULL, false, 0);
		if (code != SPI_OK_SELECT)
			elog(ERROR, "could not look up objects: %s", SPI_result_code_string(code));
		copy_rows(search, kind);
	}
	atlas_return(&saved);
}

/* The body of the subtransaction. */
static void
run_search(void *argument)
{
	SPI_connect();
	execute_search(argument);
	SPI_finish();
}

/* What was found is reported after the subtransaction has been rolled back. */
const char *
atlas_search_by_statement(AtlasObjectType *type, const AtlasWanted *wanted, int nwanted,
						  AtlasFound found, void *searcher)
{
	StatementSearch search = {.type = type,.wanted = wanted,.nwanted = nwanted};
	const char *volatile callers_statement = debug_query_string;
	ErrorContextCallback *volatile callers_context = error_context_stack;
	ErrorData  *volatile error = NULL;

	search.memory = CurrentMemoryContext;
	atlas_begin_code_of_owner();
	PG_TRY();
	{
		debug_query_string = "(atlas_events looks an object up)";
		error_context_stack = NULL; /* it would tell the caller's statements, too */
		error = atlas_try_and_undo(run_search, &search);
	}
	PG_FINALLY();
	{
		error_context_stack = callers_context;
		debug_query_string = callers_statement;
		release_cursors(&search);
		atlas_end_code_of_owner();
	}
	PG_END_TRY();
	if (error != NULL)
		ReThrowError(error);

	for (uint64 i = 0; i < search.nrows; i++)
		if (search.rows[i].id != NULL)	/* no event can be about a row without one */
			(void) found(searcher, search.rows[i].number, search.rows[i].id, search.rows[i].external_id,
						 search.rows[i].label);
	return search.is_refused ?
		"what is beneath the relation it is connected to does not all belong to its owner or to a superuser" : NULL;
}
