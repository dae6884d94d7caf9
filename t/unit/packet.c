/* proto/sio_packet */

#include "proto/sio_packet.h"
#include "tap.h"


static sio_span_t
span_of(const char *s)
{
    sio_span_t  span;

    span.n = strlen(s);
    span.p = guarded(s, span.n);

    return span;
}


/* what decodes, and what it encodes to: NULL for the same text */

static const struct {
    const char         *in;
    sio_packet_type_t   type;
    uint32_t            attachments;
    const char         *nsp;
    int                 has_id;
    uint64_t            id;
    const char         *json;
    const char         *out;
}  good[] = {
    { "0", SIO_CONNECT, 0, "/", 0, 0, "", NULL },
    { "0{\"a\":1}", SIO_CONNECT, 0, "/", 0, 0, "{\"a\":1}", NULL },
    { "0/chat,", SIO_CONNECT, 0, "/chat", 0, 0, "", NULL },
    { "0/chat", SIO_CONNECT, 0, "/chat", 0, 0, "", "0/chat," },
    { "0/chat?x=1&y=/,{}", SIO_CONNECT, 0, "/chat?x=1&y=/", 0, 0, "{}",
      NULL },
    { "0/", SIO_CONNECT, 0, "/", 0, 0, "", "0" },
    { "0/,{}", SIO_CONNECT, 0, "/", 0, 0, "{}", "0{}" },
    { "0/\xc3\xa9,", SIO_CONNECT, 0, "/\xc3\xa9", 0, 0, "", NULL },
    { "1", SIO_DISCONNECT, 0, "/", 0, 0, "", NULL },
    { "1/a,", SIO_DISCONNECT, 0, "/a", 0, 0, "", NULL },
    { "1 ", SIO_DISCONNECT, 0, "/", 0, 0, "", "1" },
    { "2[\"a\"]", SIO_EVENT, 0, "/", 0, 0, "[\"a\"]", NULL },
    { "20[\"a\"]", SIO_EVENT, 0, "/", 1, 0, "[\"a\"]", NULL },
    { "2007[\"a\"]", SIO_EVENT, 0, "/", 1, 7, "[\"a\"]", "27[\"a\"]" },
    { "2 [\"a\"]", SIO_EVENT, 0, "/", 0, 0, "[\"a\"]", "2[\"a\"]" },
    { "21\r\n\t [\"a\"] ", SIO_EVENT, 0, "/", 1, 1, "[\"a\"] ",
      "21[\"a\"] " },
    { "2/a,12[\"a,b\"]", SIO_EVENT, 0, "/a", 1, 12, "[\"a,b\"]", NULL },
    { "2/a/b,[\"/\"]", SIO_EVENT, 0, "/a/b", 0, 0, "[\"/\"]", NULL },
    { "2/12[\"a\"]", SIO_EVENT, 0, "/12[\"a\"]", 0, 0, "",
      "2/12[\"a\"]," },
    { "29007199254740991[1]", SIO_EVENT, 0, "/", 1, SIO_MAX_SAFE_INTEGER,
      "[1]", NULL },
    { "2-1[]", SIO_EVENT, 0, "/", 0, 0, "-1[]", NULL },
    { "2", SIO_EVENT, 0, "/", 0, 0, "", NULL },
    { "2,[1]", SIO_EVENT, 0, "/", 0, 0, ",[1]", NULL },
    { "312[]", SIO_ACK, 0, "/", 1, 12, "[]", NULL },
    { "3[]", SIO_ACK, 0, "/", 0, 0, "[]", NULL },
    { "4{\"message\":\"no\"}", SIO_CONNECT_ERROR, 0, "/", 0, 0,
      "{\"message\":\"no\"}", NULL },
    { "51-[\"a\",{\"_placeholder\":true,\"num\":0}]", SIO_BINARY_EVENT, 1,
      "/", 0, 0, "[\"a\",{\"_placeholder\":true,\"num\":0}]", NULL },
    { "510-/a,3[1]", SIO_BINARY_EVENT, 10, "/a", 1, 3, "[1]", NULL },
    { "5007-[1]", SIO_BINARY_EVENT, 7, "/", 0, 0, "[1]", "57-[1]" },
    { "62-/a,3[1]", SIO_BINARY_ACK, 2, "/a", 1, 3, "[1]", NULL },
    { "51-", SIO_BINARY_EVENT, 1, "/", 0, 0, "", NULL }
};


static void
test_good(void)
{
    size_t        i, n;
    uint8_t       buf[128];
    sio_rc_t      rc;
    sio_out_t     o;
    const char   *out;
    sio_packet_t  p;

    for (i = 0; i < sio_countof(good); i++) {
        rc = sio_packet_decode(span_of(good[i].in), 10, &p);

        ok(rc == SIO_OK && p.type == good[i].type
           && p.attachments == good[i].attachments
           && p.has_id == (unsigned) good[i].has_id && p.id == good[i].id,
           "decode %zu", i);
        is_text(p.nsp.p, p.nsp.n, good[i].nsp, "namespace %zu", i);
        is_text(p.json.p, p.json.n, good[i].json, "payload %zu", i);

        out = good[i].out ? good[i].out : good[i].in;

        o.p = NULL;
        o.n = 0;
        sio_packet_encode(&o, &p);
        n = o.n;

        o.p = buf;
        o.n = 0;
        sio_packet_encode(&o, &p);
        is_text(buf, o.n, out, "encode %zu", i);
        ok(n == o.n, "measured %zu", i);
    }
}


