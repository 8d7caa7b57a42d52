/*
 * rule_json.c
 *		A rule as a request of the Events API writes it.
 *
 * The body comes in the server's encoding and is parsed as UTF-8, as that of an event. A field that cannot
 * be read is a problem, and the rule is looked at without it, so that all that is wrong with the rule is
 * said at once, and nothing twice.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#include "base/event_id.h"
#include "base/subtransaction.h"
#include "event/body.h"
#include "event/conversion.h"
#include "event/event_fields.h"
#include "event/rfc3339.h"
#include "rules/rule_json.h"

#define BODY_FLAGS (JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL)

/* A request that is being read. */
typedef struct RuleReader
{
	bool		is_trial;
	AtlasRuleRequest *request;
	AtlasError	error;
} RuleReader;

/* A value that is read by an input function of PostgreSQL. */
typedef struct TypedInput
{
	const char *string;
	bool		is_path;		/* or else an interval */
	Datum		result;
} TypedInput;

/* ----- Values ----- */

/* Reads a string. A null is the same as no field. */
static text *
read_rule_text(RuleReader *reader, const json_t *value, const char *field)
{
	text	   *result;

	if (json_is_null(value))
		return NULL;
	if (!json_is_string(value))
	{
		atlas_add_problem(&reader->error, "invalid", field, "must be a string");
		return NULL;
	}
	if (memchr(json_string_value(value), '\0', json_string_length(value)) != NULL)
	{
		atlas_add_problem(&reader->error, "invalid", field, "must not have the character U+0000");
		return NULL;
	}
	result = atlas_text_from_utf8(json_string_value(value), json_string_length(value));
	if (result == NULL)
		atlas_add_problem(&reader->error, "invalid", field,
						  "has a character that the encoding of the database does not have");
	return result;
}

/* Reads a number that fits into an int; what is wrong with its size is found out later. */
static bool
read_rule_number(RuleReader *reader, const json_t *value, const char *field, int *result)
{
	json_int_t	number = json_integer_value(value);

	if (json_is_null(value))
		return false;
	if (!json_is_integer(value))
	{
		atlas_add_problem(&reader->error, "invalid", field, "must be an integer");
		return false;
	}
	*result = number < 0 ? -1 : (int) Min(number, PG_INT32_MAX);
	return true;
}

/* Reads a time that an event can have. */
static void
read_rule_time(RuleReader *reader, const json_t *value, const char *field, TimestampTz *result)
{
	TimestampTz time;
	pg_uuid_t	id;

	if (json_is_null(value))
		return;
	if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value) &&
		atlas_parse_rfc3339(json_string_value(value), &time) && atlas_event_id_first(time, &id))
		*result = time;
	else
		atlas_add_problem(&reader->error, "invalid", field,
						  "must be a time of RFC 3339 from 1970 on, such as 2026-11-20T09:30:00Z");
}

/* The body of the subtransaction in which a text is given to an input function. */
static void
call_input_function(void *argument)
{
	TypedInput *input = argument;
	Datum		string = CStringGetDatum(input->string);

	input->result = input->is_path ? DirectFunctionCall1(jsonpath_in, string) :
		DirectFunctionCall3(interval_in, string, ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Has PostgreSQL read a text. Returns NULL, or what is wrong with the text; other errors are raised. */
static const ErrorData *
read_typed(TypedInput *input)
{
	ErrorData  *error = atlas_try(call_input_function, input);

	if (error != NULL)
	{
		int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

		if (category != ERRCODE_DATA_EXCEPTION && category != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			category != ERRCODE_FEATURE_NOT_SUPPORTED && error->sqlerrcode != ERRCODE_SYNTAX_ERROR)
			ReThrowError(error);
	}
	return error;
}

/* Reads the condition. What PostgreSQL says about a malformed one has the place. */
static JsonPath *
read_condition(RuleReader *reader, const json_t *value)
{
	const text *given = read_rule_text(reader, value, "/condition");
	TypedInput	input = {.is_path = true};
	const ErrorData *error;

	if (given == NULL)
		return NULL;
	input.string = text_to_cstring(given);
	error = read_typed(&input);
	if (error == NULL)
		return DatumGetJsonPathP(input.result);
	if (error->detail != NULL)
		atlas_add_problem(&reader->error, "malformed_condition", "/condition", "%s: %s", error->message, error->detail);
	else
		atlas_add_problem(&reader->error, "malformed_condition", "/condition", "%s", error->message);
	return NULL;
}

/* Reads a length of time, as PostgreSQL or as ISO 8601 writes it. */
static const Interval *
read_length_of_time(RuleReader *reader, const json_t *value, const char *field)
{
	const text *given = read_rule_text(reader, value, field);
	TypedInput	input = {.is_path = false};

	if (given == NULL)
		return NULL;
	input.string = text_to_cstring(given);
	if (read_typed(&input) == NULL)
		return DatumGetIntervalP(input.result);
	atlas_add_problem(&reader->error, "invalid", field, "must be a length of time, such as P7D, PT10M or 7 days");
	return NULL;
}

/* ----- Fields ----- */

/* Reads a field that only a trial has. Returns false if it is none. */
static bool
read_trial_field(RuleReader *reader, const char *key, const json_t *value)
{
	AtlasRuleRequest *request = reader->request;

	if (strcmp(key, "since") == 0)
		read_rule_time(reader, value, "/since", &request->since);
	else if (strcmp(key, "until") == 0)
		read_rule_time(reader, value, "/until", &request->until);
	else if (strcmp(key, "maxEvents") == 0)
	{
		if (read_rule_number(reader, value, "/maxEvents", &request->max_events) &&
			(request->max_events < 1 || request->max_events > ATLAS_MAX_TRIED_EVENTS))
			atlas_add_problem(&reader->error, "invalid", "/maxEvents", "must be from 1 to %d", ATLAS_MAX_TRIED_EVENTS);
	}
	else
		return false;
	return true;
}

/* Reads a field by its name. */
static void
read_rule_field(RuleReader *reader, const char *key, const json_t *value)
{
	AtlasRuleWish *wish = &reader->request->wish;

	if (strcmp(key, "ruleName") == 0 && !reader->is_trial)
		wish->name = read_rule_text(reader, value, "/ruleName");
	else if (strcmp(key, "objectType") == 0)
		wish->object_type = read_rule_text(reader, value, "/objectType");
	else if (strcmp(key, "eventName") == 0)
		wish->event_name = read_rule_text(reader, value, "/eventName");
	else if (strcmp(key, "condition") == 0)
		wish->condition = read_condition(reader, value);
	else if (strcmp(key, "times") == 0)
		wish->has_times = read_rule_number(reader, value, "/times", &wish->times);
	else if (strcmp(key, "within") == 0)
		wish->within = read_length_of_time(reader, value, "/within");
	else if (strcmp(key, "role") == 0)
		wish->role = read_rule_text(reader, value, "/role");
	else if (strcmp(key, "channel") == 0 && !reader->is_trial)
		wish->channel = read_rule_text(reader, value, "/channel");
	else if (strcmp(key, "cooldown") == 0 && !reader->is_trial)
		wish->cooldown = read_length_of_time(reader, value, "/cooldown");
	else if (!reader->is_trial || !read_trial_field(reader, key, value))
		atlas_add_problem(&reader->error, "unknown_field", psprintf("/%s", atlas_unknown_key(key, true)),
						  "is not a field of a rule");
}

static void
read_rule_fields(RuleReader *reader, const json_t *body)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(body))
	{
		atlas_add_problem(&reader->error, "invalid", "", "a rule must be a JSON object");
		return;
	}
	json_object_foreach(unconstify(json_t *, body), key, value)
		read_rule_field(reader, key, value);
}

