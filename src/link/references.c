/*
 * references.c
 *		Looking up the references of a batch, type by type and each object once.
 *
 * Each type is looked up in a subtransaction. A table that is locked, dropped,
 * renamed or has changed its column types affects only the references to its type:
 * these are put off, or get the reason as their outcome.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

#include "base/arrays.h"
#include "base/retry.h"
#include "base/subtransaction.h"
#include "link/references.h"
#include "objects/registry.h"

/* Equal references stand together in refs; each is looked up once. */
typedef struct TypeGroup
{
	AtlasRef  **refs;			/* sorted, all of one type */
	int			nrefs;
	AtlasLookup *lookups;		/* the distinct ones */
	int		   *lookup_of;		/* of each ref */
	int			nlookups;
	const char *object_type;	/* canonical, NULL if it is unknown */
	bool		deferred;		/* none can be looked up now */
	const char **reasons;		/* of each lookup */
} TypeGroup;

/* The sort can be interrupted, because there may be many references. */
static int
compare_refs(const void *a, const void *b)
{
	const AtlasRef *left = *(AtlasRef *const *) a;
	const AtlasRef *right = *(AtlasRef *const *) b;
	int			result = strcmp(left->object_type, right->object_type);

	CHECK_FOR_INTERRUPTS();
	if (result == 0)
		result = atlas_compare_text(left->lookup.object_id, right->lookup.object_id);
	if (result == 0)
		result = atlas_compare_text(left->lookup.external_id, right->lookup.external_id);
	if (result == 0)
		result = atlas_compare_text(left->lookup.tenant, right->lookup.tenant);
	return result;
}

/* Why the references to a type are put off. */
static char *
locked_reason(const char *object_type)
{
	return psprintf("the table of object type %s is locked", object_type);
}

/* The body of the subtransaction. */
static void
look_up_group(void *argument)
{
	TypeGroup  *group = argument;
	AtlasObjectType *type = atlas_object_type(group->refs[0]->object_type);

	if (type == NULL)
	{
		for (int i = 0; i < group->nlookups; i++)
		{
			group->lookups[i].result = ATLAS_UNAVAILABLE;
			group->reasons[i] = "the object type is neither built-in nor registered";
		}
		return;
	}
	group->object_type = pstrdup(type->name);
	if (!atlas_connect(type, true))
	{
		group->deferred = true;
		for (int i = 0; i < group->nlookups; i++)
			group->reasons[i] = locked_reason(type->name);
		return;
	}
	atlas_lookup_many(type, group->lookups, group->nlookups);
	for (int i = 0; i < group->nlookups; i++)
		group->reasons[i] = pstrdup(atlas_lookup_reason(type, &group->lookups[i]));
}

/* Gives each reference what its lookup has found. */
static void
apply_results(const TypeGroup *group)
{
	for (int i = 0; i < group->nrefs; i++)
	{
		AtlasRef   *ref = group->refs[i];
		int			lookup = group->lookup_of[i];

		if (group->object_type != NULL)
			ref->object_type = group->object_type;
		ref->lookup = group->lookups[lookup];
		ref->reason = group->reasons[lookup];
		if (group->deferred)
			ref->outcome = ATLAS_DEFERRED;
		else if (ref->lookup.result == ATLAS_FOUND)
			ref->outcome = ATLAS_LINKED;
		else if (ref->lookup.result == ATLAS_NOT_FOUND)
			ref->outcome = ATLAS_REFERENCE_NOT_FOUND;
		else
			ref->outcome = ATLAS_REFERENCE_ERROR;
	}
}

/* Errors of the table itself: undefined, of another type, not permitted. */
static bool
is_of_the_table(const ErrorData *error)
{
	return ERRCODE_TO_CATEGORY(error->sqlerrcode) ==
		ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION;
}

/* Why a type could not be looked up, in words that say more than the error. */
static const char *
reason_of_failure(const ErrorData *error, const char *object_type)
{
	if (atlas_is_lock_conflict(error))
		return locked_reason(object_type);
	if (atlas_is_cancel(error))
		return psprintf("looking up object type %s took too long", object_type);
	return error->message;
}

/* Looks up the references to one type, which are sorted, each object once. */
static void
resolve_group(AtlasRef **refs, int nrefs)
{
	TypeGroup	group = {.refs = refs,.nrefs = nrefs};
	ErrorData  *error;

	group.lookups = palloc(sizeof(AtlasLookup) * nrefs);
	group.lookup_of = palloc(sizeof(int) * nrefs);
	group.reasons = palloc0(sizeof(char *) * nrefs);
	for (int i = 0; i < nrefs; i++)
	{
		if (i == 0 || compare_refs(&refs[i - 1], &refs[i]) != 0)
			group.lookups[group.nlookups++] = refs[i]->lookup;
		group.lookup_of[i] = group.nlookups - 1;
	}

	error = atlas_try(look_up_group, &group);
	if (error != NULL)
	{
		/* A linker is cancelled when a lookup takes so long that other databases wait. */
		group.deferred = atlas_is_lock_conflict(error) || atlas_is_shortage(error) ||
			(atlas_is_cancel(error) && MyBgworkerEntry != NULL);
		if (!group.deferred && !is_of_the_table(error))
			ReThrowError(error);
		for (int i = 0; i < group.nlookups; i++)
		{
			group.lookups[i].result = ATLAS_UNAVAILABLE;
			group.reasons[i] = reason_of_failure(error, refs[0]->object_type);
		}
	}
	apply_results(&group);
}

void
atlas_resolve(AtlasRef **refs, int nrefs)
{
	int			end;

	qsort(refs, nrefs, sizeof(AtlasRef *), compare_refs);
	for (int start = 0; start < nrefs; start = end)
	{
		for (end = start + 1; end < nrefs; end++)
			if (strcmp(refs[start]->object_type, refs[end]->object_type) != 0)
				break;
		resolve_group(&refs[start], end - start);
	}
}
