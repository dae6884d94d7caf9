/* proto/sio_op and the fields it is made of, proto/sio_wire.h */

#include "proto/sio_op.h"
#include "proto/sio_wire.h"
#include "tap.h"


#define LISTS  4

/*
 * the shortest operation: type, target, flags, id, timeout, three texts, four
 * lists
 */

#define SHORTEST  (3 + 8 + 4 + 3 * 4 + LISTS * 4)


static sio_span_t
span_of(const void *p, size_t n)
{
    sio_span_t  s;

    s.p = guarded(p, n);
    s.n = n;

    return s;
}


static void
put_u32(uint8_t *p, uint64_t v)
{
    size_t  i;

    for (i = 0; i < 4; i++) {
        p[i] = (uint8_t) (v >> 8 * i);
    }
}


/* Writes to memory of the measured size, and counts what differs. */

static sio_span_t
encode(const sio_op_t *op, unsigned *bad)
{
    sio_out_t   o;
    sio_span_t  out;

    o.p = NULL;
    o.n = 0;
    sio_op_encode(&o, op);
    out.n = o.n;
    *bad += o.p != NULL;

    out.p = guarded(NULL, out.n);
    o.p = out.p;
    o.n = 0;
    sio_op_encode(&o, op);
    *bad += o.n != out.n || o.p != out.p + out.n;

    return out;
}


/*
 * Counts and decodes guarded bytes into guarded items; what is bad is that
 * the two disagree.  Where nothing was counted there is room for what the
 * bytes could hold at most: not even a refusal may write more.
 */

static sio_rc_t
decode(sio_span_t in, sio_op_t *op, size_t *n, unsigned *bad)
{
    size_t       room;
    sio_rc_t     rc;
    sio_span_t  *items;

    rc = sio_op_count(in, n);
    room = (rc == SIO_OK) ? *n : in.n / 4;
    items = (sio_span_t *) guarded(NULL, room * sizeof(sio_span_t));

    *bad += rc != SIO_OK && rc != SIO_EINVAL;
    *bad += rc == SIO_OK && *n > in.n / 4;
    *bad += sio_op_decode(in, op, items) != rc;

    if (rc == SIO_OK) {
        *bad += op->rooms != items || op->except != items + op->nrooms
                || op->names != op->except + op->nexcept
                || op->attachments != op->names + op->nnames
                || op->attachments + op->nattachments != items + *n;
    }

    return rc;
}


static sio_rc_t
decode_copy(const void *p, size_t n, unsigned *bad)
{
    size_t    items;
    sio_op_t  op;

    return decode(span_of(p, n), &op, &items, bad);
}


static int
same_list(const sio_span_t *a, uint32_t an, const sio_span_t *b, uint32_t bn)
{
    uint32_t  i;

    for (i = 0; i < an && i < bn; i++) {
        if (!sio_span_eq(a[i], b[i])) {
            return 0;
        }
    }

    return an == bn;
}


static int
same(const sio_op_t *a, const sio_op_t *b)
{
    return a->type == b->type && a->target == b->target
           && a->volatil == b->volatil && a->local == b->local
           && a->close == b->close && a->opaque == b->opaque
           && a->binary == b->binary && a->id == b->id
           && a->timeout == b->timeout
           && sio_span_eq(a->app, b->app) && sio_span_eq(a->nsp, b->nsp)
           && sio_span_eq(a->json, b->json)
           && same_list(a->rooms, a->nrooms, b->rooms, b->nrooms)
           && same_list(a->except, a->nexcept, b->except, b->nexcept)
           && same_list(a->names, a->nnames, b->names, b->nnames)
           && same_list(a->attachments, a->nattachments,
                        b->attachments, b->nattachments);
}


/* Whether op is the same after a round trip. */

static int
survives(const sio_op_t *op)
{
    size_t      n;
    sio_op_t    again;
    unsigned    bad;
    sio_span_t  out;

    bad = 0;
    out = encode(op, &bad);

    /* a field that decoding forgets is not right by chance */

    memset(&again, 0xff, sizeof(again));

    return decode(out, &again, &n, &bad) == SIO_OK && bad == 0
           && same(op, &again)
           && n == (size_t) op->nrooms + op->nexcept + op->nnames
                   + op->nattachments;
}


/* an operation byte by byte, and where its lengths and counts are */