static const struct {
    const char  *in;
    sio_rc_t     rc;
}  bad[] = {
    { "", SIO_EINVAL },
    { " ", SIO_EINVAL },
    { "7", SIO_EINVAL },
    { "9[\"a\"]", SIO_EINVAL },
    { "a", SIO_EINVAL },
    { "/", SIO_EINVAL },
    { ":", SIO_EINVAL },
    { "[\"a\"]", SIO_EINVAL },
    { "1{}", SIO_EINVAL },
    { "1/a,[]", SIO_EINVAL },
    { "11x", SIO_EINVAL },
    { "29007199254740992[1]", SIO_EINVAL },
    { "2/a,18446744073709551617[1]", SIO_EINVAL },
    { "299999999999999999999999999999999999999[1]", SIO_EINVAL },
    { "5", SIO_EINVAL },
    { "5[\"a\"]", SIO_EINVAL },
    { "51[\"a\"]", SIO_EINVAL },
    { "51", SIO_EINVAL },
    { "5-[\"a\"]", SIO_EINVAL },
    { "50-[\"a\"]", SIO_EINVAL },
    { "5000-[\"a\"]", SIO_EINVAL },
    { "5+1-[\"a\"]", SIO_EINVAL },
    { "5-1-[\"a\"]", SIO_EINVAL },
    { "5 1-[\"a\"]", SIO_EINVAL },
    { "51 -[\"a\"]", SIO_EINVAL },
    { "51e0-[\"a\"]", SIO_EINVAL },
    { "51.0-[\"a\"]", SIO_EINVAL },
    { "50x1-[\"a\"]", SIO_EINVAL },
    { "6/a,1-[\"a\"]", SIO_EINVAL },
    { "511-[\"a\"]", SIO_ELIMIT },
    { "54294967297-[\"a\"]", SIO_ELIMIT },
    { "518446744073709551617-[\"a\"]", SIO_ELIMIT },
    { "699999999999999999999999999999999999999-[\"a\"]", SIO_ELIMIT }
};


static void
test_bad(void)
{
    size_t        i;
    sio_packet_t  p;

    for (i = 0; i < sio_countof(bad); i++) {
        ok(sio_packet_decode(span_of(bad[i].in), 10, &p) == bad[i].rc,
           "refused %zu: %s", i, bad[i].in);
    }

    ok(sio_packet_decode(sio_span_null, 10, &p) == SIO_EINVAL, "nothing");
    ok(sio_packet_decode(span_of("51-[1]"), 0, &p) == SIO_ELIMIT,
       "no attachments allowed");
    ok(sio_packet_decode(span_of("54294967295-[1]"), UINT32_MAX, &p)
       == SIO_OK && p.attachments == UINT32_MAX, "the most attachments");
    ok(sio_packet_decode(span_of("54294967296-[1]"), UINT32_MAX, &p)
       == SIO_ELIMIT, "one more");
}


/* A text cut anywhere, and a NUL anywhere, reads nothing behind it. */

static void
test_cuts(void)
{
    size_t             i, n;
    uint8_t           *p;
    unsigned           whole;
    sio_span_t         s;
    sio_packet_t       packet;
    static const char  text[] = "512-/chat,345[\"a\",1]";

    whole = 0;

    for (n = 0; n < sizeof(text); n++) {
        s.p = guarded(text, n);
        s.n = n;
        whole += sio_packet_decode(s, 20, &packet) == SIO_OK;
    }

    ok(whole == sizeof(text) - 4, "cut anywhere after the count");

    whole = 0;

    for (i = 0; i < sizeof(text) - 1; i++) {
        p = guarded(text, sizeof(text) - 1);
        p[i] = '\0';
        s.p = p;
        s.n = sizeof(text) - 1;
        whole += sio_packet_decode(s, 20, &packet) == SIO_OK;
    }

    ok(whole == sizeof(text) - 1 - 4, "a NUL in type or count is refused");
}


static void
test_encode(void)
{
    uint8_t       buf[64];
    sio_out_t     o = { buf, 0 };
    sio_packet_t  p;

    memset(&p, 0, sizeof(p));
    p.type = SIO_EVENT;
    p.json = sio_span("[\"a\"]");
    sio_packet_encode(&o, &p);
    is_text(buf, o.n, "2[\"a\"]", "no namespace is the main one");

    o.p = buf;
    o.n = 0;
    p.type = SIO_ACK;
    p.has_id = 1;
    p.id = UINT64_MAX;
    p.nsp = sio_span("/x");
    sio_packet_encode(&o, &p);
    is_text(buf, o.n, "3/x,18446744073709551615[\"a\"]", "the largest id");
}


static void
test_reserved(void)
{
    size_t             i;
    static const char  *yes[] = { "connect", "connect_error", "disconnect",
                                  "disconnecting", "newListener",
                                  "removeListener" };
    static const char  *no[] = { "", "connection", "Connect", "connect ",
                                 "connec", "newlistener", "error", "message",
                                 "disconnected" };

    for (i = 0; i < sio_countof(yes); i++) {
        ok(sio_packet_reserved(span_of(yes[i])) == 1, "%s is", yes[i]);
    }

    for (i = 0; i < sio_countof(no); i++) {
        ok(sio_packet_reserved(span_of(no[i])) == 0, "\"%s\" is not", no[i]);
    }

    ok(sio_packet_reserved(sio_span_null) == 0, "nothing is not");
}


int
main(void)
{
    test_good();
    test_bad();
    test_cuts();
    test_encode();
    test_reserved();

    return done_testing();
}
