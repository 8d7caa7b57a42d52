/*
 * registration.c
 *		Connecting object types to tables, and disconnecting them.
 *
 * A table is checked when it is connected, so that no event fails because of it later:
 * the kind of the relation, the types of its columns, and the indexes that are needed to
 * find the one row of an id fast. Only a superuser, who then vouches for its code, can
 * connect a relation that cannot be read directly.
 *
 * None of the table's own code is evaluated for this. The predicates of its indexes and
 * its partition key are read as the catalog has them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/sysattr.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_partitioned_table.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "base/extension.h"
#include "base/identity.h"
#include "base/statement.h"
#include "event/validation.h"
#include "objects/code_beneath.h"
#include "objects/id_value.h"
#include "objects/label_value.h"
#include "objects/registration.h"
#include "objects/registry.h"

static AtlasStatement upsert_type = {
	.sql =
	"INSERT INTO @extschema@.atlas_object_types"
	"       (object_type, relation, id_column, external_id_column, tenant_column, label_column,"
	"        aliases, owner)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
	" ON CONFLICT (object_type) DO UPDATE"
	"   SET relation = excluded.relation, id_column = excluded.id_column,"
	"       external_id_column = excluded.external_id_column,"
	"       tenant_column = excluded.tenant_column, label_column = excluded.label_column,"
	"       aliases = excluded.aliases, owner = excluded.owner",
	.nparameters = 8,
	.parameters = {TEXTOID, REGCLASSOID, NAMEOID, NAMEOID, NAMEOID, NAMEOID, TEXTARRAYOID, NAMEOID},
};

static AtlasStatement delete_type = {
	.sql = "DELETE FROM @extschema@.atlas_object_types WHERE object_type OPERATOR(pg_catalog.=) $1",
	.nparameters = 1,
	.parameters = {TEXTOID},
};

/* ----- Indexes ----- */

/* Is the table partitioned by this column, among others? */
static bool
is_partition_key_column(Relation relation, AttrNumber column)
{
	HeapTuple	tuple = SearchSysCache1(PARTRELID, ObjectIdGetDatum(RelationGetRelid(relation)));
	Form_pg_partitioned_table form;
	bool		result = false;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_partitioned_table) GETSTRUCT(tuple);
	for (int i = 0; i < form->partnatts; i++)
		if (form->partattrs.values[i] == column)
			result = true;
	ReleaseSysCache(tuple);
	return result;
}

/*
 * May a unique index have this column besides the one of the ids? An id still names one
 * row if the other column is the tenant or a partition key.
 */
static bool
may_accompany(Relation relation, AttrNumber column, AttrNumber tenant_column)
{
	return (tenant_column != InvalidAttrNumber && column == tenant_column) ||
		is_partition_key_column(relation, column);
}

/* Has the index no predicate, or only that the column is not null? */
static bool
covers_all_rows(HeapTuple index, AttrNumber column)
{
	bool		isnull;
	Datum		predicate = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indpred, &isnull);

	return isnull || atlas_is_not_null_test(TextDatumGetCString(predicate), column);
}

/* Does this index make sure that a value of the column names one row? */
static bool
makes_unique(Relation relation, HeapTuple index, AttrNumber column, AttrNumber tenant_column)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	bool		found = false;

	if (!form->indisvalid || !form->indisunique || !covers_all_rows(index, column))
		return false;
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		AttrNumber	key = form->indkey.values[i];

		if (key != column && !may_accompany(relation, key, tenant_column))
			return false;
		found |= key == column;
	}
	return found;
}

/* Looks for one index that makes the column unique. */
bool
atlas_is_unique_column(Relation relation, AttrNumber column, AttrNumber tenant_column)
{
	List	   *indexes = RelationGetIndexList(relation);
	ListCell   *cell;
	bool		found = false;

	foreach(cell, indexes)
	{
		HeapTuple	index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(index))
			continue;			/* dropped by a DROP INDEX CONCURRENTLY */
		found = makes_unique(relation, index, column, tenant_column);
		ReleaseSysCache(index);
		if (found)
			break;
	}
	list_free(indexes);
	return found;
}

/* A column as index lookups know it; all zero for no column. */
static AtlasKeyColumn
key_column(Relation relation, AttrNumber column)
{
	AtlasKeyColumn key = {0};

	if (column != InvalidAttrNumber)
	{
		key.attribute = column;
		key.type = atlas_external_id_base_type(TupleDescAttr(RelationGetDescr(relation), column - 1)->atttypid);
	}
	return key;
}

