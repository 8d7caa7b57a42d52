/*
 * linker_note.c
 *		The note that a linker keeps of its work, in the table atlas_linker_state.
 *
 * A crash takes the shared memory with it, and a server may be told not to restart by
 * itself. So the note is in the database. A linker writes it once, before its first
 * batch, and removes it at the end. A linker that finds a note knows that the one before
 * was killed, and notes each batch before it begins with it. If it is killed as well, the
 * events that may be to blame are known.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "worker/linker_note.h"

static AtlasStatement select_note = {
	.sql = "SELECT batch FROM @extschema@.atlas_linker_state",
};

static AtlasStatement delete_note = {
	.sql = "DELETE FROM @extschema@.atlas_linker_state",
};

static AtlasStatement insert_note = {
	.sql =
	"INSERT INTO @extschema@.atlas_linker_state (started_at, batch)"
	" VALUES (pg_catalog.now(), $1)",
	.nparameters = 1,
	.parameters = {UUIDARRAYOID},
};

bool
atlas_linker_note_read(pg_uuid_t **ids, int *nids)
{
	bool		isnull;
	Datum	   *values;

	*ids = NULL;
	*nids = 0;
	if (atlas_execute(&select_note, NULL, NULL, false, 1) == 0)
		return false;
	deconstruct_array(DatumGetArrayTypeP(SPI_getbinval(SPI_tuptable->vals[0],
													   SPI_tuptable->tupdesc, 1, &isnull)),
					  UUIDOID, UUID_LEN, false, TYPALIGN_CHAR, &values, NULL, nids);
	*ids = palloc(sizeof(pg_uuid_t) * Max(*nids, 1));
	for (int i = 0; i < *nids; i++)
		(*ids)[i] = *DatumGetUUIDP(values[i]);
	return true;
}

void
atlas_linker_note_write(const pg_uuid_t *ids, int nids)
{
	Datum		value = atlas_uuid_array(ids, nids);

	(void) atlas_execute(&delete_note, NULL, NULL, false, 0);
	(void) atlas_execute(&insert_note, &value, NULL, false, 0);
	/* Unlike the linker's other transactions, this one waits for the disk. */
	ForceSyncCommit();
}

void
atlas_linker_note_clear(void)
{
	(void) atlas_execute(&delete_note, NULL, NULL, false, 0);
}
