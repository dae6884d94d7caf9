/*
 * Answers json.js: reads texts from stdin, each after its length in four
 * bytes (little endian), and writes what sio_json makes of each in one byte:
 *
 *   A, O   an array, an object
 *   E      refused
 *   L      refused as too deep
 *   U      not UTF-8, so sio_json would never see it
 *
 * The length FLUSH ends a batch: the answers are written out.
 */

#include "proto/sio_json.h"
#include "proto/sio_utf8.h"

#include <stdio.h>
#include <stdlib.h>


#define FLUSH  UINT32_MAX


static void *
mem_alloc(void *ctx, size_t n)
{
    (void) ctx;

    return malloc(n);
}


static void
mem_free(void *ctx, void *p)
{
    (void) ctx;

    free(p);
}


static int
answer(sio_json_t *j, sio_span_t text)
{
    sio_rc_t         rc;
    sio_json_type_t  type;

    if (!sio_utf8_valid(text.p, text.n)) {
        return 'U';
    }

    rc = sio_json_validate(j, text, NULL, &type);

    if (rc == SIO_OK) {
        return type == SIO_JSON_ARRAY ? 'A' : 'O';
    }

    return rc == SIO_ELIMIT ? 'L' : rc == SIO_EINVAL ? 'E' : '?';
}


int
main(void)
{
    uint8_t         head[4];
    uint32_t        n;
    sio_span_t      text;
    sio_json_t     *j;
    sio_json_mem_t  mem = { mem_alloc, mem_free, NULL };

    j = sio_json_create(&mem);
    if (j == NULL) {
        return 2;
    }

    while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {

        n = head[0] | head[1] << 8 | head[2] << 16 | (uint32_t) head[3] << 24;

        if (n == FLUSH) {
            fflush(stdout);
            continue;
        }

        /* memory of exactly that size, for the sanitizer to watch its end */

        text.n = n;
        text.p = malloc(n);

        if ((text.p == NULL && n != 0)
            || fread(text.p, 1, n, stdin) != n)
        {
            return 2;
        }

        putchar(answer(j, text));
        free(text.p);
    }

    sio_json_destroy(j);

    return 0;
}
