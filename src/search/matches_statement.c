/*
 * matches_statement.c
 *		The events of a tenant whose documents match a query, found by a statement.
 *
 * For tables that cannot be read directly. PostgreSQL decides whether it walks through the
 * newest documents or reads the GIN indexes; it finds the same.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "tsearch/ts_utils.h"

#include "base/statement.h"
#include "search/matches_statement.h"

/* An Index Scan Backward on each partition, or a Bitmap Heap Scan and a Sort. */
static AtlasStatement select_matches = {
	.sql =
	"SELECT s.event_id"
	"  FROM @extschema@.atlas_event_search s"
	" WHERE s.tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND s.event_id OPERATOR(pg_catalog.>=) $2"
	"   AND s.event_id OPERATOR(pg_catalog.<) $3"
	"   AND s.document OPERATOR(pg_catalog.@@) $4"
	" ORDER BY s.event_id DESC LIMIT $5",
	.nparameters = 5,
	.parameters = {TEXTOID, UUIDOID, UUIDOID, TSQUERYOID, INT8OID},
};

static AtlasStatement select_match = {
	.sql =
	"SELECT FROM @extschema@.atlas_event_search s"
	" WHERE s.tenant_id OPERATOR(pg_catalog.=) $1"
	"   AND s.event_id OPERATOR(pg_catalog.=) $2"
	"   AND s.document OPERATOR(pg_catalog.@@) $3",
	.nparameters = 3,
	.parameters = {TEXTOID, UUIDOID, TSQUERYOID},
};

int
atlas_matches_by_statement(const AtlasMatchesCondition *condition, pg_uuid_t *ids, int size)
{
	Datum		values[5];
	int			nids;

	values[0] = PointerGetDatum(condition->tenant);
	values[1] = UUIDPGetDatum(condition->low);
	values[2] = UUIDPGetDatum(condition->high);
	values[3] = TSQueryGetDatum(condition->query);
	values[4] = Int64GetDatum(size);
	nids = (int) atlas_execute(&select_matches, values, NULL, true, 0);
	for (int i = 0; i < nids; i++)
	{
		bool		isnull;

		ids[i] = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	}
	SPI_freetuptable(SPI_tuptable);
	return nids;
}

bool
atlas_matches_has_by_statement(const AtlasMatchesCondition *condition, const pg_uuid_t *id)
{
	Datum		values[3];
	bool		is_found;

	values[0] = PointerGetDatum(condition->tenant);
	values[1] = UUIDPGetDatum(id);
	values[2] = TSQueryGetDatum(condition->query);
	is_found = atlas_execute(&select_match, values, NULL, true, 0) > 0;
	SPI_freetuptable(SPI_tuptable);
	return is_found;
}
