/*
 * Fields of the frames between workers: integers of fixed size, the lowest
 * byte first, and strings behind their length.
 */

#ifndef SIO_WIRE_H
#define SIO_WIRE_H

#include "proto/sio_base.h"


/* a reader; once it is bad nothing is left: all that is read is 0 or empty */

typedef struct {
    uint8_t  *p;
    size_t    n;                 /* bytes left */
    int       bad;               /* something was cut short or too large */
} sio_in_t;


/* Appends the size lowest bytes of v. */

static inline void
sio_out_int(sio_out_t *o, uint64_t v, size_t size)
{
    size_t  i;

    if (o->p != NULL) {
        for (i = 0; i < size; i++) {
            *o->p++ = (uint8_t) (v >> (8 * i));
        }
    }

    o->n += size;
}


#define sio_out_u16(o, v)  sio_out_int(o, v, 2)
#define sio_out_u32(o, v)  sio_out_int(o, v, 4)
#define sio_out_u64(o, v)  sio_out_int(o, v, 8)


/* Appends s behind its length; fewer than 2^32 bytes. */

static inline void
sio_out_string(sio_out_t *o, sio_span_t s)
{
    sio_out_u32(o, s.n);
    sio_out_span(o, s);
}


/* Starts reading at the first byte of s, which is borrowed. */

static inline sio_in_t
sio_in(sio_span_t s)
{
    return (sio_in_t) { s.p, s.n, 0 };
}


/* Takes the next n bytes; sets bad if there are fewer. */

static inline sio_span_t
sio_in_bytes(sio_in_t *in, size_t n)
{
    sio_span_t  s;

    if (in->bad || in->n < n) {
        in->bad = 1;
        in->n = 0;
        return sio_span_null;
    }

    s.p = in->p;
    s.n = n;

    if (n) {
        in->p += n;
        in->n -= n;
    }

    return s;
}


/* Takes an integer of size bytes. */

static inline uint64_t
sio_in_int(sio_in_t *in, size_t size)
{
    size_t      i;
    uint64_t    v;
    sio_span_t  s;

    s = sio_in_bytes(in, size);

    for (v = 0, i = s.n; i > 0; i--) {
        v = (v << 8) | s.p[i - 1];
    }

    return v;
}


#define sio_in_u8(in)   ((uint8_t) sio_in_int(in, 1))
#define sio_in_u16(in)  ((uint16_t) sio_in_int(in, 2))
#define sio_in_u32(in)  ((uint32_t) sio_in_int(in, 4))
#define sio_in_u64(in)  sio_in_int(in, 8)


/* Takes a string. */

static inline sio_span_t
sio_in_string(sio_in_t *in)
{
    return sio_in_bytes(in, sio_in_u32(in));
}


#endif /* SIO_WIRE_H */
