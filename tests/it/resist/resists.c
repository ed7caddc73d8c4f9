/* A process that does not want to end, for tests/it/resist.rs.
 *
 * resists HOW DIR: each letter of HOW is done in turn, then a line is added to DIR/there, and it stays.
 * Whatever it makes ends by itself two minutes after the first of them began, and at once without DIR.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char there[4096];
static long last;
static long *generations;

static long seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* The bound of everything here: nothing outlives a test by long, whatever it ignores. */
static void end_if_late(void) {
    if (seconds() > last || access(there, F_OK) != 0) _exit(0);
}

static void say(const char *word) {
    int fd = open(there, O_WRONLY | O_APPEND);
    if (fd < 0 || write(fd, word, strlen(word)) < 0) _exit(1);
    close(fd);
}

static void stay(void) {
    for (;;) {
        struct timespec while_nothing_happens = {1, 0};
        nanosleep(&while_nothing_happens, NULL);
        end_if_late();
    }
}

/* The child goes on, the parent ends. */
static void leave_parent(void) {
    pid_t child = fork();
    if (child != 0) _exit(child < 0);
}

static void ignore_signals(void) {
    for (int number = 1; number < 65; number++)
        if (number != SIGCHLD) signal(number, SIG_IGN);
}

/* Stops itself, again after each CONT. */
static void stopped(void) {
    if (fork() != 0) return;
    say("stopped\n");
    for (;;) {
        raise(SIGSTOP);
        end_if_late();
    }
}

/* Each generation makes the next, counts it and ends; `own` puts each into a session of its own. */
static void comets(int count, int own) {
    while (count-- > 0) {
        if (fork() != 0) continue;
        for (;;) {
            end_if_late();
            if (own) setsid();
            __atomic_fetch_add(generations, 1, __ATOMIC_SEQ_CST);
            if (fork() != 0) _exit(0);
        }
    }
}

/* Each forks until there are `most` of them, and goes on to fork what ends at once. */
static void bomb(int most) {
    int *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (made == MAP_FAILED || fork() != 0) return;
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        end_if_late();
        __atomic_fetch_add(generations, 1, __ATOMIC_SEQ_CST);
        if (__atomic_fetch_add(made, 1, __ATOMIC_SEQ_CST) < most) {
            fork();
        } else {
            __atomic_fetch_sub(made, 1, __ATOMIC_SEQ_CST);
            struct timespec moment = {0, 20000000};
            nanosleep(&moment, NULL);
            if (fork() == 0) _exit(0);
        }
    }
}

/* Every limit that was put on it and may be taken off is off. */
static void shed_limits(void) {
    for (int which = 0; which < RLIM_NLIMITS; which++) {
        struct rlimit limit;
        if (getrlimit(which, &limit) != 0) continue;
        limit.rlim_cur = limit.rlim_max;
        setrlimit(which, &limit);
    }
}

/* The generations so far, in DIR/generations: while it grows, something forks. */
static void count_generations(const char *dir) {
    char name[4096];
    snprintf(name, sizeof name, "%s/generations", dir);
    int fd = open(name, O_RDWR | O_CREAT, 0644);
    if (fd < 0 || ftruncate(fd, sizeof *generations) != 0) _exit(1);
    generations = mmap(NULL, sizeof *generations, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (generations == MAP_FAILED) _exit(1);
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    last = argc > 3 ? atol(argv[3]) : seconds() + 120;
    snprintf(there, sizeof there, "%s/there", argv[2]);
    count_generations(argv[2]);
    for (char *how = argv[1]; *how; how++) {
        switch (*how) {
        case 's': setsid(); break;
        case 'd': leave_parent(); break;
        case 'i': ignore_signals(); break;
        case 'c': if (chdir("/") != 0) return 1; break;
        case 'o': for (int fd = 0; fd < 1024; fd++) close(fd); break;
        case 'p': stopped(); break;
        case 'f': comets(2, 0); break;
        case 'F': comets(1, 1); break;
        case 'b': bomb(32); break;
        case 'u': shed_limits(); break;
        case 'e': {
            char until[32], *nothing[] = {NULL}, *again[] = {argv[0], how + 1, argv[2], until, NULL};
            snprintf(until, sizeof until, "%ld", last);
            execve(argv[0], again, nothing);
            return 1;
        }
        default: return 2;
        }
    }
    say("stays\n");
    stay();
}
