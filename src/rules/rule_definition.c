/*
 * rule_definition.c
 *		Making, dropping and enabling rules.
 *
 * A rule is looked at as a whole, and everything that is wrong with it is said at once. One that is
 * enabled again begins anew, under a new number, so that it has no hits from before.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonpath.h"
#include "utils/lsyscache.h"

#include "base/arrays.h"
#include "base/statement.h"
#include "event/conversion.h"
#include "event/validation.h"
#include "event/visible.h"
#include "objects/registry.h"
#include "rules/action_function.h"
#include "rules/rule_definition.h"
#include "rules/rule_terms.h"

/* Index Only Scan on (tenant_id, rule_name). */
static AtlasStatement count_rules = {
	.sql =
	"SELECT FROM @extschema@.atlas_rules WHERE tenant_id OPERATOR(pg_catalog.=) $1 LIMIT $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT4OID},
};

static AtlasStatement insert_rule = {
	.sql =
	"INSERT INTO @extschema@.atlas_rules"
	"       (tenant_id, rule_name, object_type, event_name, condition, times, within, role, owner, enabled_xid,"
	"        action_schema, action_name, channel, cooldown, system_identifier, database_id, owner_id, owner_system)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $15)"
	" ON CONFLICT (tenant_id, rule_name) DO NOTHING",
	.nparameters = 17,
	.parameters = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, JSONPATHOID, INT4OID, INTERVALOID, TEXTOID, NAMEOID, XID8OID,
		TEXTOID, TEXTOID, TEXTOID, INTERVALOID, INT8OID, OIDOID, OIDOID},
};

static AtlasStatement lock_rule = {
	.sql =
	"SELECT rule_id, is_enabled, owner, owner_id, owner_system FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_name OPERATOR(pg_catalog.=) $2 FOR UPDATE",
	.nparameters = 2,
	.parameters = {TEXTOID, TEXTOID},
};

