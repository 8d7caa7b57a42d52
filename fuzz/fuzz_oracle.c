/*
 * fuzz_oracle.c
 *		Checks that the decoder reads the same from a request as jsonb does.
 *
 * The two differ on purpose in these cases:
 *
 * - We call nesting of more than 2048 levels outside of the payload malformed, and also a
 *	 number that is the whole body and that int64 or double cannot hold. Neither could be
 *	 an event anyway.
 * - Outside of the payload, a number that jsonb cannot hold, and U+0000, are a problem of
 *	 the field for us. jsonb refuses the whole body.
 * - An id that is a number must be written as an integer. jsonb forgets how it was written.
 * - In SQL_ASCII we refuse bytes that are not UTF-8, and accept \u escapes.
 * - We refuse an event that has a key twice outside of the payload.
 * - An occurredAt may have second 60, and an offset of 23:59. A fraction finer than a
 *	 microsecond is cut off instead of rounded.
 * - A request over a limit is not examined.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "fuzz_check.h"
#include "fuzz_oracle.h"
#include "mb/pg_wchar.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "event/event_json.h"
#include "event/jsonb_text.h"
#include "event/validation.h"
#include "submit/fingerprint.h"

#define RFC3339 \
	"^\\d{4}-\\d\\d-\\d\\d[Tt]\\d\\d:\\d\\d:\\d\\d(\\.\\d+)?([Zz]|[+-]\\d\\d:\\d\\d)$"

/* Is there a value, and is it of this type? */
static bool
is(const JsonbValue *value, enum jbvType type)
{
	return value != NULL && value->type == type;
}

/* Is there a value, and is it an array or an object, as the flag says? */
static bool
is_container(const JsonbValue *value, uint32 flag)
{
	return is(value, jbvBinary) && (value->val.binary.data->header & flag) != 0;
}

/* A field of an object. NULL if there is none, or the value is not an object. */
static JsonbValue *
field_of(const JsonbValue *object, const char *key)
{
	if (!is_container(object, JB_FOBJECT))
		return NULL;
	return getKeyJsonValueFromContainer(object->val.binary.data, key, strlen(key), NULL);
}

/* A null counts as absent. */
static bool
is_missing(const JsonbValue *value)
{
	return value == NULL || value->type == jbvNull;
}

/* Is it a string that is empty or consists of white space? */
static bool
is_blank_string(const JsonbValue *value)
{
	static const char *const blanks = " \t\n\r\f";
	Size		length = is(value, jbvString) ? value->val.string.len : 0;

	return is(value, jbvString) &&
		strspn(pnstrdup(value->val.string.val, length), blanks) == length;
}

/* The value that a JSON pointer leads to, or NULL. */
static JsonbValue *
follow(JsonbValue *value, const char *pointer)
{
	while (*pointer == '/' && value != NULL)
	{
		StringInfoData key;

		initStringInfo(&key);
		for (pointer++; *pointer != '\0' && *pointer != '/'; pointer++)
		{
			if (*pointer == '~')
				appendStringInfoChar(&key, *++pointer == '1' ? '/' : '~');
			else
				appendStringInfoChar(&key, *pointer);
		}
		if (is_container(value, JB_FARRAY))
			value = getIthJsonbValueFromContainer(value->val.binary.data, atoi(key.data));
		else
			value = field_of(value, key.data);
	}
	return value;
}

/* ----- An event that is accepted ----- */

/* Our text must be the string that jsonb has. A null counts as absent. */
static void
check_string(const text *ours, const JsonbValue *theirs, const char *what)
{
	if (ours == NULL ? !is_missing(theirs) :
		!is(theirs, jbvString) || theirs->val.string.len != VARSIZE_ANY_EXHDR(ours) ||
		memcmp(theirs->val.string.val, VARDATA_ANY(ours), VARSIZE_ANY_EXHDR(ours)) != 0)
		atlas_fuzz_fail("%s is another string", what);
}

