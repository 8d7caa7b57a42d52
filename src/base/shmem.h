/*
 * shmem.h
 *		Shared state: one slot per database that has the extension, and the
 *		launcher's latch, and the clock of arrivals. There is none unless the library
 *		is preloaded.
 *
 * Who may change what:
 *	- lock guards which database a slot belongs to, and every field that is
 *	  not atomic; whoever reads several fields together takes it shared;
 *	- interested, pending, the latches and the counters are atomic: the commit of
 *	  a transaction that submitted events touches nothing else;
 *	- arrival belongs to arrival_clock.c: a call that submits events moves the clock
 *	  forward by one compare-and-swap, without a lock.
 * A slot is given up when its database is dropped, or has no extension and no
 * transaction is interested in it; a backend that keeps a pointer to the slot of
 * its own database declares its interest before each use.
 */
#ifndef ATLAS_SHMEM_H
#define ATLAS_SHMEM_H

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#include "base/action_session.h"
#include "base/arrival_clock.h"

#define ATLAS_MAX_DATABASES 1024
#define ATLAS_ERROR_LENGTH 256

/* What the linker of a database is doing. */
typedef enum AtlasLinkerState
{
	ATLAS_LINKER_ASLEEP,		/* no process; comes when there is work */
	ATLAS_LINKER_STARTING,		/* registered with the postmaster */
	ATLAS_LINKER_LINKING,
	ATLAS_LINKER_IDLE,			/* waits for more, until idle_timeout */
	ATLAS_LINKER_NO_SLOT,		/* no background worker slot was free */
	ATLAS_LINKER_OFF,			/* atlas_events.linking is off */
	ATLAS_LINKER_SUBSCRIBED		/* the queue is filled by a subscription */
} AtlasLinkerState;

/* What was done to make a linker give way to other databases. */
typedef enum AtlasPressure
{
	ATLAS_NO_PRESSURE,
	ATLAS_ASKED,				/* to leave after its batch */
	ATLAS_CANCELLED,			/* it did not leave in time: what it did was cancelled */
	ATLAS_TERMINATED			/* it did not leave then either */
} AtlasPressure;

typedef struct AtlasDatabase
{
	Oid			database;		/* InvalidOid: the slot is free */
	AtlasLinkerState state;
	pid_t		pid;			/* of the linker; 0: none runs */
	int			holders;		/* backends that need the database without other sessions */
	AtlasPressure pressure;		/* on the linker */
	TimestampTz asked_at;		/* when it was asked to leave */
	bool		was_terminated; /* the previous linker, by anybody */
	bool		was_evicted;	/* by the launcher, to make room */
	int			halvings;		/* of the next linker's batch */
	TimestampTz started_at;		/* of the linker */
	TimestampTz next_visit;		/* when the launcher starts a linker anyway */
	TimestampTz not_before;		/* no linker starts before, even if work is pending */
	int			failures;		/* linkers in a row that ended with an error */
	char		last_error[ATLAS_ERROR_LENGTH];
	TimestampTz last_error_at;
	char		problem[ATLAS_ERROR_LENGTH];	/* of housekeeping; empty: none */
	TimestampTz problem_logged_at;

	pg_atomic_uint32 interested;	/* transactions that will wake the linker */
	pg_atomic_uint32 pending;	/* work was committed since the last look */
	pg_atomic_uint64 latch;		/* Latch * of the linker; 0: none runs */
	pg_atomic_uint64 submitted; /* counters since the server started */
	pg_atomic_uint64 linked;
	pg_atomic_uint64 not_found;
} AtlasDatabase;

typedef struct AtlasShared
{
	union
	{
		AtlasArrivalClock clock;
		char		line[PG_CACHE_LINE_SIZE];	/* every submit writes to it */
	}			arrival;
	LWLock	   *lock;
	pg_atomic_uint64 launcher_latch;	/* Latch *; 0: no launcher runs */
	pg_atomic_uint64 launcher_due;	/* TimestampTz by which it looks at the databases again */
	AtlasDatabase databases[ATLAS_MAX_DATABASES];
	AtlasActionSession action_sessions[ATLAS_MAX_ACTION_SESSIONS];
} AtlasShared;

/* NULL unless the library is preloaded. */
extern AtlasShared *atlas_shared;

/* Installs the hooks that reserve and set up the shared state. */
extern void atlas_shmem_init(void);

/*
 * The slot of a database; makes one when there is none. NULL when the library
 * is not preloaded or every slot is taken.
 */
extern AtlasDatabase *atlas_shmem_database(Oid database);

/* The slot of a database if it has one; the caller holds the lock. */
extern AtlasDatabase *atlas_shmem_find(Oid database);

/*
 * The slot of this backend's database, which is kept until it is released at
 * the end of the transaction. NULL as above.
 */
extern AtlasDatabase *atlas_shmem_declare_interest(void);
extern void atlas_shmem_release_interest(AtlasDatabase *slot);

/* Frees the slot of a database that has been dropped, if it has one. */
extern void atlas_shmem_forget(Oid database);

/* Notes an error of the linking for the status view. */
extern void atlas_shmem_note_error(AtlasDatabase *slot, const char *message);

/*
 * Notes a problem of housekeeping for the status view, or, with NULL, that there is
 * none. Says whether it is to be logged: it is another one, or was logged so long ago.
 */
extern bool atlas_shmem_note_problem(AtlasDatabase *slot, const char *message, TimestampTz now,
									 int log_again_seconds);

/*
 * Says that there is work, and sets the latch of the linker, else that of the
 * launcher; the first one only if nobody has said so yet. Never fails.
 */
extern void atlas_shmem_wake(AtlasDatabase *slot);
extern void atlas_shmem_nudge(AtlasDatabase *slot);
extern void atlas_shmem_wake_launcher(void);

/* Sets the latch of a process. Returns false if there is none. */
extern bool atlas_shmem_set_latch(pg_atomic_uint64 *latch);

#endif							/* ATLAS_SHMEM_H */
