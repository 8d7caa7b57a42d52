/*
 * lookup.c
 *		Looking objects up in the tables that their types are connected to.
 *
 * Objects are read directly from their table, from its partitions or children, or from
 * a materialized view (leaf_tables.c, leaf_search.c). No statement is planned, so nobody's
 * code runs, and a submitter needs no right on the table. The owner of the table must have
 * the right to read it. A relation that cannot be read directly is looked up by a
 * statement if a superuser has vouched for it (lookup_statement.c), and otherwise not at
 * all.
 *
 * The registered table is known by its OID, and it is locked first. Its columns, its owner
 * and the way to read it are found out again whenever an invalidation says that they may
 * have changed.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "base/arrays.h"
#include "base/compat.h"
#include "objects/id_value.h"
#include "objects/leaf_tables.h"
#include "objects/lookup.h"
#include "objects/lookup_statement.h"

#define LOOKUPS_AT_ONCE 1000	/* in many leaves, so that the pairs take little memory */

/* ----- What the registered table is ----- */

/* Reads name and owner of the registered table. Returns false if it has been dropped. */
static bool
read_relation(const AtlasObjectType *type, AtlasTarget *target)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(type->relation));
	Form_pg_class form;
	char	   *schema_name;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_class) GETSTRUCT(tuple);
	schema_name = get_namespace_name(form->relnamespace);
	if (schema_name != NULL)
		strlcpy(target->relation_name,
				quote_qualified_identifier(schema_name, NameStr(form->relname)),
				sizeof(target->relation_name));
	target->owner = form->relowner;
	ReleaseSysCache(tuple);
	return true;
}

/* Finds the way to look the objects up. Returns NULL, or why there is none. */
static const char *
find_way(AtlasObjectType *type, AtlasTarget *target)
{
	const char *reason;

	if (NameStr(type->vouched_owner)[0] != '\0')
	{
		const char *owner = GetUserNameFromId(target->owner, true);

		target->way = ATLAS_BY_STATEMENT;
		return owner != NULL && strcmp(owner, NameStr(type->vouched_owner)) == 0 ? NULL :
			"the table it is connected to has another owner than when it was registered";
	}
	target->way = atlas_direct_way(type->relation, &target->columns, &reason);
	if (target->way == ATLAS_NO_WAY)
		return psprintf("the table it is connected to cannot be read directly any more, since %s", reason);
	if (target->way == ATLAS_BY_LEAVES)
		return NULL;
	return atlas_read_leaf(type->relation, &type->columns, &type->leaf);
}

/* Finds out what the registered table is now. Returns NULL, or why it cannot be used. */
static const char *
read_target(AtlasObjectType *type, AtlasTarget *target)
{
	const char *problem;

	memset(target, 0, sizeof(*target)); /* compared as a whole */
	if (!read_relation(type, target))
		return "the table it was connected to has been dropped";
	problem = atlas_find_columns(type->relation, &type->columns, &target->columns);
	return problem != NULL ? problem : find_way(type, target);
}

/* Notes why the table cannot be looked up, or with NULL that it can. */
static void
set_problem(AtlasObjectType *type, const char *problem)
{
	type->connection = problem == NULL ? ATLAS_CONNECTED : ATLAS_BROKEN;
	if (type->problem != NULL)
		pfree(type->problem);
	type->problem = problem == NULL ? NULL :
		MemoryContextStrdup(type->memory, problem);
}

/* The table is examined until no invalidation has come meanwhile. */
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

		set_problem(type, read_target(type, &target));

		/* The operator of a type that is not part of PostgreSQL may have been renamed. */
		if (memcmp(&target, &type->target, sizeof(target)) != 0 ||
			target.columns.external_id.type >= FirstNormalObjectId)
		{
			atlas_forget_plans(type);
			memcpy(&type->target, &target, sizeof(target));
		}
		type->checked = before == type->invalidations;
	}
	return true;
}