bool
atlas_is_indexed_column(Relation relation, AttrNumber column, AttrNumber tenant_column)
{
	AtlasKeyColumn key = key_column(relation, column);
	AtlasKeyColumn tenant = key_column(relation, tenant_column);
	AtlasLookupIndex index;

	atlas_choose_index(RelationGetRelid(relation), &key, &tenant, &index);
	return OidIsValid(index.index);
}

/* ----- Checks ----- */

/* A name must be usable in a URL and in SQL without quotes. */
static void
check_name(const char *name)
{
	bool		valid = name[0] >= 'A' && name[0] <= 'Z' && strlen(name) <= ATLAS_MAX_TYPE_LENGTH;

	for (const char *c = name; valid && *c != '\0'; c++)
		valid = (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_';
	if (!valid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not a name for an object type", name),
				 errdetail("A name begins with a letter and consists of at most %d letters, digits and underscores.",
						   ATLAS_MAX_TYPE_LENGTH)));
}

/* A name in the form in which the registry has it. */
static char *
folded_name(text *name)
{
	return atlas_fold_object_type(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
}

/*
 * The canonical name of the type to be registered. Aliases of built-in types lead to
 * these.
 */
static char *
canonical_name(text *argument)
{
	char	   *name = folded_name(argument);
	const AtlasBuiltInType *built_in = atlas_built_in_type(name);
	AtlasObjectType *type;

	if (built_in != NULL)
		return pstrdup(built_in->name);
	check_name(name);
	type = atlas_object_type(name);
	if (type != NULL && strcmp(type->name, name) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("\"%s\" is an alias of object type \"%s\"", name, type->name),
				 errhint("Register \"%s\", or give it other aliases first.", type->name)));
	return name;
}

/* Reads the aliases of a type, none of which may be a name of another type. */
static List *
read_aliases(ArrayType *array, const char *canonical)
{
	Datum	   *items;
	bool	   *nulls;
	int			nitems;
	List	   *aliases = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, &nulls, &nitems);
	for (int i = 0; i < nitems; i++)
	{
		char	   *alias;
		AtlasObjectType *type;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an alias must not be null")));
		alias = folded_name(DatumGetTextPP(items[i]));
		check_name(alias);
		type = atlas_object_type(alias);
		if (type != NULL && strcmp(type->name, canonical) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("\"%s\" is a name of object type \"%s\" already", alias, type->name)));
		aliases = lappend(aliases, alias);
	}
	return aliases;
}

/* Only the owner of a table may have its rows looked up for others. */
static void
check_owner(Oid relation)
{
	if (!atlas_owns_relation(relation, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relation)),
					   get_rel_name(relation));
}

/* A type that is connected already can be changed only by the owner of its present table. */
static void
check_present_owner(const char *name)
{
	AtlasObjectType *type = atlas_object_type(name);
	Oid			relation = type ? type->relation : InvalidOid;

	if (OidIsValid(relation) && get_rel_name(relation) != NULL)
		check_owner(relation);
}

/* Refuses relations that have no rows, and those that the linker cannot see. */
static void
check_kind(Relation relation)
{
	char		kind = relation->rd_rel->relkind;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE &&
		kind != RELKIND_VIEW && kind != RELKIND_MATVIEW && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table, a view or a foreign table", RelationGetRelationName(relation))));
	if (relation->rd_rel->relpersistence == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is temporary", RelationGetRelationName(relation)),
				 errdetail("Other sessions and the linker cannot see it.")));
}

/*
 * The number of a column that can hold ids, or an error. Without a name there is no
 * column.
 */
static AttrNumber
id_column_number(Relation relation, const char *column, Oid (*base_type_of) (Oid))
{
	AttrNumber	number;
	Oid			type;
	int32		typmod;
	Oid			collation;
	const char *problem;

	if (column == NULL)
		return InvalidAttrNumber;
	number = get_attnum(RelationGetRelid(relation), column);
	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, RelationGetRelationName(relation)),
				 errhint("Name the column that holds the ids, as it is written in the catalog.")));
	get_atttypetypmodcoll(RelationGetRelid(relation), number, &type, &typmod, &collation);
	problem = OidIsValid(base_type_of(type)) ? atlas_id_type_problem(type, typmod) :
		"Ids are of type uuid, smallint, integer, bigint, numeric, text, varchar or char, external ids also of type citext, or of a domain over one of them.";
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" has type %s",
						column, RelationGetRelationName(relation),
						format_type_with_typemod(type, typmod)),
				 errhint("%s", problem)));
	return number;
}

/*
 * Checks that the label column, if there is one, can hold labels. They are read from the row,
 * so a column that PostgreSQL 18 computes when it is read has none.
 */
