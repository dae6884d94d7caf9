/*
 * What the fuzz targets share: a property that does not hold is a crash,
 * and input is copied to memory of exactly its size, so that the sanitizer
 * sees a byte read too far.
 */

#ifndef FUZZ_H
#define FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/sio_base.h"


#define CHECK(cond)                                                           \
    do {                                                                      \
        if (!(cond)) {                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, \
                    #cond);                                                   \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Returns memory of n bytes, to be freed by the caller. */

static inline uint8_t *
fuzz_alloc(size_t n)
{
    uint8_t  *p;

    p = malloc(n ? n : 1);
    CHECK(p != NULL);

    return n ? p : p + 1;
}


static inline void
fuzz_free(uint8_t *p, size_t n)
{
    free(n ? p : p - 1);
}


static inline uint8_t *
fuzz_copy(const void *p, size_t n)
{
    uint8_t  *copy;

    copy = fuzz_alloc(n);

    if (n != 0) {
        memcpy(copy, p, n);
    }

    return copy;
}


static inline sio_span_t
fuzz_span(const void *p, size_t n)
{
    sio_span_t  s;

    s.p = fuzz_copy(p, n);
    s.n = n;

    return s;
}


#endif /* FUZZ_H */