/* ----- What to look for, and what was found ----- */

/*
 * Fills in the values to look for. Returns false if the text cannot be an id of this
 * table, so that the object is simply not found.
 */
static bool
fill_wanted(const AtlasObjectType *type, const AtlasLookup *lookup, int number, bool with_label,
			AtlasWanted *wanted)
{
	const AtlasColumns *columns = &type->target.columns;
	const text *key = lookup->object_id != NULL ? lookup->object_id : lookup->external_id;
	const AtlasKeyColumn *column = lookup->object_id != NULL ? &columns->id : &columns->external_id;

	wanted->number = number;
	wanted->by_external_id = lookup->object_id == NULL;
	wanted->with_label = with_label;
	wanted->key_text = unconstify(text *, key);
	wanted->tenant = (Datum) 0;
	if (!OidIsValid(column->type) ||
		!atlas_id_from_text(column->type, VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key), &wanted->key))
		return false;
	return !OidIsValid(columns->tenant.type) ||
		atlas_id_from_text(columns->tenant.type, VARDATA_ANY(lookup->tenant),
						   VARSIZE_ANY_EXHDR(lookup->tenant), &wanted->tenant);
}

/* Is this the external id that was given, as the type of the column compares them? */
static bool
is_external_id(const AtlasColumns *columns, const text *given, text *found)
{
	if (columns->external_id.type >= FirstNormalObjectId)
		return atlas_compare_text(atlas_id_normalised(columns->external_id.type, found),
								  atlas_id_normalised(columns->external_id.type,
													  unconstify(text *, given))) == 0;
	return atlas_compare_text(found, given) == 0;
}

/* The lookups of a type that are under way. */
typedef struct Search
{
	AtlasObjectType *type;
	AtlasLookup *lookups;
} Search;

/*
 * Takes an object that was found, if it really has the id: a collation may call
 * different texts equal. A second one makes the id ambiguous.
 */
static bool
take_object(void *searcher, int number, text *id, text *external_id, text *label)
{
	const Search *search = searcher;
	const AtlasColumns *columns = &search->type->target.columns;
	AtlasLookup *lookup = &search->lookups[number];

	if (lookup->object_id == NULL)
	{
		if (external_id == NULL || !is_external_id(columns, lookup->external_id, external_id))
			return true;
	}
	else if (columns->id.type != UUIDOID && atlas_compare_text(id, lookup->object_id) != 0)
		return true;

	if (lookup->result == ATLAS_FOUND)
		lookup->result = ATLAS_AMBIGUOUS;
	if (lookup->result != ATLAS_NOT_FOUND)
		return false;
	lookup->found_id = id;
	lookup->found_external_id = external_id;
	lookup->found_label = label;
	lookup->result = ATLAS_FOUND;
	if (lookup->object_id != NULL && lookup->external_id != NULL && external_id != NULL &&
		!is_external_id(columns, lookup->external_id, external_id))
		lookup->result = ATLAS_DIFFERENT;
	return true;
}

/* ----- Looking up directly ----- */

/*
 * The owner must have the right to read the table, as for a query of its own. This is
 * checked at every lookup, because the rights of a role change with those of other
 * roles, which causes no invalidation of the table.
 */
static void
check_right_to_read(const AtlasObjectType *type)
{
	const AtlasColumns *columns = &type->target.columns;
	const AtlasKeyColumn *const used[] = {&columns->id, &columns->external_id, &columns->tenant};
	Oid			owner = type->target.owner;
	bool		may_read = pg_class_aclcheck(type->relation, owner, ACL_SELECT) == ACLCHECK_OK;

	if (!may_read)
	{
		may_read = true;
		for (int i = 0; i < lengthof(used); i++)
			if (AttributeNumberIsValid(used[i]->attribute) &&
				pg_attribute_aclcheck(type->relation, used[i]->attribute, owner,
									  ACL_SELECT) != ACLCHECK_OK)
				may_read = false;
	}
	if (!may_read)
		aclcheck_error(ACLCHECK_NO_PRIV, get_relkind_objtype(get_rel_relkind(type->relation)),
					   get_rel_name(type->relation));
	if (!atlas_may_use_schema(get_rel_namespace(type->relation), owner))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_SCHEMA,
					   get_namespace_name(get_rel_namespace(type->relation)));
}

