/* proto/sio_ws: RFC 6455 clause by clause. */

#include "proto/sio_ws.h"
#include "tap.h"


#define NO_LIMIT  UINT64_MAX


/* Builds a client's header; form is the length's: 0, 2, 8 bytes extended. */

static size_t
put_header(uint8_t *p, unsigned first, int masked, size_t form,
    uint64_t length)
{
    size_t  i, n;

    n = 2 + form;
    p[0] = (uint8_t) first;
    p[1] = (uint8_t) ((masked ? 0x80 : 0)
                      | (form == 0 ? length : form == 2 ? 126 : 127));

    for (i = 0; i < form; i++) {
        p[2 + i] = (uint8_t) (length >> 8 * (form - 1 - i));
    }

    if (masked) {
        memcpy(p + n, "\x11\x22\x33\x44", 4);
        n += 4;
    }

    return n;
}


/*
 * Decodes from every prefix: AGAIN until the answer is known, and then the
 * same answer for every longer input.  Returns the answer to the whole.
 */

static sio_rc_t
decode(const uint8_t *p, size_t n, int fragmented, uint64_t limit,
    sio_ws_frame_t *f, size_t *known, unsigned *bad)
{
    size_t      i;
    sio_rc_t    rc, last;
    sio_span_t  in;

    last = SIO_AGAIN;
    *known = n + 1;

    for (i = 0; i <= n; i++) {
        in.p = guarded(p, i);
        in.n = i;
        rc = sio_ws_decode_header(in, fragmented, limit, f);

        *bad += last != SIO_AGAIN && rc != last;

        if (last == SIO_AGAIN && rc != SIO_AGAIN) {
            *known = i;
        }

        last = rc;
    }

    return last;
}


static void
test_first_byte(void)
{
    int             fragmented, fin, data, legal;
    size_t          n, known;
    uint8_t         buf[SIO_WS_MAX_HEADER];
    unsigned        c, opcode, bad, early;
    sio_rc_t        rc;
    sio_ws_frame_t  f;

    for (fragmented = 0; fragmented < 2; fragmented++) {
        bad = early = 0;

        for (c = 0; c < 256; c++) {
            opcode = c & 0x0f;
            fin = c >> 7;
            data = opcode <= 2;

            legal = (c & 0x70) == 0
                    && (data ? fragmented == (opcode == 0)
                             : fin && opcode >= 8 && opcode <= 10);

            n = put_header(buf, c, 1, 0, 5);
            rc = decode(buf, n, fragmented, NO_LIMIT, &f, &known, &bad);

            bad += rc != (legal ? SIO_OK : SIO_EINVAL);
            early += known != (legal ? n : 1);

            if (legal) {
                bad += f.opcode != opcode || f.fin != fin || f.length != 5
                       || f.header != 6
                       || memcmp(f.mask, "\x11\x22\x33\x44", 4) != 0;
            }
        }

        ok(bad == 0, "all first bytes, %s",
           fragmented ? "within a message" : "between messages");
        ok(early == 0, "an illegal one is refused without the second byte");
    }
}


static void
test_mask_bit(void)
{
    size_t          n, known;
    uint8_t         buf[SIO_WS_MAX_HEADER];
    unsigned        bad;
    uint64_t        length;
    sio_ws_frame_t  f;

    bad = 0;

    for (length = 0; length < 128; length++) {
        n = put_header(buf, 0x82, 0, 0, length);
        bad += decode(buf, n, 0, NO_LIMIT, &f, &known, &bad) != SIO_EINVAL;
        bad += known != 2;
    }

    ok(bad == 0, "a frame without a mask is refused with the second byte");
}


