/*
 * fuzz_memory.c
 *		The allocations of the files that take a request apart.
 *
 * Each is one of malloc, of exactly its size. AddressSanitizer then sees a byte that is
 * read or written too far, which it would not see in a memory context.
 */
#include "postgres.h"

#include "fuzz_memory.h"

typedef struct Chunk
{
	struct Chunk *next;
	Size		size;
	void	   *data;
} Chunk;

static Chunk *chunks = NULL;

/* Where the chunk hangs in the list. The pointer there is null if it is not one of ours. */
static Chunk **
find_chunk(const void *data)
{
	Chunk	  **chunk = &chunks;

	while (*chunk != NULL && (*chunk)->data != data)
		chunk = &(*chunk)->next;
	return chunk;
}

/* Frees a chunk and takes it out of the list. */
static void
free_chunk(Chunk **chunk)
{
	Chunk	   *freed = *chunk;

	*chunk = freed->next;
	free(freed->data);
	free(freed);
}

/* The memory is filled, so that reading it before writing it is noticed. */
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

/* Frees what may also have been allocated elsewhere, with the server's palloc(). */
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

void
atlas_fuzz_free_all(void)
{
	while (chunks != NULL)
		free_chunk(&chunks);
}
