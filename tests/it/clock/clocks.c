/* Clocks that are wrong, for tests/it/clock.rs: to be loaded before the C library.
 *
 * The file that JOBYARD_TEST_CLOCKS names holds two numbers of 64 bits, in milliseconds, which may change
 * at any time: how much the wall clock is ahead, and how much the clock that counts a machine's sleep is.
 * CLOCK_MONOTONIC, which stands still while a machine sleeps, is as it is.
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

static volatile int64_t none[2];
static volatile int64_t *ahead = none;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("JOBYARD_TEST_CLOCKS");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof none, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) ahead = map;
    close(fd);
}

static void add(struct timespec *time, int64_t ms) {
    int64_t whole = time->tv_sec * 1000 + time->tv_nsec / 1000000 + ms;
    int64_t rest = whole % 1000 < 0 ? whole % 1000 + 1000 : whole % 1000;
    time->tv_nsec = time->tv_nsec % 1000000 + rest * 1000000;
    time->tv_sec = (whole - rest) / 1000;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    long said = syscall(SYS_clock_gettime, id, time);
    if (said == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) add(time, ahead[0]);
    if (said == 0 && (id == CLOCK_BOOTTIME || id == CLOCK_BOOTTIME_ALARM)) add(time, ahead[1]);
    return (int)said;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
