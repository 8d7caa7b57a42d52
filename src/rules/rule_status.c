/*
 * rule_status.c
 *		How many rules there are, and what a DBA should know of them.
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"

#include "base/statement.h"
#include "rules/rule_status.h"

/* Of all tenants, as the view says. */
static AtlasStatement select_status = {
	.sql =
	"SELECT (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rules WHERE is_enabled),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rules WHERE disabled_reason IS NOT NULL),"
	"       (SELECT rule_name FROM @extschema@.atlas_rules WHERE disabled_reason IS NOT NULL"
	"         ORDER BY tenant_id, rule_id LIMIT 1),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rule_actions"
	"         WHERE next_attempt_at IS NULL OR next_attempt_at OPERATOR(pg_catalog.<>) 'infinity'),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rule_actions"
	"         WHERE next_attempt_at OPERATOR(pg_catalog.=) 'infinity'),"
	"       EXISTS (SELECT FROM @extschema@.atlas_rules"
	"                WHERE is_enabled AND (channel IS NOT NULL OR action_name IS NOT NULL)"
	"                  AND (system_identifier, database_id) OPERATOR(pg_catalog.<>) ($1, $2))",
	.nparameters = 2,
	.parameters = {INT8OID, OIDOID},
};

void
atlas_rule_status(AtlasRuleStatus *status)
{
	HeapTuple	row;
	TupleDesc	tupdesc;
	bool		isnull;
	Datum		values[] = {Int64GetDatum((int64) GetSystemIdentifier()), ObjectIdGetDatum(MyDatabaseId)};

	(void) atlas_execute(&select_status, values, NULL, true, 0);
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	status->enabled = DatumGetInt64(SPI_getbinval(row, tupdesc, 1, &isnull));
	status->switched_off = DatumGetInt64(SPI_getbinval(row, tupdesc, 2, &isnull));
	status->last = SPI_getvalue(row, tupdesc, 3);
	status->actions_due = DatumGetInt64(SPI_getbinval(row, tupdesc, 4, &isnull));
	status->actions_failed = DatumGetInt64(SPI_getbinval(row, tupdesc, 5, &isnull));
	status->are_paused = DatumGetBool(SPI_getbinval(row, tupdesc, 6, &isnull));
}

const char *
atlas_rule_advice(const AtlasRuleStatus *status)
{
	if (status->are_paused)
		return "Rules do not act in this database, because it was restored or copied: if they are to, call atlas_resume_actions().";
	if (status->actions_failed > 0)
		return "Actions of rules have failed: see last_error in atlas_rule_actions, then call atlas_retry_failed().";
	if (status->last == NULL)
		return NULL;
	return psprintf("Rule \"%s\" was switched off: see disabled_reason in atlas_rules, repair it, and call atlas_enable_rule().",
					status->last);
}
