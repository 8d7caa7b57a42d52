/*
 * put_off.c
 *		Events that cannot be linked now.
 *
 * An event is put off, and no attempt is counted, when it is not to blame: a table is
 * locked, there is too little memory or disk, or the event is not in the log yet. Any
 * other error counts as an attempt, and after max_attempts the event is FAILED.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/retry.h"
#include "link/events_to_link.h"
#include "link/put_off.h"
#include "store/queue.h"
#include "store/work.h"

#define FIRST_BACKOFF_SECONDS 1
#define MAX_BACKOFF_SECONDS 60
#define ENDING_MILLISECONDS 100	/* until the transaction of an event may have ended */
#define DEFERRAL_LOG_SECONDS 60	/* between two lines about the same reason */

int			atlas_max_attempts = 5;

const AtlasRef *
atlas_first_deferred(const AtlasLinkEvent *event)
{
	for (int i = 0; i < event->nrefs; i++)
		if (event->refs[i].outcome == ATLAS_DEFERRED)
			return &event->refs[i];
	return NULL;
}

/* When an event that is not to blame for anything is tried again. */
static TimestampTz
put_off(TimestampTz now)
{
	return atlas_backoff(now, MAX_BACKOFF_SECONDS, 1, MAX_BACKOFF_SECONDS);
}

/* When an event that was put off is tried again: the longer it waits, the later. */
static TimestampTz
deferred_until(const AtlasLinkEvent *event, TimestampTz now)
{
	int64		waited = (now - event->received_at) / USECS_PER_SEC / 2;

	waited = Max(Min(waited, MAX_BACKOFF_SECONDS), FIRST_BACKOFF_SECONDS);
	return atlas_backoff(now, (int) waited, 1, MAX_BACKOFF_SECONDS);
}

TimestampTz
atlas_when_ended(TimestampTz now)
{
	return TimestampTzPlusMilliseconds(now, ENDING_MILLISECONDS);
}

void
atlas_log_put_off(const char *reason, const char *view)
{
	static TimestampTz last_time = 0;
	static uint32 last_reason = 0;
	TimestampTz now = GetCurrentTimestamp();
	uint32		hash = DatumGetUInt32(hash_any((const unsigned char *) reason, strlen(reason)));

	if (hash == last_reason &&
		now < TimestampTzPlusMilliseconds(last_time, DEFERRAL_LOG_SECONDS * INT64CONST(1000)))
		return;
	last_time = now;
	last_reason = hash;
	ereport(LOG,
			(errmsg("events are put off, and tried again later: %s", reason),
			 errhint("This is said once a minute. %s has the events, with last_error.", view)));
}

/* Puts the events off, and says so in the server log. */
static void
write_deferrals(const AtlasDeferrals *deferrals)
{
	if (deferrals->ids.nvalues == 0)
		return;
	atlas_log_put_off(TextDatumGetCString(deferrals->reasons.values[0]), "atlas_event_logs");
	atlas_queue_defer(deferrals);
}

void
atlas_put_off_deferred(const AtlasLinkEvent *events, int nevents, TimestampTz now)
{
	AtlasDeferrals	deferrals;

	atlas_deferrals_init(&deferrals, nevents);
	for (int i = 0; i < nevents; i++)
	{
		const AtlasRef *ref = atlas_first_deferred(&events[i]);

		if (ref != NULL)
			atlas_deferrals_add(&deferrals, &events[i].key, deferred_until(&events[i], now), ref->reason);
	}
	write_deferrals(&deferrals);
}

void
atlas_put_off_missing(const AtlasMissing *missing, TimestampTz now)
{
	AtlasDeferrals	deferrals;
	TimestampTz later = put_off(now);

	atlas_deferrals_init(&deferrals, missing->nkeys);
	for (int i = 0; i < missing->nkeys; i++)
		if (missing->ending[i])
			atlas_deferrals_add(&deferrals, &missing->keys[i], atlas_when_ended(now), ATLAS_IS_ENDING);
		else
			atlas_deferrals_add(&deferrals, &missing->keys[i], later, ATLAS_IS_MISSING);
	write_deferrals(&deferrals);
}

/* Nothing more comes of linking it, so what else is to be done about the event is due now. */
static void
write_work_of_failed(const AtlasEventKey *key)
{
	AtlasNewWork work;

	atlas_new_work_begin(&work, 1);
	atlas_new_work_add(&work, &key->id, key->tenant, key->depth);
	(void) atlas_new_work_write(&work);
}

void
atlas_link_failed(const AtlasEventKey *key, bool is_made, const char *message)
{
	AtlasQueued queued;
	bool		is_failed;
	int			attempts;

	if (atlas_queue_find(key, 1, &queued) == 0)
		return;
	attempts = queued.attempts;
	is_failed = attempts + (is_made ? 1 : 0) >= atlas_max_attempts;
	if (is_made || !is_failed)
		attempts++;
	if (is_failed)
		write_work_of_failed(key);
	atlas_queue_note_failure(key, attempts, message,
							 is_failed ? DT_NOEND :
							 atlas_backoff(GetCurrentTimestamp(), FIRST_BACKOFF_SECONDS, attempts,
										   MAX_BACKOFF_SECONDS));

	ereport(LOG,
			(errmsg("event %s could not be linked, attempt %d of %d: %s",
					atlas_event_id_string(&key->id), attempts, atlas_max_attempts, message),
			 is_failed ?
			 errhint("It is FAILED now. Repair the cause and call atlas_retry_failed().") : 0));
}

void
atlas_put_off(const AtlasEventKey *key, const char *reason)
{
	AtlasDeferrals	deferrals;

	atlas_deferrals_init(&deferrals, 1);
	atlas_deferrals_add(&deferrals, key, put_off(GetCurrentTimestamp()), reason);
	write_deferrals(&deferrals);
}
