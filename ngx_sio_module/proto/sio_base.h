/*
 * What every codec shares: borrowed bytes, an output cursor, result codes
 * and limits.  Nothing in this folder knows nginx, allocates, logs, reads a
 * clock or keeps static state.
 */

#ifndef SIO_BASE_H
#define SIO_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>


/* bytes that belong to somebody else; p may be NULL only if n is 0 */

typedef struct {
    uint8_t  *p;
    size_t    n;
} sio_span_t;


/*
 * An encoder is run twice with the same code: with p NULL it only counts,
 * with p at memory of the counted size it writes.
 */

typedef struct {
    uint8_t  *p;                 /* next byte to write, NULL: only measure */
    size_t    n;                 /* bytes put so far */
} sio_out_t;


typedef enum {
    SIO_OK = 0,
    SIO_AGAIN = 1,               /* the input ends before the item does */
    SIO_DONE = 2,                /* nothing left */
    SIO_EINVAL = -1,             /* violates the format */
    SIO_ELIMIT = -2,             /* a limit given by the caller is exceeded */
    SIO_EUTF8 = -3,              /* text that is not UTF-8 */
    SIO_ENOMEM = -4              /* an allocator given by the caller failed */
} sio_rc_t;


#define sio_span(s)       ((sio_span_t) { (uint8_t *) (s), sizeof(s) - 1 })
#define sio_span_null     ((sio_span_t) { NULL, 0 })
#define sio_countof(a)    (sizeof(a) / sizeof((a)[0]))

/* JavaScript's Number.MAX_SAFE_INTEGER: the largest id exact at both ends */

#define SIO_MAX_SAFE_INTEGER  9007199254740991ULL
#define SIO_UINT64_LEN        20


/* Appends n bytes at p to o; p is borrowed, it may be NULL if n is 0. */

static inline void
sio_out_bytes(sio_out_t *o, const void *p, size_t n)
{
    if (o->p != NULL && n != 0) {
        memcpy(o->p, p, n);
        o->p += n;
    }

    o->n += n;
}


/* Appends one byte to o. */

static inline void
sio_out_byte(sio_out_t *o, uint8_t c)
{
    if (o->p != NULL) {
        *o->p++ = c;
    }

    o->n++;
}


/* Appends v in decimal digits, no sign, no leading zero. */

static inline void
sio_out_uint(sio_out_t *o, uint64_t v)
{
    uint8_t   buf[SIO_UINT64_LEN];
    size_t    i;

    i = sizeof(buf);

    do {
        buf[--i] = (uint8_t) ('0' + v % 10);
        v /= 10;
    } while (v != 0);

    sio_out_bytes(o, buf + i, sizeof(buf) - i);
}


#define sio_out_span(o, s)  sio_out_bytes(o, (s).p, (s).n)
#define sio_out_str(o, s)   sio_out_bytes(o, s, sizeof(s) - 1)


/* Returns 1 if a and b hold the same bytes. */

static inline int
sio_span_eq(sio_span_t a, sio_span_t b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}


#endif /* SIO_BASE_H */