static void
test_lengths(void)
{
    static const struct {
        uint64_t  length;
        size_t    form, known;
        sio_rc_t  rc;
    }  t[] = {
        { 0, 0, 6, SIO_OK }, { 1, 0, 6, SIO_OK }, { 125, 0, 6, SIO_OK },
        { 126, 2, 8, SIO_OK }, { 255, 2, 8, SIO_OK }, { 256, 2, 8, SIO_OK },
        { 65535, 2, 8, SIO_OK }, { 65536, 8, 14, SIO_OK },
        { 0x0102030405060708, 8, 14, SIO_OK },
        { INT64_MAX, 8, 14, SIO_OK },
        { 0, 2, 4, SIO_EINVAL }, { 125, 2, 4, SIO_EINVAL },
        { 0, 8, 8, SIO_EINVAL }, { 125, 8, 8, SIO_EINVAL },
        { 126, 8, 8, SIO_EINVAL }, { 65535, 8, 8, SIO_EINVAL },
        { (uint64_t) 1 << 63, 8, 3, SIO_EINVAL },
        { UINT64_MAX, 8, 3, SIO_EINVAL }
    };

    size_t          i, n, known;
    uint8_t         buf[SIO_WS_MAX_HEADER];
    unsigned        bad;
    sio_rc_t        rc;
    sio_ws_frame_t  f;

    for (i = 0; i < sio_countof(t); i++) {
        bad = 0;
        n = put_header(buf, 0x82, 1, t[i].form, t[i].length);
        rc = decode(buf, n, 0, NO_LIMIT, &f, &known, &bad);

        ok(rc == t[i].rc && bad == 0,
           "length %llu in %zu bytes", (unsigned long long) t[i].length,
           t[i].form);
        ok(known == t[i].known, "known after %zu bytes", t[i].known);

        if (rc == SIO_OK) {
            ok(f.length == t[i].length && f.header == n
               && memcmp(f.mask, "\x11\x22\x33\x44", 4) == 0,
               "header of %zu bytes, length and mask", n);
        }
    }

    bad = 0;

    for (n = 0; n < 65536; n++) {
        put_header(buf, 0x81, 1, 2, n);
        rc = sio_ws_decode_header((sio_span_t) { buf, 8 }, 0, NO_LIMIT, &f);
        bad += rc != (n < 126 ? SIO_EINVAL : SIO_OK)
               || (rc == SIO_OK && f.length != n);
    }

    ok(bad == 0, "all lengths of two bytes");
}


static void
test_limit(void)
{
    static const struct {
        uint64_t  length, limit;
        size_t    form, known;
        sio_rc_t  rc;
    }  t[] = {
        { 0, 0, 0, 6, SIO_OK }, { 1, 0, 0, 2, SIO_ELIMIT },
        { 100, 100, 0, 6, SIO_OK }, { 101, 100, 0, 2, SIO_ELIMIT },
        { 1000, 1000, 2, 8, SIO_OK }, { 1001, 1000, 2, 4, SIO_ELIMIT },
        { 1000000, 1000000, 8, 14, SIO_OK },
        { 1000001, 1000000, 8, 10, SIO_ELIMIT },
        { INT64_MAX, 1000000, 8, 10, SIO_ELIMIT },
        { INT64_MAX, NO_LIMIT, 8, 14, SIO_OK },
        { UINT64_MAX, 0, 8, 3, SIO_EINVAL }, { 5, 0, 2, 4, SIO_EINVAL }
    };

    size_t          i, n, known;
    uint8_t         buf[SIO_WS_MAX_HEADER];
    unsigned        bad;
    sio_rc_t        rc;
    sio_ws_frame_t  f;

    for (i = 0; i < sio_countof(t); i++) {
        bad = 0;
        n = put_header(buf, 0x82, 1, t[i].form, t[i].length);
        rc = decode(buf, n, 0, t[i].limit, &f, &known, &bad);

        ok(rc == t[i].rc && known == t[i].known && bad == 0,
           "length %llu with a limit of %llu",
           (unsigned long long) t[i].length,
           (unsigned long long) t[i].limit);
    }

    bad = 0;
    n = put_header(buf, 0x00, 1, 0, 8);
    ok(decode(buf, n, 1, 7, &f, &known, &bad) == SIO_ELIMIT,
       "the limit holds for a continuation");

    n = put_header(buf, 0x89, 1, 0, 125);
    ok(decode(buf, n, 0, 7, &f, &known, &bad) == SIO_OK,
       "the limit does not hold for control frames");
}


static void
test_control(void)
{
    size_t          n, known;
    uint8_t         buf[SIO_WS_MAX_HEADER];
    unsigned        opcode, bad;
    sio_rc_t        rc;
    uint64_t        length;
    sio_ws_frame_t  f;

    for (opcode = 8; opcode <= 10; opcode++) {
        bad = 0;

        for (length = 0; length < 128; length++) {
            n = put_header(buf, 0x80 | opcode, 1, 0, length);
            rc = decode(buf, n, length & 1, 0, &f, &known, &bad);
            bad += rc != (length > 125 ? SIO_EINVAL : SIO_OK);
            bad += known != (length > 125 ? 2 : n);
        }

        ok(bad == 0, "control frame %x: up to 125 bytes", opcode);

        n = put_header(buf, opcode, 1, 0, 0);
        ok(decode(buf, n, 0, 0, &f, &known, &bad) == SIO_EINVAL && known == 1,
           "control frame %x: not fragmented", opcode);
    }
}


