/*
 * rule_notes.c
 *		What is noted in the rows of rules: what was unknown, errors, that a rule is switched off, and that
 *		it must stay for a moment.
 *
 * A row that somebody has locked is left alone, so that nobody can keep rules of others from being
 * evaluated: counts are lost then, and a rule that is to be switched off is so by this process at first. What is done
 * here does not change the key of a rule, and so it goes on beside those who only keep the rule.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "rules/rule_cache.h"
#include "rules/rule_notes.h"

static AtlasStatement count_in_rules = {
	.sql =
	"UPDATE @extschema@.atlas_rules r"
	"   SET unknown = r.unknown OPERATOR(pg_catalog.+) k.unknown,"
	"       errors = r.errors OPERATOR(pg_catalog.+) k.errors,"
	"       last_error = COALESCE(k.last_error, r.last_error),"
	"       last_error_at = CASE WHEN k.last_error IS NULL THEN r.last_error_at ELSE pg_catalog.clock_timestamp() END"
	"  FROM (SELECT n.*"
	"          FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3),"
	"                          pg_catalog.unnest($4), pg_catalog.unnest($5))"
	"                      AS n (tenant_id, rule_id, unknown, errors, last_error),"
	"               LATERAL (SELECT FROM @extschema@.atlas_rules l"
	"                         WHERE l.tenant_id OPERATOR(pg_catalog.=) n.tenant_id"
	"                           AND l.rule_id OPERATOR(pg_catalog.=) n.rule_id"
	"                        OFFSET 0 FOR NO KEY UPDATE SKIP LOCKED) l) k"
	" WHERE r.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND r.rule_id OPERATOR(pg_catalog.=) k.rule_id",
	.nparameters = 5,
	.parameters = {TEXTARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TEXTARRAYOID},
};

static AtlasStatement switch_off = {
	.sql =
	"UPDATE @extschema@.atlas_rules r"
	"   SET is_enabled = false, disabled_reason = $3"
	"  FROM (SELECT l.tenant_id, l.rule_id FROM @extschema@.atlas_rules l"
	"         WHERE l.tenant_id OPERATOR(pg_catalog.=) $1 AND l.rule_id OPERATOR(pg_catalog.=) $2 AND l.is_enabled"
	"        FOR NO KEY UPDATE SKIP LOCKED) k"
	" WHERE r.tenant_id OPERATOR(pg_catalog.=) k.tenant_id AND r.rule_id OPERATOR(pg_catalog.=) k.rule_id"
	" RETURNING r.rule_name",
	.nparameters = 3,
	.parameters = {TEXTOID, INT8OID, TEXTOID},
};

static AtlasStatement keep_rule = {
	.sql =
	"SELECT FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2"
	"   FOR KEY SHARE SKIP LOCKED",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement find_rule = {
	.sql =
	"SELECT FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

/* Has the run found anything to count for the rule? */
static bool
has_counts(const AtlasRule *rule)
{
	return rule->tally.unknown > 0 || rule->tally.errors > 0;
}

void
atlas_rules_count(const List *rules)
{
	AtlasColumn columns[5];
	Datum		values[5];
	ListCell   *cell;

	for (int i = 0; i < lengthof(columns); i++)
		atlas_column_init(&columns[i], list_length(rules));
	foreach(cell, rules)
	{
		const AtlasRule *rule = lfirst(cell);

		if (!has_counts(rule))
			continue;
		atlas_column_add_pointer(&columns[0], rule->tenant);
		atlas_column_add(&columns[1], Int64GetDatum(rule->id));
		atlas_column_add(&columns[2], Int64GetDatum(rule->tally.unknown));
		atlas_column_add(&columns[3], Int64GetDatum(rule->tally.errors));
		atlas_column_add_pointer(&columns[4], rule->tally.last_error == NULL ? NULL :
								 cstring_to_text(rule->tally.last_error));
	}
	if (columns[0].nvalues == 0)
		return;
	for (int i = 0; i < lengthof(columns); i++)
		values[i] = atlas_column_array(&columns[i], i == 0 || i == 4 ? TEXTOID : INT8OID);
	(void) atlas_execute(&count_in_rules, values, NULL, false, 0);
}

AtlasRuleKept
atlas_rule_keep(const AtlasRule *rule)
{
	Datum		values[2];
	bool		is_there;

	values[0] = PointerGetDatum(rule->tenant);
	values[1] = Int64GetDatum(rule->id);
	if (atlas_execute(&keep_rule, values, NULL, false, 0) > 0)
		return ATLAS_RULE_KEPT;
	is_there = atlas_execute_now(&find_rule, values) > 0;
	return is_there ? ATLAS_RULE_LOCKED : ATLAS_RULE_GONE;
}

void
atlas_rule_switch_off(const AtlasRuleFault *fault)
{
	Datum		values[3];

	values[0] = PointerGetDatum(fault->tenant);
	values[1] = Int64GetDatum(fault->rule_id);
	values[2] = CStringGetTextDatum(fault->reason);
	if (atlas_execute(&switch_off, values, NULL, false, 0) == 0)
	{
		atlas_rule_cache_note_fault(fault);
		return;
	}
	ereport(LOG,
			(errmsg("rule \"%s\" was switched off: %s",
					SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), fault->reason),
			 errhint("Repair it. atlas_enable_rule() switches it on again.")));
}