/* Our id must be the string that jsonb has, or the digits of its integer. */
static void
check_id(const text *ours, const JsonbValue *theirs, const char *what)
{
	JsonbValue	digits;

	if (is(theirs, jbvNumeric))
	{
		digits.type = jbvString;
		digits.val.string.val = DatumGetCString(DirectFunctionCall1(numeric_out,
																	NumericGetDatum(theirs->val.numeric)));
		digits.val.string.len = strlen(digits.val.string.val);
		theirs = &digits;
	}
	check_string(ours, theirs, what);
}

/* Type and ids of a reference must be those that jsonb has. */
static void
check_reference(const AtlasReference *reference, const JsonbValue *object)
{
	JsonbValue *type = field_of(object, "objectType");

	if (!is(type, jbvString) ||
		strcmp(reference->object_type,
			   atlas_fold_object_type(type->val.string.val, type->val.string.len)) != 0)
		atlas_fuzz_fail("objectType is another one");
	check_id(reference->object_id, field_of(object, "objectId"), "objectId");
	check_id(reference->external_id, field_of(object, "externalId"), "externalId");
}

/* Can this id be the reason why a related object can never be looked up? */
static bool
is_odd_id(const JsonbValue *id)
{
	return !is_missing(id) &&
		(!is(id, jbvString) || id->val.string.len > ATLAS_MAX_ID_LENGTH || is_blank_string(id));
}

/* Is something wrong with this related object, as jsonb sees it? */
static bool
is_odd(const JsonbValue *object)
{
	static const char *const keys[] = {"objectType", "objectId", "externalId"};
	JsonbValue *type = field_of(object, "objectType");
	JsonbValue *id = field_of(object, "objectId");
	JsonbValue *external_id = field_of(object, "externalId");
	int			nkeys = 0;

	for (int i = 0; i < lengthof(keys); i++)
		if (field_of(object, keys[i]) != NULL)
			nkeys++;
	return JsonContainerSize(object->val.binary.data) != nkeys ||
		!is(type, jbvString) || type->val.string.len == 0 ||
		(is_missing(id) && is_missing(external_id)) || is_odd_id(id) || is_odd_id(external_id);
}

/*
 * The related objects must be those that jsonb has. One with a problem must have one in
 * jsonb as well.
 */
static void
compare_related(const AtlasEvent *event, const JsonbValue *array)
{
	if (is_missing(array))
	{
		if (event->nrelated != 0)
			atlas_fuzz_fail("there are no relatedObjects");
		return;
	}
	if (!is_container(array, JB_FARRAY) ||
		JsonContainerSize(array->val.binary.data) != event->nrelated)
		atlas_fuzz_fail("relatedObjects are others");
	for (int i = 0; i < event->nrelated; i++)
	{
		JsonbValue *item = getIthJsonbValueFromContainer(array->val.binary.data, i);

		if (!is_container(item, JB_FOBJECT))
			atlas_fuzz_fail("a related object is none");
		if (event->related[i].problem == NULL)
			check_reference(&event->related[i], item);
		else if (!is_odd(item))
			atlas_fuzz_fail("nothing is wrong with a related object: %s", event->related[i].problem);
	}
}

/* The payload must be the one that jsonb has, and its size must be counted. */
static void
check_payload(const AtlasEvent *event, JsonbValue *theirs)
{
	Jsonb	   *payload = event->payload;
	Jsonb	   *other;
	char	   *printed;

	if (is_missing(theirs))
	{
		if (payload != NULL)
			atlas_fuzz_fail("there is no payload");
		return;
	}
	if (payload == NULL || !is_container(theirs, JB_FOBJECT))
		atlas_fuzz_fail("payload is lost, or no object");
	other = JsonbValueToJsonb(theirs);
	printed = JsonbToCString(NULL, &payload->root, VARSIZE(payload));
	if (strcmp(printed, JsonbToCString(NULL, &other->root, VARSIZE(other))) != 0)
		atlas_fuzz_fail("payload is another one");
	if (strlen(printed) != atlas_jsonb_text_length(&payload->root))
		atlas_fuzz_fail("the text of the payload has %zu bytes, and not %zu", strlen(printed),
						atlas_jsonb_text_length(&payload->root));
	if (strlen(printed) > event->size)
		atlas_fuzz_fail("the text of the payload has %zu bytes, %zu were counted", strlen(printed),
						event->size);
}

