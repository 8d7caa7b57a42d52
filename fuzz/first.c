/*
 * first.c
 *		Preloaded beside the runtime of AddressSanitizer, which starts with the
 *		first malloc. If that is made by a library's constructor while it
 *		holds one of libc's locks, the process hangs; this one makes it before.
 *		Linked with -z initfirst.
 */
#include <stdlib.h>

static __attribute__((constructor)) void
start_sanitizer(void)
{
	free(malloc(1));
}
