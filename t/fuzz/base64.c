/*
 * sio_base64: decode(encode(x)) is x; what decode takes is what a slow
 * decoder takes, and encodes to the same text again, but for padding and
 * the unused bits of the last digit.
 */

#include "proto/sio_base64.h"
#include "fuzz.h"


static const char  digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";


/* Returns the decoded length, or -1; out has room for n bytes. */

static long
reference(const uint8_t *p, size_t n, uint8_t *out)
{
    size_t       i, pad, bits, len;
    uint32_t     v;
    const char  *digit;

    for (pad = 0; pad < n && p[n - 1 - pad] == '='; pad++) { /* void */ }

    if ((pad != 0 && n % 4 != 0) || pad > 2 || (n - pad) % 4 == 1) {
        return -1;
    }

    bits = len = 0;
    v = 0;

    for (i = 0; i < n - pad; i++) {
        digit = memchr(digits, p[i], 64);

        if (digit == NULL) {
            return -1;
        }

        v = v << 6 | (uint32_t) (digit - digits);
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            out[len++] = (uint8_t) (v >> bits);
        }
    }

    return (long) len;
}


static sio_span_t
encode(void (*encoder)(sio_out_t *, sio_span_t), sio_span_t in)
{
    sio_out_t   o;
    sio_span_t  text;

    o.p = NULL;
    o.n = 0;
    encoder(&o, in);

    text.n = o.n;
    text.p = fuzz_alloc(text.n);
    o.p = text.p;
    o.n = 0;
    encoder(&o, in);
    CHECK(o.n == text.n && o.p == text.p + text.n);

    return text;
}


static void
check_decode(const uint8_t *data, size_t size)
{
    long         len;
    size_t       same;
    uint8_t     *want;
    sio_rc_t     rc;
    sio_span_t   io, text, again;

    want = fuzz_alloc(size);
    len = reference(data, size, want);

    io = fuzz_span(data, size);
    rc = sio_base64_decode(&io);
    CHECK(rc == (len < 0 ? SIO_EINVAL : SIO_OK));

    if (rc == SIO_OK) {
        CHECK(io.n == (size_t) len && memcmp(io.p, want, io.n) == 0);

        text = encode(sio_base64_encode, io);
        same = (io.n * 8) / 6;
        CHECK(same <= size && memcmp(text.p, data, same) == 0);

        again = fuzz_span(text.p, text.n);
        CHECK(sio_base64_decode(&again) == SIO_OK && sio_span_eq(again, io));

        fuzz_free(again.p, text.n);
        fuzz_free(text.p, text.n);
    }

    fuzz_free(io.p, size);
    fuzz_free(want, size);
}


static void
check_encode(const uint8_t *data, size_t size)
{
    size_t      i, n;
    sio_span_t  in, text, url, io;

    in = fuzz_span(data, size);
    text = encode(sio_base64_encode, in);
    url = encode(sio_base64url_encode, in);

    CHECK(text.n == sio_base64_len(size) && text.n % 4 == 0);
    CHECK(url.n == sio_base64url_len(size) && url.n <= text.n);

    for (i = 0; i < text.n; i++) {
        if (i < url.n) {
            CHECK(url.p[i] == (text.p[i] == '+' ? '-'
                               : text.p[i] == '/' ? '_' : text.p[i]));
        } else {
            CHECK(text.p[i] == '=');
        }
    }

    for (n = url.n; n <= text.n; n += text.n - url.n) {
        io = fuzz_span(text.p, n);
        CHECK(sio_base64_decode(&io) == SIO_OK && sio_span_eq(io, in));
        fuzz_free(io.p, n);

        if (text.n == url.n) {
            break;
        }
    }

    fuzz_free(url.p, url.n);
    fuzz_free(text.p, text.n);
    fuzz_free(in.p, size);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_decode(data, size);
    check_encode(data, size);

    return 0;
}
