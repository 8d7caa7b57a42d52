/*
 * linker_note.c
 *		The note that a linker keeps of its work, in the table atlas_linker_state.
 *
 * A crash takes the shared memory with it, and a server may be told not to restart by
 * itself. So the note is in the database. A linker writes it once, before its first
 * batch, and removes it at the end. A linker that finds a note knows that the one before
 * was killed, and notes each batch of either step before it begins with it. If it is killed
 * as well, the events that may be to blame are known, and where their rows in the work
 * table are, which have no key. An event that has ended a linker when it was alone may have done so by
 * a rule: then each of its rules is noted before it is tried.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "worker/linker_note.h"

static AtlasStatement select_note = {
	.sql =
	"SELECT b.tenant_id, b.event_id, b.place"
	"  FROM @extschema@.atlas_linker_state"
	"       LEFT JOIN LATERAL ROWS FROM (pg_catalog.unnest(tenants), pg_catalog.unnest(batch), pg_catalog.unnest(places))"
	"                      AS b (tenant_id, event_id, place) ON true",
};

static AtlasStatement delete_note = {
	.sql = "DELETE FROM @extschema@.atlas_linker_state",
};

static AtlasStatement insert_note = {
	.sql =
	"INSERT INTO @extschema@.atlas_linker_state (started_at, tenants, batch, places)"
	" VALUES (pg_catalog.now(), $1, $2, $3)",
	.nparameters = ATLAS_KEYS_NPARAMETERS + 1,
	.parameters = {ATLAS_KEYS_PARAMETERS, TIDARRAYOID},
};

static AtlasStatement select_noted_rule = {
	.sql = "SELECT rule_tenant, rule_id FROM @extschema@.atlas_linker_state WHERE rule_id IS NOT NULL",
};

static AtlasStatement note_rule = {
	.sql = "UPDATE @extschema@.atlas_linker_state SET rule_tenant = $1, rule_id = $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

/* A note that suspects no event is one row of nulls. */
bool
atlas_linker_note_read(AtlasBacklog *backlog, AtlasEventKey **keys, int *nkeys)
{
	bool		isnull;
	Datum		place;

	*backlog = ATLAS_TO_LINK;
	*keys = NULL;
	*nkeys = 0;
	if (atlas_execute(&select_note, NULL, NULL, false, 0) == 0)
		return false;
	(void) SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
	if (isnull)
		return true;
	*nkeys = (int) SPI_processed;
	*keys = palloc(sizeof(AtlasEventKey) * *nkeys);
	atlas_event_keys_take(*keys, 1, 2);
	for (int i = 0; i < *nkeys; i++)
	{
		place = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &isnull);
		if (isnull)
			continue;
		(*keys)[i].place = *(ItemPointer) DatumGetPointer(place);
		*backlog = ATLAS_TO_WORK_ON;
	}
	return true;
}

void
atlas_linker_note_write(AtlasBacklog backlog, const AtlasEventKey *keys, int nkeys)
{
	Datum		values[ATLAS_KEYS_NPARAMETERS + 1];

	atlas_event_keys_values(keys, nkeys, values);
	values[ATLAS_KEYS_NPARAMETERS] = atlas_event_keys_places(keys, nkeys);
	(void) atlas_execute(&delete_note, NULL, NULL, false, 0);
	(void) atlas_execute(&insert_note, values, backlog == ATLAS_TO_LINK ? "  n" : NULL, false, 0);
	/* Unlike the linker's other transactions, this one waits for the disk. */
	ForceSyncCommit();
}

AtlasRuleFault *
atlas_linker_note_read_rule(void)
{
	AtlasRuleFault *rule;
	bool		isnull;

	if (atlas_execute(&select_noted_rule, NULL, NULL, false, 0) == 0)
		return NULL;
	rule = palloc0(sizeof(AtlasRuleFault));
	rule->tenant = atlas_result_text(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	rule->rule_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	return rule;
}

void
atlas_linker_note_rule(const AtlasRuleFault *rule)
{
	Datum		values[] = {PointerGetDatum(rule->tenant), Int64GetDatum(rule->rule_id)};

	(void) atlas_execute(&note_rule, values, NULL, false, 0);
	ForceSyncCommit();
}

void
atlas_linker_note_clear(void)
{
	(void) atlas_execute(&delete_note, NULL, NULL, false, 0);
}