static const char  whole[] =
    "\x03" "\x00" "\x15" "\x08\x07\x06\x05\x04\x03\x02\x01"
    "\x0c\x0b\x0a\x09"
    "\x03\0\0\0" "app" "\x05\0\0\0" "/chat" "\x02\0\0\0" "[]"
    "\x02\0\0\0" "\x01\0\0\0" "a" "\x00\0\0\0"
    "\x01\0\0\0" "\x02\0\0\0" "bb"
    "\x01\0\0\0" "\x03\0\0\0" "c\0\xff"
    "\x03\0\0\0" "\x00\0\0\0" "\x01\0\0\0" "\0" "\x04\0\0\0" "dddd";

static const size_t  lengths[] = { 15, 22, 31, 41, 46, 54, 64, 75, 79, 84 };
static const size_t  counts[] = { 37, 50, 60, 71 };


static void
fill(sio_op_t *op)
{
    static sio_span_t  rooms[2], except[1], names[1], attachments[3];

    memset(op, 0, sizeof(*op));

    op->type = SIO_OP_LEAVE;
    op->target = SIO_TO_ROOMS;
    op->volatil = 1;
    op->close = 1;
    op->binary = 1;
    op->id = 0x0102030405060708;
    op->timeout = 0x090a0b0c;

    op->app = span_of("app", 3);
    op->nsp = span_of("/chat", 5);
    op->json = span_of("[]", 2);

    rooms[0] = span_of("a", 1);
    rooms[1] = sio_span_null;
    except[0] = span_of("bb", 2);
    names[0] = span_of("c\0\xff", 3);
    attachments[0] = span_of("", 0);
    attachments[1] = span_of("\0", 1);
    attachments[2] = span_of("dddd", 4);

    op->rooms = rooms;
    op->nrooms = 2;
    op->except = except;
    op->nexcept = 1;
    op->names = names;
    op->nnames = 1;
    op->attachments = attachments;
    op->nattachments = 3;
}


static void
test_format(void)
{
    size_t      n;
    unsigned    bad;
    sio_op_t    op, again;
    sio_span_t  in, out;

    bad = 0;
    fill(&op);
    out = encode(&op, &bad);
    ok(bad == 0, "measured is written");
    is_bytes(out.p, out.n, whole, sizeof(whole) - 1, "the format");

    in = span_of(whole, sizeof(whole) - 1);
    ok(decode(in, &again, &n, &bad) == SIO_OK && bad == 0,
       "it is counted and decoded");
    ok(n == 7, "items of all lists together");
    ok(same(&op, &again), "the same operation");
    ok(again.app.p == in.p + 19 && again.rooms[0].p == in.p + 45
       && again.attachments[2].p == in.p + 88,
       "texts and items are borrowed, not copied");
    ok(again.rooms[1].n == 0 && again.rooms[1].p == in.p + 50,
       "an empty one as well");
}


static void
test_round_trips(void)
{
    unsigned  type, target, flags, bad;
    sio_op_t  op;

    for (type = 0; type < SIO_OP_N; type++) {
        bad = 0;

        for (target = 0; target < SIO_TO_SENDER; target++) {
            for (flags = 0; flags < 32; flags++) {
                fill(&op);
                op.type = (sio_op_type_t) type;
                op.target = (sio_op_target_t) target;
                op.volatil = flags & 1;
                op.local = flags >> 1 & 1;
                op.close = flags >> 2 & 1;
                op.opaque = flags >> 3 & 1;
                op.binary = flags >> 4 & 1;

                bad += !survives(&op);
            }
        }

        ok(bad == 0, "type %u, all targets and flags", type);
    }

    bad = 0;

    for (flags = 0; flags < 64; flags++) {
        fill(&op);
        op.id = (uint64_t) 1 << flags;
        bad += !survives(&op);
        op.id = UINT64_MAX >> flags;
        bad += !survives(&op);
    }

    ok(bad == 0, "ids up to 2^64 - 1");

    bad = 0;

    for (flags = 0; flags < 32; flags++) {
        fill(&op);
        op.timeout = (uint32_t) 1 << flags;
        bad += !survives(&op);
        op.timeout = UINT32_MAX >> flags;
        bad += !survives(&op);
    }

    ok(bad == 0, "timeouts up to 2^32 - 1");
}