/* What stands behind the header does not matter. */

static void
test_trailing(void)
{
    size_t          n;
    uint8_t         buf[64];
    sio_ws_frame_t  f;

    memset(buf, 0xff, sizeof(buf));
    n = put_header(buf, 0x81, 1, 0, 3);

    ok(sio_ws_decode_header((sio_span_t) { buf, sizeof(buf) }, 0, 3, &f)
       == SIO_OK && f.header == n && f.length == 3, "payload behind it");
}


/* RFC 6455, 5.7: a masked "Hello" */

static void
test_example(void)
{
    uint8_t         buf[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    sio_ws_frame_t  f;

    ok(sio_ws_decode_header((sio_span_t) { buf, 11 }, 0, 5, &f) == SIO_OK
       && f.opcode == SIO_WS_TEXT && f.fin && f.length == 5, "Hello");

    sio_ws_unmask(buf + f.header, 5, f.mask, 0);
    is_text(buf + f.header, 5, "Hello", "Hello, unmasked");
}


static void
test_unmask(void)
{
    static const uint8_t  mask[4] = { 0xa1, 0x52, 0x03, 0xfc };

    size_t    n, at, i, cut;
    uint8_t   plain[100], *p;
    unsigned  bad, pieces;

    for (i = 0; i < sizeof(plain); i++) {
        plain[i] = (uint8_t) (i * 37 + 11);
    }

    bad = pieces = 0;

    for (n = 0; n <= 70; n++) {
        for (at = 0; at < 9; at++) {
            p = guarded(plain, n);
            sio_ws_unmask(p, n, mask, at);

            for (i = 0; i < n; i++) {
                bad += p[i] != (plain[i] ^ mask[(at + i) % 4]);
            }
        }

        for (cut = 0; cut <= n; cut++) {
            p = guarded(plain, n);
            sio_ws_unmask(p, cut, mask, 0);
            sio_ws_unmask(p + cut, n - cut, mask, cut);
            sio_ws_unmask(p, n, mask, 0);
            pieces += memcmp(p, plain, n) != 0;
        }
    }

    ok(bad == 0, "unmask, every length and offset");
    ok(pieces == 0, "unmask in two pieces, every cut");

    p = guarded(plain, 3);
    sio_ws_unmask(p, 3, mask, UINT64_MAX - 1);
    ok(p[0] == (plain[0] ^ mask[2]) && p[1] == (plain[1] ^ mask[3])
       && p[2] == (plain[2] ^ mask[0]), "unmask at the end of 64 bits");

    sio_ws_unmask(NULL, 0, mask, 3);
    ok(1, "unmask nothing at NULL");
}


/* A server's header, read back by making it a client's. */

static void
test_encode(void)
{
    static const struct {
        uint64_t     length;
        size_t       n;
        const char  *bytes;
    }  t[] = {
        { 0, 2, "\x82\x00" },
        { 125, 2, "\x82\x7d" },
        { 126, 4, "\x82\x7e\x00\x7e" },
        { 255, 4, "\x82\x7e\x00\xff" },
        { 65535, 4, "\x82\x7e\xff\xff" },
        { 65536, 10, "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" },
        { INT64_MAX, 10, "\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff" }
    };

    size_t                 i, n;
    uint8_t                buf[SIO_WS_MAX_HEADER];
    unsigned               bad;
    uint64_t               length;
    sio_ws_frame_t         f;
    const sio_ws_opcode_t  all[] = {
        SIO_WS_CONTINUATION, SIO_WS_TEXT, SIO_WS_BINARY, SIO_WS_CLOSE,
        SIO_WS_PING, SIO_WS_PONG
    };

    for (i = 0; i < sio_countof(t); i++) {
        n = sio_ws_encode_header(buf, SIO_WS_BINARY, t[i].length);
        is_bytes(buf, n, t[i].bytes, t[i].n, "encode length %llu",
                 (unsigned long long) t[i].length);
    }

    for (i = 0; i < sio_countof(all); i++) {
        n = sio_ws_encode_header(buf, all[i], 7);
        ok(n == 2 && buf[0] == (0x80 | all[i]) && buf[1] == 7,
           "encode opcode %x", all[i]);
    }

    bad = 0;

    for (length = 0; length < 70000; length++) {
        n = sio_ws_encode_header(buf, SIO_WS_TEXT, length);
        bad += (buf[1] & 0x80) != 0;
        buf[1] |= 0x80;
        bad += sio_ws_decode_header((sio_span_t) { buf, n + 4 }, 0, NO_LIMIT,
                                    &f) != SIO_OK
               || f.length != length || f.header != n + 4;
    }

    ok(bad == 0, "encode, then decode: minimal and equal up to 70000");
}


static sio_rc_t
close_of(const void *p, size_t n, uint16_t *code)
{
    *code = 7;

    return sio_ws_decode_close((sio_span_t) { guarded(p, n), n }, code);
}


static void
test_close(void)
{
    int       legal;
    uint8_t   buf[125];
    uint16_t  code;
    unsigned  c, bad;
    sio_rc_t  rc;

    ok(close_of("", 0, &code) == SIO_OK && code == SIO_WS_NO_STATUS,
       "close without a payload");
    ok(sio_ws_decode_close(sio_span_null, &code) == SIO_OK
       && code == SIO_WS_NO_STATUS, "close without a payload, at NULL");

    bad = 0;

    for (c = 0; c < 256; c++) {
        buf[0] = (uint8_t) c;
        bad += close_of(buf, 1, &code) != SIO_EINVAL;
    }

    ok(bad == 0, "close with one byte");

    bad = 0;

    for (c = 0; c < 65536; c++) {
        buf[0] = (uint8_t) (c >> 8);
        buf[1] = (uint8_t) c;
        code = 7;

        legal = (c >= 1000 && c <= 1003) || (c >= 1007 && c <= 1014)
                || (c >= 3000 && c <= 4999);
        rc = sio_ws_decode_close((sio_span_t) { buf, 2 }, &code);

        bad += rc != (legal ? SIO_OK : SIO_EINVAL);
        bad += code != (legal ? c : 7);
    }

    ok(bad == 0, "all close codes");

    ok(close_of("\x03\xe8" "bye \xe2\x9c\x93", 9, &code) == SIO_OK
       && code == SIO_WS_NORMAL, "close with a reason");
    ok(close_of("\x03\xe8" "bye \xe2\x9c", 8, &code) == SIO_EUTF8
       && code == 7, "close with a reason cut within a character");
    ok(close_of("\x03\xe8\xff", 3, &code) == SIO_EUTF8,
       "close with a reason that is not UTF-8");
    ok(close_of("\x03\xed\xff", 3, &code) == SIO_EINVAL,
       "a wrong code comes before a wrong reason");

    memset(buf, 'x', sizeof(buf));
    buf[0] = 0x0f;
    buf[1] = 0xa0;
    ok(close_of(buf, sizeof(buf), &code) == SIO_OK && code == 4000,
       "the longest reason");
}


static void
test_key(void)
{
    static const char  good[] = "dGhlIHNhbXBsZSBub25jZQ==";

    size_t      i, n;
    char        key[40];
    sio_span_t  s;

    ok(sizeof(good) - 1 == SIO_WS_KEY_LEN, "the specification's key");

    for (n = 0; n <= 40; n++) {
        memset(key, 'A', sizeof(key));
        memcpy(key, good, sizeof(good) - 1);
        s.p = guarded(key, n);
        s.n = n;

        if (sio_ws_key_valid(s) != (n == SIO_WS_KEY_LEN)) {
            break;
        }
    }

    ok(n == 41, "a key has 24 characters");

    for (i = 0; i < SIO_WS_KEY_LEN; i++) {
        memcpy(key, good, sizeof(good) - 1);
        key[i] = '!';

        if (sio_ws_key_valid((sio_span_t) { (uint8_t *) key, 24 })) {
            break;
        }
    }

    ok(i == SIO_WS_KEY_LEN, "a bad character at any place");

    ok(!sio_ws_key_valid(sio_span("AAAAAAAAAAAAAAAAAAAAAAAA")),
       "18 bytes are no key");
    ok(!sio_ws_key_valid(sio_span("AAAAAAAAAAAAAAAAAAAAAAA=")),
       "17 bytes are no key");
    ok(!sio_ws_key_valid(sio_span("AAAAAAAAAAAAAAAAAAAAA===")),
       "three paddings are no key");
    ok(!sio_ws_key_valid(sio_span_null), "nothing is no key");
    ok(sio_ws_key_valid(sio_span("+/+/+/+/+/+/+/+/+/+/+w==")),
       "all of the alphabet");
    ok(!sio_ws_key_valid(sio_span("-_-_-_-_-_-_-_-_-_-_-w==")),
       "not the other alphabet");
}


int
main(void)
{
    test_first_byte();
    test_mask_bit();
    test_lengths();
    test_limit();
    test_control();
    test_trailing();
    test_example();
    test_unmask();
    test_encode();
    test_close();
    test_key();

    return done_testing();
}
