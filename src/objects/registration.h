/*
 * registration.h
 *		Connecting object types to tables.
 */
#ifndef ATLAS_REGISTRATION_H
#define ATLAS_REGISTRATION_H

#include "utils/array.h"
#include "utils/relcache.h"

/* A connection as it is asked for. */
typedef struct AtlasRegistration
{
	char	   *object_type;	/* canonical */
	Oid			relation;
	const char *id_column;
	const char *external_id_column; /* NULL if there is none, like the next */
	const char *tenant_column;
	const char *label_column;
	List	   *aliases;		/* of char *, folded */
	const char *vouched_owner;	/* as whom a statement looks objects up; NULL: directly */
} AtlasRegistration;

/*
 * Connects an object type to the table of the registration, for the caller, who must own
 * it. The name and the aliases are as they were given; aliases may be NULL.
 */
extern void atlas_register(text *name, ArrayType *aliases, AtlasRegistration *registration);

/* Disconnects an object type from its table, for the caller, who must own it. */
extern void atlas_unregister(text *given_name);

/* Why a table cannot be looked up directly, such as "it is a view". NULL if it can. */
extern const char *atlas_why_not_direct(Relation relation, const AtlasRegistration *registration);

/* In how many partitions or children an object is looked for at the most. */
extern int	atlas_leaves_searched(Relation relation, const AtlasRegistration *registration,
								  bool by_external_id);

/* Is this column unique, maybe together with the tenant or the partition key? */
extern bool atlas_is_unique_column(Relation relation, AttrNumber column, AttrNumber tenant_column);

/* Does a B-tree begin with this column, or with the tenant and this column? */
extern bool atlas_is_indexed_column(Relation relation, AttrNumber column, AttrNumber tenant_column);

/*
 * Keeps others from changing the registry until the end of the transaction, so that
 * each name is given to one type only. Readers are not kept waiting.
 */
extern void atlas_lock_registry(void);

/* Writes the registration, which has been checked. */
extern void atlas_write_registration(const AtlasRegistration *registration);

#endif							/* ATLAS_REGISTRATION_H */