/*
 * May the label be read? The owner may have the right to read the ids only. Then there is
 * no label, and objects are found as ever.
 */
static bool
has_readable_label(const AtlasObjectType *type)
{
	AttrNumber	label = type->target.columns.label.attribute;
	Oid			owner = type->target.owner;

	return type->connection == ATLAS_CONNECTED && AttributeNumberIsValid(label) &&
		(pg_class_aclcheck(type->relation, owner, ACL_SELECT) == ACLCHECK_OK ||
		 pg_attribute_aclcheck(type->relation, label, owner, ACL_SELECT) == ACLCHECK_OK);
}

/*
 * Returns what is known of one of many leaves, which is locked; reads it first if need
 * be. Returns NULL and sets the problem if the leaf cannot be read.
 */
static const AtlasLeaf *
known_leaf(AtlasObjectType *type, Oid relation)
{
	AtlasLeaf  *leaf;
	bool		found;
	const char *problem;

	if (type->leaves == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(Oid);
		control.entrysize = sizeof(AtlasLeaf);
		control.hcxt = type->memory;
		type->leaves = hash_create("atlas_events leaves", 64, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	leaf = hash_search(type->leaves, &relation, HASH_ENTER, &found);
	if (!found)
		leaf->valid = false;
	while (!leaf->valid)
	{
		uint64		before = type->leaf_changes;

		problem = atlas_read_leaf(relation, &type->columns, leaf);
		if (problem != NULL)
		{
			set_problem(type, problem);
			return NULL;
		}
		leaf->valid = before == type->leaf_changes;
	}
	return leaf;
}

/* Something wanted, and a leaf that may have it. */
typedef struct LeafPair
{
	Oid			leaf;
	const AtlasWanted *wanted;
} LeafPair;

/* Orders by leaf, so that each leaf is searched once. */
static int
compare_pairs(const void *a, const void *b)
{
	Oid			left = ((const LeafPair *) a)->leaf;
	Oid			right = ((const LeafPair *) b)->leaf;

	return left < right ? -1 : left > right ? 1 : 0;
}

/* Pairs each object with the leaves that may have it, sorted by leaf. */
static LeafPair *
pair_with_leaves(AtlasObjectType *type, const AtlasWanted *wanted, int nwanted, int *npairs,
				 const char **problem)
{
	int			size = nwanted;
	LeafPair   *pairs = palloc(sizeof(LeafPair) * size);

	*npairs = 0;
	*problem = NULL;
	for (int i = 0; i < nwanted && *problem == NULL; i++)
	{
		List	   *leaves = atlas_leaves_of(type->relation, &type->columns, &wanted[i], problem);
		ListCell   *cell;

		foreach(cell, leaves)
		{
			if (*npairs == size)
				pairs = repalloc_huge(pairs, sizeof(LeafPair) * (size *= 2));
			pairs[*npairs].leaf = lfirst_oid(cell);
			pairs[(*npairs)++].wanted = &wanted[i];
		}
		list_free(leaves);
	}
	qsort(pairs, *npairs, sizeof(LeafPair), compare_pairs);
	return pairs;
}

/*
 * Searches the leaves one by one, each for all that it may have. Returns false if the
 * connection turned out to be broken.
 */
static bool
search_leaves(Search *search, const AtlasWanted *wanted, int nwanted)
{
	AtlasObjectType *type = search->type;
	int			npairs;
	const char *problem;
	LeafPair   *pairs = pair_with_leaves(type, wanted, nwanted, &npairs, &problem);
	AtlasWanted *group = palloc(sizeof(AtlasWanted) * nwanted);

	if (problem != NULL)
		set_problem(type, psprintf("the table it is connected to cannot be read directly any more, since %s",
								   problem));
	for (int from = 0; from < npairs && type->connection == ATLAS_CONNECTED;)
	{
		const AtlasLeaf *leaf = known_leaf(type, pairs[from].leaf);
		int			ngroup = 0;

		while (from < npairs && pairs[from].leaf == (leaf ? leaf->relation : InvalidOid))
			group[ngroup++] = *pairs[from++].wanted;
		if (leaf != NULL)
			atlas_search_leaf(leaf, group, ngroup, take_object, search);
	}
	pfree(group);
	pfree(pairs);
	return type->connection == ATLAS_CONNECTED;
}

/* ----- Looking up in any way ----- */

/*
 * Searches the table in the way that was found for it. Breaks the connection if the
 * table turns out to be unreadable.
 */
static void
search_all(Search *search, const AtlasWanted *wanted, int nwanted)
{
	AtlasObjectType *type = search->type;

	switch (type->target.way)
	{
		case ATLAS_BY_STATEMENT:
			set_problem(type, atlas_search_by_statement(type, wanted, nwanted, take_object, search));
			break;
		case ATLAS_BY_LEAF:
			check_right_to_read(type);
			atlas_search_leaf(&type->leaf, wanted, nwanted, take_object, search);
			break;
		case ATLAS_BY_LEAVES:
			check_right_to_read(type);
			for (int from = 0; from < nwanted; from += LOOKUPS_AT_ONCE)
				if (!search_leaves(search, wanted + from, Min(nwanted - from, LOOKUPS_AT_ONCE)))
					break;
			break;
		case ATLAS_NO_WAY:
			break;
	}
}

/* If the connection breaks in between, none of the results counts. */
static void
look_up(AtlasObjectType *type, AtlasLookup *lookups, int nlookups, bool with_label)
{
	Search		search = {type, lookups};
	AtlasWanted *wanted = palloc(sizeof(AtlasWanted) * Max(nlookups, 1));
	bool		is_connected = type->connection == ATLAS_CONNECTED;
	int			nwanted = 0;

	for (int i = 0; i < nlookups; i++)
	{
		lookups[i].result = is_connected ? ATLAS_NOT_FOUND : ATLAS_UNAVAILABLE;
		if (is_connected && fill_wanted(type, &lookups[i], i, with_label, &wanted[nwanted]))
			nwanted++;
	}
	if (nwanted > 0)
		search_all(&search, wanted, nwanted);
	if (is_connected && type->connection != ATLAS_CONNECTED)
	{
		for (int i = 0; i < nlookups; i++)
			lookups[i].result = ATLAS_UNAVAILABLE;
		type->checked = false;	/* its repair may cause no invalidation of the table itself */
	}
	pfree(wanted);
}

void
atlas_lookup_many(AtlasObjectType *type, AtlasLookup *lookups, int nlookups)
{
	look_up(type, lookups, nlookups, false);
}

void
atlas_lookup_one(AtlasObjectType *type, AtlasLookup *lookup)
{
	look_up(type, lookup, 1, false);
}

void
atlas_lookup_with_label(AtlasObjectType *type, AtlasLookup *lookup)
{
	look_up(type, lookup, 1, has_readable_label(type));
}

/* Only uuids have more than one form. */
text *
atlas_stored_id(AtlasObjectType *type, text *given)
{
	(void) atlas_connect(type, false);
	return type->connection == ATLAS_CONNECTED && type->target.columns.id.type == UUIDOID ?
		atlas_id_normalised(UUIDOID, given) : given;
}

/* The answers are 404 for an object that is not found, and 409 for two of them. */
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
						 type->connection == ATLAS_BROKEN ? "Repair the table, or register it again with atlas_register_object_type()." :
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
