/*
 * matches_statement.h
 *		The events of a tenant whose documents match a query, found by a statement.
 */
#ifndef ATLAS_MATCHES_STATEMENT_H
#define ATLAS_MATCHES_STATEMENT_H

#include "tsearch/ts_type.h"
#include "utils/uuid.h"

/* What is wanted. */
typedef struct AtlasMatchesCondition
{
	const text *tenant;
	TSQuery		query;
	const pg_uuid_t *low;		/* ids from this one */
	const pg_uuid_t *high;		/* up to this one, without it */
} AtlasMatchesCondition;

/* The newest ids, at most as many as there is room for. Returns how many there are. */
extern int	atlas_matches_by_statement(const AtlasMatchesCondition *condition, pg_uuid_t *ids,
									   int size);

/* Does the document of this one event match? */
extern bool atlas_matches_has_by_statement(const AtlasMatchesCondition *condition,
										   const pg_uuid_t *id);

#endif							/* ATLAS_MATCHES_STATEMENT_H */
