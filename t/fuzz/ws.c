/*
 * sio_ws: a client's byte stream is read by a small reader, at once and in
 * pieces; frames, payloads and the error at the end must be the same.  Each
 * header is decoded from all its prefixes and encoded again.
 *
 * Input: one byte that tells how to cut, one that sets the limit, the stream.
 */

#include "proto/sio_ws.h"
#include "proto/sio_utf8.h"
#include "fuzz.h"


typedef struct {
    uint8_t          header[SIO_WS_MAX_HEADER];
    size_t           n;          /* bytes in header */
    int              within;     /* a frame's payload */
    uint64_t         at;         /* bytes of the payload that were read */
    sio_ws_frame_t   f;

    int              fragmented;
    uint8_t          opcode;     /* of the message in progress */
    uint64_t         limit, size;
    sio_utf8_t       utf8;
    sio_rc_t         rc;

    uint8_t          control[SIO_WS_MAX_CONTROL];
    sio_out_t        log;
} reader_t;


/* From every prefix: AGAIN until the answer is known, then that answer. */

static void
check_header(const uint8_t *p, size_t size, int fragmented, uint64_t limit)
{
    size_t          n;
    uint8_t         again[SIO_WS_MAX_HEADER];
    sio_rc_t        rc, last;
    sio_span_t      in;
    sio_ws_frame_t  f, first;

    last = SIO_AGAIN;
    memset(&first, 0, sizeof(first));

    for (n = 0; n <= size && n <= SIO_WS_MAX_HEADER + 2; n++) {
        memset(&f, 0, sizeof(f));
        in = fuzz_span(p, n);
        rc = sio_ws_decode_header(in, fragmented, limit, &f);
        fuzz_free(in.p, n);

        if (last != SIO_AGAIN) {
            CHECK(rc == last);
            CHECK(rc != SIO_OK || memcmp(&f, &first, sizeof(f)) == 0);
            continue;
        }

        CHECK(rc != SIO_AGAIN || n < SIO_WS_MAX_HEADER);

        if (rc == SIO_OK) {
            CHECK(f.header == n);
            CHECK(memcmp(f.mask, p + n - 4, 4) == 0);
            CHECK(f.fin <= 1 && (f.length <= limit || f.opcode >= 8));
            CHECK(f.opcode >= 8 ? f.fin && f.length <= SIO_WS_MAX_CONTROL
                                : fragmented == (f.opcode == 0));

            /* the only form that its length has */

            CHECK(sio_ws_encode_header(again, f.opcode, f.length) == n - 4);
            CHECK(p[0] == (again[0] & (f.fin ? 0xff : 0x7f)));
            CHECK(p[1] == (again[1] | 0x80));
            CHECK(memcmp(p + 2, again + 2, n - 6) == 0);
        }

        first = f;
        last = rc;
    }
}


static void
end_frame(reader_t *r)
{
    uint16_t    code;
    sio_rc_t    rc;
    sio_span_t  payload;

    sio_out_byte(&r->log, r->f.opcode);
    sio_out_byte(&r->log, r->f.fin);
    sio_out_bytes(&r->log, &r->f.length, sizeof(r->f.length));

    r->within = 0;

    if (r->f.opcode >= SIO_WS_CLOSE) {
        sio_out_bytes(&r->log, r->control, r->f.length);

        if (r->f.opcode == SIO_WS_CLOSE) {
            payload = fuzz_span(r->control, r->f.length);
            rc = sio_ws_decode_close(payload, &code);
            fuzz_free(payload.p, payload.n);

            CHECK(rc != SIO_OK || code == SIO_WS_NO_STATUS
                  || (code >= 1000 && code < 5000 && code != 1006
                      && payload.n >= 2));
            CHECK(rc != SIO_OK || payload.n != 0 || code == SIO_WS_NO_STATUS);
            r->rc = rc == SIO_OK ? SIO_DONE : rc;
        }

        return;
    }

    r->fragmented = !r->f.fin;

    if (r->f.fin) {
        if (r->opcode == SIO_WS_TEXT && r->utf8.need != 0) {
            r->rc = SIO_EUTF8;
        }

        r->size = 0;
    }
}


