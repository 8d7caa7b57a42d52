/*
 * rule_cache.c
 *		The rules that are in effect, tenant by tenant, as this process remembers them.
 *
 * The rules of a tenant are read when its first event comes, as they are at that moment, and
 * all are forgotten when one has changed. They are found by the type of the object and the name of
 * the event through a hash, so that rules for other names cost nothing, however many there are.
 * When that takes much memory, it is forgotten as well.
 *
 * A rule that is to be switched off stays as it is while somebody has locked its row. So that it does not
 * cost each event the time that it was found out by, it is remembered here why, as long as it is enabled.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonpath.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/arrays.h"
#include "base/extension.h"
#include "base/invalidation.h"
#include "base/statement.h"
#include "rules/rule_cache.h"
#include "rules/rule_terms.h"

#define MOST_MEMORY ((Size) 64 * 1024 * 1024)

static AtlasStatement select_rules = {
	.sql =
	"SELECT rule_id, rule_name, object_type, event_name, condition, times, within, role, since,"
	"       channel IS NOT NULL, action_name IS NOT NULL, owner, owner_id, owner_system"
	"  FROM @extschema@.atlas_rules"
	" WHERE tenant_id OPERATOR(pg_catalog.=) $1 AND is_enabled AND since IS NOT NULL"
	" ORDER BY rule_id",
	.nparameters = 1,
	.parameters = {TEXTOID},
};

/* Up to two texts, of which the second may be missing. */
typedef struct TextKey
{
	const text *first;
	const text *second;
} TextKey;

/* The rules for a type and a name; for any name if this is missing. */
typedef struct RulesEntry
{
	TextKey		key;			/* hash key */
	List	   *rules;			/* of AtlasRule */
} RulesEntry;

struct AtlasTenantRules
{
	TextKey		key;			/* hash key: the tenant */
	bool		is_loaded;
	HTAB	   *by_type;		/* of RulesEntry; NULL: there are no rules */
	HTAB	   *names_of_related;	/* of RulesEntry without a list: names whose related objects count */
	bool		any_related;	/* those of any name do */
};

static MemoryContext cache_context = NULL;
static HTAB *tenants = NULL;	/* of AtlasTenantRules */
static bool cache_valid = false;
static Oid	cache_relid = InvalidOid;
static Size cache_size = 0;

/* Of AtlasRuleFault, each of which has been allocated as one piece. */
static List *known_faults = NIL;

/* Called by the relation cache. */
static void
cached_rules_changed(Oid relid)
{
	if (relid == InvalidOid || relid == cache_relid)
		cache_valid = false;
}

void
atlas_rule_cache_init(void)
{
	atlas_listen_to_relations(cached_rules_changed);
}

/* ----- Hashes by texts ----- */

static uint32
hash_text_key(const void *key, Size size)
{
	const TextKey *texts = key;
	uint32		result = hash_bytes((const unsigned char *) VARDATA_ANY(texts->first),
									VARSIZE_ANY_EXHDR(texts->first));

	if (texts->second != NULL)
		result = hash_combine(result, hash_bytes((const unsigned char *) VARDATA_ANY(texts->second),
												 VARSIZE_ANY_EXHDR(texts->second)));
	return result;
}

/* For the hash table: 0 if they are equal. */
static int
compare_text_keys(const void *a, const void *b, Size size)
{
	const TextKey *left = a;
	const TextKey *right = b;

	return atlas_compare_text(left->first, right->first) != 0 ||
		atlas_compare_text(left->second, right->second) != 0;
}

