/*
 * sio_eio: a payload is cut by hand and each piece judged alone; decoding
 * the whole must say the same, and what it says, encoded again, must decode
 * to the same packets.
 */

#include "proto/sio_eio.h"
#include "proto/sio_base64.h"
#include "fuzz.h"


/* Appends a packet as its type, its length and its data. */

static void
log_packet(sio_out_t *o, const sio_eio_packet_t *p)
{
    sio_out_byte(o, (uint8_t) p->type);
    sio_out_bytes(o, &p->data.n, sizeof(p->data.n));
    sio_out_span(o, p->data);
}


static sio_span_t
log_alloc(size_t size)
{
    sio_span_t  log;

    /* a packet needs two bytes of input and nine of the log */

    log.n = size * 16 + 64;
    log.p = malloc(log.n);
    CHECK(log.p != NULL);

    return log;
}


/*
 * The log of a payload, with the result at its end.  encoded, if not NULL,
 * gets the packets as a payload again.
 */

static sio_span_t
decoded(sio_span_t payload, sio_out_t *encoded)
{
    uint8_t           *begin, *end;
    sio_rc_t           rc;
    sio_out_t          o;
    sio_span_t         log;
    sio_eio_packet_t   p;

    log = log_alloc(payload.n);
    o.p = log.p;
    o.n = 0;
    begin = payload.p;
    end = payload.p + payload.n;

    while ((rc = sio_eio_decode_payload(&payload, &p)) == SIO_OK) {
        CHECK(p.data.p > begin && p.data.p + p.data.n <= end);
        CHECK(payload.p == NULL || payload.p > p.data.p + p.data.n);
        begin = p.data.p + p.data.n;

        if (encoded != NULL) {
            if (encoded->n != 0) {
                sio_out_byte(encoded, SIO_EIO_SEPARATOR);
            }

            sio_out_byte(encoded, (uint8_t) p.type);

            if (p.type == SIO_EIO_BINARY) {
                sio_base64_encode(encoded, p.data);

            } else {
                sio_out_span(encoded, p.data);
            }
        }

        log_packet(&o, &p);
    }

    CHECK(rc == SIO_DONE || rc == SIO_EINVAL);
    CHECK(rc != SIO_DONE || payload.p == NULL);

    sio_out_byte(&o, (uint8_t) rc);
    CHECK(o.n <= log.n);
    log.n = o.n;

    return log;
}


static sio_rc_t
judge(sio_span_t piece, sio_eio_packet_t *p)
{
    sio_rc_t  rc;

    rc = sio_eio_decode(piece, p);

    if (piece.n != 0 && piece.p[0] >= '0' && piece.p[0] <= '6') {
        CHECK(rc == SIO_OK && p->type == piece.p[0]);
        CHECK(p->data.p == piece.p + 1 && p->data.n == piece.n - 1);
        return SIO_OK;
    }

    CHECK(rc == SIO_EINVAL);

    if (piece.n == 0 || piece.p[0] != 'b') {
        return SIO_EINVAL;
    }

    p->type = SIO_EIO_BINARY;
    p->data.p = piece.p + 1;
    p->data.n = piece.n - 1;

    return sio_base64_decode(&p->data);
}


static sio_span_t
reference(const uint8_t *data, size_t size)
{
    size_t            i, from;
    sio_rc_t          rc;
    sio_out_t         o;
    sio_span_t        log, piece;
    sio_eio_packet_t  p;

    log = log_alloc(size);
    o.p = log.p;
    o.n = 0;
    rc = SIO_OK;

    for (i = 0, from = 0; i <= size && rc == SIO_OK; i++) {

        if (i != size && data[i] != 0x1e) {
            continue;
        }

        piece = fuzz_span(data + from, i - from);
        rc = judge(piece, &p);

        if (rc == SIO_OK) {
            log_packet(&o, &p);
        }

        fuzz_free(piece.p, i - from);
        from = i + 1;
    }

    sio_out_byte(&o, (uint8_t) (rc == SIO_OK ? SIO_DONE : rc));
    log.n = o.n;

    return log;
}


/* An open packet holds whatever id it is given, written as measured. */

static void
check_open(const uint8_t *data, size_t size)
{
    size_t           n;
    uint8_t         *p;
    sio_out_t        o;
    sio_eio_open_t   open;

    open.sid = fuzz_span(data, size);
    open.upgrade = size & 1;
    open.ping_interval = size;
    open.ping_timeout = UINT64_MAX;
    open.max_payload = 0;

    o.p = NULL;
    o.n = 0;
    sio_eio_encode_open(&o, &open);

    n = o.n;
    p = fuzz_alloc(n);
    o.p = p;
    o.n = 0;
    sio_eio_encode_open(&o, &open);

    CHECK(o.n == n && o.p == p + n);
    CHECK(memcmp(p, "0{\"sid\":\"", 9) == 0 && p[n - 1] == '}');
    CHECK(size == 0 || memcmp(p + 9, data, size) == 0);

    fuzz_free(p, n);
    fuzz_free(open.sid.p, size);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t     *again;
    sio_out_t    encoded;
    sio_span_t   payload, log, want, second;

    again = malloc(size * 2 + 64);
    CHECK(again != NULL);
    encoded.p = again;
    encoded.n = 0;

    payload = fuzz_span(data, size);
    log = decoded(payload, &encoded);
    want = reference(data, size);
    CHECK(sio_span_eq(log, want));

    if (log.p[log.n - 1] == SIO_DONE) {
        CHECK(encoded.n <= size * 2 + 64);
        second.p = again;
        second.n = encoded.n;
        second = decoded(second, NULL);
        CHECK(sio_span_eq(log, second));
        free(second.p);
    }

    fuzz_free(payload.p, size);
    free(log.p);
    free(want.p);
    free(again);

    check_open(data, size);

    return 0;
}