static void
test_lists(void)
{
    size_t      i, n;
    uint8_t     byte[256];
    unsigned    set, bad;
    sio_op_t    op;
    sio_span_t  out, *many;

    bad = 0;

    for (set = 0; set < 1 << LISTS; set++) {
        fill(&op);
        op.nrooms = (set & 1) ? op.nrooms : 0;
        op.nexcept = (set & 2) ? op.nexcept : 0;
        op.nnames = (set & 4) ? op.nnames : 0;
        op.nattachments = (set & 8) ? op.nattachments : 0;

        bad += !survives(&op);
    }

    ok(bad == 0, "any list may be empty");

    memset(&op, 0, sizeof(op));
    ok(survives(&op), "lists and texts at NULL");

    bad = 0;
    out = encode(&op, &bad);
    ok(out.n == SHORTEST && bad == 0, "the shortest operation");
    ok(decode(out, &op, &n, &bad) == SIO_OK && n == 0 && bad == 0,
       "has no items");

    for (i = 0; i < sizeof(byte); i++) {
        byte[i] = (uint8_t) i;
    }

    fill(&op);
    op.app = op.nsp = op.json = span_of(byte, sizeof(byte));
    op.rooms[0] = op.except[0] = op.names[0] = op.attachments[0] = op.app;
    ok(survives(&op), "every byte in texts and items");

    fill(&op);
    op.json = span_of(NULL, 70000);
    op.attachments[1] = span_of(NULL, 100000);
    ok(survives(&op), "texts and items of more than 65535 bytes");

    fill(&op);
    many = (sio_span_t *) guarded(NULL, 70000 * sizeof(sio_span_t));

    for (i = 0; i < 70000; i++) {
        many[i].p = byte + i % 251;
        many[i].n = i % 5;
    }

    op.rooms = op.attachments = many;
    op.nrooms = op.nattachments = 70000;
    ok(survives(&op), "lists of more than 65535 items");
}


/* Every truncation is refused, by counting and by decoding. */

static unsigned
accepted_cuts(sio_span_t s, unsigned *bad)
{
    size_t    n;
    unsigned  accepted;

    accepted = 0;

    for (n = 0; n < s.n; n++) {
        accepted += decode_copy(s.p, n, bad) != SIO_EINVAL;
    }

    return accepted;
}


static void
test_cuts(void)
{
    size_t      n;
    uint8_t     buf[1024];
    unsigned    type, bad, accepted;
    sio_op_t    op;
    sio_span_t  s;

    bad = accepted = 0;

    for (type = 0; type < SIO_OP_N; type++) {
        fill(&op);
        op.type = (sio_op_type_t) type;
        op.target = (sio_op_target_t) (type % SIO_TO_SENDER);
        op.json = span_of(NULL, 300);

        /* memory that outlives that of the guarded copies */

        s = encode(&op, &bad);
        memcpy(buf, s.p, s.n);
        s.p = buf;

        accepted += accepted_cuts(s, &bad);
    }

    ok(accepted == 0, "cut anywhere");

    memset(&op, 0, sizeof(op));
    s = encode(&op, &bad);
    memcpy(buf, s.p, s.n);
    s.p = buf;
    ok(accepted_cuts(s, &bad) == 0, "the shortest one, cut anywhere");

    ok(sio_op_count(sio_span_null, &n) == SIO_EINVAL
       && sio_op_decode(sio_span_null, &op, NULL) == SIO_EINVAL, "nothing");
    ok(bad == 0, "counting and decoding agree");
}


static void
test_trailing(void)
{
    size_t    n, fillers;
    uint8_t   buf[2 * sizeof(whole)];
    unsigned  bad, accepted;

    bad = accepted = 0;

    for (fillers = 0; fillers < 2; fillers++) {
        memset(buf, fillers ? 0xff : 0, sizeof(buf));
        memcpy(buf, whole, sizeof(whole) - 1);

        for (n = sizeof(whole); n <= sizeof(buf); n++) {
            accepted += decode_copy(buf, n, &bad) != SIO_EINVAL;
        }
    }

    ok(accepted == 0, "trailing bytes are refused");

    memcpy(buf + sizeof(whole) - 1, whole, sizeof(whole) - 1);
    ok(decode_copy(buf, 2 * (sizeof(whole) - 1), &bad) == SIO_EINVAL,
       "a second operation as well");
    ok(bad == 0, "counting and decoding agree");
}


/* What each type and target is, as other workers read it. */