static HTAB *
make_text_hash(const char *name, Size entry_size)
{
	HASHCTL		control = {0};

	control.keysize = sizeof(TextKey);
	control.entrysize = entry_size;
	control.hash = hash_text_key;
	control.match = compare_text_keys;
	control.hcxt = cache_context;
	return hash_create(name, 16, &control, HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

/* ----- Rules that are to be switched off ----- */

static bool
is_fault_of(const AtlasRuleFault *fault, const text *tenant, int64 rule_id)
{
	return fault->rule_id == rule_id && atlas_compare_text(fault->tenant, tenant) == 0;
}

/* What is known of a rule; NULL if there is nothing. */
static const AtlasRuleFault *
known_fault_of(const text *tenant, int64 rule_id)
{
	ListCell   *cell;

	foreach(cell, known_faults)
		if (is_fault_of(lfirst(cell), tenant, rule_id))
			return lfirst(cell);
	return NULL;
}

void
atlas_rule_cache_note_fault(const AtlasRuleFault *fault)
{
	Size		tenant_size = VARSIZE_ANY(fault->tenant);
	AtlasRuleFault *copy;
	MemoryContext old;

	if (known_fault_of(fault->tenant, fault->rule_id) != NULL)
		return;
	copy = MemoryContextAlloc(TopMemoryContext, sizeof(AtlasRuleFault) + tenant_size + strlen(fault->reason) + 1);
	copy->rule_id = fault->rule_id;
	copy->tenant = (const text *) (copy + 1);
	copy->reason = (const char *) (copy + 1) + tenant_size;
	memcpy(copy + 1, fault->tenant, tenant_size);
	memcpy((char *) (copy + 1) + tenant_size, fault->reason, strlen(fault->reason) + 1);
	old = MemoryContextSwitchTo(TopMemoryContext);
	known_faults = lappend(known_faults, copy);
	MemoryContextSwitchTo(old);
	cache_valid = false;
}

/* Forgets what is known of rules that the tenant has no more. Those that it has are the others. */
static void
forget_faults(const text *tenant, SPITupleTable *rules, uint64 nrules)
{
	ListCell   *cell;

	foreach(cell, known_faults)
	{
		const AtlasRuleFault *fault = lfirst(cell);
		bool		isnull;
		uint64		i = 0;

		if (atlas_compare_text(fault->tenant, tenant) != 0)
			continue;
		while (i < nrules && DatumGetInt64(SPI_getbinval(rules->vals[i], rules->tupdesc, 1, &isnull)) != fault->rule_id)
			i++;
		if (i < nrules)
			continue;
		known_faults = foreach_delete_current(known_faults, cell);
		pfree(unconstify(AtlasRuleFault *, fault));
	}
}

/* ----- Reading ----- */

/* A column as text that is not compressed, in the current memory context; NULL if it is null. */
static const text *
rule_text(HeapTuple row, int column)
{
	return atlas_result_text(row, SPI_tuptable->tupdesc, column);
}

/* Takes the condition of a row, which somebody may have written past atlas_create_rule(). */
static void
take_condition(AtlasRule *rule, HeapTuple row)
{
	bool		isnull;
	Datum		value = SPI_getbinval(row, SPI_tuptable->tupdesc, 5, &isnull);
	AtlasError	error = {0};

	rule->has_condition = !isnull;
	if (isnull)
		return;
	atlas_condition_check(DatumGetJsonPathPCopy(value), "/condition", &error, &rule->condition);
	if (error.status != 0)
		rule->problem = atlas_problems_in_words(error.problems);
}

/* The role in whose session the rule acts: that of us, or its owner; NULL if it does not act. */
static const text *
session_role_of(HeapTuple row)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	bool		isnull;
	Oid			owner;

	if (DatumGetBool(SPI_getbinval(row, tupdesc, 10, &isnull)))
		return cstring_to_text("");
	if (!DatumGetBool(SPI_getbinval(row, tupdesc, 11, &isnull)))
		return NULL;
	owner = atlas_rule_owner(row, tupdesc, 12);
	return cstring_to_text(OidIsValid(owner) ? GetUserNameFromId(owner, false) : SPI_getvalue(row, tupdesc, 12));
}

/* Makes a rule of a row. */
static AtlasRule *
make_rule(const text *tenant, HeapTuple row)
{
	TupleDesc	tupdesc = SPI_tuptable->tupdesc;
	AtlasRule  *rule = palloc0(sizeof(AtlasRule));
	const AtlasRuleFault *fault;
	bool		isnull;
	Datum		within;

	rule->id = DatumGetInt64(SPI_getbinval(row, tupdesc, 1, &isnull));
	rule->tenant = tenant;
	rule->name = rule_text(row, 2);
	rule->object_type = rule_text(row, 3);
	rule->event_name = rule_text(row, 4);
	take_condition(rule, row);
	rule->times = DatumGetInt32(SPI_getbinval(row, tupdesc, 6, &isnull));
	within = SPI_getbinval(row, tupdesc, 7, &isnull);
	rule->within = isnull ? 0 : atlas_rule_microseconds(DatumGetIntervalP(within));
	if (!atlas_rule_role(rule_text(row, 8), &rule->role) || !atlas_rule_times_are_valid(rule->times, rule->within))
		rule->problem = "its definition was changed to something that is not valid";
	rule->since = DatumGetTimestampTz(SPI_getbinval(row, tupdesc, 9, &isnull));
	rule->session_role = session_role_of(row);
	fault = known_fault_of(tenant, rule->id);
	if (fault != NULL)
		rule->known_fault = MemoryContextStrdup(cache_context, fault->reason);
	return rule;
}

/* Puts a rule where it is found. */
static void
add_rule(AtlasTenantRules *rules, AtlasRule *rule)
{
	TextKey		key = {rule->object_type, NULL};
	RulesEntry *entry;
	bool		found;

	/* Events of a type are looked for by the type alone first, so this entry is always there. */
	entry = hash_search(rules->by_type, &key, HASH_ENTER, &found);
	if (!found)
		entry->rules = NIL;
	if (rule->event_name != NULL)
	{
		key.second = rule->event_name;
		entry = hash_search(rules->by_type, &key, HASH_ENTER, &found);
		if (!found)
			entry->rules = NIL;
	}
	entry->rules = lappend(entry->rules, rule);

	if (rule->role == ATLAS_ROLE_PRIMARY)
		return;
	if (rule->event_name == NULL)
		rules->any_related = true;
	else
	{
		TextKey		name = {rule->event_name, NULL};

		(void) hash_search(rules->names_of_related, &name, HASH_ENTER, NULL);
	}
}

/* Reads the rules of a tenant. */
static void
load_tenant(AtlasTenantRules *rules)
{
	Datum		value = PointerGetDatum(rules->key.first);
	uint64		nrules = atlas_execute_now(&select_rules, &value);
	SPITupleTable *found = SPI_tuptable;
	MemoryContext old = MemoryContextSwitchTo(cache_context);

	forget_faults(rules->key.first, found, nrules);
	rules->by_type = NULL;
	rules->any_related = false;
	if (nrules > 0)
	{
		rules->by_type = make_text_hash("atlas_events rules", sizeof(RulesEntry));
		rules->names_of_related = make_text_hash("atlas_events names", sizeof(RulesEntry));
	}
	for (uint64 i = 0; i < nrules; i++)
		add_rule(rules, make_rule(rules->key.first, found->vals[i]));
	MemoryContextSwitchTo(old);
	SPI_freetuptable(found);
	rules->is_loaded = true;
	if (nrules > 0)
		cache_size = MemoryContextMemAllocated(cache_context, true);
}

/* ----- Finding ----- */

void
atlas_rule_cache_refresh(void)
{
	if (cache_valid && cache_relid == atlas_relation(ATLAS_RULES) && !atlas_rule_cache_is_large())
		return;
	tenants = NULL;
	if (cache_context == NULL)
		cache_context = AllocSetContextCreate(TopMemoryContext, "atlas_events rules",
											  ALLOCSET_SMALL_SIZES);
	else
		MemoryContextReset(cache_context);
	tenants = make_text_hash("atlas_events tenants", sizeof(AtlasTenantRules));
	cache_relid = atlas_relation(ATLAS_RULES);
	cache_size = 0;
	cache_valid = true;
}

/* Tenants without rules, which cost next to nothing, are counted. */
bool
atlas_rule_cache_is_large(void)
{
	return cache_size > MOST_MEMORY ||
		(Size) hash_get_num_entries(tenants) > MOST_MEMORY / 1024;
}

AtlasTenantRules *
atlas_rules_of_tenant(const text *tenant)
{
	TextKey		key = {tenant, NULL};
	AtlasTenantRules *rules = hash_search(tenants, &key, HASH_FIND, NULL);

	if (rules == NULL)
	{
		Size		size = VARSIZE_ANY(tenant);
		text	   *copy = MemoryContextAlloc(cache_context, size);

		memcpy(copy, tenant, size);
		key.first = copy;
		rules = hash_search(tenants, &key, HASH_ENTER, NULL);
		rules->is_loaded = false;
	}
	if (!rules->is_loaded)
		load_tenant(rules);
	return rules->by_type != NULL ? rules : NULL;
}

List *
atlas_rules_add(List *list, AtlasTenantRules *rules, const text *object_type, const text *event_name)
{
	TextKey		key = {object_type, NULL};
	RulesEntry *entry = hash_search(rules->by_type, &key, HASH_FIND, NULL);

	if (entry == NULL)
		return list;
	list = list_concat(list, entry->rules);
	key.second = event_name;
	entry = hash_search(rules->by_type, &key, HASH_FIND, NULL);
	return entry != NULL ? list_concat(list, entry->rules) : list;
}

bool
atlas_rules_count_related(AtlasTenantRules *rules, const text *event_name)
{
	TextKey		key = {event_name, NULL};

	return rules->any_related || hash_search(rules->names_of_related, &key, HASH_FIND, NULL) != NULL;
}
