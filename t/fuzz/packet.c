/*
 * sio_packet: the first byte is the limit of attachments, the rest the
 * text.  A second reading, of the packet's parts from left to right, must
 * come to the same result; what was decoded, if its payload can be JSON,
 * must decode to the same when it was encoded again.
 */

#include "proto/sio_packet.h"
#include "fuzz.h"


/* The digits at *pos as a number that does not wrap around. */

static double
number(sio_span_t in, size_t *pos)
{
    double  n;

    for (n = 0; *pos < in.n && in.p[*pos] >= '0' && in.p[*pos] <= '9'; ) {
        n = n * 10 + (in.p[(*pos)++] - '0');
    }

    return n;
}


/* What decoding must say; p is only filled in if that is SIO_OK. */

static sio_rc_t
reference(sio_span_t in, uint32_t max, sio_packet_t *p)
{
    double   n;
    size_t   pos, from;

    if (in.n == 0 || strchr("0123456", in.p[0]) == NULL || in.p[0] == 0) {
        return SIO_EINVAL;
    }

    memset(p, 0, sizeof(sio_packet_t));
    p->type = in.p[0] - '0';
    pos = 1;

    if (p->type == SIO_BINARY_EVENT || p->type == SIO_BINARY_ACK) {
        n = number(in, &pos);

        if (n < 1 || pos == in.n || in.p[pos++] != '-') {
            return SIO_EINVAL;
        }

        if (n > max) {
            return SIO_ELIMIT;
        }

        p->attachments = (uint32_t) n;
    }

    p->nsp = sio_span("/");

    if (pos < in.n && in.p[pos] == '/') {
        p->nsp.p = in.p + pos;
        p->nsp.n = in.n - pos;

        if (memchr(in.p + pos, ',', in.n - pos) != NULL) {
            p->nsp.n = (uint8_t *) memchr(in.p + pos, ',', in.n - pos)
                       - p->nsp.p;
        }

        pos += p->nsp.n + 1;
        pos = (pos > in.n) ? in.n : pos;
    }

    from = pos;
    n = number(in, &pos);

    /* 2^53, the first that is too large, is exact */

    if (n > (double) SIO_MAX_SAFE_INTEGER) {
        return SIO_EINVAL;
    }

    p->has_id = (pos != from);
    p->id = (uint64_t) n;

    while (pos < in.n && in.p[pos] != 0
           && strchr(" \t\r\n", in.p[pos]) != NULL)
    {
        pos++;
    }

    p->json.p = in.p + pos;
    p->json.n = in.n - pos;

    return (p->type == SIO_DISCONNECT && p->json.n != 0) ? SIO_EINVAL
                                                         : SIO_OK;
}


static void
check_same(const sio_packet_t *a, const sio_packet_t *b)
{
    CHECK(a->type == b->type && a->attachments == b->attachments);
    CHECK(a->has_id == b->has_id && a->id == b->id);
    CHECK(sio_span_eq(a->nsp, b->nsp) && sio_span_eq(a->json, b->json));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t      max;
    sio_rc_t      rc;
    sio_out_t     o;
    sio_span_t    in, out;
    sio_packet_t  p, want, again;

    if (size == 0) {
        return 0;
    }

    max = (data[0] < 0x80) ? data[0] % 16 : UINT32_MAX - (255 - data[0]);
    in = fuzz_span(data + 1, size - 1);

    rc = sio_packet_decode(in, max, &p);
    CHECK(rc == reference(in, max, &want));

    if (rc == SIO_OK) {
        check_same(&p, &want);

        o.p = NULL;
        o.n = 0;
        sio_packet_encode(&o, &p);

        /* a namespace may get the comma that it came without */

        CHECK(o.n <= in.n + 1);

        out.n = o.n;
        out.p = fuzz_alloc(out.n);
        o.p = out.p;
        o.n = 0;
        sio_packet_encode(&o, &p);
        CHECK(o.n == out.n && o.p == out.p + out.n);

        if (p.json.n == 0 || p.json.p[0] == '[' || p.json.p[0] == '{') {
            CHECK(sio_packet_decode(out, max, &again) == SIO_OK);
            check_same(&p, &again);
        }

        (void) sio_packet_reserved(p.json);
        fuzz_free(out.p, out.n);
    }

    fuzz_free(in.p, in.n);

    return 0;
}
