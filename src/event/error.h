/*
 * error.h
 *		The errors of the Events API: PT400, PT404, PT409 and PT413.
 *
 * PostgREST turns these SQLSTATEs into HTTP statuses and copies the message into the
 * status line. So the message is a constant ASCII phrase, and everything that varies is
 * in the detail and the hint.
 */
#ifndef ATLAS_ERROR_H
#define ATLAS_ERROR_H

#include "nodes/pg_list.h"

#include "base/compat.h"
#include "base/json.h"

/*
 * How many problems are listed of one event, and of all events of a call besides the
 * first one of each. So no request has a huge answer, or takes much memory.
 */
#define ATLAS_MAX_PROBLEMS 100
#define ATLAS_MAX_PROBLEMS_OF_CALL 1000

/* The most bytes of a problem's message. A longer one is cut. */
#define ATLAS_MAX_MESSAGE 1000

typedef enum AtlasStatus
{
	ATLAS_OK = 200,
	ATLAS_INVALID_EVENT = 400,
	ATLAS_OBJECT_NOT_FOUND = 404,
	ATLAS_CONFLICT = 409,
	ATLAS_TOO_LARGE = 413
} AtlasStatus;

/* One thing that is wrong with an event. */
typedef struct AtlasProblem
{
	const char *field;			/* JSON pointer into the event */
	const char *code;			/* a word for programs, such as "required" */
	const char *message;		/* a sentence for people */
} AtlasProblem;

/* Why an event is refused. All zero means that it has not been refused so far. */
typedef struct AtlasError
{
	AtlasStatus status;			/* 0 while nothing is wrong */
	List	   *problems;		/* of AtlasProblem, for ATLAS_INVALID_EVENT */
	bool		is_full;		/* there are more problems than are listed */
	int		   *room;			/* how many more the call may list; NULL: no such limit */
	const char *detail;			/* for the other statuses */
	const char *hint;
} AtlasError;

/*
 * Adds a problem and makes the error an ATLAS_INVALID_EVENT. When no more may be listed,
 * a last one says that there are others.
 */
extern void atlas_add_problem(AtlasError *error, const char *code, const char *field,
							  const char *message_format,...) pg_attribute_printf(4, 5);

/* Writes a message into a buffer of ATLAS_MAX_MESSAGE + 1 bytes, and cuts it if it is longer. */
extern void atlas_format_message(char *buffer, const char *format, va_list args)
			pg_attribute_printf(2, 0);

/* Makes the error one of another status, unless the event is refused already. */
extern void atlas_refuse(AtlasError *error, AtlasStatus status,
						 const char *detail, const char *hint);

/* Raises the error with its SQLSTATE. */
atlas_noreturn extern void atlas_raise(const AtlasError *error);

/* The SQLSTATE and the message of a status: "PT404" and "Object Not Found". */
extern const char *atlas_status_code(AtlasStatus status);
extern const char *atlas_status_message(AtlasStatus status);

/* The problems as [{"field":...,"code":...,"message":...}]. */
extern json_t *atlas_problems_to_json(const List *problems);

/* The first ten problems in one line for people, palloc'd. */
extern char *atlas_problems_in_words(const List *problems);

#endif							/* ATLAS_ERROR_H */
