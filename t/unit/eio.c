/* proto/sio_eio */

#include "proto/sio_eio.h"
#include "tap.h"


static sio_span_t
span_of(const void *p, size_t n)
{
    sio_span_t  s;

    s.p = guarded(p, n);
    s.n = n;

    return s;
}


static void
test_decode(void)
{
    uint8_t           c;
    unsigned          v, bad;
    sio_rc_t          rc;
    sio_span_t        in;
    sio_eio_packet_t  p;

    bad = 0;

    for (v = 0; v < 256; v++) {
        c = (uint8_t) v;
        rc = sio_eio_decode(span_of(&c, 1), &p);

        bad += rc != (v >= '0' && v <= '6' ? SIO_OK : SIO_EINVAL);
        bad += rc == SIO_OK && (p.type != (sio_eio_type_t) v || p.data.n != 0);
    }

    ok(bad == 0, "all types, without data");
    ok(sio_eio_decode(span_of("", 0), &p) == SIO_EINVAL, "an empty message");
    ok(sio_eio_decode(sio_span_null, &p) == SIO_EINVAL,
       "an empty message at NULL");
    ok(sio_eio_decode(span_of("bAAAA", 5), &p) == SIO_EINVAL,
       "no binary packet on a WebSocket");

    in = span_of("42[\"a\x1e\"]", 8);
    ok(sio_eio_decode(in, &p) == SIO_OK && p.type == SIO_EIO_MESSAGE
       && p.data.p == in.p + 1, "data is borrowed, not copied");
    is_text(p.data.p, p.data.n, "2[\"a\x1e\"]",
            "a separator is nothing special in a WebSocket message");

    ok(sio_eio_decode(span_of("2probe", 6), &p) == SIO_OK
       && p.type == SIO_EIO_PING, "a ping");
    is_text(p.data.p, p.data.n, "probe", "and its data");
}


/*
 * Writes what a payload holds as text: "4:abc|b:...|" and, if it ends with
 * an error, "!".
 */

static const char *
walk(const char *payload, size_t n)
{
    static char  out[512];

    sio_rc_t          rc;
    sio_out_t         o;
    sio_span_t        in;
    sio_eio_packet_t  p;

    in = span_of(payload, n);
    o.p = (uint8_t *) out;
    o.n = 0;

    while ((rc = sio_eio_decode_payload(&in, &p)) == SIO_OK) {
        sio_out_byte(&o, (uint8_t) p.type);
        sio_out_byte(&o, ':');
        sio_out_span(&o, p.data);
        sio_out_byte(&o, '|');
    }

    if (rc != SIO_DONE) {
        sio_out_byte(&o, rc == SIO_EINVAL ? '!' : '?');

    } else if (sio_eio_decode_payload(&in, &p) != SIO_DONE) {
        sio_out_str(&o, "not done");
    }

    sio_out_byte(&o, 0);

    return out;
}


static void
test_payload(void)
{
    static const struct {
        const char  *in, *out;
    }  t[] = {
        { "", "!" },
        { "\x1e", "!" },
        { "4", "4:|" },
        { "4a", "4:a|" },
        { "4a\x1e", "4:a|!" },
        { "\x1e" "4a", "!" },
        { "4a\x1e\x1e" "4b", "4:a|!" },
        { "4a\x1e" "4b", "4:a|4:b|" },
        { "0\x1e" "1\x1e" "2\x1e" "3\x1e" "5\x1e" "6", "0:|1:|2:|3:|5:|6:|" },
        { "2probe\x1e" "40/chat,", "2:probe|4:0/chat,|" },
        { "7\x1e" "4a", "!" },
        { "4a\x1e" "x", "4:a|!" },
        { "B", "!" },
        { "b", "b:|" },
        { "b\x1e" "b", "b:|b:|" },
        { "bQUJD", "b:ABC|" },
        { "bQUI=", "b:AB|" },
        { "bQUI", "b:AB|" },
        { "bQQ==", "b:A|" },
        { "bQQ", "b:A|" },
        { "4a\x1e" "bQUI\x1e" "4b\x1e" "bQUJDRA==\x1e" "4c",
          "4:a|b:AB|4:b|b:ABCD|4:c|" },
        { "bQ", "!" },
        { "bQUJ!", "!" },
        { "bQU==I", "!" },
        { "4a\x1e" "b=", "4:a|!" },
        { "bQUJD\x1e", "b:ABC|!" },
        { "b4QUJD", "!" }
    };

    size_t             i;
    sio_span_t         in;
    const char        *got;
    sio_eio_packet_t   p;

    for (i = 0; i < sio_countof(t); i++) {
        got = walk(t[i].in, strlen(t[i].in));
        is_text(got, strlen(got), t[i].out, "payload %zu", i + 1);
    }

    is_bytes(walk("4\0b\x1e\0", 5), 6, "4:\0b|!", 6,
             "NUL is a character of data and no type");

    in = sio_span("4a");
    ok(sio_eio_decode_payload(&in, &p) == SIO_OK && in.p == NULL && in.n == 0,
       "the last packet sets p to NULL");
}


