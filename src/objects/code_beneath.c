/*
 * code_beneath.c
 *		Whose code runs when a relation is read by a statement.
 *
 * A statement on a view runs with the rights of the view's owner over everything
 * beneath the view, and planning it evaluates functions in the predicates of indexes and
 * in constraints. If any of these belongs to a third role, that role could replace it and
 * act as the owner. So this file walks the catalog from the relation down: pg_depend says
 * what a rule, a policy, an index, a constraint, an operator or a type refers to.
 * pg_depend does not list the objects that PostgreSQL brings with it.
 *
 * The bodies of functions are not examined: the owner of a function is responsible for
 * what it calls.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_am.h"
#include "catalog/pg_amop.h"
#include "catalog/pg_amproc.h"
#include "catalog/pg_attrdef.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_cast.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_policy.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "objects/code_beneath.h"

typedef struct CodeWalk
{
	Oid			owner;
	HTAB	   *seen;			/* of ObjectKey */
	List	   *pending;		/* of ObjectAddress *, still to be looked at */
	AtlasBeneath beneath;
	List	   *superusers;		/* owners that are trusted as such */
	const char *problem;
} CodeWalk;

typedef struct ObjectKey
{
	Oid			class_id;
	Oid			object_id;
} ObjectKey;

/* A catalog whose rows name a whole in one column, and a part of it in another. */
typedef struct PartOf
{
	Oid			catalog;
	Oid			index;
	AttrNumber	column;			/* first of the index */
	AttrNumber	part_column;
	Oid			part_class;
} PartOf;

static const PartOf parts_of_relation[] = {
	{RewriteRelationId, RewriteRelRulenameIndexId, Anum_pg_rewrite_ev_class,
	Anum_pg_rewrite_oid, RewriteRelationId},
	{PolicyRelationId, PolicyPolrelidPolnameIndexId, Anum_pg_policy_polrelid,
	Anum_pg_policy_oid, PolicyRelationId},
	{ConstraintRelationId, ConstraintRelidTypidNameIndexId, Anum_pg_constraint_conrelid,
	Anum_pg_constraint_oid, ConstraintRelationId},
	{AttrDefaultRelationId, AttrDefaultIndexId, Anum_pg_attrdef_adrelid,
	Anum_pg_attrdef_oid, AttrDefaultRelationId},
	{StatisticExtRelationId, StatisticExtRelidIndexId, Anum_pg_statistic_ext_stxrelid,
	Anum_pg_statistic_ext_oid, StatisticExtRelationId},
	{IndexRelationId, IndexIndrelidIndexId, Anum_pg_index_indrelid,
	Anum_pg_index_indexrelid, RelationRelationId},
};

static const PartOf parts_of_type[] = {
	{ConstraintRelationId, ConstraintTypidIndexId, Anum_pg_constraint_contypid,
	Anum_pg_constraint_oid, ConstraintRelationId},
	/* to_json() looks for a cast to json. */
	{CastRelationId, CastSourceTargetIndexId, Anum_pg_cast_castsource,
	Anum_pg_cast_oid, CastRelationId},
};

/* Sorting, grouping and hashing by an operator call the functions of its families. */
static const PartOf families_of_operator[] = {
	{AccessMethodOperatorRelationId, AccessMethodOperatorIndexId, Anum_pg_amop_amopopr,
	Anum_pg_amop_amopfamily, OperatorFamilyRelationId},
};

static const PartOf parts_of_family[] = {
	{AccessMethodOperatorRelationId, AccessMethodStrategyIndexId, Anum_pg_amop_amopfamily,
	Anum_pg_amop_amopopr, OperatorRelationId},
	{AccessMethodProcedureRelationId, AccessMethodProcedureIndexId, Anum_pg_amproc_amprocfamily,
	Anum_pg_amproc_amproc, ProcedureRelationId},
};

/*
 * Notes an object to be looked at, once. Objects that PostgreSQL brings with it are left
 * out.
 */
static void
add_object(CodeWalk *walk, Oid class_id, Oid object_id)
{
	ObjectKey	key = {class_id, object_id};
	ObjectAddress *address;
	bool		found;

	if (!OidIsValid(object_id) ||
		(class_id != RelationRelationId && IsPinnedObject(class_id, object_id)))
		return;
	(void) hash_search(walk->seen, &key, HASH_ENTER, &found);
	if (found)
		return;
	address = palloc(sizeof(ObjectAddress));
	ObjectAddressSet(*address, class_id, object_id);
	walk->pending = lappend(walk->pending, address);
}