static void
test_numbers(void)
{
    ok(SIO_OP_EMIT == 0 && SIO_OP_ACK == 1 && SIO_OP_JOIN == 2
       && SIO_OP_LEAVE == 3 && SIO_OP_DISCONNECT == 4 && SIO_OP_DATA == 5
       && SIO_OP_FETCH == 6 && SIO_OP_ROOMS == 7 && SIO_OP_COUNT == 8
       && SIO_OP_ASK == 9 && SIO_OP_N == 10, "the numbers of types");

    ok(SIO_TO_ROOMS == 0 && SIO_TO_ALL == 1 && SIO_TO_SOCKETS == 2
       && SIO_TO_SENDER == 3 && SIO_TO_N == 4, "and of targets");
}


static void
test_first_bytes(void)
{
    size_t      n;
    uint8_t     buf[sizeof(whole) - 1];
    unsigned    v, bad, wrong;
    sio_op_t    op;
    sio_rc_t    rc;

    bad = wrong = 0;
    memcpy(buf, whole, sizeof(buf));

    for (v = 0; v < 256; v++) {
        buf[0] = (uint8_t) v;
        rc = decode(span_of(buf, sizeof(buf)), &op, &n, &bad);

        wrong += rc != (v < SIO_OP_N ? SIO_OK : SIO_EINVAL);
        wrong += rc == SIO_OK && op.type != (sio_op_type_t) v;
    }

    ok(wrong == 0, "all types, the unknown are refused");

    wrong = 0;
    buf[0] = SIO_OP_EMIT;

    for (v = 0; v < 256; v++) {
        buf[1] = (uint8_t) v;
        rc = decode(span_of(buf, sizeof(buf)), &op, &n, &bad);

        wrong += rc != (v <= SIO_TO_SOCKETS ? SIO_OK : SIO_EINVAL);
        wrong += rc == SIO_OK && op.target != (sio_op_target_t) v;
    }

    ok(wrong == 0, "all targets, the unknown are refused");

    buf[1] = SIO_TO_SENDER;
    ok(decode_copy(buf, sizeof(buf), &bad) == SIO_EINVAL,
       "the sender is no target");

    wrong = 0;
    memcpy(buf, whole, sizeof(buf));

    for (v = 0; v < 256; v++) {
        buf[2] = (uint8_t) v;
        rc = decode(span_of(buf, sizeof(buf)), &op, &n, &bad);

        wrong += rc != SIO_OK;
        wrong += op.volatil != (v & 1) || op.local != (v >> 1 & 1)
                 || op.close != (v >> 2 & 1) || op.opaque != (v >> 3 & 1)
                 || op.binary != (v >> 4 & 1);
    }

    ok(wrong == 0, "all flags, unknown bits are nothing");
    ok(bad == 0, "counting and decoding agree");
}


/* Numbers of items that the bytes left cannot hold. */

static void
test_counts(void)
{
    size_t    i, at, left, n;
    uint8_t   buf[SHORTEST + 400];
    unsigned  v, bad, wrong, accepted;
    sio_op_t  op;
    sio_rc_t  rc;

    bad = accepted = 0;

    for (i = 0; i < LISTS; i++) {
        at = SHORTEST - 4 * (LISTS - i);
        memset(buf, 0, sizeof(buf));

        for (v = 1; v < 100; v++) {
            put_u32(buf + at, v);
            accepted += decode_copy(buf, SHORTEST, &bad) != SIO_EINVAL;
            put_u32(buf + at, (uint64_t) 1 << v % 32);
            accepted += decode_copy(buf, SHORTEST, &bad) != SIO_EINVAL;
            put_u32(buf + at, UINT32_MAX - v + 1);
            accepted += decode_copy(buf, SHORTEST, &bad) != SIO_EINVAL;
        }
    }

    ok(accepted == 0, "a count with no items behind it");

    /* the last list has all that is left: empty items, four bytes each */

    wrong = 0;
    memset(buf, 0, sizeof(buf));

    for (left = 0; left <= 400; left++) {
        for (v = left / 4 ? left / 4 - 1 : 0; v <= left / 4 + 1; v++) {
            put_u32(buf + SHORTEST - 4, v);
            rc = (v * 4 == left) ? SIO_OK : SIO_EINVAL;
            wrong += decode_copy(buf, SHORTEST + left, &bad) != rc;
        }
    }

    ok(wrong == 0, "as many as there are, no more and no fewer");

    put_u32(buf + SHORTEST - 4, 100);
    ok(decode(span_of(buf, SHORTEST + 400), &op, &n, &bad) == SIO_OK
       && n == 100 && op.nattachments == 100, "a hundred empty items");

    wrong = 0;

    for (i = 0; i < sio_countof(counts); i++) {
        for (v = 0; v < 256; v++) {
            memcpy(buf, whole, sizeof(whole) - 1);
            rc = (buf[counts[i]] == v) ? SIO_OK : SIO_EINVAL;
            put_u32(buf + counts[i], v);
            wrong += decode_copy(buf, sizeof(whole) - 1, &bad) != rc;
        }
    }

    ok(wrong == 0, "only the true counts");
    ok(bad == 0, "counting and decoding agree");
}