/* 500,000 tiny packets: each call looks at its own packet only. */

static void
test_many(void)
{
    size_t            i, n;
    uint8_t          *p;
    unsigned          count;
    sio_rc_t          rc;
    sio_span_t        in;
    sio_eio_packet_t  packet;

    n = 1000000 - 1;
    p = guarded(NULL, n);

    for (i = 0; i < n; i++) {
        p[i] = i & 1 ? SIO_EIO_SEPARATOR : '4';
    }

    in.p = p;
    in.n = n;

    for (count = 0;; count++) {
        rc = sio_eio_decode_payload(&in, &packet);

        if (rc != SIO_OK) {
            break;
        }
    }

    ok(rc == SIO_DONE && count == 500000, "500000 packets in a payload");
}


static void
test_open(void)
{
    uint8_t         *p;
    sio_out_t        o;
    const char      *want;
    sio_eio_open_t   open;

    open.sid = sio_span("lv_VI97HAXpY6yYWAAAB");
    open.upgrade = 1;
    open.ping_interval = 25000;
    open.ping_timeout = 20000;
    open.max_payload = 1000000;

    want = "0{\"sid\":\"lv_VI97HAXpY6yYWAAAB\",\"upgrades\":[\"websocket\"],"
           "\"pingInterval\":25000,\"pingTimeout\":20000,"
           "\"maxPayload\":1000000}";

    o.p = NULL;
    o.n = 0;
    sio_eio_encode_open(&o, &open);
    ok(o.n == strlen(want), "open, measured");

    p = guarded(NULL, o.n);
    o.p = p;
    o.n = 0;
    sio_eio_encode_open(&o, &open);
    is_text(p, o.n, want, "open, written");

    open.upgrade = 0;
    open.ping_interval = 0;
    open.ping_timeout = UINT64_MAX;
    open.max_payload = 1;

    want = "0{\"sid\":\"lv_VI97HAXpY6yYWAAAB\",\"upgrades\":[],"
           "\"pingInterval\":0,\"pingTimeout\":18446744073709551615,"
           "\"maxPayload\":1}";

    p = guarded(NULL, strlen(want));
    o.p = p;
    o.n = 0;
    sio_eio_encode_open(&o, &open);
    is_text(p, o.n, want, "open without an upgrade, extreme numbers");
}


static void
test_errors(void)
{
    static const char *const  want[] = {
        "{\"code\":0,\"message\":\"Transport unknown\"}",
        "{\"code\":1,\"message\":\"Session ID unknown\"}",
        "{\"code\":2,\"message\":\"Bad handshake method\"}",
        "{\"code\":3,\"message\":\"Bad request\"}",
        "{\"code\":4,\"message\":\"Forbidden\"}",
        "{\"code\":5,\"message\":\"Unsupported protocol version\"}"
    };

    unsigned    i;
    uint8_t    *p;
    sio_out_t   o;
    sio_span_t  s;

    for (i = 0; i < sio_countof(want); i++) {
        o.p = NULL;
        o.n = 0;
        sio_eio_encode_error(&o, i);

        p = guarded(NULL, o.n);
        o.p = p;
        o.n = 0;
        sio_eio_encode_error(&o, i);
        is_text(p, o.n, want[i], "error %u", i);
    }

    s = sio_eio_error_message(SIO_EIO_UNKNOWN_SID);
    is_text(s.p, s.n, "Session ID unknown", "an error's message");
}