/* The owner of an object. InvalidOid if it has none of its own, or has been dropped. */
static Oid
owner_of(const ObjectAddress *object)
{
	AttrNumber	column;
	HeapTuple	tuple;
	Oid			result = InvalidOid;
	bool		isnull;

	if (!is_objectclass_supported(object->classId))
		return InvalidOid;
	column = get_object_attnum_owner(object->classId);
	if (column == InvalidAttrNumber || get_object_catcache_oid(object->classId) < 0)
		return InvalidOid;
	tuple = SearchSysCache1(get_object_catcache_oid(object->classId),
							ObjectIdGetDatum(object->objectId));
	if (!HeapTupleIsValid(tuple))
		return InvalidOid;
	result = DatumGetObjectId(SysCacheGetAttr(get_object_catcache_oid(object->classId), tuple,
											  column, &isnull));
	ReleaseSysCache(tuple);
	return result;
}

/*
 * Sets the problem if the object belongs to a third role. Superusers are remembered,
 * because the answer is no longer true when they lose that attribute.
 */
static void
check_object_owner(CodeWalk *walk, const ObjectAddress *object)
{
	Oid			owner = owner_of(object);

	if (!OidIsValid(owner) || owner == walk->owner)
		return;
	if (superuser_arg(owner))
	{
		walk->superusers = list_append_unique_oid(walk->superusers, owner);
		return;
	}
	walk->problem = psprintf("%s belongs to role %s", getObjectDescription(object, false),
							 GetUserNameFromId(owner, true) ? GetUserNameFromId(owner, true) : "?");
}

/*
 * Does a reference lead to more code? A table refers to its parents, and a type to its
 * table, but reading the one does not read the other. An index refers to its constraint.
 */
static bool
is_followed(const ObjectAddress *from, Oid class_id)
{
	switch (class_id)
	{
		case NamespaceRelationId:
		case ExtensionRelationId:
		case LanguageRelationId:
		case AuthIdRelationId:
			return false;
		case RelationRelationId:
			return from->classId != RelationRelationId && from->classId != TypeRelationId;
		case ConstraintRelationId:
			return from->classId != RelationRelationId;
		default:
			return true;
	}
}

/* Adds the objects that pg_depend says an object refers to. */
static void
add_references(CodeWalk *walk, const ObjectAddress *object)
{
	Relation	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->classId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->objectId));
	scan = systable_beginscan(depend, DependDependerIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (is_followed(object, form->refclassid))
			add_object(walk, form->refclassid, form->refobjid);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
}

/*
 * Of the constraints of a table, only CHECK constraints are code. A foreign key refers
 * to other tables.
 */
static bool
is_code(const PartOf *part, HeapTuple tuple)
{
	return part->catalog != ConstraintRelationId ||
		((Form_pg_constraint) GETSTRUCT(tuple))->contype == CONSTRAINT_CHECK;
}

/* Adds the parts of an object that one catalog has, such as the policies of a table. */
static void
add_parts_of_kind(CodeWalk *walk, const PartOf *part, Oid whole)
{
	Relation	catalog = table_open(part->catalog, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, part->column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(whole));
	scan = systable_beginscan(catalog, part->index, true, NULL, 1, &key);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			oid = DatumGetObjectId(heap_getattr(tuple, part->part_column,
														RelationGetDescr(catalog), &isnull));

		if (is_code(part, tuple))
			add_object(walk, part->part_class, oid);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
}

/* Adds the parts of an object that several catalogs have. */
static void
add_parts(CodeWalk *walk, const PartOf *parts, int nparts, Oid whole)
{
	for (int i = 0; i < nparts; i++)
		add_parts_of_kind(walk, &parts[i], whole);
}

/* Adds the partitions or children of a table, which are read with it. */
static void
add_children(CodeWalk *walk, Oid relation)
{
	List	   *children = find_inheritance_children(relation, NoLock);

	for (int i = 0; i < list_length(children); i++)
		add_object(walk, RelationRelationId, list_nth_oid(children, i));
}

/*
 * Adds what belongs to a relation. Catalogs and indexes have nothing that could be
 * replaced.
 */
