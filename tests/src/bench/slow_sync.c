/* Makes every sync of a program slower by a fixed time, as a slower disk would: for benchmarks only.
 *
 * Preloaded (LD_PRELOAD) into a server that is measured; the server itself has no such option, so
 * nobody can set it by accident. It promises that every fsync and fdatasync waits first for the
 * microseconds in VESTIBULE_BENCH_SYNC_MICROSECONDS and then is a real one, with its result and errno.
 * It never changes what is written, and leaves sync_file_range alone, which makes nothing durable. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_first(void)
{
	const char *text = getenv("VESTIBULE_BENCH_SYNC_MICROSECONDS");
	long microseconds = text ? strtol(text, NULL, 10) : 0;
	struct timespec left = { microseconds / 1000000, microseconds % 1000000 * 1000 };

	while (microseconds > 0 && nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

int fsync(int descriptor)
{
	wait_first();
	return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
	wait_first();
	return (int)syscall(SYS_fdatasync, descriptor);
}
