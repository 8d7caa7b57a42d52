/*
 * statement.h
 *		SQL statements of our own, with plans that are kept.
 */
#ifndef ATLAS_STATEMENT_H
#define ATLAS_STATEMENT_H

#include "executor/spi.h"

/*
 * A statement of ours: @extschema@ stands for the quoted schema. It is planned
 * at first use and kept until the extension is moved or dropped.
 */
#define ATLAS_MAX_PARAMETERS 17

typedef struct AtlasStatement
{
	const char *sql;
	int			nparameters;
	Oid			parameters[ATLAS_MAX_PARAMETERS];
	SPIPlanPtr	plan;
	List	   *relations;		/* OIDs of the relations that the plan uses */
	uint64		generation;		/* of the extension that it was planned for */
} AtlasStatement;

/*
 * Runs a statement with a kept plan, inside SPI_connect() and as the owner of
 * the extension, and returns SPI_processed. nulls may be NULL.
 */
extern uint64 atlas_execute(AtlasStatement *statement, Datum *values, const char *nulls,
							bool read_only, long limit);

/*
 * The same for a SELECT that must see what is committed now, and what this transaction has done,
 * however old the snapshot of the transaction is.
 */
extern uint64 atlas_execute_now(AtlasStatement *statement, Datum *values);

/* The same for a statement that changes such rows. */
extern uint64 atlas_change_now(AtlasStatement *statement, Datum *values);

/* The kept plan of a statement, ready to be run as above. */
extern SPIPlanPtr atlas_plan(AtlasStatement *statement);

/*
 * Frees a kept plan when the transaction ends. Until then the plan may be running,
 * because code that it calls can call us again.
 */
extern void atlas_free_plan_later(SPIPlanPtr plan);

/* Plans SQL, once for all values of its parameters, and keeps the plan. */
extern SPIPlanPtr atlas_prepare(const char *sql, int nparameters, Oid *parameters);

/*
 * Brings a plan up to date, locks its relations, and returns its query as it was analyzed
 * and rewritten. If the plan is executed next, it is executed as it is now.
 */
extern const Query *atlas_plan_query(SPIPlanPtr plan);

#endif							/* ATLAS_STATEMENT_H */
