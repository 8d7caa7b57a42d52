/*
 * missing.c
 *		Claimed events that are not in the log, or not yet.
 *
 * In a restore the queue may come before the log. The first event of a month is visible a
 * moment before its partition is known to other sessions.
 */
#include "postgres.h"

#include "access/transam.h"
#include "storage/lock.h"

#include "store/event_keys.h"
#include "store/missing.h"

/* The key of an event: the first thing in it. */
static inline AtlasEventKey *
key_at(const void *events, int event, Size size)
{
	return (AtlasEventKey *) ((char *) events + event * size);
}

void
atlas_complete_keys(const AtlasEventKey *keys, void *events, int nevents, Size size)
{
	for (int i = 0; i < nevents; i++)
	{
		AtlasEventKey *key = key_at(events, i, size);

		while (atlas_event_key_compare(keys, key) != 0)
			keys++;
		*key = *keys;
	}
}

/*
 * Does a transaction hold the lock on its id? It does until it has ended, and lets
 * go of it after it has told the other sessions what it changed. A foreign transaction
 * id may be any number.
 */
bool
atlas_transaction_is_ending(uint64 xid)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	LOCKTAG		tag;

	if (xid >= next || next - xid > PG_INT32_MAX ||
		!TransactionIdIsNormal((TransactionId) xid))
		return false;
	SET_LOCKTAG_TRANSACTION(tag, (TransactionId) xid);
	if (LockAcquire(&tag, ShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, ShareLock, false);
	return false;
}

void
atlas_find_missing(const AtlasEventKey *keys, int nkeys, const void *events, int nevents,
				   Size size, AtlasMissing *missing)
{
	int			next = 0;

	memset(missing, 0, sizeof(*missing));
	if (nevents == nkeys)
		return;
	missing->keys = palloc(sizeof(AtlasEventKey) * (nkeys - nevents));
	missing->ending = palloc(sizeof(bool) * (nkeys - nevents));
	for (int i = 0; i < nkeys; i++)
	{
		if (next < nevents && atlas_event_key_compare(key_at(events, next, size), &keys[i]) == 0)
			next++;
		else
		{
			missing->keys[missing->nkeys] = keys[i];
			missing->ending[missing->nkeys++] = atlas_transaction_is_ending(keys[i].submitted_xid);
		}
	}
}

void
atlas_forget_found(AtlasMissing *missing, const void *events, int nevents, Size size)
{
	int			nkept = 0;
	int			next = 0;

	for (int i = 0; i < missing->nkeys; i++)
	{
		while (next < nevents && atlas_event_key_compare(key_at(events, next, size), &missing->keys[i]) < 0)
			next++;
		if (next < nevents && atlas_event_key_compare(key_at(events, next, size), &missing->keys[i]) == 0)
			continue;
		missing->keys[nkept] = missing->keys[i];
		missing->ending[nkept++] = missing->ending[i];
	}
	missing->nkeys = nkept;
}
