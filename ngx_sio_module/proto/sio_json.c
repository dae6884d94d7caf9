/*
 * JSON: validation by yajl, the rest by scanners that trust validated text.
 *
 * Before yajl sees a text, sio_json_scan has found its end and its depth.
 * So yajl is never given an unfinished token (which it would copy) nor
 * anything after the end (which it would take), and how much it can
 * allocate is known: all of it comes from one arena, made large enough
 * beforehand, because yajl 2.1 does not survive a failed allocation.  A new
 * handle in the old arena costs next to nothing.
 */

#include <assert.h>
#include <limits.h>

#include <yajl/yajl_parse.h>

#include "proto/sio_json.h"
#include "proto/sio_utf8.h"


#define SIO_JSON_DEPTH       64            /* without a sio_json_check_t */

#define SIO_JSON_KEEP_DEPTH  1024          /* an arena for deeper texts does
                                              not outlive them */
#define SIO_JSON_MIN_DEPTH   127

/*
 * What yajl takes apart from its stack, twice over.  The stack grows by
 * 128 bytes, a byte for each level, and moves within the arena twice at
 * most: away from its first place, and once more when the lexer's buffer
 * came in between.
 */

#define SIO_JSON_YAJL_FIXED   8192
#define SIO_JSON_YAJL_STACK(depth)  (2 * ((size_t) (depth) + 256))

#define sio_json_align(n)     (((n) + 15) & ~(size_t) 15)


/* an object that is being scanned for being a placeholder */

typedef struct {
    uint8_t       *start;
    uint32_t       found;                  /* placeholders before it */
    uint32_t       broken;                 /* and broken ones */
    uint32_t       num;
    unsigned       marked:1;               /* "_placeholder":true */
    unsigned       numbered:1;             /* num is usable */
} sio_json_object_t;


struct sio_json_s {
    sio_json_mem_t      mem;
    yajl_handle         handle;            /* NULL: to be made */

    sio_json_object_t  *objects;           /* depth of them, then yajl's */
    uint32_t            depth;             /* enough for texts that deep */

    uint8_t            *arena;
    size_t              size;
    size_t              used;
    uint8_t            *latest;            /* the last block handed out */
};


static sio_rc_t sio_json_reserve(sio_json_t *j, uint32_t depth);
static void sio_json_release(sio_json_t *j);
static void *sio_json_yajl_malloc(void *ctx, size_t n);
static void *sio_json_yajl_realloc(void *ctx, void *old, size_t n);
static void sio_json_yajl_free(void *ctx, void *p);
static sio_rc_t sio_json_find_placeholders(sio_json_t *j, sio_span_t in,
    sio_json_check_t *c);
static void sio_json_note_member(sio_json_object_t *o, sio_span_t key,
    uint8_t *value, uint8_t *last, uint32_t attachments);
static sio_rc_t sio_json_scan(sio_span_t in, uint32_t max_depth,
    size_t *length, uint32_t *depth);
static uint8_t *sio_json_skip_string(uint8_t *p, uint8_t *last);
static uint8_t *sio_json_skip_value(uint8_t *p, uint8_t *last);
static uint8_t *sio_json_skip_blanks(uint8_t *p, uint8_t *last);
static uint8_t *sio_json_skip_to_item(sio_span_t container, size_t at);
static uint8_t *sio_json_decode_escape(uint8_t *p, uint8_t *last,
    sio_out_t *o);
static uint32_t sio_json_decode_hex(const uint8_t *p);


sio_json_t *
sio_json_create(const sio_json_mem_t *mem)
{
    sio_json_t  *j;

    j = mem->alloc(mem->ctx, sizeof(sio_json_t));
    if (j == NULL) {
        return NULL;
    }

    memset(j, 0, sizeof(sio_json_t));
    j->mem = *mem;

    if (sio_json_reserve(j, SIO_JSON_MIN_DEPTH) != SIO_OK) {
        sio_json_destroy(j);
        return NULL;
    }

    return j;
}


void
sio_json_destroy(sio_json_t *j)
{
    if (j == NULL) {
        return;
    }

    sio_json_release(j);
    j->mem.free(j->mem.ctx, j);
}


