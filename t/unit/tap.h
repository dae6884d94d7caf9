/*
 * TAP from C: assertions on stdout, the plan at the end, and memory that
 * ends at a page which cannot be touched, so that reading one byte too far
 * is a crash and not luck.
 */

#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define TAP_GUARDED  256

static int  tap_run, tap_failed;


/* One assertion; returns cond.  The name is a printf format. */

#define ok(cond, ...)  tap_ok((cond) != 0, #cond, __FILE__, __LINE__,         \
                              __VA_ARGS__)

/* Compares bytes; shows both sides if they differ. */

#define is_bytes(got, n, want, wn, ...)                                       \
    tap_bytes((const uint8_t *) (got), n, (const uint8_t *) (want), wn,       \
              __FILE__, __LINE__, __VA_ARGS__)

/* Compares bytes with a C string. */

#define is_text(got, n, want, ...)                                            \
    is_bytes(got, n, want, strlen(want), __VA_ARGS__)


static inline void
tap_print(int good, const char *fmt, va_list args)
{
    tap_run++;
    tap_failed += !good;

    printf("%sok %d - ", good ? "" : "not ", tap_run);
    vprintf(fmt, args);
    printf("\n");
}


static inline int __attribute__((format(printf, 5, 6)))
tap_ok(int good, const char *cond, const char *file, int line,
    const char *fmt, ...)
{
    va_list  args;

    va_start(args, fmt);
    tap_print(good, fmt, args);
    va_end(args);

    if (!good) {
        printf("# %s:%d: %s\n", file, line, cond);
    }

    fflush(stdout);

    return good;
}


static inline void
tap_dump(const char *what, const uint8_t *p, size_t n)
{
    size_t  i;

    printf("# %s (%zu): \"", what, n);

    for (i = 0; i < n && i < 200; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '\\') {
            printf("%c", p[i]);

        } else {
            printf("\\x%02x", p[i]);
        }
    }

    printf("\"%s\n", i < n ? "..." : "");
}


static inline int __attribute__((format(printf, 7, 8)))
tap_bytes(const uint8_t *got, size_t n, const uint8_t *want, size_t wn,
    const char *file, int line, const char *fmt, ...)
{
    int      good;
    va_list  args;

    good = n == wn && (n == 0 || memcmp(got, want, n) == 0);

    va_start(args, fmt);
    tap_print(good, fmt, args);
    va_end(args);

    if (!good) {
        printf("# %s:%d\n", file, line);
        tap_dump("got", got, n);
        tap_dump("want", want, wn);
    }

    fflush(stdout);

    return good;
}


/* Prints the plan; main() returns what this returns. */

static inline int
done_testing(void)
{
    printf("1..%d\n", tap_run);

    return tap_failed != 0;
}


/*
 * Copies n bytes so that the page behind the last one cannot be touched;
 * bytes may be NULL for zeroes.  The memory is writable and lives until
 * TAP_GUARDED more calls were made.
 */

static inline uint8_t *
guarded(const void *bytes, size_t n)
{
    static struct {
        uint8_t  *p;
        size_t    n;
    }  old[TAP_GUARDED];
    static size_t  at;

    size_t    page, room;
    uint8_t  *p;

    page = (size_t) sysconf(_SC_PAGESIZE);
    room = (n + page - 1) / page * page;

    if (old[at].p != NULL) {
        munmap(old[at].p, old[at].n);
    }

    p = mmap(NULL, room + page, PROT_READ|PROT_WRITE,
             MAP_PRIVATE|MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED || mprotect(p + room, page, PROT_NONE) != 0) {
        printf("Bail out! no memory for a guard page\n");
        exit(2);
    }

    old[at].p = p;
    old[at].n = room + page;
    at = (at + 1) % TAP_GUARDED;

    p += room - n;

    if (bytes != NULL && n != 0) {
        memcpy(p, bytes, n);
    }

    return p;
}


#endif /* TAP_H */
