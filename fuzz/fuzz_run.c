/*
 * fuzz_run.c
 *		Runs libFuzzer inside of a single-user server, from an SQL function, so that what
 *		is fuzzed calls the real functions of the server.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fuzz_memory.h"
#include "fuzz_run.h"
#include "libpq/pqsignal.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*test_one_input) (const uint8 *data, size_t size));

static MemoryContext input_context;
static AtlasFuzzLook look_at_input;

/*
 * Puts question marks in the place of what a text of the server cannot have: the
 * character 0, and bytes that are not valid in its encoding.
 */
static void
make_valid(char *text, Size size)
{
	Size		position = 0;

	while (position < size)
	{
		int			width = text[position] == '\0' ? -1 :
			pg_encoding_verifymbchar(GetDatabaseEncoding(), text + position, size - position);

		if (width <= 0)
		{
			text[position] = '?';
			width = 1;
		}
		position += width;
	}
}

/* What libFuzzer calls with each input. */
static int
test_one_input(const uint8 *data, size_t size)
{
	/* The copy has exactly the size of the input, so that reading too far is noticed. */
	char	   *text = memcpy(malloc(size), data, size);

	make_valid(text, size);
	MemoryContextSwitchTo(input_context);
	look_at_input(text, size);
	MemoryContextSwitchTo(input_context);
	atlas_fuzz_free_all();
	MemoryContextReset(input_context);
	free(text);
	CHECK_FOR_INTERRUPTS();
	return 0;
}

int
atlas_fuzz_run(ArrayType *arguments, AtlasFuzzLook look)
{
	Datum	   *items;
	int			nitems;
	char	  **argv;
	int			argc = 1;

	deconstruct_array(arguments, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL, &nitems);
	argv = palloc0(sizeof(char *) * (nitems + 2));
	argv[0] = pstrdup("atlas_fuzz");
	for (int i = 0; i < nitems; i++)
		argv[argc++] = TextDatumGetCString(items[i]);
	input_context = AllocSetContextCreate(CurrentMemoryContext, "atlas_events input",
										  ALLOCSET_DEFAULT_SIZES);
	look_at_input = look;

	/* libFuzzer has handlers of its own, and the server's would be in their way. */
	pqsignal(SIGALRM, SIG_DFL);
	pqsignal(SIGINT, SIG_DFL);
	pqsignal(SIGTERM, SIG_DFL);
	return LLVMFuzzerRunDriver(&argc, &argv, test_one_input);
}