static AtlasStatement delete_rule = {
	.sql =
	"DELETE FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

/* Also those that were written after the transaction took its snapshot, now that the rule is locked. */
static AtlasStatement delete_hits = {
	.sql =
	"DELETE FROM @extschema@.atlas_rule_hits"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement disable_rule = {
	.sql =
	"UPDATE @extschema@.atlas_rules SET is_enabled = false, disabled_reason = NULL"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 2,
	.parameters = {TEXTOID, INT8OID},
};

static AtlasStatement enable_rule = {
	.sql =
	"UPDATE @extschema@.atlas_rules"
	"   SET rule_id = DEFAULT, is_enabled = true, disabled_reason = NULL, since = NULL, enabled_xid = $3,"
	"       wait_for_xid = NULL, system_identifier = $4, database_id = $5"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND rule_id OPERATOR(pg_catalog.=) $2",
	.nparameters = 5,
	.parameters = {TEXTOID, INT8OID, XID8OID, INT8OID, OIDOID},
};

/* ----- Checking ----- */

/* Adds what is wrong with a name. */
static void
check_name_length(const text *name, bool is_required, const char *field, AtlasError *error)
{
	int			length;

	if (name == NULL)
	{
		if (is_required)
			atlas_add_problem(error, "required", field, "is required");
		return;
	}
	length = pg_mbstrlen_with_len(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
	if (length < 1 || length > ATLAS_MAX_NAME_LENGTH)
		atlas_add_problem(error, "invalid", field, "must have 1 to %d characters", ATLAS_MAX_NAME_LENGTH);
}

/* Operators read the name of a rule in the log and the status, so it must not look like something else. */
static void
check_rule_name(const text *name, AtlasError *error)
{
	Size		length;
	char	   *utf8 = atlas_to_utf8(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), &length);
	const char *code;
	const char *problem = utf8 == NULL ? NULL : atlas_problem_of_name(utf8, length, &code);

	if (problem != NULL)
		atlas_add_problem(error, code, "/ruleName", "%s", problem);
}

/* Finds the object type. */
static void
check_object_type(const text *given, AtlasRule *rule, AtlasError *error)
{
	AtlasObjectType *type;

	if (given == NULL)
	{
		atlas_add_problem(error, "required", "/objectType", "is required");
		return;
	}
	type = atlas_object_type(atlas_fold_object_type(VARDATA_ANY(given), VARSIZE_ANY_EXHDR(given)));
	if (type == NULL)
		atlas_add_problem(error, "unknown_type", "/objectType",
						  "is neither a built-in object type nor a registered one");
	else
		rule->object_type = cstring_to_text(type->name);
}

/* Adds what is wrong with the number of events, and the time within which they must occur. */
static void
check_times(const AtlasRuleWish *wish, AtlasRule *rule, AtlasError *error)
{
	rule->times = wish->has_times ? wish->times : 1;
	rule->within = wish->within == NULL ? 0 : atlas_rule_microseconds(wish->within);
	if (rule->times < 1 || rule->times > ATLAS_MAX_TIMES)
		atlas_add_problem(error, "invalid", "/times", "must be from 1 to %d", ATLAS_MAX_TIMES);
	if (wish->within != NULL && wish->within->month != 0)
		atlas_add_problem(error, "invalid", "/within", "must be given in weeks, days, hours or less, since months and years are not all of one length");
	else if (wish->within != NULL && rule->within == 0)
		atlas_add_problem(error, "invalid", "/within", "must be positive, and at most %d days", ATLAS_MAX_WITHIN_DAYS);
	if (wish->within == NULL && rule->times > 1)
		atlas_add_problem(error, "required", "/within", "is required if times is more than 1");
	if (wish->within != NULL && rule->times == 1)
		atlas_add_problem(error, "invalid", "/within", "counts only if times is more than 1");
}

/* Adds what is wrong with the function that is to be called. */
static void
check_action(const AtlasRuleWish *wish, AtlasError *error)
{
	List	   *problems = atlas_action_function_problems(wish->action, wish->owner);
	const char *problem = atlas_action_role_problem(wish->owner);
	ListCell   *cell;

	foreach(cell, problems)
		atlas_add_problem(error, "invalid", "/action", "%s", (const char *) lfirst(cell));
	if (problem != NULL)
		atlas_add_problem(error, "invalid", "/action",
						  "needs a session of the role \"%s\", which %s",
						  GetUserNameFromId(wish->owner, true), problem);
}

/* Adds what is wrong with the channel that is to be notified. */
static void
check_channel(const text *channel, AtlasError *error)
{
	static const char prefix[] = "atlas_";
	int			length = VARSIZE_ANY_EXHDR(channel);

	if (length < strlen(prefix) || memcmp(VARDATA_ANY(channel), prefix, strlen(prefix)) != 0)
		atlas_add_problem(error, "invalid", "/channel", "must begin with %s", prefix);
	else if (length >= NAMEDATALEN)
		atlas_add_problem(error, "invalid", "/channel", "must have %d bytes at most", NAMEDATALEN - 1);
}

/* Adds what is wrong with what is to be done for a match. */
static void
check_actions(const AtlasRuleWish *wish, AtlasError *error)
{
	bool		acts = OidIsValid(wish->action) || wish->channel != NULL;

	if (OidIsValid(wish->action))
		check_action(wish, error);
	if (wish->channel != NULL)
		check_channel(wish->channel, error);
	if (OidIsValid(wish->action) && wish->channel != NULL)
		atlas_add_problem(error, "invalid", "/channel", "cannot be given together with an action");
	if (wish->cooldown != NULL && !acts)
		atlas_add_problem(error, "invalid", "/cooldown", "counts only for a rule with an action or a channel");
	if (wish->cooldown != NULL && atlas_rule_microseconds(wish->cooldown) == 0)
		atlas_add_problem(error, "invalid", "/cooldown",
						  "must be positive, at most %d days, and given in weeks, days, hours or less", ATLAS_MAX_WITHIN_DAYS);
}

void
atlas_rule_find_problems(const AtlasRuleWish *wish, bool needs_name, AtlasRule *rule, AtlasError *error)
{
	memset(rule, 0, sizeof(*rule));
	rule->name = wish->name;
	rule->event_name = wish->event_name;
	rule->since = DT_NOBEGIN;
	check_name_length(wish->name, needs_name, "/ruleName", error);
	if (error->status == 0 && wish->name != NULL)
		check_rule_name(wish->name, error);
	check_object_type(wish->object_type, rule, error);
	check_name_length(wish->event_name, false, "/eventName", error);
	rule->has_condition = wish->condition != NULL;
	if (rule->has_condition && VARSIZE_ANY(wish->condition) > ATLAS_MAX_CONDITION_SIZE)
		atlas_add_problem(error, "too_long", "/condition", "takes %d bytes, at most %d are allowed",
						  (int) VARSIZE_ANY(wish->condition), ATLAS_MAX_CONDITION_SIZE);
	else if (rule->has_condition)
		atlas_condition_check(wish->condition, "/condition", error, &rule->condition);
	check_times(wish, rule, error);
	if (wish->role != NULL && !atlas_rule_role(wish->role, &rule->role))
		atlas_add_problem(error, "invalid", "/role", "must be PRIMARY, RELATED or ANY");
	check_actions(wish, error);
}

void
atlas_rule_check(const AtlasRuleWish *wish, bool needs_name, AtlasRule *rule)
{
	AtlasError	error = {0};

	atlas_rule_find_problems(wish, needs_name, rule, &error);
	if (error.status != 0)
		atlas_raise(&error);
}

/* ----- Writing ----- */

/* Refuses what is asked for. */
atlas_noreturn static void
refuse_rule(AtlasStatus status, const char *format, const text *name)
{
	AtlasError	error = {0};
	char	   *detail = psprintf(format, text_to_cstring(name));

	atlas_refuse(&error, status, detail, NULL);
	atlas_raise(&error);
}

/* Two that are made at the same moment may both be the last one. */
static void
refuse_too_many(const text *tenant)
{
	Datum		values[] = {PointerGetDatum(tenant), Int32GetDatum(ATLAS_MAX_RULES)};

	if (atlas_execute(&count_rules, values, NULL, false, 0) == ATLAS_MAX_RULES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a tenant can have no more than %d rules", ATLAS_MAX_RULES),
				 errhint("Drop rules that are not needed, with atlas_drop_rule().")));
}

/* This transaction, which others must know of before the rule begins. */
static Datum
this_transaction(void)
{
	return UInt64GetDatum(U64FromFullTransactionId(GetTopFullTransactionId()));
}

/* Sets a parameter to a value that is passed by reference. */
static void
put_pointer(Datum *values, char *nulls, int parameter, const void *value)
{
	values[parameter] = PointerGetDatum(value);
	if (value == NULL)
		nulls[parameter] = 'n';
}

void
atlas_rule_create(const AtlasRuleWish *wish, const AtlasRule *rule)
{
	bool		calls = OidIsValid(wish->action);
	NameData	owner_name;
	Datum		values[17];
	char		nulls[] = "                 ";

	refuse_too_many(rule->tenant);
	namestrcpy(&owner_name, GetUserNameFromId(wish->owner, false));
	values[0] = PointerGetDatum(rule->tenant);
	values[1] = PointerGetDatum(rule->name);
	values[2] = PointerGetDatum(rule->object_type);
	put_pointer(values, nulls, 3, rule->event_name);
	put_pointer(values, nulls, 4, wish->condition);
	values[5] = Int32GetDatum(rule->times);
	put_pointer(values, nulls, 6, wish->within);
	values[7] = CStringGetTextDatum(atlas_rule_role_name(rule->role));
	values[8] = NameGetDatum(&owner_name);
	values[9] = this_transaction();
	put_pointer(values, nulls, 10, calls ? cstring_to_text(get_namespace_name(get_func_namespace(wish->action))) : NULL);
	put_pointer(values, nulls, 11, calls ? cstring_to_text(get_func_name(wish->action)) : NULL);
	put_pointer(values, nulls, 12, wish->channel);
	put_pointer(values, nulls, 13, wish->cooldown);
	values[14] = Int64GetDatum((int64) GetSystemIdentifier());
	values[15] = ObjectIdGetDatum(MyDatabaseId);
	values[16] = ObjectIdGetDatum(wish->owner);
	if (atlas_execute(&insert_rule, values, nulls, false, 0) == 0)
		refuse_rule(ATLAS_CONFLICT, "There is a rule \"%s\" already.", rule->name);
}

/*
 * Locks a rule, and refuses the call if the role may not change it. values are the parameters that find
 * it by its number.
 */
static void
find_rule(const text *tenant, const text *name, Oid role, Datum *values, bool *is_enabled)
{
	Datum		by_name[] = {PointerGetDatum(tenant), PointerGetDatum(name)};
	Oid			owner;
	bool		isnull;

	if (atlas_execute(&lock_rule, by_name, NULL, false, 0) == 0)
		refuse_rule(ATLAS_OBJECT_NOT_FOUND, "There is no rule \"%s\".", name);
	values[0] = by_name[0];
	values[1] = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	*is_enabled = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	owner = atlas_rule_owner(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3);
	if (!superuser_arg(role) && (!OidIsValid(owner) || !has_privs_of_role(role, owner)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of rule \"%s\"", text_to_cstring(name))));
}

void
atlas_rule_drop(const text *tenant, const text *name, Oid role)
{
	Datum		values[2];
	bool		is_enabled;

	find_rule(tenant, name, role, values, &is_enabled);
	(void) atlas_execute(&delete_rule, values, NULL, false, 0);
	(void) atlas_change_now(&delete_hits, values);
}

void
atlas_rule_enable(const text *tenant, const text *name, bool is_enabled, Oid role)
{
	Datum		values[5];
	bool		was_enabled;

	find_rule(tenant, name, role, values, &was_enabled);
	if (!is_enabled)
		(void) atlas_execute(&disable_rule, values, NULL, false, 0);
	if (!is_enabled || was_enabled)
		return;
	values[2] = this_transaction();
	values[3] = Int64GetDatum((int64) GetSystemIdentifier());
	values[4] = ObjectIdGetDatum(MyDatabaseId);
	(void) atlas_execute(&enable_rule, values, NULL, false, 0);
	(void) atlas_change_now(&delete_hits, values);
}
