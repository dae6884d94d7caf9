/* proto/sio_base64 */

#include "proto/sio_base64.h"
#include "tap.h"


/* A generator with a fixed seed: the same bytes in every run. */

static uint8_t
next_byte(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;

    return (uint8_t) (*seed >> 24);
}


static sio_span_t
span_of(const char *s)
{
    sio_span_t  span;

    span.n = strlen(s);
    span.p = guarded(s, span.n);

    return span;
}


/* RFC 4648, 10, and what tells the alphabets apart */

static const struct {
    const char  *plain, *base64, *base64url;
}  vectors[] = {
    { "", "", "" },
    { "f", "Zg==", "Zg" },
    { "fo", "Zm8=", "Zm8" },
    { "foo", "Zm9v", "Zm9v" },
    { "foob", "Zm9vYg==", "Zm9vYg" },
    { "fooba", "Zm9vYmE=", "Zm9vYmE" },
    { "foobar", "Zm9vYmFy", "Zm9vYmFy" },
    { "\xfb\xff\xfe", "+//+", "-__-" },
    { "\xff", "/w==", "_w" }
};


static void
test_vectors(void)
{
    size_t      i;
    uint8_t     buf[64];
    sio_out_t   o;
    sio_span_t  s;

    for (i = 0; i < sio_countof(vectors); i++) {
        o.p = buf;
        o.n = 0;
        sio_base64_encode(&o, span_of(vectors[i].plain));
        is_text(buf, o.n, vectors[i].base64, "encode %zu", i);

        o.p = buf;
        o.n = 0;
        sio_base64url_encode(&o, span_of(vectors[i].plain));
        is_text(buf, o.n, vectors[i].base64url, "encode %zu as url", i);

        s = span_of(vectors[i].base64);
        ok(sio_base64_decode(&s) == SIO_OK, "decode %zu", i);
        is_text(s.p, s.n, vectors[i].plain, "decoded %zu", i);
    }

    s = span_of("Zm9vYg");
    ok(sio_base64_decode(&s) == SIO_OK, "decode without padding");
    is_text(s.p, s.n, "foob", "decoded without padding");

    s = span_of("Zm8");
    ok(sio_base64_decode(&s) == SIO_OK, "decode without padding, 3 digits");
    is_text(s.p, s.n, "fo", "decoded without padding, 3 digits");

    s = span_of("Zh==");
    ok(sio_base64_decode(&s) == SIO_OK, "unused bits are ignored");
    is_text(s.p, s.n, "f", "unused bits are ignored, decoded");

    s = sio_span_null;
    ok(sio_base64_decode(&s) == SIO_OK && s.n == 0, "decode nothing at NULL");
}


static void
test_errors(void)
{
    static const char *const  t[] = {
        "A", "AAAAA", "=", "==", "===", "====", "A=", "A==", "A===", "AA=",
        "AAA==", "AAAA=", "AAAA==", "AAAA====", "AA==AA==", "AA=A", "A=AA",
        "=AAA", "AAA=AAAA", "AA-_", "AA A", "AAA\n", "AAAA\n", "AAAA\r\n",
        "AA.A", "AAA\x80", "\xffQQQ", "AA==\n", "AA= =", "AA\t="
    };

    size_t      i;
    sio_span_t  s;

    for (i = 0; i < sio_countof(t); i++) {
        s = span_of(t[i]);
        ok(sio_base64_decode(&s) == SIO_EINVAL, "refuses case %zu", i + 1);
    }
}


/* Every value of a byte at every place of a group and of a tail. */

static void
test_alphabet(void)
{
    static const char  alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    int         legal;
    size_t      at, n;
    unsigned    c, bad;
    uint8_t    *p;
    sio_rc_t    rc;
    sio_span_t  s;

    for (n = 2; n <= 8; n++) {
        if (n == 5) {
            continue;
        }

        bad = 0;
        p = guarded(NULL, n);

        for (at = 0; at < n; at++) {
            for (c = 0; c < 256; c++) {
                memset(p, 'A', n);
                p[at] = (uint8_t) c;

                legal = (c != 0 && strchr(alphabet, (int) c) != NULL)
                        || (c == '=' && at == n - 1 && n % 4 == 0);
                s.p = p;
                s.n = n;
                rc = sio_base64_decode(&s);
                bad += rc != (legal ? SIO_OK : SIO_EINVAL);
            }
        }

        ok(bad == 0, "every byte at every place of %zu", n);
    }
}


/* Both alphabets, measured and written, padded and not, all lengths. */

static void
test_round_trip(void)
{
    size_t      n, i;
    uint8_t     plain[300], *p;
    uint32_t    seed;
    unsigned    measure, identity, unpadded, url;
    sio_out_t   o;
    sio_span_t  in, s;

    seed = 42;
    measure = identity = unpadded = url = 0;

    for (n = 0; n <= sizeof(plain); n++) {
        for (i = 0; i < n; i++) {
            plain[i] = next_byte(&seed);
        }

        in.p = guarded(plain, n);
        in.n = n;

        o.p = NULL;
        o.n = 0;
        sio_base64_encode(&o, in);
        measure += o.n != sio_base64_len(n);

        s.n = o.n;
        s.p = guarded(NULL, s.n);
        o.p = s.p;
        o.n = 0;
        sio_base64_encode(&o, in);
        measure += o.n != s.n || o.p != s.p + s.n;

        p = guarded(s.p, s.n);
        identity += sio_base64_decode(&s) != SIO_OK || !sio_span_eq(s, in);

        s.n = sio_base64url_len(n);
        s.p = guarded(p, s.n);
        unpadded += sio_base64_decode(&s) != SIO_OK || !sio_span_eq(s, in);

        o.p = NULL;
        o.n = 0;
        sio_base64url_encode(&o, in);
        measure += o.n != sio_base64url_len(n);

        s.n = o.n;
        s.p = guarded(NULL, s.n);
        o.p = s.p;
        o.n = 0;
        sio_base64url_encode(&o, in);
        measure += o.n != s.n || o.p != s.p + s.n;

        for (i = 0; i < s.n; i++) {
            url += s.p[i] == '+' || s.p[i] == '/' || s.p[i] == '=';
            s.p[i] = s.p[i] == '-' ? '+' : s.p[i] == '_' ? '/' : s.p[i];
        }

        url += sio_base64_decode(&s) != SIO_OK || !sio_span_eq(s, in);
    }

    ok(measure == 0, "measured and written lengths agree, all lengths");
    ok(identity == 0, "decode(encode(x)) is x");
    ok(unpadded == 0, "and without padding");
    ok(url == 0, "base64url differs in two digits and the padding");
}


static void
test_appends(void)
{
    uint8_t    buf[32];
    sio_out_t  o;

    o.p = buf;
    o.n = 0;
    sio_out_byte(&o, 'b');
    sio_base64_encode(&o, sio_span("\x01\x02\x03\x04"));
    sio_out_byte(&o, 0x1e);
    sio_base64url_encode(&o, sio_span("\xff\xff"));

    is_text(buf, o.n, "bAQIDBA==\x1e__8", "encoders append");
}


int
main(void)
{
    test_vectors();
    test_errors();
    test_alphabet();
    test_round_trip();
    test_appends();

    return done_testing();
}
