/*
 * rule_begin.c
 *		Having rules begin that were made or enabled.
 *
 *	made by a transaction ─► that transaction has told others of it ─► note the transactions
 *	that have an id by then ─► all of them have ended ─► the rule begins now
 *
 * A transaction that submits events asks whether there are rules after it has an id; see
 * rule_flags.c. So one that gets its id later than those that are noted knows of the rule, and its
 * events are evaluated. What was received before the rule begins does not count, so that it does not
 * matter which of those events were evaluated. A rule begins while nobody evaluates rules: whoever
 * does so later knows that it has begun.
 *
 * A transaction tells others what it changed before it lets go of the lock on its id. The ids in a row
 * may come from another server, from which the database was restored.
 */
#include "postgres.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/statement.h"
#include "rules/rule_begin.h"
#include "rules/rule_lock.h"
#include "store/missing.h"
#include "store/rule_flags.h"

#define STEPS_AT_ONCE 200		/* nobody evaluates rules, and nothing is linked, meanwhile */

/* Of all tenants. While somebody changes a rule, it waits. */
static AtlasStatement select_waiting = {
	.sql =
	"SELECT tenant_id, rule_id, enabled_xid, wait_for_xid FROM @extschema@.atlas_rules"
	" WHERE is_enabled AND since IS NULL FOR UPDATE SKIP LOCKED",
};

static AtlasStatement note_what_has_begun = {
	.sql =
	"UPDATE @extschema@.atlas_rules SET wait_for_xid = $3"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 3,
	.parameters = {TEXTOID, INT8OID, XID8OID},
};

static AtlasStatement begin_rule = {
	.sql =
	"UPDATE @extschema@.atlas_rules SET since = $3"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 3,
	.parameters = {TEXTOID, INT8OID, TIMESTAMPTZOID},
};

/* What is to become of a rule now. */
typedef enum RuleStep
{
	RULE_WAITS,
	RULE_IS_NOTED,
	RULE_BEGINS
} RuleStep;

/* Finds out what a rule is ready for. This transaction must not count as one that is under way. */
static RuleStep
next_step(HeapTuple row, TupleDesc tupdesc)
{
	uint64		next = U64FromFullTransactionId(ReadNextFullTransactionId());
	bool		isnull;
	uint64		wait_for = DatumGetUInt64(SPI_getbinval(row, tupdesc, 4, &isnull));

	if (isnull || wait_for > next)
		return atlas_transaction_is_ending(DatumGetUInt64(SPI_getbinval(row, tupdesc, 3, &isnull))) ?
			RULE_WAITS : RULE_IS_NOTED;
	/* None that is so old that its id could be taken for a later one is under way. */
	return next - wait_for > PG_INT32_MAX ||
		!TransactionIdPrecedes(GetLatestSnapshot()->xmin, (TransactionId) wait_for) ?
		RULE_BEGINS : RULE_WAITS;
}

/* Does it. Returns false if somebody is in the way. */
static bool
do_step(RuleStep step, HeapTuple row, TupleDesc tupdesc)
{
	Datum		values[3];
	bool		isnull;

	if (step == RULE_WAITS || (step == RULE_BEGINS && !atlas_lock_rules(ATLAS_BEGIN_RULES)))
		return false;
	values[0] = SPI_getbinval(row, tupdesc, 1, &isnull);
	values[1] = SPI_getbinval(row, tupdesc, 2, &isnull);
	values[2] = step == RULE_IS_NOTED ? UInt64GetDatum(U64FromFullTransactionId(ReadNextFullTransactionId())) :
		TimestampTzGetDatum(GetCurrentTimestamp());
	(void) atlas_execute(step == RULE_IS_NOTED ? &note_what_has_begun : &begin_rule, values, NULL, false, 0);
	return true;
}

bool
atlas_rules_begin(void)
{
	uint64		nrules;
	SPITupleTable *rules;
	int			ndone = 0;

	if (!atlas_any_rule_waits())
		return false;
	nrules = atlas_execute(&select_waiting, NULL, NULL, false, 0);
	rules = SPI_tuptable;
	for (uint64 i = 0; i < nrules && ndone < STEPS_AT_ONCE; i++)
		ndone += do_step(next_step(rules->vals[i], rules->tupdesc), rules->vals[i], rules->tupdesc);
	SPI_freetuptable(rules);
	return ndone > 0;
}
