/*
 * clock.c
 *		A clock that a test can set, for a server that preloads it (LD_PRELOAD).
 *
 * The file that ATLAS_CLOCK names holds two numbers of 64 bits: microseconds
 * that the clock is fast, and a time in microseconds at which it stands still,
 * or 0. It is mapped, so every process goes by it at once. Timeouts, which are
 * measured by the monotonic clock, are not concerned.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *settings = NULL;

__attribute__((constructor)) static void
map_settings(void)
{
	const char *path = getenv("ATLAS_CLOCK");
	int			file = path ? open(path, O_RDONLY) : -1;
	void	   *map;

	if (file < 0)
		return;
	map = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
	if (map != MAP_FAILED)
		settings = map;
	close(file);
}

static int64_t
microseconds(void)
{
	struct timespec now;

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	if (settings != NULL && settings[1] != 0)
		return settings[1];
	return (int64_t) now.tv_sec * 1000000 + now.tv_nsec / 1000 + (settings ? settings[0] : 0);
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int64_t		time = microseconds();

	now->tv_sec = time / 1000000;
	now->tv_usec = time % 1000000;
	return 0;
}

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int64_t		time;

	if (clock != CLOCK_REALTIME)
		return (int) syscall(SYS_clock_gettime, clock, now);
	time = microseconds();
	now->tv_sec = time / 1000000;
	now->tv_nsec = time % 1000000 * 1000;
	return 0;
}

time_t
time(time_t *now)
{
	time_t		result = microseconds() / 1000000;

	if (now != NULL)
		*now = result;
	return result;
}