static void
look_at_relation(CodeWalk *walk, Oid relation)
{
	walk->beneath.relations = lappend_oid(walk->beneath.relations, relation);
	if (IsCatalogRelationOid(relation) || get_rel_relkind(relation) == RELKIND_INDEX ||
		get_rel_relkind(relation) == RELKIND_PARTITIONED_INDEX)
		return;
	add_parts(walk, parts_of_relation, lengthof(parts_of_relation), relation);
	add_children(walk, relation);
}

/*
 * Adds what belongs to a type besides its constraints: the operator classes that compare
 * its values where no operator is named, and the types of the columns of a row type,
 * whose values can be made without the table of that row.
 */
static void
look_at_type(CodeWalk *walk, Oid type)
{
	Oid			relation = get_typ_typrelid(type);
	ObjectAddress row;

	add_parts(walk, parts_of_type, lengthof(parts_of_type), type);
	add_object(walk, OperatorClassRelationId, GetDefaultOpClass(type, BTREE_AM_OID));
	add_object(walk, OperatorClassRelationId, GetDefaultOpClass(type, HASH_AM_OID));
	if (!OidIsValid(relation))
		return;
	ObjectAddressSet(row, RelationRelationId, relation);
	add_references(walk, &row);
}

/*
 * Adds the commutator and the negator of an operator, because the planner may use them
 * instead of it, and the families of operators that it belongs to.
 */
static void
look_at_operator(CodeWalk *walk, Oid operator)
{
	add_object(walk, OperatorRelationId, get_commutator(operator));
	add_object(walk, OperatorRelationId, get_negator(operator));
	add_parts(walk, families_of_operator, lengthof(families_of_operator), operator);
}

/*
 * Locks a relation, so that its owner stays the same until the statement has run. An
 * index has the owner of its table, which is locked. Returns false if the relation has
 * been dropped meanwhile.
 */
static bool
lock_relation(Oid relation)
{
	char		kind = get_rel_relkind(relation);

	if (kind != RELKIND_INDEX && kind != RELKIND_PARTITIONED_INDEX)
		LockRelationOid(relation, AccessShareLock);
	return SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation));
}

/*
 * Notes the hash value by which invalidations name the object, so that a change of it is
 * noticed.
 */
static void
note_hash(CodeWalk *walk, const ObjectAddress *object)
{
	int			cache = is_objectclass_supported(object->classId) ?
		get_object_catcache_oid(object->classId) : -1;

	if (cache >= 0)
		walk->beneath.hashes = lappend_int(walk->beneath.hashes,
										   (int) GetSysCacheHashValue1(cache, ObjectIdGetDatum(object->objectId)));
}

/* Checks the owner of an object, and adds the objects that it may run or refer to. */
static void
look_at(CodeWalk *walk, const ObjectAddress *object)
{
	if (object->classId != RelationRelationId)
		note_hash(walk, object);
	else if (!lock_relation(object->objectId))
		return;
	check_object_owner(walk, object);
	if (walk->problem != NULL)
		return;
	add_references(walk, object);
	switch (object->classId)
	{
		case RelationRelationId:
			look_at_relation(walk, object->objectId);
			break;
		case TypeRelationId:
			look_at_type(walk, object->objectId);
			break;
		case OperatorRelationId:
			look_at_operator(walk, object->objectId);
			break;
		case OperatorFamilyRelationId:
			add_parts(walk, parts_of_family, lengthof(parts_of_family), object->objectId);
			break;
	}
}

/*
 * Walks from the relation through everything beneath it, until nothing is left or one
 * object is found that belongs to somebody else.
 */
const char *
atlas_foreign_code_beneath(Oid relation, Oid owner, AtlasBeneath *beneath)
{
	CodeWalk	walk = {.owner = owner};
	HASHCTL		control = {0};

	control.keysize = sizeof(ObjectKey);
	control.entrysize = sizeof(ObjectKey);
	control.hcxt = CurrentMemoryContext;
	walk.seen = hash_create("atlas_events code", 64, &control,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	add_object(&walk, RelationRelationId, relation);
	for (int i = 0; i < list_length(walk.pending) && walk.problem == NULL; i++)
	{
		CHECK_FOR_INTERRUPTS();
		look_at(&walk, list_nth(walk.pending, i));
	}
	hash_destroy(walk.seen);
	for (int i = 0; i < list_length(walk.superusers); i++)
		walk.beneath.hashes = lappend_int(walk.beneath.hashes,
										  (int) GetSysCacheHashValue1(AUTHOID, ObjectIdGetDatum(list_nth_oid(walk.superusers, i))));
	*beneath = walk.beneath;
	return walk.problem;
}
