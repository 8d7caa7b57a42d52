/*
 * rule_flags.c
 *		Whether this database has rules at all, which each session remembers.
 *
 * However the table of the rules is changed, a trigger sends a relation cache invalidation, and
 * the next question reads it again, as it is at that moment. A rule begins when all transactions
 * have ended that had an id before that was sent; see rule_begin.c. So whoever asks has an id, and
 * takes notice of what has been sent before it relies on what it remembers.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/inval.h"

#include "base/extension.h"
#include "base/invalidation.h"
#include "base/statement.h"
#include "store/rule_flags.h"

/* Of all tenants. An Index Only Scan on each of the two partial indexes. */
static AtlasStatement select_flags = {
	.sql =
	"SELECT EXISTS (SELECT FROM @extschema@.atlas_rules WHERE is_enabled),"
	"       EXISTS (SELECT FROM @extschema@.atlas_rules WHERE is_enabled AND since IS NULL)",
};

static bool flags_valid = false;
static Oid	flags_relid = InvalidOid;
static bool any_enabled = false;
static bool any_waits = false;

/* Called by the relation cache. */
static void
rules_table_changed(Oid relid)
{
	if (relid == InvalidOid || relid == flags_relid)
		flags_valid = false;
}

void
atlas_rule_flags_init(void)
{
	atlas_listen_to_relations(rules_table_changed);
}

/* Reads the flags. If an error is raised they stay invalid. */
static void
read_flags(void)
{
	bool		isnull;

	/* An invalidation that comes while they are read must not be lost. */
	flags_relid = atlas_relation(ATLAS_RULES);
	flags_valid = true;
	PG_TRY();
	{
		(void) atlas_execute_now(&select_flags, NULL);
		any_enabled = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		any_waits = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
		SPI_freetuptable(SPI_tuptable);
	}
	PG_CATCH();
	{
		flags_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Reads them unless what is remembered still holds. */
static void
refresh_flags(void)
{
	AcceptInvalidationMessages();
	if (!flags_valid || flags_relid != atlas_relation(ATLAS_RULES))
		read_flags();
}

bool
atlas_any_rule_enabled(void)
{
	refresh_flags();
	return any_enabled;
}

bool
atlas_any_rule_waits(void)
{
	refresh_flags();
	return any_waits;
}
