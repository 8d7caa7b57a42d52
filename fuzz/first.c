/*
 * first.c
 *		Is preloaded together with the runtime of AddressSanitizer, which starts
 *		with the first malloc. If a library's constructor makes that call while it holds
 *		one of libc's locks, the process hangs. This library makes it before all
 *		others, because it is linked with -z initfirst.
 */
#include <stdlib.h>

static __attribute__((constructor)) void
start_sanitizer(void)
{
	free(malloc(1));
}