/* Reads a time as PostgreSQL does. Returns false if it cannot. */
static bool
read_time(const JsonbValue *value, TimestampTz *result)
{
	ErrorData  *error;
	Datum		time = atlas_fuzz_input(timestamptz_in,
										pnstrdup(value->val.string.val, value->val.string.len), &error);

	if (error == NULL)
		*result = DatumGetTimestampTz(time);
	return error == NULL;
}

/* Has the string the form of a date-time of RFC 3339? */
static bool
is_rfc3339(const JsonbValue *value)
{
	return RE_compile_and_execute(cstring_to_text(RFC3339), value->val.string.val,
								  value->val.string.len, REG_ADVANCED, C_COLLATION_OID, 0, NULL);
}

/* Our time must be the one that PostgreSQL reads, but for rounding. */
static void
check_time(const AtlasEvent *event, const JsonbValue *theirs)
{
	TimestampTz time;

	if (event->occurred_at_given != !is_missing(theirs))
		atlas_fuzz_fail("occurredAt is lost, or invented");
	if (!event->occurred_at_given)
		return;
	if (!is_rfc3339(theirs))
		atlas_fuzz_fail("occurredAt is no date-time of RFC 3339");
	if (read_time(theirs, &time) && Abs(time - event->occurred_at) > 1)
		atlas_fuzz_fail("occurredAt is another time");
}

/*
 * The event must be the same one when it is submitted as jsonb, unless jsonb prints it
 * larger than is allowed.
 */
static void
check_jsonb_form(const AtlasEvent *event, JsonbValue *object)
{
	AtlasEvent	other;

	if (event->related_unread)
		return;
	atlas_event_init(&other, "", event->received_at);
	atlas_event_from_jsonb(&other, JsonbValueToJsonb(object));
	if (other.error.status == ATLAS_TOO_LARGE)
		return;
	if (other.error.status != 0)
		atlas_fuzz_fail("it is refused as jsonb: %s",
						((AtlasProblem *) linitial(other.error.problems))->message);
	if (memcmp(atlas_fingerprint(event), atlas_fingerprint(&other),
			   VARSIZE(atlas_fingerprint(event))) != 0)
		atlas_fuzz_fail("it is another event as jsonb");
}

/* Compares an event that was accepted, field by field. */
static void
check_accepted(const AtlasEvent *event, JsonbValue *object)
{
	static const char *const keys[] = {"objectType", "objectId", "externalId", "name",
		"description", "icon", "payload", "relatedObjects", "occurredAt", "idempotencyKey"};
	int			nkeys = 0;

	if (!is_container(object, JB_FOBJECT))
		atlas_fuzz_fail("what was accepted is no object");
	for (int i = 0; i < lengthof(keys); i++)
		if (field_of(object, keys[i]) != NULL)
			nkeys++;
	if (JsonContainerSize(object->val.binary.data) != nkeys)
		atlas_fuzz_fail("an unknown field was accepted");
	check_reference(&event->primary, object);
	check_string(event->name, field_of(object, "name"), "name");
	check_string(event->description, field_of(object, "description"), "description");
	check_string(event->icon, field_of(object, "icon"), "icon");
	check_string(event->idempotency_key, field_of(object, "idempotencyKey"), "idempotencyKey");
	check_payload(event, field_of(object, "payload"));
	compare_related(event, field_of(object, "relatedObjects"));
	check_time(event, field_of(object, "occurredAt"));
	check_jsonb_form(event, object);
}

/* ----- An event that is refused, and why ----- */

/* Does the message have this text? */
static bool
has(const AtlasProblem *problem, const char *text)
{
	return strstr(problem->message, text) != NULL;
}

