/*
 * rule_lock.c
 *		Who may evaluate rules at the same time: the linker, and sessions that call
 *		atlas_link_events().
 *
 * Nobody waits for this lock. A session that holds it in a long transaction keeps others from
 * writing hits meanwhile, but not from linking, nor from making documents, nor from evaluating rules that need
 * one event only.
 */
#include "postgres.h"

#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"

#include "base/extension.h"
#include "rules/rule_lock.h"

#define RULES_SUBOBJECT 1		/* 0 is the extension itself, which DROP EXTENSION locks */

bool
atlas_lock_rules(LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, atlas_extension()->oid, RULES_SUBOBJECT);
	if (LockAcquire(&tag, mode, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	AcceptInvalidationMessages();
	return true;
}