/* Lengths of which the end lies behind the bytes or wraps around. */

static void
test_lengths(void)
{
    static const uint32_t  large[] = { 0x10000, 0x7fffffff, 0x80000000 };

    size_t    i, j, n, at;
    uint8_t   buf[sizeof(whole) - 1];
    unsigned  bad, accepted;

    n = sizeof(buf);
    bad = 0;

    for (i = 0; i < sio_countof(lengths); i++) {
        at = lengths[i];
        accepted = 0;
        memcpy(buf, whole, n);

        for (j = 0; j < 2 * n; j++) {
            put_u32(buf + at, UINT32_MAX - j);
            accepted += decode_copy(buf, n, &bad) != SIO_EINVAL;
        }

        for (j = 0; j < sio_countof(large); j++) {
            put_u32(buf + at, large[j]);
            accepted += decode_copy(buf, n, &bad) != SIO_EINVAL;
        }

        put_u32(buf + at, n - at - 4 + 1);
        accepted += decode_copy(buf, n, &bad) != SIO_EINVAL;

        ok(accepted == 0, "lengths too large at %zu", at);
    }

    /* anywhere else it may be right, but it is not a crash */

    for (at = 0; at + 4 <= n; at++) {
        for (j = 0; j < 16; j++) {
            memcpy(buf, whole, n);
            put_u32(buf + at, UINT32_MAX - j);
            (void) decode_copy(buf, n, &bad);
        }
    }

    ok(bad == 0, "counting and decoding agree");
}


static void
test_wire_int(void)
{
    size_t      i, size, n;
    uint8_t    *p;
    uint64_t    v, mask;
    unsigned    bad;
    sio_in_t    in;
    sio_out_t   o;
    sio_span_t  s;

    for (size = 1; size <= 8; size++) {
        mask = UINT64_MAX >> (64 - 8 * size);
        bad = 0;

        for (n = 0; n < 64 * 3; n++) {
            v = n < 64 ? (uint64_t) 1 << n
                : n < 128 ? UINT64_MAX >> (n - 64)
                : 0x0123456789abcdef * (n - 127);

            o.p = NULL;
            o.n = 0;
            sio_out_int(&o, v, size);
            bad += o.p != NULL || o.n != size;

            p = guarded(NULL, size);
            o.p = p;
            o.n = 0;
            sio_out_int(&o, v, size);
            bad += o.p != p + size || o.n != size;

            for (i = 0; i < size; i++) {
                bad += p[i] != (uint8_t) (v >> 8 * i);
            }

            in = sio_in((sio_span_t) { p, size });
            bad += sio_in_int(&in, size) != (v & mask);
            bad += in.bad || in.n != 0 || in.p != p + size;
        }

        ok(bad == 0, "an integer of %zu bytes", size);
    }

    s = span_of("\x01" "\x02\x03" "\x04\x05\x06\x07"
                "\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", 15);
    in = sio_in(s);

    ok(sio_in_u8(&in) == 0x01 && sio_in_u16(&in) == 0x0302
       && sio_in_u32(&in) == 0x07060504
       && sio_in_u64(&in) == 0x0f0e0d0c0b0a0908 && in.n == 0 && !in.bad,
       "integers in a row, the lowest byte first");

    p = guarded(NULL, 14);
    o.p = p;
    o.n = 0;
    sio_out_u16(&o, 0x0302);
    sio_out_u32(&o, 0x07060504);
    sio_out_u64(&o, 0x0f0e0d0c0b0a0908);
    is_bytes(p, o.n, s.p + 1, 14, "and written");
}


/* Whether a reader that is bad reads nothing more. */

