/*
 * fuzz_check.c
 *		What both parts of the fuzz target need: to say that something is wrong,
 *		and to ask PostgreSQL's input functions.
 */
#include "postgres.h"

#include "fmgr.h"
#include "fuzz_check.h"

#include "event/body.h"

static const char *current_body = "";	/* for the report */

void
atlas_fuzz_fail(const char *format,...)
{
	va_list		args;

	fprintf(stderr, "\nFAILED: ");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, "\n%s\n", current_body);
	abort();
}

Datum
atlas_fuzz_input(Datum (*function) (FunctionCallInfo), const char *string, ErrorData **error)
{
	MemoryContext context = CurrentMemoryContext;
	volatile Datum result = (Datum) 0;

	*error = NULL;
	PG_TRY();
	{
		result = DirectFunctionCall3(function, CStringGetDatum(string),
									 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		*error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	return result;
}

const char *
atlas_fuzz_skip_mark(const char *body)
{
	Size		length = strlen(body);

	return atlas_skip_byte_order_mark(body, &length);
}

void
atlas_fuzz_begin(const char *body)
{
	current_body = body;
}
