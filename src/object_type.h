/*
 * object_type.h
 *		Object types: their names, the tables they are connected to, and
 *		looking objects up there.
 */
#ifndef ATLAS_OBJECT_TYPE_H
#define ATLAS_OBJECT_TYPE_H

#include "event.h"
#include "executor/spi.h"
#include "index_lookup.h"

/* The state of a connection to a table. */
typedef enum AtlasConnection
{
	ATLAS_NOT_CONNECTED,		/* a built-in type without a table */
	ATLAS_BROKEN,				/* the table or a column of it is gone */
	ATLAS_CONNECTED
} AtlasConnection;

/* A table, as who looks something up there must know it. */
typedef struct AtlasTarget
{
	char		relation_name[NAMEDATALEN * 4 + 8]; /* qualified and quoted */
	Oid			owner;
	AtlasKeyColumn id;
	AtlasKeyColumn external_id;
	AtlasKeyColumn tenant;
	AtlasLookupIndex id_index;
	AtlasLookupIndex external_id_index;
} AtlasTarget;

typedef enum AtlasPlanKind
{
	ATLAS_BY_ID,				/* one object */
	ATLAS_BY_EXTERNAL_ID,
	ATLAS_MANY					/* many objects, by either */
} AtlasPlanKind;

#define ATLAS_NPLANS (ATLAS_MANY + 1)

typedef struct AtlasObjectType
{
	char		name[NAMEDATALEN];	/* canonical */
	Oid			relation;		/* InvalidOid when not connected */
	NameData	id_column;
	NameData	external_id_column; /* empty when there is none */
	NameData	tenant_column;	/* likewise */

	/* What follows is true as long as checked is, see lookup.c. */
	bool		checked;
	uint64		invalidations;	/* counted, to notice one that comes meanwhile */
	AtlasConnection connection;
	const char *problem;		/* why it is broken */
	AtlasTarget target;			/* what the plans were made for */
	SPIPlanPtr	plans[ATLAS_NPLANS];
} AtlasObjectType;

typedef enum AtlasLookupResult
{
	ATLAS_FOUND,
	ATLAS_NOT_FOUND,
	ATLAS_AMBIGUOUS,			/* the id names more than one row */
	ATLAS_DIFFERENT,			/* objectId and externalId name two objects */
	ATLAS_UNAVAILABLE			/* the type is not connected, or broken */
} AtlasLookupResult;

/* One object to look up. */
typedef struct AtlasLookup
{
	const text *tenant;
	const text *object_id;		/* NULL when not given */
	const text *external_id;	/* likewise */

	AtlasLookupResult result;
	text	   *found_id;		/* the row's own id and external id, as text */
	text	   *found_external_id;	/* NULL when it has none */
} AtlasLookup;

/* object_type.c: the registry */
extern void atlas_object_type_init(void);

/*
 * A type by its folded name or alias; NULL when it is unknown. The result is
 * good until the next call, which may read the registry anew.
 */
extern AtlasObjectType *atlas_object_type(const char *folded_name);

/* Keeps the registry as it is while somebody else's code may run. */
extern void atlas_object_types_pin(bool pin);
extern bool atlas_object_types_pinned(void);

/*
 * Does code of the owner of a registered table run? It has no tenant, whatever the
 * session has: the events of the tenant are not its owner's. The other call raises
 * an error then.
 */
extern bool atlas_in_code_of_owner(void);
extern void atlas_refuse_code_of_owner(void);

/* Makes the type of a reference canonical; false if it is unknown, and left alone. */
extern bool atlas_make_type_canonical(AtlasReference *reference);

/* The names under which discovery looks for the tables of a built-in type. */
typedef struct AtlasBuiltInType
{
	const char *name;
	const char *aliases[3];		/* folded */
	const char *tables[6];		/* usual names of the table */
} AtlasBuiltInType;

extern const AtlasBuiltInType atlas_built_in_types[];
extern const int atlas_built_in_type_count;

/* The built-in type with this folded name or alias, or NULL. */
extern const AtlasBuiltInType *atlas_built_in_type(const char *folded_name);

/* lookup.c */

/*
 * Locks the type's table and makes sure that what is known of it still holds.
 * With nowait, returns false when the lock cannot be had at once.
 */
extern bool atlas_connect(AtlasObjectType *type, bool nowait);

/* Drops the plans of a type. */
extern void atlas_forget_plans(AtlasObjectType *type);

/* Looks up one object, or many, inside SPI_connect(). The type must have been
 * connected in this transaction. */
extern void atlas_lookup_one(AtlasObjectType *type, AtlasLookup *lookup);
extern void atlas_lookup_many(AtlasObjectType *type, AtlasLookup *lookups, int nlookups);

/* Refuses the event when its primary object was not found, or is ambiguous. */
extern void atlas_refuse_lookup(const AtlasObjectType *type, const AtlasLookup *lookup,
								AtlasError *error);

/* Why a related object was not linked, for people. */
extern const char *atlas_lookup_reason(const AtlasObjectType *type, const AtlasLookup *lookup);

#endif							/* ATLAS_OBJECT_TYPE_H */