static int
stays_bad(sio_in_t *in)
{
    size_t      size;
    unsigned    wrong;
    sio_span_t  s;

    wrong = !in->bad;

    for (size = 1; size <= 8; size++) {
        wrong += sio_in_int(in, size) != 0;
    }

    wrong += sio_in_u8(in) != 0 || sio_in_u16(in) != 0
             || sio_in_u32(in) != 0 || sio_in_u64(in) != 0;

    s = sio_in_string(in);
    wrong += s.p != NULL || s.n != 0;

    for (size = 0; size < 8; size++) {
        s = sio_in_bytes(in, size);
        wrong += s.p != NULL || s.n != 0;
    }

    return wrong == 0 && in->bad;
}


static void
test_wire_bad(void)
{
    size_t      size, left;
    unsigned    bad;
    sio_in_t    in;
    sio_span_t  s;

    for (size = 1; size <= 8; size++) {
        bad = 0;

        for (left = 0; left < size; left++) {
            in = sio_in(span_of("\xff\xff\xff\xff\xff\xff\xff\xff", left));
            bad += sio_in_int(&in, size) != 0 || !in.bad;
            bad += !stays_bad(&in);
        }

        ok(bad == 0, "an integer of %zu bytes, cut short", size);
    }

    in = sio_in(span_of("\xff\xff\xff", 3));
    ok(sio_in_u16(&in) == 0xffff && !in.bad && in.n == 1,
       "good as long as there is enough");
    ok(sio_in_u16(&in) == 0 && in.bad, "then bad");
    ok(stays_bad(&in), "and bad it stays, though a byte is left");

    in = sio_in(span_of("\xff", 1));
    (void) sio_in_u8(&in);
    s = sio_in_bytes(&in, 0);
    ok(s.n == 0 && !in.bad, "no bytes at the end are no error");
    ok(sio_in_u8(&in) == 0 && stays_bad(&in), "one more is");

    in = sio_in(sio_span_null);
    ok(sio_in_u64(&in) == 0 && stays_bad(&in), "nothing at NULL");

    in = sio_in(span_of("abc", 3));
    s = sio_in_bytes(&in, SIZE_MAX);
    ok(s.n == 0 && stays_bad(&in), "the largest size of all");
}


static void
test_wire_string(void)
{
    size_t      j;
    uint8_t     buf[] = "\x03\0\0\0a\0b\0\0\0\0\x01\0\0\0c", *p;
    unsigned    bad;
    sio_in_t    in;
    sio_out_t   o;
    sio_span_t  a, b, c;

    p = guarded(NULL, sizeof(buf) - 1);
    o.p = p;
    o.n = 0;
    sio_out_string(&o, span_of("a\0b", 3));
    sio_out_string(&o, sio_span_null);
    sio_out_string(&o, span_of("c", 1));
    is_bytes(p, o.n, buf, sizeof(buf) - 1, "strings are written");

    o.p = NULL;
    o.n = 0;
    sio_out_string(&o, sio_span("a\0b"));
    sio_out_string(&o, sio_span_null);
    sio_out_string(&o, sio_span("c"));
    ok(o.n == sizeof(buf) - 1, "and measured");

    in = sio_in((sio_span_t) { p, sizeof(buf) - 1 });
    a = sio_in_string(&in);
    b = sio_in_string(&in);
    c = sio_in_string(&in);
    ok(!in.bad && in.n == 0, "and read");
    ok(a.p == p + 4 && a.n == 3 && b.n == 0 && c.p == p + 15 && c.n == 1,
       "borrowed, not copied");

    bad = 0;

    for (j = 0; j < 64; j++) {
        put_u32(buf, UINT32_MAX - j);
        in = sio_in(span_of(buf, sizeof(buf) - 1));
        a = sio_in_string(&in);
        bad += a.p != NULL || a.n != 0 || !stays_bad(&in);

        put_u32(buf, sizeof(buf) - 1 - 4 + 1 + j);
        in = sio_in(span_of(buf, sizeof(buf) - 1));
        a = sio_in_string(&in);
        bad += a.p != NULL || a.n != 0 || !stays_bad(&in);
    }

    ok(bad == 0, "a string longer than what is left");

    put_u32(buf, sizeof(buf) - 1 - 4);
    in = sio_in(span_of(buf, sizeof(buf) - 1));
    a = sio_in_string(&in);
    ok(!in.bad && in.n == 0 && a.n == sizeof(buf) - 1 - 4,
       "a string that is all that is left");
}


int
main(void)
{
    test_format();
    test_round_trips();
    test_lists();
    test_cuts();
    test_trailing();
    test_numbers();
    test_first_bytes();
    test_counts();
    test_lengths();
    test_wire_int();
    test_wire_bad();
    test_wire_string();

    return done_testing();
}