sio_rc_t
sio_json_validate(sio_json_t *j, sio_span_t in, sio_json_check_t *c,
    sio_json_type_t *type)
{
    size_t        n;
    uint8_t      *p, *last;
    uint32_t      depth;
    sio_rc_t      rc;
    yajl_status   status;

    if (c != NULL) {
        c->n_placeholders = 0;
    }

    if (in.n == 0) {
        return SIO_EINVAL;
    }

    last = in.p + in.n;
    p = sio_json_skip_blanks(in.p, last);

    if (p == last || (*p != '[' && *p != '{')) {
        return SIO_EINVAL;
    }

    in.p = p;
    in.n = last - p;

    rc = sio_json_scan(in, c != NULL ? c->max_depth : SIO_JSON_DEPTH, &n,
                       &depth);
    if (rc != SIO_OK) {
        return rc;
    }

    in.n = n;

    if (sio_json_skip_blanks(p + n, last) != last) {
        return SIO_EINVAL;
    }

    if (sio_json_reserve(j, depth) != SIO_OK) {
        return SIO_ENOMEM;
    }

    status = yajl_parse(j->handle, in.p, in.n);

    if (status != yajl_status_ok) {
        j->handle = NULL;
        rc = SIO_EINVAL;

    } else if (c != NULL && c->attachments != 0) {
        rc = sio_json_find_placeholders(j, in, c);
    }

    if (depth > SIO_JSON_KEEP_DEPTH) {
        sio_json_release(j);
    }

    if (type != NULL) {
        *type = (*p == '[') ? SIO_JSON_ARRAY : SIO_JSON_OBJECT;
    }

    return rc;
}


/* Makes sure that there is a handle, with memory for texts of that depth. */

static sio_rc_t
sio_json_reserve(sio_json_t *j, uint32_t depth)
{
    size_t            size, objects;
    yajl_alloc_funcs  funcs;

    if (j->arena == NULL || depth > j->depth) {

        sio_json_release(j);

        if (depth < SIO_JSON_MIN_DEPTH) {
            depth = SIO_JSON_MIN_DEPTH;
        }

        objects = sio_json_align(depth * sizeof(sio_json_object_t));
        size = objects + SIO_JSON_YAJL_FIXED
               + sio_json_align(SIO_JSON_YAJL_STACK(depth));

        j->objects = j->mem.alloc(j->mem.ctx, size);
        if (j->objects == NULL) {
            return SIO_ENOMEM;
        }

        j->arena = (uint8_t *) j->objects + objects;
        j->size = size - objects;
        j->depth = depth;
    }

    if (j->handle == NULL) {
        j->used = 0;
        j->latest = NULL;

        funcs.malloc = sio_json_yajl_malloc;
        funcs.realloc = sio_json_yajl_realloc;
        funcs.free = sio_json_yajl_free;
        funcs.ctx = j;

        /* no callbacks: nothing is decoded, no number converted */

        j->handle = yajl_alloc(NULL, &funcs, NULL);

        (void) yajl_config(j->handle, yajl_allow_multiple_values, 1);
        (void) yajl_config(j->handle, yajl_dont_validate_strings, 1);
    }

    return SIO_OK;
}


/* The handle lives in the arena and owns nothing else. */

static void
sio_json_release(sio_json_t *j)
{
    j->mem.free(j->mem.ctx, j->objects);

    j->objects = NULL;
    j->arena = NULL;
    j->handle = NULL;
}


static void *
sio_json_yajl_malloc(void *ctx, size_t n)
{
    return sio_json_yajl_realloc(ctx, NULL, n);
}


static void *
sio_json_yajl_realloc(void *ctx, void *old, size_t n)
{
    size_t       size;
    uint8_t     *p;
    sio_json_t  *j = ctx;

    if (old != NULL && old == j->latest) {
        j->used = (uint8_t *) old - j->arena;
    }

    n = sio_json_align(n);
    assert(n <= j->size - j->used);

    p = j->arena + j->used;

    if (old != NULL && old != p) {

        /* the old size is not known, but nothing lies behind this one */

        size = p - (uint8_t *) old;
        memcpy(p, old, size < n ? size : n);
    }

    j->used += n;
    j->latest = p;

    return p;
}


static void
sio_json_yajl_free(void *ctx, void *p)
{
    (void) ctx;
    (void) p;
}


/*
 * Collects the placeholders of a validated text.  If an object is one is
 * known at its end only; it then takes the place of those found within it,
 * which no receiver will ever look at.
 */