/* ----- The request ----- */

/* Parses the body, and reads its fields. Returns false if it is no object at all. */
static bool
read_rule_body(RuleReader *reader, const char *json, Size length)
{
	AtlasCounted counted = {json, {1, 0}};
	AtlasBody	body = atlas_body(json, length, &counted);
	json_error_t parse_error;
	json_t	   *parsed;
	bool		is_object;

	if (body.json == NULL)
	{
		atlas_add_problem(&reader->error, "malformed_json", "", "%s: has a character that UTF-8 does not have",
						  atlas_place_in(&body, 0));
		return false;
	}
	parsed = json_loadb(body.json, body.length, BODY_FLAGS, &parse_error);
	if (parsed == NULL)
	{
		atlas_report_malformed(&reader->error, &body, &parse_error);
		return false;
	}
	is_object = json_is_object(parsed);
	PG_TRY();
	{
		read_rule_fields(reader, parsed);
	}
	PG_FINALLY();
	{
		json_decref(parsed);
	}
	PG_END_TRY();
	return is_object;
}

static bool
has_problem_with(const AtlasError *error, const char *field)
{
	ListCell   *cell;

	foreach(cell, error->problems)
		if (strcmp(((const AtlasProblem *) lfirst(cell))->field, field) == 0)
			return true;
	return false;
}

/*
 * Adds what is wrong with the rule as a whole. A field that could not be read was told of already; a number
 * of times that could not be read fits whatever stands beside it.
 */
static void
add_problems_of_rule(RuleReader *reader)
{
	AtlasRuleWish wish = reader->request->wish;
	AtlasError	found = {0};
	ListCell   *cell;

	if (has_problem_with(&reader->error, "/times"))
	{
		wish.has_times = true;
		wish.times = wish.within != NULL ? 2 : 1;
	}
	atlas_rule_find_problems(&wish, !reader->is_trial, &reader->request->rule, &found);
	foreach(cell, found.problems)
	{
		const AtlasProblem *problem = lfirst(cell);

		if (problem->field[0] == '\0' || !has_problem_with(&reader->error, problem->field) ||
			strcmp(problem->code, "not_allowed") == 0)
			atlas_add_problem(&reader->error, problem->code, problem->field, "%s", problem->message);
	}
}

void
atlas_rule_from_json(const text *body, bool is_trial, AtlasRuleRequest *request)
{
	RuleReader	reader = {.is_trial = is_trial,.request = request};
	Size		length = VARSIZE_ANY_EXHDR(body);
	const char *json = atlas_skip_byte_order_mark(VARDATA_ANY(body), &length);

	memset(request, 0, sizeof(*request));
	request->since = DT_NOBEGIN;
	request->until = DT_NOEND;
	request->max_events = ATLAS_USUAL_TRIED_EVENTS;
	if (length > ATLAS_MAX_RULE_REQUEST)
		atlas_refuse(&reader.error, ATLAS_TOO_LARGE,
					 psprintf("A rule has at most %d bytes, this one has %zu.", ATLAS_MAX_RULE_REQUEST, length),
					 "Shorten the condition.");
	else if (read_rule_body(&reader, json, length))
		add_problems_of_rule(&reader);
	if (reader.error.status != 0)
		atlas_raise(&reader.error);
}
