/*
 * sio_eio_parse_query against a parser that decodes everything first, and
 * against itself with every byte escaped.
 */

#include "proto/sio_eio.h"
#include "fuzz.h"


static int
hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}


/* Decodes n bytes at p to out, a C string unless it holds zeroes. */

static size_t
unescape(const uint8_t *p, size_t n, char *out)
{
    size_t  i, len;

    len = 0;

    for (i = 0; i < n; i++) {
        if (p[i] == '%' && i + 2 < n && hex(p[i + 1]) >= 0
            && hex(p[i + 2]) >= 0)
        {
            out[len++] = (char) (hex(p[i + 1]) * 16 + hex(p[i + 2]));
            i += 2;

        } else {
            out[len++] = p[i] == '+' ? ' ' : (char) p[i];
        }
    }

    out[len] = 0;

    return len;
}


static int
text_is(const char *p, size_t n, const char *want)
{
    return n == strlen(want) && memcmp(p, want, n) == 0;
}


static unsigned
version(const char *p, size_t n)
{
    size_t         i;
    unsigned long  v;

    if (n == 0 || n > 16 || p[0] == '0') {
        return 0;
    }

    for (i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return 0;
        }
    }

    v = strtoul(p, NULL, 10);

    return v > 255 ? 255 : (unsigned) v;
}


/*
 * Parses n bytes of data into q; escaped, if not NULL, gets the same query
 * with every byte of names, and of values except sid's, escaped.
 */

static void
reference(const uint8_t *data, size_t size, sio_eio_query_t *q,
    sio_out_t *escaped)
{
    static const char  digits[] = "0123456789abcdef";

    char    *name, *value;
    size_t   i, k, from, eq, n, vn, raw;

    memset(q, 0, sizeof(*q));
    name = malloc(size + 1);
    value = malloc(size + 1);
    CHECK(name != NULL && value != NULL);

    for (from = 0; from < size; from = i + 1) {

        for (i = from; i < size && data[i] != '&'; i++) { /* void */ }
        for (eq = from; eq < i && data[eq] != '='; eq++) { /* void */ }

        raw = eq < i ? eq + 1 : i;
        n = unescape(data + from, eq - from, name);
        vn = unescape(data + raw, i - raw, value);

        for (k = 0; k < n; k++) {
            sio_out_byte(escaped, '%');
            sio_out_byte(escaped, (uint8_t) digits[(uint8_t) name[k] >> 4]);
            sio_out_byte(escaped, (uint8_t) digits[name[k] & 15]);
        }

        sio_out_byte(escaped, '=');

        if (text_is(name, n, "sid")) {
            q->sid.p = (uint8_t *) data + raw;
            q->sid.n = i - raw;
            sio_out_span(escaped, q->sid);
            vn = 0;

        } else if (text_is(name, n, "transport")) {
            q->transport = text_is(value, vn, "polling") ? SIO_EIO_POLLING
                           : text_is(value, vn, "websocket")
                             ? SIO_EIO_WEBSOCKET : SIO_EIO_TRANSPORT_UNKNOWN;

        } else if (text_is(name, n, "EIO")) {
            q->eio = version(value, vn);

        } else if (text_is(name, n, "b64")) {
            q->b64 = text_is(value, vn, "1") || text_is(value, vn, "true");
        }

        for (k = 0; k < vn; k++) {
            sio_out_byte(escaped, '%');
            sio_out_byte(escaped, (uint8_t) digits[(uint8_t) value[k] >> 4]);
            sio_out_byte(escaped, (uint8_t) digits[value[k] & 15]);
        }

        sio_out_byte(escaped, '&');
    }

    free(name);
    free(value);
}


static void
check_equal(const sio_eio_query_t *a, const sio_eio_query_t *b)
{
    CHECK(a->transport == b->transport);
    CHECK(a->eio == b->eio);
    CHECK(a->b64 == b->b64);
    CHECK(sio_span_eq(a->sid, b->sid));
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t          *p;
    sio_out_t         escaped;
    sio_span_t        in;
    sio_eio_query_t   q, want;

    p = malloc(size * 3 + 16);
    CHECK(p != NULL);
    escaped.p = p;
    escaped.n = 0;

    in = fuzz_span(data, size);
    sio_eio_parse_query(in, &q);
    reference(data, size, &want, &escaped);
    CHECK(escaped.n <= size * 3 + 16);

    check_equal(&q, &want);
    CHECK(q.sid.n == 0
          || (q.sid.p >= in.p && q.sid.p + q.sid.n <= in.p + size));
    CHECK(q.eio <= 255);

    fuzz_free(in.p, size);

    in = fuzz_span(p, escaped.n);
    sio_eio_parse_query(in, &q);
    check_equal(&q, &want);

    fuzz_free(in.p, escaped.n);
    free(p);

    return 0;
}