static sio_rc_t
sio_json_find_placeholders(sio_json_t *j, sio_span_t in,
    sio_json_check_t *c)
{
    uint8_t            *p, *q, *last;
    uint32_t            found, broken;
    sio_json_object_t  *o;

    found = 0;
    broken = 0;
    o = j->objects;
    last = in.p + in.n;

    for (p = in.p; p < last; /* void */ ) {

        switch (*p++) {

        case '"':
            q = sio_json_skip_string(p, last);
            in.p = p - 1;
            in.n = q - in.p;
            p = sio_json_skip_blanks(q, last);

            if (p < last && *p == ':') {
                p = sio_json_skip_blanks(p + 1, last);
                sio_json_note_member(o - 1, in, p, last, c->attachments);
            }

            break;

        case '{':
            memset(o, 0, sizeof(sio_json_object_t));
            o->start = p - 1;
            o->found = found;
            o->broken = broken;
            o++;
            break;

        case '}':
            o--;

            if (!o->marked) {
                break;
            }

            found = o->found;
            broken = o->broken;

            if (!o->numbered) {
                broken++;
                break;
            }

            if (c->placeholders != NULL && found < c->max_placeholders) {
                c->placeholders[found].object.p = o->start;
                c->placeholders[found].object.n = p - o->start;
                c->placeholders[found].num = o->num;
            }

            found++;
            break;
        }
    }

    if (broken != 0) {
        return SIO_EINVAL;
    }

    c->n_placeholders = found;

    if (c->placeholders != NULL && found > c->max_placeholders) {
        return SIO_ELIMIT;
    }

    return SIO_OK;
}


static void
sio_json_note_member(sio_json_object_t *o, sio_span_t key, uint8_t *value,
    uint8_t *last, uint32_t attachments)
{
    uint64_t  num;
    uint8_t  *p;

    if (sio_json_string_eq(key, sio_span("_placeholder"))) {
        o->marked = (*value == 't');
        return;
    }

    if (!sio_json_string_eq(key, sio_span("num"))) {
        return;
    }

    num = 0;

    for (p = value; p < last && *p >= '0' && *p <= '9'; p++) {
        num = num * 10 + (*p - '0');

        if (num >= attachments) {
            break;
        }
    }

    o->num = (uint32_t) num;
    o->numbered = (p > value && num < attachments
                   && *p != '.' && *p != 'e' && *p != 'E');
}


sio_json_type_t
sio_json_type(sio_span_t value)
{
    uint8_t  *p, *last;

    if (value.n == 0) {
        return SIO_JSON_NONE;
    }

    last = value.p + value.n;
    p = sio_json_skip_blanks(value.p, last);

    if (p == last) {
        return SIO_JSON_NONE;
    }

    switch (*p) {
    case '"':
        return SIO_JSON_STRING;
    case '[':
        return SIO_JSON_ARRAY;
    case '{':
        return SIO_JSON_OBJECT;
    case 't':
        return SIO_JSON_TRUE;
    case 'f':
        return SIO_JSON_FALSE;
    case 'n':
        return SIO_JSON_NULL;
    default:
        return SIO_JSON_NUMBER;
    }
}


sio_rc_t
sio_json_next(sio_span_t array, size_t *at, sio_span_t *item)
{
    uint8_t  *p, *last;

    last = array.p + array.n;
    p = sio_json_skip_to_item(array, *at);

    if (p == last || *p == ']') {
        *at = p - array.p;
        return SIO_DONE;
    }

    item->p = p;
    p = sio_json_skip_value(p, last);
    item->n = p - item->p;

    p = sio_json_skip_blanks(p, last);
    *at = p - array.p;

    return SIO_OK;
}


sio_rc_t
sio_json_peek(sio_span_t array, size_t at, sio_span_t *rest)
{
    uint8_t  *p, *last;

    last = array.p + array.n;
    p = sio_json_skip_to_item(array, at);

    if (p == last || *p == ']') {
        return SIO_DONE;
    }

    rest->p = p;
    rest->n = last - p;

    return SIO_OK;
}


void
sio_json_pass(sio_span_t array, size_t *at, sio_span_t rest, size_t n)
{
    *at = sio_json_skip_blanks(rest.p + n, array.p + array.n) - array.p;
}


