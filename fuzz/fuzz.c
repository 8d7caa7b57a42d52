/*
 * fuzz.c
 *		The fuzz target of script/fuzz: request bodies for the decoder.
 *
 * This is a part of the library only when it is built with FUZZ=1. libFuzzer
 * then runs inside of a single-user server, called as an SQL function, so that
 * all the decoder calls is the real thing. Each input is read like the text
 * that submit_event() gets, or submit_events() if it begins with a bracket, and
 * what was read is held against jsonb (fuzz_oracle.c). Besides, an input fails
 * if an error is raised that is not one of the Events API's, or if memory of
 * jansson is left.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "fuzz.h"
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "event/body.h"
#include "event/error.h"
#include "event/event_json.h"
#include "event/validation.h"

PG_FUNCTION_INFO_V1(atlas_fuzz);

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*test_one_input) (const uint8 *data, size_t size));

static MemoryContext input_context;
static const char *current_body;	/* for the report */

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

/* ----- The allocations of the decoder, see palloc.h ----- */

typedef struct Chunk
{
	struct Chunk *next;
	Size		size;
	void	   *data;
} Chunk;

static Chunk *chunks = NULL;

/* Where the chunk hangs in the list; on a null pointer if it is none of ours. */
static Chunk **
find_chunk(const void *data)
{
	Chunk	  **chunk = &chunks;

	while (*chunk != NULL && (*chunk)->data != data)
		chunk = &(*chunk)->next;
	return chunk;
}

static void
free_chunk(Chunk **chunk)
{
	Chunk	   *freed = *chunk;

	*chunk = freed->next;
	free(freed->data);
	free(freed);
}

void *
atlas_fuzz_palloc(Size size)
{
	Chunk	   *chunk = malloc(sizeof(Chunk));

	chunk->size = size;
	chunk->data = malloc(size);
	memset(chunk->data, 0x7f, size);
	chunk->next = chunks;
	chunks = chunk;
	return chunk->data;
}

void *
atlas_fuzz_palloc0(Size size)
{
	return memset(atlas_fuzz_palloc(size), 0, size);
}

void *
atlas_fuzz_repalloc(void *pointer, Size size)
{
	void	   *result = atlas_fuzz_palloc(size);
	Chunk	  **chunk = find_chunk(pointer);

	memcpy(result, pointer, Min(size, (*chunk)->size));
	free_chunk(chunk);
	return result;
}

/* Some was allocated elsewhere. */
void
atlas_fuzz_pfree(void *pointer)
{
	Chunk	  **chunk = find_chunk(pointer);

	if (*chunk == NULL)
		pfree(pointer);
	else
		free_chunk(chunk);
}

char *
atlas_fuzz_pnstrdup(const char *string, Size length)
{
	Size		actual = strnlen(string, length);
	char	   *result = atlas_fuzz_palloc(actual + 1);

	memcpy(result, string, actual);
	result[actual] = '\0';
	return result;
}

/* ----- jansson's allocations ----- */

static int64 njansson = 0;

static void *
count_malloc(size_t size)
{
	njansson++;
	return malloc(size);
}

static void
count_free(void *pointer)
{
	if (pointer != NULL)
		njansson--;
	free(pointer);
}

/* ----- One input ----- */

/* A text of the server has no character 0 and is valid in its encoding. */
static void
make_valid(char *body, Size size)
{
	Size		position = 0;

	while (position < size)
	{
		int			width = body[position] == '\0' ? -1 :
			pg_encoding_verifymbchar(GetDatabaseEncoding(), body + position, size - position);

		if (width <= 0)
		{
			body[position] = '?';
			width = 1;
		}
		position += width;
	}
}

/* The problems as the caller gets them must be JSON again. */
static void
check_problems(const AtlasError *error)
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

static void
read_body(const char *body, Size size, bool is_array, const char *copy)
{
	if (is_array)
	{
		int			nevents;
		AtlasEvent *events = atlas_events_from_json(body, size, &nevents);

		atlas_fuzz_check_events(events, nevents, copy);
		for (int i = 0; i < nevents; i++)
			check_problems(&events[i].error);
	}
	else
	{
		AtlasEvent	event;

		atlas_event_init(&event, "", GetCurrentTimestamp());
		atlas_event_from_json(&event, body, size);
		atlas_fuzz_check_event(&event, copy);
		check_problems(&event.error);
	}
}

static int
test_one_input(const uint8 *data, size_t size)
{
	/* Of exactly the size, so that reading on is noticed. */
	char	   *body = memcpy(malloc(size), data, size);
	char	   *copy;
	bool		is_array = false;

	make_valid(body, size);
	MemoryContextSwitchTo(input_context);
	current_body = copy = pnstrdup(body, size);
	is_array = atlas_fuzz_skip_mark(copy)[strspn(atlas_fuzz_skip_mark(copy), " \t\r\n")] == '[';
	PG_TRY();
	{
		read_body(body, size, is_array, copy);
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

	while (chunks != NULL)
		free_chunk(&chunks);
	if (njansson != 0)
		atlas_fuzz_fail(INT64_FORMAT " allocations of jansson are left", njansson);
	MemoryContextReset(input_context);
	free(body);
	CHECK_FOR_INTERRUPTS();
	return 0;
}

/* The arguments are libFuzzer's. Does not return when it fuzzes. */
Datum
atlas_fuzz(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	Datum	   *items;
	int			nitems;
	char	  **argv;
	int			argc = 1;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &nitems);
	argv = palloc0(sizeof(char *) * (nitems + 2));
	argv[0] = pstrdup("atlas_fuzz");
	for (int i = 0; i < nitems; i++)
		argv[argc++] = TextDatumGetCString(items[i]);
	input_context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events input",
										  ALLOCSET_DEFAULT_SIZES);
	json_set_alloc_funcs(count_malloc, count_free);

	/* libFuzzer's own, of which the server's would be in the way. */
	pqsignal(SIGALRM, SIG_DFL);
	pqsignal(SIGINT, SIG_DFL);
	pqsignal(SIGTERM, SIG_DFL);
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, test_one_input));
}
