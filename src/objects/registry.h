/*
 * registry.h
 *		Object types: their names, the tables they are connected to, and
 *		looking objects up there.
 */
#ifndef ATLAS_REGISTRY_H
#define ATLAS_REGISTRY_H

#include "executor/spi.h"

#include "event/event.h"
#include "objects/code_beneath.h"
#include "objects/leaf_tables.h"

/* The state of a connection to a table. */
typedef enum AtlasConnection
{
	ATLAS_NOT_CONNECTED,		/* a built-in type without a table */
	ATLAS_BROKEN,				/* it cannot be looked up any more: see problem */
	ATLAS_CONNECTED
} AtlasConnection;

/* What the plans of a type were made for. */
typedef struct AtlasTarget
{
	char		relation_name[NAMEDATALEN * 4 + 8]; /* qualified and quoted */
	Oid			owner;
	AtlasWay	way;
	AtlasColumns columns;
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
	AtlasColumnNames columns;
	NameData	vouched_owner;	/* as whom it is looked up by a statement; else empty */

	/* What follows is true as long as checked is, see lookup.c. */
	bool		checked;
	uint64		invalidations;	/* counted, to notice one that comes meanwhile */
	AtlasConnection connection;
	char	   *problem;		/* why it is broken */
	AtlasTarget target;
	AtlasLeaf	leaf;			/* ATLAS_BY_LEAF */
	HTAB	   *leaves;			/* ATLAS_BY_LEAVES: of AtlasLeaf, those that were used */
	uint64		leaf_changes;	/* invalidations of any table, counted */

	/* ATLAS_BY_STATEMENT, see lookup_statement.c. */
	SPIPlanPtr	plans[ATLAS_NPLANS];
	bool		code_checked;	/* what is beneath is the owner's or a superuser's */
	uint64		code_changes;	/* invalidations of anything that may matter, counted */
	AtlasBeneath beneath;		/* what that depends on */
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

/* registry.c: the registry */
extern void atlas_object_type_init(void);

/*
 * A type by its folded name or alias; NULL when it is unknown. The result is
 * good until the next call, which may read the registry anew.
 */
extern AtlasObjectType *atlas_object_type(const char *folded_name);

/* Memory for what is known of a type, which lives as long as the type. */
extern MemoryContext atlas_object_type_memory(void);

/* Keeps the registry as it is while somebody else's code may run. */
extern void atlas_object_types_pin(bool pin);

/*
 * The first thing about the registered tables that a DBA should look at, as a sentence;
 * NULL when all is well. Tables that are locked are passed over.
 */
extern const char *atlas_object_types_advice(void);

/*
 * Does code of the owner of a registered table run? It has no tenant, whatever the
 * session has: the events of the tenant are not its owner's. The other call raises
 * an error then.
 */
extern bool atlas_in_code_of_owner(void);
extern void atlas_refuse_code_of_owner(void);

/* Makes the type of a reference canonical; false if it is unknown, and left alone. */
extern bool atlas_make_type_canonical(AtlasReference *reference);

/* A type that needs no registration to be known. Nothing else lists them. */
typedef struct AtlasBuiltInType
{
	const char *name;
	const char *aliases[3];		/* as people write them, not folded */
	const char *tables[6];		/* names under which discovery looks for its table */
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

/* Looks up one object, or many, inside SPI_connect(). The type must have been
 * connected in this transaction. */
extern void atlas_lookup_one(AtlasObjectType *type, AtlasLookup *lookup);
extern void atlas_lookup_many(AtlasObjectType *type, AtlasLookup *lookups, int nlookups);

/* Refuses the event when its primary object was not found, or is ambiguous. */
extern void atlas_refuse_lookup(const AtlasObjectType *type, const AtlasLookup *lookup,
								AtlasError *error);

/* Why a related object was not linked, for people. */
extern const char *atlas_lookup_reason(const AtlasObjectType *type, const AtlasLookup *lookup);

#endif							/* ATLAS_REGISTRY_H */