/* Is the body malformed only for jansson? */
static bool
is_beyond_jansson(const AtlasProblem *problem, const JsonbValue *body)
{
	if (is(body, jbvNumeric))
		return has(problem, "too big") || has(problem, "real number overflow");
	return has(problem, "maximum parsing depth reached");
}

/* Is it malformed only because of bytes that are text in SQL_ASCII? */
static bool
is_no_utf8(const AtlasProblem *problem)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII &&
		(has(problem, "unable to decode byte") || has(problem, "has bytes that are no UTF-8"));
}

/* Has the value really another type than the message asks for? */
static bool
is_wrong_type(const AtlasProblem *problem, const JsonbValue *value)
{
	if (has(problem, "must be a string or an integer"))
		return !is_missing(value) && !is(value, jbvString);
	if (has(problem, "must be a string"))
		return !is_missing(value) && !is(value, jbvString);
	if (has(problem, "must be an array"))
		return !is_missing(value) && !is_container(value, JB_FARRAY);
	if (has(problem, "must be an object"))
		return !is_container(value, JB_FOBJECT);
	if (has(problem, "must be a JSON object"))
		return problem->field[0] == '\0' ? !is_container(value, JB_FOBJECT) :
			!is_missing(value) && !is_container(value, JB_FOBJECT);
	return true;
}

/* Is this no time, in form or in value? */
static bool
is_no_time(const JsonbValue *value)
{
	TimestampTz time;

	return !is(value, jbvString) || !is_rfc3339(value) || !read_time(value, &time);
}

/* Does the event really have this problem, as jsonb sees it? */
static bool
is_true(const AtlasProblem *problem, JsonbValue *event)
{
	JsonbValue *value = follow(event, problem->field);
	const char *name = strrchr(problem->field, '/');

	name = name == NULL ? "" : name + 1;
	if (is_no_utf8(problem))
		return true;
	if (strcmp(problem->code, "malformed_json") == 0)
		return is_beyond_jansson(problem, event);
	if (strcmp(problem->code, "unknown_field") == 0)
		return value != NULL || strlen(name) >= 32;	/* shortened to 64 bytes of UTF-8 */
	if (strcmp(problem->code, "blank") == 0)
		return has(problem, "a character that shows") ? is(value, jbvString) : is_blank_string(value);
	if (strcmp(problem->code, "too_long") == 0 && is(value, jbvNumeric))
		return true;
	if (strcmp(problem->code, "too_long") == 0)
		return is(value, jbvString) &&
			pg_mbstrlen_with_len(value->val.string.val, value->val.string.len) > 255;
	if (strcmp(problem->code, "required") == 0)
		return is_missing(value) || is_blank_string(value);
	if (strcmp(problem->code, "invalid") != 0)
		return true;
	if (strcmp(problem->field, "/payload") == 0)
		return has(problem, "must be a JSON object") && is_wrong_type(problem, value);
	if (strcmp(problem->field, "/occurredAt") == 0)
		return is_no_time(value);
	return is_wrong_type(problem, value);
}

/* Each problem of an event that was refused must be a real one. */
static void
check_refused(const AtlasEvent *event, JsonbValue *object)
{
	ListCell   *cell;

	foreach(cell, event->error.problems)
	{
		const AtlasProblem *problem = lfirst(cell);

		if (!is_true(problem, object))
			atlas_fuzz_fail("%s %s: %s", problem->field, problem->code, problem->message);
	}
}

/* Compares an event that jsonb can read. */
static void
check_readable(const AtlasEvent *event, JsonbValue *object)
{
	if (event->error.status == 0)
		check_accepted(event, object);
	else
		check_refused(event, object);
}

