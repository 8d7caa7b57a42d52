/*
 * linking_status.h
 *		What the linker of this database does, and what waits for it.
 */
#ifndef ATLAS_LINKING_STATUS_H
#define ATLAS_LINKING_STATUS_H

#include "datatype/timestamp.h"

#include "rules/rule_status.h"

typedef struct AtlasLinkingStatus
{
	bool		is_preloaded;
	pid_t		worker_pid;		/* 0: no linker runs */
	const char *worker_state;	/* a word for people and programs */
	bool		has_counters;	/* the next three mean something */
	uint64		submitted;
	uint64		linked;
	uint64		not_found;
	int64		failed;			/* events */
	int64		queue_depth;
	bool		any_put_off;	/* some events wait for another attempt */
	Interval   *oldest_pending_age; /* NULL: nothing waits */
	AtlasRuleStatus rules;
	const char *last_error;
	TimestampTz last_error_at;	/* 0: there was none */
	const char *advice;			/* for the DBA; NULL: all is well */
} AtlasLinkingStatus;

/*
 * Finds out how linking goes in this database. Inside SPI_connect(), as the owner of the
 * extension; what it returns is in SPI's memory.
 */
extern void atlas_linking_status(AtlasLinkingStatus *status);

#endif							/* ATLAS_LINKING_STATUS_H */
