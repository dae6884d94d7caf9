/* proto/sio_utf8: against a decoder that does it by arithmetic. */

#include "proto/sio_utf8.h"
#include "tap.h"


/*
 * Returns the length of the character at p, 0 if it is none, by decoding it
 * and asking if the value needs that many bytes and is one to be encoded.
 */

static size_t
reference_char(const uint8_t *p, size_t n)
{
    static const uint32_t  least[] = { 0, 0, 0x80, 0x800, 0x10000 };

    size_t    i, len;
    uint32_t  c;

    if (p[0] < 0x80) {
        return 1;
    }

    len = p[0] >= 0xf8 ? 0 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3
          : p[0] >= 0xc0 ? 2 : 0;

    if (len == 0 || len > n) {
        return 0;
    }

    c = p[0] & (0x7f >> len);

    for (i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }

        c = c << 6 | (p[i] & 0x3f);
    }

    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff)) {
        return 0;
    }

    return len;
}


static int
reference(const uint8_t *p, size_t n)
{
    size_t  len;

    for ( /* void */ ; n != 0; p += len, n -= len) {
        len = reference_char(p, n);

        if (len == 0) {
            return 0;
        }
    }

    return 1;
}


static size_t
put_char(uint8_t *p, uint32_t c, size_t len)
{
    static const uint8_t  lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    size_t  i;

    if (len == 1) {
        p[0] = (uint8_t) c;
        return 1;
    }

    for (i = len - 1; i != 0; i--) {
        p[i] = 0x80 | (c & 0x3f);
        c >>= 6;
    }

    p[0] = (uint8_t) (lead[len] | c);

    return len;
}


static size_t
char_len(uint32_t c)
{
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}


static void
test_code_points(void)
{
    size_t    len;
    uint8_t   buf[4];
    unsigned  bad, surrogates, overlong;
    uint32_t  c;

    bad = surrogates = overlong = 0;

    for (c = 0; c <= 0x10ffff; c++) {
        len = put_char(buf, c, char_len(c));

        if (c >= 0xd800 && c <= 0xdfff) {
            surrogates += sio_utf8_valid(buf, len);

        } else {
            bad += !sio_utf8_valid(buf, len);
        }

        for (len++; len <= 4; len++) {
            put_char(buf, c, len);
            overlong += sio_utf8_valid(buf, len);
        }
    }

    ok(bad == 0, "every code point is accepted");
    ok(surrogates == 0, "no surrogate is accepted");
    ok(overlong == 0, "no overlong form is accepted");

    bad = 0;

    for (c = 0x110000; c <= 0x1fffff; c++) {
        put_char(buf, c, 4);
        bad += sio_utf8_valid(buf, 4);
    }

    ok(bad == 0, "nothing above U+10FFFF is accepted");
}


/* All sequences of one to three bytes, the edges of four, by comparison. */

static void
test_exhaustive(void)
{
    static const uint8_t  edges[] = {
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xe0,
        0xed, 0xf0, 0xf4, 0xff
    };

    size_t    n;
    uint8_t   buf[4];
    uint32_t  i, j, k, last;
    unsigned  bad;

    for (n = 1; n <= 3; n++) {
        bad = 0;
        last = (uint32_t) 1 << 8 * n;

        for (i = 0; i < last; i++) {
            buf[0] = (uint8_t) i;
            buf[1] = (uint8_t) (i >> 8);
            buf[2] = (uint8_t) (i >> 16);

            bad += sio_utf8_valid(buf, n) != reference(buf, n);
        }

        ok(bad == 0, "all sequences of %zu bytes", n);
    }

    bad = 0;

    for (i = 0; i < 65536; i++) {
        for (j = 0; j < sio_countof(edges); j++) {
            for (k = 0; k < sio_countof(edges); k++) {
                buf[0] = (uint8_t) i;
                buf[1] = (uint8_t) (i >> 8);
                buf[2] = edges[j];
                buf[3] = edges[k];

                bad += sio_utf8_valid(buf, 4) != reference(buf, 4);
            }
        }
    }

    ok(bad == 0, "sequences of 4 bytes");
}


static const char  mixed[] =
    "plain ASCII that is long enough for words, "
    "\xc2\x80\xdf\xbf\xe0\xa0\x80\xe1\x80\x80\xed\x9f\xbf\xee\x80\x80"
    "\xef\xbf\xbf\xf0\x90\x80\x80\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf"
    " na\xc3\xafve \xe2\x9c\x93 \xf0\x9f\x98\x80 and more ASCII after it";


