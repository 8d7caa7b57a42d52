/*
 * extension.h
 *		Where the extension lives in this database, its kept plans, and as
 *		whom they run.
 */
#ifndef ATLAS_EXTENSION_H
#define ATLAS_EXTENSION_H

#include "executor/spi.h"

#define ATLAS_EXTENSION_NAME "atlas_events"

/* Setting: may rows be written and looked up without a statement? See atlas_events.c. */
extern bool atlas_direct_access;

typedef struct AtlasExtension
{
	Oid			oid;
	Oid			schema;
	Oid			owner;
	char		schema_name[NAMEDATALEN * 2 + 3];	/* quoted */
	Oid			events;			/* relations */
	Oid			queue;
	Oid			links;
	Oid			object_types;
} AtlasExtension;

/*
 * A statement of ours: @extschema@ stands for the quoted schema. It is planned
 * at first use and kept until the extension is moved or dropped.
 */
#define ATLAS_MAX_PARAMETERS 12

typedef struct AtlasStatement
{
	const char *sql;
	int			nparameters;
	Oid			parameters[ATLAS_MAX_PARAMETERS];
	SPIPlanPtr	plan;
	List	   *relations;		/* OIDs of the relations that the plan uses */
	uint64		generation;		/* of the extension that it was planned for */
} AtlasStatement;

/* Who we were before atlas_become(). */
typedef struct AtlasIdentity
{
	Oid			user;
	int			security_context;
	int			guc_level;		/* 0 when no settings are to be restored */
	bool		keep_settings;	/* that somebody's trigger has changed */
} AtlasIdentity;

extern void atlas_extension_init(void);

/* The extension, or NULL when this database does not have it. */
extern const AtlasExtension *atlas_extension_if_any(void);

/* The extension; raises an error when there is none. */
extern const AtlasExtension *atlas_extension(void);

/*
 * Runs a statement with a kept plan, inside SPI_connect() and as the owner of
 * the extension, and returns SPI_processed. nulls may be NULL.
 */
extern uint64 atlas_execute(AtlasStatement *statement, Datum *values, const char *nulls,
							bool read_only, long limit);

/* The kept plan of a statement, ready to be run as above. */
extern SPIPlanPtr atlas_plan(AtlasStatement *statement);

/*
 * Frees a kept plan at the end of the transaction, whichever it is: until then it may
 * be running, as code that it calls can come back to us.
 */
extern void atlas_free_plan_later(SPIPlanPtr plan);

/* Plans SQL, once for all values of its parameters, and keeps the plan. */
extern SPIPlanPtr atlas_prepare(const char *sql, int nparameters, Oid *parameters);

/*
 * Brings a plan up to date, with its relations locked, and returns their OIDs.
 * It stays as it is until it is executed, if that is next.
 */
extern List *atlas_plan_relations(SPIPlanPtr plan);

/* The same, for its query as it was analyzed and rewritten. */
extern const Query *atlas_plan_query(SPIPlanPtr plan);

/* Becomes the owner of the extension, to use its tables; with a search_path for SQL. */
extern void atlas_become_owner(AtlasIdentity *saved);

/*
 * The same with the caller's search_path, which to change takes its time; for what
 * runs no SQL but by atlas_execute(), which changes it itself.
 */
extern void atlas_take_rights_of_owner(AtlasIdentity *saved);

/*
 * Becomes another role, as foreign-key checks do, for SQL that is not ours.
 * atlas_return() undoes every setting that is changed meanwhile.
 */
extern void atlas_become(Oid role, AtlasIdentity *saved);

extern void atlas_return(const AtlasIdentity *saved);

/* Sets a setting until the nest level of settings, or the subtransaction, ends. */
extern void atlas_set_for_now(const char *name, const char *value);

#endif							/* ATLAS_EXTENSION_H */