static void
test_query(void)
{
    static const struct {
        const char          *in;
        sio_eio_transport_t  transport;
        unsigned             eio;
        const char          *sid;
        unsigned             b64;
    }  t[] = {
        { "", 0, 0, "", 0 },
        { "EIO=4&transport=polling", SIO_EIO_POLLING, 4, "", 0 },
        { "transport=websocket&EIO=4", SIO_EIO_WEBSOCKET, 4, "", 0 },
        { "EIO=4&transport=polling&t=PuOJ4wz&sid=AbC-_9", SIO_EIO_POLLING, 4,
          "AbC-_9", 0 },
        { "EIO=3&transport=polling&b64=1", SIO_EIO_POLLING, 3, "", 1 },
        { "b64=true", 0, 0, "", 1 },
        { "b64", 0, 0, "", 0 },
        { "b64=0", 0, 0, "", 0 },
        { "b64=1&b64=0", 0, 0, "", 0 },
        { "b64=11", 0, 0, "", 0 },

        /* the last one wins */
        { "EIO=3&EIO=4", 0, 4, "", 0 },
        { "EIO=4&EIO=", 0, 0, "", 0 },
        { "EIO=4&EIO", 0, 0, "", 0 },
        { "sid=a&sid=b", 0, 0, "b", 0 },
        { "sid=a&sid=", 0, 0, "", 0 },
        { "sid=a&sid", 0, 0, "", 0 },
        { "transport=polling&transport=websocket", SIO_EIO_WEBSOCKET, 0, "",
          0 },
        { "transport=polling&transport=x", 0, 0, "", 0 },

        /* separators */
        { "&", 0, 0, "", 0 },
        { "&&EIO=4&&", 0, 4, "", 0 },
        { "=4&EIO=4", 0, 4, "", 0 },
        { "EIO=4=5", 0, 0, "", 0 },
        { "sid=a=b", 0, 0, "a=b", 0 },
        { "EIO=4;transport=polling", 0, 0, "", 0 },
        { "?EIO=4", 0, 0, "", 0 },

        /* names and values are compared as they are */
        { "eio=4&Transport=polling&SID=x", 0, 0, "", 0 },
        { "transport=Polling", 0, 0, "", 0 },
        { "transport=pollin", 0, 0, "", 0 },
        { "transport=pollingx", 0, 0, "", 0 },
        { "transport=webtransport", 0, 0, "", 0 },
        { "EIO =4", 0, 0, "", 0 },

        /* escapes */
        { "%45IO=%34", 0, 4, "", 0 },
        { "%45%49%4f=4", 0, 4, "", 0 },
        { "%45%49%4F=4", 0, 4, "", 0 },
        { "transport=%70%6f%6c%6C%69%6e%67", SIO_EIO_POLLING, 0, "", 0 },
        { "transport%3Dpolling", 0, 0, "", 0 },
        { "EIO%3d4=4", 0, 0, "", 0 },
        { "%73id=%41", 0, 0, "%41", 0 },
        { "sid=a+b%2", 0, 0, "a+b%2", 0 },
        { "EIO=+4", 0, 0, "", 0 },
        { "EIO=%2", 0, 0, "", 0 },
        { "EIO=%", 0, 0, "", 0 },
        { "EIO=%3", 0, 0, "", 0 },
        { "EIO=4%", 0, 0, "", 0 },
        { "EIO=%3g", 0, 0, "", 0 },
        { "EIO=%g4", 0, 0, "", 0 },
        { "EIO=1%3g", 0, 0, "", 0 },
        { "transport=%7golling", 0, 0, "", 0 },
        { "EIO=%%34", 0, 0, "", 0 },
        { "transport=polling%00", 0, 0, "", 0 },

        /* versions */
        { "EIO=0", 0, 0, "", 0 },
        { "EIO=04", 0, 0, "", 0 },
        { "EIO=-4", 0, 0, "", 0 },
        { "EIO=4.0", 0, 0, "", 0 },
        { "EIO=4x", 0, 0, "", 0 },
        { "EIO=10", 0, 10, "", 0 },
        { "EIO=255", 0, 255, "", 0 },
        { "EIO=256", 0, 255, "", 0 },
        { "EIO=260", 0, 255, "", 0 },
        { "EIO=4294967300", 0, 255, "", 0 },
        { "EIO=4000000000000000", 0, 255, "", 0 },
        { "EIO=40000000000000000", 0, 0, "", 0 },

        /* longer than the scratch memory */
        { "transportttttttttttttttttt=polling&EIO=4", 0, 4, "", 0 },
        { "transport=pollinggggggggggggggggg&EIO=4", 0, 4, "", 0 },
        { "transport=%70%6f%6c%6C%69%6e%67%70%6f%6c%6C%69%6e%67%67%67%67", 0,
          0, "", 0 }
    };

    size_t           i, n;
    sio_span_t       in;
    sio_eio_query_t  q;

    for (i = 0; i < sio_countof(t); i++) {
        n = strlen(t[i].in);
        in = span_of(t[i].in, n);
        memset(&q, 0xa5, sizeof(q));
        sio_eio_parse_query(in, &q);

        ok(q.transport == t[i].transport && q.eio == t[i].eio
           && q.b64 == t[i].b64 && q.sid.n == strlen(t[i].sid)
           && memcmp(q.sid.n ? q.sid.p : (uint8_t *) "", t[i].sid, q.sid.n)
              == 0, "query \"%s\"", t[i].in);

        if (q.sid.n != 0 && (q.sid.p < in.p || q.sid.p > in.p + n)) {
            ok(0, "sid is borrowed");
        }
    }

    memset(&q, 0xa5, sizeof(q));
    sio_eio_parse_query(sio_span_null, &q);
    ok(q.transport == SIO_EIO_TRANSPORT_UNKNOWN && q.eio == 0 && q.b64 == 0
       && q.sid.n == 0, "no query at all");
}


int
main(void)
{
    test_decode();
    test_payload();
    test_many();
    test_open();
    test_errors();
    test_query();

    return done_testing();
}