/* Every cut in two, and byte by byte: the state says where it stopped. */

static void
test_cuts(void)
{
    size_t      i, n;
    uint8_t    *p;
    unsigned    bad, states;
    sio_rc_t    want, rc;
    sio_utf8_t  u, bytes;

    n = sizeof(mixed) - 1;
    bad = states = 0;
    rc = SIO_OK;
    memset(&bytes, 0, sizeof(bytes));

    for (i = 0; i <= n; i++) {
        memset(&u, 0, sizeof(u));
        p = guarded(mixed, i);
        want = reference(p, i) ? SIO_OK : SIO_AGAIN;

        bad += sio_utf8_check(&u, p, i) != want;
        bad += sio_utf8_valid(p, i) != (want == SIO_OK);
        states += rc != want || memcmp(&bytes, &u, sizeof(u)) != 0;

        p = guarded(mixed + i, n - i);
        bad += sio_utf8_check(&u, p, n - i) != SIO_OK;

        if (i < n) {
            rc = sio_utf8_check(&bytes, guarded(mixed + i, 1), 1);
        }
    }

    ok(bad == 0, "a text cut in two at every place");
    ok(states == 0, "byte by byte, the same state as at once");
}


static void
test_errors_after_cut(void)
{
    static const struct {
        const char  *text;
        size_t       at;         /* bytes that are the beginning of a text */
    }  t[] = {
        { "\x80", 0 }, { "\xbf", 0 }, { "\xc0\x80", 0 }, { "\xc1\xbf", 0 },
        { "\xf5\x80\x80\x80", 0 }, { "\xff", 0 }, { "\xfe", 0 },
        { "\xc2\x7f", 1 }, { "\xc2\xc0", 1 }, { "\xe0\x9f\xbf", 1 },
        { "\xed\xa0\x80", 1 }, { "\xf0\x8f\xbf\xbf", 1 },
        { "\xf4\x90\x80\x80", 1 }, { "\xe2\x82 ", 2 }, { "\xf0\x9f\x98 ", 3 },
        { "\xe2\x82\xe2", 2 }, { "\xed\xb0\x80", 1 }, { "a\xc2\xa9\xa9", 3 }
    };

    size_t      i, k;
    unsigned    bad;
    sio_rc_t    rc;
    sio_utf8_t  u;

    for (i = 0; i < sio_countof(t); i++) {
        memset(&u, 0, sizeof(u));
        bad = 0;

        for (k = 0; k < t[i].at; k++) {
            rc = sio_utf8_check(&u, guarded(t[i].text + k, 1), 1);
            bad += rc != SIO_OK && rc != SIO_AGAIN;
        }

        rc = sio_utf8_check(&u, guarded(t[i].text + k, 1), 1);

        ok(bad == 0 && rc == SIO_EUTF8,
           "error %zu is seen at its first wrong byte", i + 1);
    }
}


/* One character or one bad byte at each place of texts of each length. */

static void
test_places(void)
{
    static const char *const  odd[] = {
        "\xc3\xa9", "\xe2\x9c\x93", "\xf0\x9f\x98\x80", "\x80", "\xff",
        "\xed\xa0\x80", "\xc3"
    };

    size_t    i, n, k, len;
    uint8_t  *p;
    unsigned  bad;

    for (k = 0; k < sio_countof(odd); k++) {
        len = strlen(odd[k]);
        bad = 0;

        for (n = len; n <= 40; n++) {
            p = guarded(NULL, n);

            for (i = 0; i + len <= n; i++) {
                memset(p, 'a', n);
                memcpy(p + i, odd[k], len);
                bad += sio_utf8_valid(p, n) != reference(p, n);
            }
        }

        ok(bad == 0, "sequence %zu at every place of ASCII", k + 1);
    }
}


int
main(void)
{
    sio_utf8_t  u;

    memset(&u, 0, sizeof(u));

    ok(sio_utf8_valid(NULL, 0) == 1, "nothing is a valid text");
    ok(sio_utf8_check(&u, NULL, 0) == SIO_OK, "nothing, at a border");
    ok(sio_utf8_check(&u, (const uint8_t *) "\xe2", 1) == SIO_AGAIN,
       "within a character");
    ok(sio_utf8_check(&u, NULL, 0) == SIO_AGAIN,
       "nothing, within a character");
    ok(sio_utf8_valid((const uint8_t *) "a\0b", 3), "NUL is a character");

    test_code_points();
    test_exhaustive();
    test_cuts();
    test_errors_after_cut();
    test_places();

    return done_testing();
}