static void
begin_frame(reader_t *r, const uint8_t *p, size_t n)
{
    sio_span_t  in;

    r->header[r->n++] = p[0];
    in.p = r->header;
    in.n = r->n;

    if (r->n == 1) {
        check_header(p, n, r->fragmented, r->limit - r->size);
    }

    r->rc = sio_ws_decode_header(in, r->fragmented, r->limit - r->size, &r->f);

    if (r->rc == SIO_AGAIN) {
        r->rc = SIO_OK;
        return;
    }

    if (r->rc != SIO_OK) {
        return;
    }

    r->n = 0;
    r->at = 0;
    r->within = 1;

    if (r->f.opcode == SIO_WS_TEXT || r->f.opcode == SIO_WS_BINARY) {
        r->opcode = r->f.opcode;
        memset(&r->utf8, 0, sizeof(r->utf8));
    }

    if (r->f.opcode < SIO_WS_CLOSE) {
        r->size += r->f.length;
    }

    if (r->f.length == 0) {
        end_frame(r);
    }
}


/* Unmasks what came of the payload, and checks it against the definition. */

static void
read_payload(reader_t *r, const uint8_t *p, size_t n)
{
    size_t   i;
    uint8_t  *copy;

    copy = fuzz_copy(p, n);
    sio_ws_unmask(copy, n, r->f.mask, r->at);

    for (i = 0; i < n; i++) {
        CHECK(copy[i] == (p[i] ^ r->f.mask[(r->at + i) % 4]));
    }

    if (r->f.opcode >= SIO_WS_CLOSE) {
        memcpy(r->control + r->at, copy, n);

    } else if (r->opcode == SIO_WS_TEXT
               && sio_utf8_check(&r->utf8, copy, n) == SIO_EUTF8)
    {
        r->rc = SIO_EUTF8;
    }

    fuzz_free(copy, n);
    r->at += n;

    if (r->rc == SIO_OK && r->at == r->f.length) {
        end_frame(r);
    }
}


static void
feed(reader_t *r, const uint8_t *p, size_t n)
{
    size_t  take;

    while (n != 0 && r->rc == SIO_OK) {

        if (!r->within) {
            begin_frame(r, p, n);
            take = 1;

        } else {
            take = r->f.length - r->at < n ? (size_t) (r->f.length - r->at)
                                           : n;
            read_payload(r, p, take);
        }

        p += take;
        n -= take;
    }
}


/* Returns the log of a stream read in pieces of at most step bytes. */

static sio_span_t
run(const uint8_t *p, size_t n, uint64_t limit, size_t step)
{
    size_t       i, take;
    reader_t     r;
    sio_span_t   log;

    memset(&r, 0, sizeof(r));
    r.limit = limit;
    log.p = malloc(n * 4 + 64);
    CHECK(log.p != NULL);
    r.log.p = log.p;

    for (i = 0; i < n; i += take) {
        take = n - i < step ? n - i : step;
        feed(&r, p + i, take);
    }

    sio_out_byte(&r.log, (uint8_t) r.rc);
    CHECK(r.log.n <= n * 4 + 64);
    log.n = r.log.n;

    return log;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t      step;
    uint64_t    limit;
    sio_span_t  whole, pieces, key;

    if (size < 2) {
        return 0;
    }

    key = fuzz_span(data, size);
    CHECK(!sio_ws_key_valid(key)
          || (size == SIO_WS_KEY_LEN && data[22] == '=' && data[23] == '='));
    fuzz_free(key.p, size);

    step = data[0] % 32 + 1;
    limit = data[1] == 0xff ? UINT64_MAX : (uint64_t) data[1] << data[1] % 24;
    data += 2;
    size -= 2;

    whole = run(data, size, limit, size + 1);
    pieces = run(data, size, limit, 1);
    CHECK(sio_span_eq(whole, pieces));
    free(pieces.p);

    pieces = run(data, size, limit, step);
    CHECK(sio_span_eq(whole, pieces));
    free(pieces.p);
    free(whole.p);

    return 0;
}
