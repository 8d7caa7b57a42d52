/*
 * action_session.h
 *		Types only: the sessions in which actions of rules are done, in shared memory. Whoever reads or changes
 *		what is here holds the lock of the shared state; but for the latch, which is atomic.
 */
#ifndef ATLAS_ACTION_SESSION_H
#define ATLAS_ACTION_SESSION_H

#include "datatype/timestamp.h"
#include "port/atomics.h"

#define ATLAS_MAX_ACTION_SESSIONS 64

typedef struct AtlasActionSession
{
	Oid			database;		/* InvalidOid: the place is free */
	Oid			role;			/* InvalidOid: notifications, which a session of ours sends */
	bool		is_wanted;		/* actions were due after its process last looked */
	bool		is_starting;	/* registered with the postmaster */
	bool		is_idle;		/* its process waits for actions */
	bool		must_leave;		/* its process is to end after the action that it is at */
	bool		was_late;		/* its process was terminated, because an action did not heed its timeout */
	pid_t		pid;			/* 0: none runs */
	TimestampTz started_at;
	TimestampTz ends_by;		/* when the action that it is at should be over; 0: any time */
	TimestampTz not_before;		/* none starts before */
	int			failures;		/* processes in a row that ended with an error */
	pg_atomic_uint64 latch;		/* Latch * of the process */
} AtlasActionSession;

#endif							/* ATLAS_ACTION_SESSION_H */
