/*
 * sio_op: counting, decoding and a second reading, which knows offsets
 * instead of a cursor, must accept the same bytes.  What was decoded lies
 * within them and in the order of the format, and is encoded to the same
 * bytes, but for bits of the flags that have no meaning.
 */

#include "proto/sio_op.h"
#include "fuzz.h"


#define FLAGS  0x1f

/* type, target, flags, id, timeout */

#define HEAD   (3 + 8 + 4)


static uint64_t
number(sio_span_t in, uint64_t at)
{
    return in.p[at] | (uint64_t) in.p[at + 1] << 8
           | (uint64_t) in.p[at + 2] << 16 | (uint64_t) in.p[at + 3] << 24;
}


/* Steps over a string; returns 0 if it does not end within the bytes. */

static int
skip(sio_span_t in, uint64_t *at)
{
    if (*at + 4 > in.n) {
        return 0;
    }

    *at += 4 + number(in, *at);

    return *at <= in.n;
}


/* What counting must say; items is only right if that is SIO_OK. */

static sio_rc_t
reference(sio_span_t in, uint64_t *items)
{
    int       i;
    uint64_t  at, n;

    *items = 0;

    if (in.n < HEAD || in.p[0] > SIO_OP_ASK || in.p[1] > SIO_TO_SOCKETS) {
        return SIO_EINVAL;
    }

    at = HEAD;

    for (i = 0; i < 3; i++) {
        if (!skip(in, &at)) {
            return SIO_EINVAL;
        }
    }

    for (i = 0; i < 4; i++) {
        if (at + 4 > in.n) {
            return SIO_EINVAL;
        }

        n = number(in, at);
        at += 4;
        *items += n;

        for ( ; n > 0; n--) {
            if (!skip(in, &at)) {
                return SIO_EINVAL;
            }
        }
    }

    return (at == in.n) ? SIO_OK : SIO_EINVAL;
}


/* A string, or an empty one, at or behind *at, which moves to its end. */

static void
check_span(sio_span_t in, sio_span_t s, size_t *at)
{
    CHECK(s.p != NULL && s.p >= in.p + *at + 4);
    CHECK(s.p <= in.p + in.n && s.n <= in.n - (size_t) (s.p - in.p));
    CHECK(number(in, s.p - in.p - 4) == s.n);

    *at = s.p - in.p + s.n;
}


static void
check_op(sio_span_t in, const sio_op_t *op, const sio_span_t *items, size_t n)
{
    size_t  i, at;

    CHECK(op->type == in.p[0] && op->target == in.p[1]);
    CHECK(op->timeout == number(in, HEAD - 4));

    /* the lists share the items without a gap */

    CHECK(op->rooms == items);
    CHECK(op->except == op->rooms + op->nrooms);
    CHECK(op->names == op->except + op->nexcept);
    CHECK(op->attachments == op->names + op->nnames);
    CHECK(op->attachments + op->nattachments == items + n);

    at = HEAD;

    check_span(in, op->app, &at);
    check_span(in, op->nsp, &at);
    check_span(in, op->json, &at);

    for (i = 0; i < n; i++) {
        check_span(in, items[i], &at);
    }
}


static void
check_encode(sio_span_t in, const sio_op_t *op)
{
    sio_out_t   o;
    sio_span_t  out;

    o.p = NULL;
    o.n = 0;
    sio_op_encode(&o, op);
    CHECK(o.n == in.n && o.p == NULL);

    out.n = o.n;
    out.p = fuzz_alloc(out.n);
    o.p = out.p;
    o.n = 0;
    sio_op_encode(&o, op);
    CHECK(o.n == out.n && o.p == out.p + out.n);

    CHECK(out.p[2] == (in.p[2] & FLAGS));
    out.p[2] = in.p[2];
    CHECK(sio_span_eq(in, out));

    fuzz_free(out.p, out.n);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t       n, room;
    uint64_t     want;
    sio_rc_t     rc;
    sio_op_t     op;
    sio_span_t   in, *items;

    in = fuzz_span(data, size);

    rc = sio_op_count(in, &n);
    CHECK(rc == reference(in, &want));
    CHECK(rc != SIO_OK || (n == want && n <= size / 4));

    /* a refusal writes no more items than the bytes could hold either */

    room = (rc == SIO_OK ? n : size / 4) * sizeof(sio_span_t);
    items = (sio_span_t *) fuzz_alloc(room);
    memset(&op, 0xff, sizeof(op));

    CHECK(sio_op_decode(in, &op, items) == rc);

    if (rc == SIO_OK) {
        check_op(in, &op, items, n);
        check_encode(in, &op);
    }

    fuzz_free((uint8_t *) items, room);
    fuzz_free(in.p, in.n);

    return 0;
}