sio_rc_t
sio_json_next_member(sio_span_t object, size_t *at, sio_span_t *key,
    sio_span_t *value)
{
    uint8_t  *p, *last;

    last = object.p + object.n;
    p = sio_json_skip_to_item(object, *at);

    if (p == last || *p == '}') {
        *at = p - object.p;
        return SIO_DONE;
    }

    key->p = p;
    p = sio_json_skip_value(p, last);
    key->n = p - key->p;

    p = sio_json_skip_blanks(p, last);                   /* at the colon */
    p = sio_json_skip_blanks(p + 1, last);

    value->p = p;
    p = sio_json_skip_value(p, last);
    value->n = p - value->p;

    p = sio_json_skip_blanks(p, last);
    *at = p - object.p;

    return SIO_OK;
}


/*
 * Returns where the next item of a container begins, or its closing
 * bracket; at is 0 or at what follows the item before.
 */

static uint8_t *
sio_json_skip_to_item(sio_span_t container, size_t at)
{
    uint8_t  *p, *last;

    last = container.p + container.n;
    p = container.p + at;

    if (at == 0) {
        p = sio_json_skip_blanks(p, last);
    }

    if (p < last && (at == 0 || *p == ',')) {
        p = sio_json_skip_blanks(p + 1, last);
    }

    return p;
}


void
sio_json_unescape(sio_out_t *o, sio_span_t token)
{
    uint8_t  *p, *q, *last;

    p = token.p + 1;
    last = token.p + token.n - 1;

    while (p < last) {
        q = memchr(p, '\\', last - p);

        if (q == NULL) {
            sio_out_bytes(o, p, last - p);
            return;
        }

        sio_out_bytes(o, p, q - p);
        p = sio_json_decode_escape(q, last, o);
    }
}


int
sio_json_string_eq(sio_span_t token, sio_span_t text)
{
    uint8_t    *p, *last, buf[4];
    size_t      n;
    sio_out_t   o;

    p = token.p + 1;
    last = token.p + token.n - 1;

    /* an escape is longer than what it stands for, up to six bytes for one */

    if (token.n - 2 < text.n || (token.n - 2) / 6 > text.n) {
        return 0;
    }

    if (memchr(p, '\\', last - p) == NULL) {
        return token.n - 2 == text.n
               && (text.n == 0 || memcmp(p, text.p, text.n) == 0);
    }

    while (p < last) {
        o.p = buf;
        o.n = 0;

        if (*p == '\\') {
            p = sio_json_decode_escape(p, last, &o);

        } else {
            sio_out_byte(&o, *p++);
        }

        n = o.n;

        if (n > text.n || memcmp(buf, text.p, n) != 0) {
            return 0;
        }

        text.p += n;
        text.n -= n;
    }

    return text.n == 0;
}


/* Appends what the escape at p stands for; returns what follows it. */

static uint8_t *
sio_json_decode_escape(uint8_t *p, uint8_t *last, sio_out_t *o)
{
    uint32_t  c, low;

    switch (p[1]) {

    case 'b':
        sio_out_byte(o, '\b');
        return p + 2;

    case 'f':
        sio_out_byte(o, '\f');
        return p + 2;

    case 'n':
        sio_out_byte(o, '\n');
        return p + 2;

    case 'r':
        sio_out_byte(o, '\r');
        return p + 2;

    case 't':
        sio_out_byte(o, '\t');
        return p + 2;

    case 'u':
        break;

    default:
        sio_out_byte(o, p[1]);
        return p + 2;
    }

    c = sio_json_decode_hex(p + 2);
    p += 6;

    if (c < 0x80) {
        sio_out_byte(o, c);
        return p;
    }

    if (c < 0x800) {
        sio_out_byte(o, 0xc0 | (c >> 6));
        sio_out_byte(o, 0x80 | (c & 0x3f));
        return p;
    }

    if (c >= 0xd800 && c <= 0xdfff) {
        low = 0;

        if (c < 0xdc00 && last - p >= 6 && p[0] == '\\' && p[1] == 'u') {
            low = sio_json_decode_hex(p + 2);
        }

        if (low >= 0xdc00 && low <= 0xdfff) {
            c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);

            sio_out_byte(o, 0xf0 | (c >> 18));
            sio_out_byte(o, 0x80 | ((c >> 12) & 0x3f));
            sio_out_byte(o, 0x80 | ((c >> 6) & 0x3f));
            sio_out_byte(o, 0x80 | (c & 0x3f));
            return p + 6;
        }

        c = 0xfffd;
    }

    sio_out_byte(o, 0xe0 | (c >> 12));
    sio_out_byte(o, 0x80 | ((c >> 6) & 0x3f));
    sio_out_byte(o, 0x80 | (c & 0x3f));

    return p;
}