static void
check_label_column(Relation relation, const char *column)
{
	AttrNumber	number;
	const FormData_pg_attribute *attribute;

	if (column == NULL)
		return;
	number = get_attnum(RelationGetRelid(relation), column);
	if (number <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of relation \"%s\" does not exist",
						column, RelationGetRelationName(relation)),
				 errhint("Name the column that holds what people call the objects, as it is written in the catalog.")));
	attribute = TupleDescAttr(RelationGetDescr(relation), number - 1);
	if (!OidIsValid(atlas_label_base_type(attribute->atttypid)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of relation \"%s\" has type %s",
						column, RelationGetRelationName(relation),
						format_type_with_typemod(attribute->atttypid, attribute->atttypmod)),
				 errhint("Labels are of type text, varchar, char, name or citext, or of a domain over one of them.")));
	if (atlas_is_virtual(attribute))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("column \"%s\" of relation \"%s\" is a virtual one",
						column, RelationGetRelationName(relation)),
				 errhint("Make it a stored one.")));
}

/* Without an index each event would read the whole table. */
static void
check_index(Relation relation, const char *column, AttrNumber number, AttrNumber tenant)
{
	if (number != InvalidAttrNumber && !atlas_is_indexed_column(relation, number, tenant))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("column \"%s\" of relation \"%s\" has no index that begins with it",
						column, RelationGetRelationName(relation)),
				 errhint("Create a B-tree index that begins with it, or with the tenant column and it; with the column's own collation and the default operator class.")));
}

/* Checks that the ids are unique, and that both ids are found by index. */
static void
check_indexes(Relation relation, const AtlasRegistration *registration, AttrNumber id,
			  AttrNumber external_id, AttrNumber tenant)
{
	if (!atlas_is_unique_column(relation, id, tenant))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("column \"%s\" of relation \"%s\" is not unique",
						registration->id_column, RelationGetRelationName(relation)),
				 errhint("Create a unique index on it: alone, with the tenant column, or with the partition key.")));
	check_index(relation, registration->id_column, id, tenant);
	check_index(relation, registration->external_id_column, external_id, tenant);
}

/* The names of the columns as lookups know them. */
static AtlasColumnNames
column_names(const AtlasRegistration *registration)
{
	AtlasColumnNames names;

	memset(&names, 0, sizeof(names));
	namestrcpy(&names.id, registration->id_column);
	if (registration->external_id_column != NULL)
		namestrcpy(&names.external_id, registration->external_id_column);
	if (registration->tenant_column != NULL)
		namestrcpy(&names.tenant, registration->tenant_column);
	return names;
}

int
atlas_leaves_searched(Relation relation, const AtlasRegistration *registration, bool by_external_id)
{
	AtlasColumnNames names = column_names(registration);

	if (by_external_id && registration->external_id_column == NULL)
		return 0;
	return atlas_count_leaves(RelationGetRelid(relation), &names, by_external_id);
}

/* One object must not cost hundreds of index lookups and locks. */
static void
check_leaves(Relation relation, const AtlasRegistration *registration, bool by_external_id)
{
	int			nleaves = atlas_leaves_searched(relation, registration, by_external_id);

	if (nleaves > ATLAS_MAX_LEAVES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("an object of \"%s\" would be looked for by \"%s\" in %d partitions, at most %d are allowed",
						RelationGetRelationName(relation),
						by_external_id ? registration->external_id_column : registration->id_column,
						nleaves, ATLAS_MAX_LEAVES),
				 errhint("Partition the table by that column, or into fewer partitions, or connect a table or materialized view of the ids.")));
}

const char *
atlas_why_not_direct(Relation relation, const AtlasRegistration *registration)
{
	AtlasColumnNames names = column_names(registration);
	AtlasColumns columns;
	const char *reason = atlas_find_columns(RelationGetRelid(relation), &names, &columns);

	if (reason == NULL)
		(void) atlas_direct_way(RelationGetRelid(relation), &columns, &reason);
	return reason;
}

/*
 * A superuser vouches for the code of a relation that is looked up by a statement, and
 * all of that code must belong to the owner of the relation or to a superuser.
 */
static void
check_code(Relation relation, const char *reason)
{
	const char *name = RelationGetRelationName(relation);
	AtlasBeneath beneath;
	const char *problem;

	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("only a superuser can connect an object type to \"%s\": %s", name, reason),
				 errdetail("Its objects are looked up by a statement, which runs code in the sessions of all who submit events."),
				 errhint("Ask a superuser, or connect the type to a table, or to a materialized view with a unique index.")));
	problem = atlas_foreign_code_beneath(RelationGetRelid(relation), relation->rd_rel->relowner,
										 &beneath);
	if (problem != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("an object type cannot be connected to \"%s\": %s", name, problem),
				 errdetail("It would run with the rights of the owner of \"%s\"; what is beneath it must belong to its owner or to a superuser.", name)));
}

