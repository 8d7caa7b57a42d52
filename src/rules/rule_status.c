/*
 * rule_status.c
 *		How many rules there are, and what a DBA should know of them.
 */
#include "postgres.h"

#include "executor/spi.h"

#include "base/statement.h"
#include "rules/rule_status.h"

/* Of all tenants, as the view says. */
static AtlasStatement select_status = {
	.sql =
	"SELECT (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rules WHERE is_enabled),"
	"       (SELECT pg_catalog.count(*) FROM @extschema@.atlas_rules WHERE disabled_reason IS NOT NULL),"
	"       (SELECT rule_name FROM @extschema@.atlas_rules WHERE disabled_reason IS NOT NULL"
	"         ORDER BY tenant_id, rule_id LIMIT 1)",
};

void
atlas_rule_status(AtlasRuleStatus *status)
{
	HeapTuple	row;
	TupleDesc	tupdesc;
	bool		isnull;

	(void) atlas_execute(&select_status, NULL, NULL, true, 0);
	row = SPI_tuptable->vals[0];
	tupdesc = SPI_tuptable->tupdesc;
	status->enabled = DatumGetInt64(SPI_getbinval(row, tupdesc, 1, &isnull));
	status->switched_off = DatumGetInt64(SPI_getbinval(row, tupdesc, 2, &isnull));
	status->last = SPI_getvalue(row, tupdesc, 3);
}

const char *
atlas_rule_advice(const AtlasRuleStatus *status)
{
	if (status->last == NULL)
		return NULL;
	return psprintf("Rule \"%s\" was switched off: see disabled_reason in atlas_rules, repair its condition, and call atlas_enable_rule().",
					status->last);
}
