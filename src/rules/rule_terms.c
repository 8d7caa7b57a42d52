/*
 * rule_terms.c
 *		The words and numbers in which a rule says what it needs.
 *
 * The window of a rule has the same length wherever and whenever it is looked at, whatever the
 * time zone: a month would not.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "executor/spi.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "rules/rule_terms.h"

static const char *const role_names[] = {
	[ATLAS_ROLE_ANY] = "ANY",
	[ATLAS_ROLE_PRIMARY] = "PRIMARY",
	[ATLAS_ROLE_RELATED] = "RELATED",
};

bool
atlas_rule_role(const text *word, AtlasRuleRole *role)
{
	for (int i = 0; i < lengthof(role_names); i++)
	{
		if (strlen(role_names[i]) != VARSIZE_ANY_EXHDR(word) ||
			pg_strncasecmp(role_names[i], VARDATA_ANY(word), strlen(role_names[i])) != 0)
			continue;
		*role = (AtlasRuleRole) i;
		return true;
	}
	return false;
}

const char *
atlas_rule_role_name(AtlasRuleRole role)
{
	return role_names[role];
}

int64
atlas_rule_microseconds(const Interval *interval)
{
	const int64 most = ATLAS_MAX_WITHIN_DAYS * USECS_PER_DAY;
	int64		result;

	if (interval->month != 0 || interval->day < 0 || interval->day > ATLAS_MAX_WITHIN_DAYS ||
		interval->time < 0 || interval->time > most)
		return 0;
	result = interval->day * USECS_PER_DAY + interval->time;
	return result <= most ? result : 0;
}

bool
atlas_rule_times_are_valid(int times, int64 within)
{
	return times >= 1 && times <= ATLAS_MAX_TIMES && (times > 1) == (within > 0);
}

Oid
atlas_rule_owner(HeapTuple row, TupleDesc tupdesc, int column)
{
	bool		isnull;
	const char *name = NameStr(*DatumGetName(SPI_getbinval(row, tupdesc, column, &isnull)));
	Oid			id = DatumGetObjectId(SPI_getbinval(row, tupdesc, column + 1, &isnull));

	if (DatumGetInt64(SPI_getbinval(row, tupdesc, column + 2, &isnull)) != (int64) GetSystemIdentifier())
		return get_role_oid(name, true);
	return SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(id)) ? id : InvalidOid;
}
