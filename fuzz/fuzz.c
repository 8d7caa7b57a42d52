/*
 * fuzz.c
 *		The fuzz target of script/fuzz: request bodies for the decoder.
 *
 * This is a part of the library only if it is built with FUZZ. libFuzzer then runs inside
 * of a single-user server (fuzz_run.c). Each input is read like the text that submit_event() gets, or
 * submit_events() if it begins with a bracket, and what was read is compared with jsonb
 * (fuzz_oracle.c). An input also fails if it raises an error that is not one of the Events
 * API's, or if memory of jansson is left.
 */
#include "postgres.h"

#include "fmgr.h"
#include "fuzz_check.h"
#include "fuzz_memory.h"
#include "fuzz_oracle.h"
#include "fuzz_run.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "event/error.h"
#include "event/event_json.h"
#include "event/validation.h"

PG_FUNCTION_INFO_V1(atlas_fuzz);

/* ----- jansson's allocations ----- */

static int64 njansson = 0;

/* An allocation of jansson. */
static void *
count_malloc(size_t size)
{
	njansson++;
	return malloc(size);
}

/* The end of an allocation of jansson. */
static void
count_free(void *pointer)
{
	if (pointer != NULL)
		njansson--;
	free(pointer);
}

/* ----- One input ----- */

/* Checks that the problems, as the caller gets them, are JSON again. */
static void
check_problems_as_json(const AtlasError *error)
{
	ErrorData  *edata;
	Datum		jsonb;

	if (error->status != ATLAS_INVALID_EVENT)
		return;
	jsonb = atlas_fuzz_input(jsonb_in, atlas_json_to_string(atlas_problems_to_json(error->problems)),
							 &edata);
	if (edata != NULL || JB_ROOT_COUNT(DatumGetJsonbP(jsonb)) != list_length(error->problems))
		atlas_fuzz_fail("the problems are no JSON array");
}

/*
 * Reads the body as submit_event() or submit_events() would, and has the oracle compare
 * it.
 */
static void
decode_body(const char *body, Size size, bool is_array, const char *copy)
{
	if (is_array)
	{
		int			nevents;
		AtlasEvent *events = atlas_events_from_json(body, size, &nevents);

		atlas_fuzz_check_events(events, nevents, copy);
		for (int i = 0; i < nevents; i++)
			check_problems_as_json(&events[i].error);
	}
	else
	{
		AtlasEvent	event;

		atlas_event_init(&event, "", GetCurrentTimestamp());
		atlas_event_from_json(&event, body, size);
		atlas_fuzz_check_event(&event, copy);
		check_problems_as_json(&event.error);
	}
}

/* Looks at an input. */
static void
look_at_body(char *body, Size size)
{
	MemoryContext input_context = CurrentMemoryContext;
	char	   *copy = pnstrdup(body, size);
	bool		is_array;

	atlas_fuzz_begin(copy);
	is_array = atlas_fuzz_skip_mark(copy)[strspn(atlas_fuzz_skip_mark(copy), " \t\r\n")] == '[';
	PG_TRY();
	{
		decode_body(body, size, is_array, copy);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(input_context);
		error = CopyErrorData();
		FlushErrorState();
		atlas_fuzz_check_raised(error, copy);
	}
	PG_END_TRY();

	atlas_fuzz_free_all();
	if (njansson != 0)
		atlas_fuzz_fail(INT64_FORMAT " allocations of jansson are left", njansson);
}

/* The SQL function. */
Datum
atlas_fuzz(PG_FUNCTION_ARGS)
{
	json_set_alloc_funcs(count_malloc, count_free);
	PG_RETURN_INT32(atlas_fuzz_run(PG_GETARG_ARRAYTYPE_P(0), look_at_body));
}
