/*
 * error.c
 *		The errors of the Events API, raised or written into a response.
 *
 * An AtlasError collects what is wrong with one event. It is raised if the event was
 * submitted alone, and written into the results of submit_events() if the event was
 * submitted with others. A new SQLSTATE is added to AtlasStatus and to the two functions
 * below that return its code and its message.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/encoding.h"
#include "event/error.h"

/* The number of problems that are told in words. Programs get them all. */
#define PROBLEMS_IN_WORDS 10

/*
 * May another problem be listed? The first one of an event always is, so that its
 * submitter learns why it was refused.
 */
static bool
has_room(const AtlasError *error, int nproblems)
{
	return nproblems == 0 ||
		(nproblems < ATLAS_MAX_PROBLEMS && (error->room == NULL || *error->room > 0));
}

/* A message may quote what was sent, so it is cut between two characters. */
void
atlas_format_message(char *buffer, const char *format, va_list args)
{
	if (vsnprintf(buffer, ATLAS_MAX_MESSAGE + 1, format, args) > ATLAS_MAX_MESSAGE)
		buffer[atlas_clipped_length(buffer, ATLAS_MAX_MESSAGE, ATLAS_MAX_MESSAGE - 1)] = '\0';
}

/* Only the first call that finds no room adds the note that there are more. */
void
atlas_add_problem(AtlasError *error, const char *code, const char *field, const char *message_format,...)
{
	AtlasProblem *problem;
	int			nproblems = list_length(error->problems);
	char		message[ATLAS_MAX_MESSAGE + 1] = "there are more problems than these";

	if (error->is_full)
		return;
	if (!has_room(error, nproblems))
	{
		error->is_full = true;
		code = "too_many";
		field = "";
	}
	else
	{
		va_list		args;

		if (nproblems > 0 && error->room != NULL)
			(*error->room)--;
		va_start(args, message_format);
		atlas_format_message(message, message_format, args);
		va_end(args);
	}

	problem = palloc(sizeof(AtlasProblem));
	problem->field = field;
	problem->code = code;
	problem->message = pstrdup(message);
	error->status = ATLAS_INVALID_EVENT;
	error->problems = lappend(error->problems, problem);
}

void
atlas_refuse(AtlasError *error, AtlasStatus status, const char *detail, const char *hint)
{
	if (error->status != 0)
		return;
	error->status = status;
	error->detail = detail;
	error->hint = hint;
}

const char *
atlas_status_code(AtlasStatus status)
{
	switch (status)
	{
		case ATLAS_INVALID_EVENT:
			return "PT400";
		case ATLAS_OBJECT_NOT_FOUND:
			return "PT404";
		case ATLAS_CONFLICT:
			return "PT409";
		case ATLAS_TOO_LARGE:
			return "PT413";
		case ATLAS_OK:
			break;
	}
	return "00000";
}

const char *
atlas_status_message(AtlasStatus status)
{
	switch (status)
	{
		case ATLAS_INVALID_EVENT:
			return "Invalid Event";
		case ATLAS_OBJECT_NOT_FOUND:
			return "Object Not Found";
		case ATLAS_CONFLICT:
			return "Conflict";
		case ATLAS_TOO_LARGE:
			return "Event Too Large";
		case ATLAS_OK:
			break;
	}
	return "Event Linked";
}

void
atlas_raise(const AtlasError *error)
{
	const char *code = atlas_status_code(error->status);
	const char *detail = error->detail;

	if (error->status == ATLAS_INVALID_EVENT)
		detail = atlas_json_to_string(atlas_problems_to_json(error->problems));

	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4])),
			 errmsg_internal("%s", atlas_status_message(error->status)),
			 detail ? errdetail_internal("%s", detail) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
	pg_unreachable();
}

json_t *
atlas_problems_to_json(const List *problems)
{
	json_t	   *array = json_array();
	ListCell   *cell;

	PG_TRY();
	{
		foreach(cell, problems)
		{
			const AtlasProblem *problem = lfirst(cell);
			json_t	   *item = atlas_json_object();

			/* The array owns the item at once, so that an error frees both. */
			if (json_array_append_new(array, item) != 0)
				elog(ERROR, "out of memory");
			json_object_set_new(item, "field", atlas_json_string(problem->field));
			json_object_set_new(item, "code", json_string(problem->code));
			json_object_set_new(item, "message", atlas_json_string(problem->message));
		}
	}
	PG_CATCH();
	{
		json_decref(array);
		PG_RE_THROW();
	}
	PG_END_TRY();

	return array;
}

/* Writes "field: message; field: message". */
char *
atlas_problems_in_words(const List *problems)
{
	StringInfoData words;
	ListCell   *cell;

	initStringInfo(&words);
	foreach(cell, problems)
	{
		const AtlasProblem *problem = lfirst(cell);

		if (foreach_current_index(cell) == PROBLEMS_IN_WORDS)
			break;
		if (words.len > 0)
			appendStringInfoString(&words, "; ");
		if (problem->field[0] != '\0')
			appendStringInfo(&words, "%s: ", problem->field);
		appendStringInfoString(&words, problem->message);
	}
	return words.data;
}