/* Does the event have a problem that makes it, or its payload, malformed? */
static bool
is_malformed(const AtlasEvent *event)
{
	ListCell   *cell;

	foreach(cell, event->error.problems)
	{
		const AtlasProblem *problem = lfirst(cell);

		if (strcmp(problem->code, "malformed_json") == 0 ||
			strcmp(problem->code, "duplicate_key") == 0 ||
			strcmp(problem->code, "too_many") == 0 ||
			(strcmp(problem->field, "/payload") == 0 && strcmp(problem->code, "invalid") == 0))
			return true;
	}
	/* A payload that is too large is not read, whatever other problems there are. */
	return event->error.status == ATLAS_TOO_LARGE || event->size > atlas_max_event_size;
}

/* The whole body as jsonb. NULL and the error if jsonb cannot hold it. */
static JsonbValue *
read_whole_body(const char *body, ErrorData **error)
{
	Datum		datum = atlas_fuzz_input(jsonb_in, atlas_fuzz_skip_mark(body), error);
	JsonbValue *result;
	Jsonb	   *jsonb;

	if (*error != NULL)
		return NULL;
	jsonb = DatumGetJsonbP(datum);
	result = palloc(sizeof(JsonbValue));
	result->type = jbvBinary;
	result->val.binary.data = &jsonb->root;
	result->val.binary.len = VARSIZE(jsonb) - VARHDRSZ;
	if (JB_ROOT_IS_SCALAR(jsonb))
		return getIthJsonbValueFromContainer(&jsonb->root, 0);
	return result;
}

/* In SQL_ASCII jsonb takes no \u escapes beyond ASCII, but our fields do, as UTF-8. */
static bool
is_escape_in_sql_ascii(const ErrorData *error)
{
	return GetDatabaseEncoding() == PG_SQL_ASCII &&
		error->sqlerrcode == ERRCODE_FEATURE_NOT_SUPPORTED;
}

/* Does jsonb refuse the body for something that is a problem of a field for us? */
static bool
is_beyond_jsonb(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE ||
		error->sqlerrcode == ERRCODE_UNTRANSLATABLE_CHARACTER || is_escape_in_sql_ascii(error);
}

void
atlas_fuzz_check_event(const AtlasEvent *event, const char *body)
{
	ErrorData  *error;
	JsonbValue *reference = read_whole_body(body, &error);

	if (reference != NULL)
		check_readable(event, reference);
	else if (event->error.status == 0 && !(event->related_unread && is_beyond_jsonb(error)) &&
			 !is_escape_in_sql_ascii(error))
		atlas_fuzz_fail("accepted, although jsonb says: %s", error->message);
	else if (event->error.status != 0 && !is_malformed(event) && !is_beyond_jsonb(error))
		atlas_fuzz_fail("not said to be malformed, although jsonb says: %s", error->message);
}

void
atlas_fuzz_check_events(const AtlasEvent *events, int nevents, const char *body)
{
	ErrorData  *error;
	JsonbValue *reference = read_whole_body(body, &error);
	bool		any_malformed = false;

	for (int i = 0; i < nevents; i++)
		if (is_malformed(&events[i]))
			any_malformed = true;
	if (reference == NULL)
	{
		if (!any_malformed && !is_beyond_jsonb(error))
			atlas_fuzz_fail("no event is said to be malformed, although jsonb says: %s", error->message);
		return;
	}
	if (!is_container(reference, JB_FARRAY) ||
		JsonContainerSize(reference->val.binary.data) != nevents)
		atlas_fuzz_fail("%d events are not as many as the items of the array", nevents);
	for (int i = 0; i < nevents; i++)
		check_readable(&events[i], getIthJsonbValueFromContainer(reference->val.binary.data, i));
}

void
atlas_fuzz_check_raised(const ErrorData *error, const char *body)
{
	const char *code = unpack_sql_state(error->sqlerrcode);
	ErrorData  *jsonb_error;
	JsonbValue *reference = read_whole_body(body, &jsonb_error);

	if (strcmp(code, "PT413") == 0)
		return;
	if (strcmp(code, "PT400") != 0)
		atlas_fuzz_fail("error %s: %s", code, error->message);
	if (is_container(reference, JB_FARRAY))
		atlas_fuzz_fail("raised, although jsonb finds an array: %s", error->detail);
}