/* Checks the table of a registration, and fills in as whom it is looked up. */
static void
check_registration(AtlasRegistration *registration)
{
	Relation	relation = try_relation_open(registration->relation, AccessShareLock);
	AttrNumber	id;
	AttrNumber	external_id;
	AttrNumber	tenant;
	const char *reason;

	if (relation == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the table with OID %u does not exist any more", registration->relation)));
	check_owner(registration->relation);
	check_kind(relation);
	id = id_column_number(relation, registration->id_column, atlas_id_base_type);
	external_id = id_column_number(relation, registration->external_id_column,
								   atlas_external_id_base_type);
	tenant = id_column_number(relation, registration->tenant_column, atlas_id_base_type);
	check_label_column(relation, registration->label_column);

	reason = atlas_why_not_direct(relation, registration);
	if (reason != NULL)
	{
		check_code(relation, reason);
		registration->vouched_owner = GetUserNameFromId(relation->rd_rel->relowner, false);
		ereport(NOTICE,
				(errmsg("objects of type \"%s\" are looked up by a statement in \"%s\", since %s",
						registration->object_type, RelationGetRelationName(relation), reason),
				 errdetail("It runs as the owner of \"%s\" in the sessions of all who submit events: you vouch for its code.",
						   RelationGetRelationName(relation))));
	}
	if (relation->rd_rel->relkind != RELKIND_VIEW && relation->rd_rel->relkind != RELKIND_FOREIGN_TABLE)
		check_indexes(relation, registration, id, external_id, tenant);
	if (reason == NULL)
	{
		check_leaves(relation, registration, false);
		check_leaves(relation, registration, true);
	}
	relation_close(relation, NoLock);
}

/* ----- Writing ----- */

void
atlas_lock_registry(void)
{
	LockRelationOid(atlas_relation(ATLAS_OBJECT_TYPES), ShareRowExclusiveLock);
}

/* Sets a parameter of type name, or makes it null. */
static void
put_name(const char *column, int index, Datum *values, char *nulls)
{
	NameData   *name = palloc0(sizeof(NameData));

	if (column == NULL)
		nulls[index] = 'n';
	else
		namestrcpy(name, column);
	values[index] = NameGetDatum(name);
}

/* The registry belongs to the owner of the extension. */
void
atlas_write_registration(const AtlasRegistration *registration)
{
	AtlasColumn aliases;
	AtlasIdentity saved;
	ListCell   *cell;
	Datum		values[8];
	char		nulls[8];

	memset(nulls, ' ', sizeof(nulls));
	atlas_column_init(&aliases, list_length(registration->aliases));
	foreach(cell, registration->aliases)
		atlas_column_add(&aliases, CStringGetTextDatum((char *) lfirst(cell)));
	values[0] = CStringGetTextDatum(registration->object_type);
	values[1] = ObjectIdGetDatum(registration->relation);
	put_name(registration->id_column, 2, values, nulls);
	put_name(registration->external_id_column, 3, values, nulls);
	put_name(registration->tenant_column, 4, values, nulls);
	put_name(registration->label_column, 5, values, nulls);
	values[6] = atlas_column_array(&aliases, TEXTOID);
	put_name(registration->vouched_owner, 7, values, nulls);

	SPI_connect();
	atlas_become_owner(&saved);
	(void) atlas_execute(&upsert_type, values, nulls, false, 0);
	atlas_return(&saved);
	SPI_finish();
}

void
atlas_register(text *name, ArrayType *aliases, AtlasRegistration *registration)
{
	atlas_lock_registry();
	registration->object_type = canonical_name(name);
	if (aliases != NULL)
		registration->aliases = read_aliases(aliases, registration->object_type);
	check_present_owner(registration->object_type);
	check_registration(registration);
	atlas_write_registration(registration);
}

void
atlas_unregister(text *given_name)
{
	AtlasObjectType *type;
	AtlasIdentity saved;
	char	   *name;
	Datum		value;

	atlas_lock_registry();
	name = folded_name(given_name);
	type = atlas_object_type(name);
	if (type == NULL || !OidIsValid(type->relation))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("object type \"%s\" is not registered", name)));
	name = pstrdup(type->name);
	check_present_owner(name);
	value = CStringGetTextDatum(name);

	SPI_connect();
	atlas_become_owner(&saved);
	(void) atlas_execute(&delete_type, &value, NULL, false, 0);
	atlas_return(&saved);
	SPI_finish();
}