static uint32_t
sio_json_decode_hex(const uint8_t *p)
{
    int       i;
    uint32_t  c;

    c = 0;

    for (i = 0; i < 4; i++) {
        c = (c << 4) | (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
    }

    return c;
}


void
sio_json_escape(sio_out_t *o, sio_span_t text)
{
    size_t                n;
    uint8_t              *p, *run, *last;
    static const uint8_t  hex[] = "0123456789abcdef";
    static const uint8_t  letter[] = "btn\0fr";           /* 0x08 to 0x0d */

    if (text.n == 0) {
        return;
    }

    last = text.p + text.n;

    for (p = run = text.p; p < last; /* void */ ) {

        if (*p >= 0x80) {
            n = (*p < 0xe0) ? 2 : (*p < 0xf0) ? 3 : 4;

            if (n <= (size_t) (last - p) && sio_utf8_valid(p, n)) {
                p += n;
                continue;
            }

        } else if (*p >= 0x20 && *p != '"' && *p != '\\') {
            p++;
            continue;
        }

        sio_out_bytes(o, run, p - run);

        if (*p >= 0x80) {
            sio_out_str(o, "\xef\xbf\xbd");

        } else if (*p >= 0x20) {
            sio_out_byte(o, '\\');
            sio_out_byte(o, *p);

        } else if (*p >= '\b' && *p <= '\r' && *p != '\v') {
            sio_out_byte(o, '\\');
            sio_out_byte(o, letter[*p - '\b']);

        } else {
            sio_out_str(o, "\\u00");
            sio_out_byte(o, hex[*p >> 4]);
            sio_out_byte(o, hex[*p & 0xf]);
        }

        run = ++p;
    }

    sio_out_bytes(o, run, p - run);
}


/*
 * Finds the end of the array or object that begins at in, in any text.
 *
 * returns  SIO_OK      in.p + *length follows the matching bracket (of
 *                      whatever kind), *depth is the deepest nesting
 *          SIO_EINVAL  the text ends before, or has bytes that yajl takes
 *                      for blanks but JSON does not
 *          SIO_ELIMIT  deeper than max_depth
 */

static sio_rc_t
sio_json_scan(sio_span_t in, uint32_t max_depth, size_t *length,
    uint32_t *depth)
{
    uint8_t   *p, *last;
    uint32_t   d;

    d = 0;
    *depth = 0;
    last = in.p + in.n;

    for (p = in.p; p < last; /* void */ ) {

        switch (*p++) {

        case '"':
            p = sio_json_skip_string(p, last);
            if (p == NULL) {
                return SIO_EINVAL;
            }

            break;

        case '[':
        case '{':
            if (++d > *depth) {
                if (d > max_depth) {
                    return SIO_ELIMIT;
                }

                *depth = d;
            }

            break;

        case ']':
        case '}':
            if (--d == 0) {
                *length = p - in.p;
                return SIO_OK;
            }

            break;

        case '\v':
        case '\f':
            return SIO_EINVAL;
        }
    }

    return SIO_EINVAL;
}


/*
 * Returns what follows the string whose opening quote is before p, or NULL
 * if it has no end.
 */

static uint8_t *
sio_json_skip_string(uint8_t *p, uint8_t *last)
{
    uint8_t  *quote, *escape;

    quote = memchr(p, '"', last - p);

    while (quote != NULL) {
        escape = memchr(p, '\\', quote - p);

        if (escape == NULL) {
            return quote + 1;
        }

        p = escape + 2;

        if (p > quote) {
            quote = memchr(p, '"', last - p);
        }
    }

    return NULL;
}


/* Returns what follows the validated value that begins at p. */

static uint8_t *
sio_json_skip_value(uint8_t *p, uint8_t *last)
{
    size_t      n;
    uint32_t    depth;
    sio_span_t  in;

    if (*p == '"') {
        return sio_json_skip_string(p + 1, last);
    }

    if (*p == '[' || *p == '{') {
        in.p = p;
        in.n = last - p;
        (void) sio_json_scan(in, UINT32_MAX, &n, &depth);
        return p + n;
    }

    while (p < last && *p > ' ' && *p != ',' && *p != ']' && *p != '}') {
        p++;
    }

    return p;
}


static uint8_t *
sio_json_skip_blanks(uint8_t *p, uint8_t *last)
{
    while (p < last
           && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
    {
        p++;
    }

    return p;
}
