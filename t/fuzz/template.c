/*
 * sio_template: the text ends at the first NUL; the values of variables
 * follow, a NUL between them.  Whatever they are, an args template gives
 * valid JSON that differs from what harmless values give only where the
 * variables stand, and no placeholder that was not among the values.
 */

#include "proto/sio_template.h"
#include "proto/sio_utf8.h"
#include "fuzz.h"


#define MAX_VALUES  16

/* no template or value is likely to have it */

#define MARK        "%mark%"

typedef enum {
    MISSING,                     /* no variable has a value */
    MARKED,                      /* text is MARK, JSON is "MARK" */
    TRUE,                        /* JSON is true */
    HOSTILE                      /* what the input says */
} values_mode_t;

typedef struct {
    values_mode_t  mode;
    sio_span_t  text[MAX_VALUES];
    sio_span_t  json[MAX_VALUES];
    size_t      n;
} values_t;

static sio_json_t  *json;


static void *
mem_alloc(void *ctx, size_t n)
{
    (void) ctx;

    return malloc(n);
}


static void
mem_free(void *ctx, void *p)
{
    (void) ctx;
    free(p);
}


static sio_span_t
get(void *ctx, const sio_template_part_t *part)
{
    int              is_json;
    size_t           i;
    const values_t  *v = ctx;

    CHECK(part->var != SIO_VAR_LITERAL);
    CHECK((part->var == SIO_VAR_ARG) == (part->arg != 0) && part->arg < 10);

    is_json = part->var == SIO_VAR_ARG || part->var == SIO_VAR_ARGS
              || part->var == SIO_VAR_AUTH;

    switch (v->mode) {
    case MISSING:
        return sio_span_null;
    case MARKED:
        return is_json ? sio_span("\"" MARK "\"") : sio_span(MARK);
    case TRUE:
        return is_json ? sio_span("true") : sio_span("");
    default:
        break;
    }

    i = part->var + part->arg + part->text.n;

    if (v->n == 0) {
        return sio_span_null;
    }

    return is_json ? v->json[i % v->n] : v->text[i % v->n];
}


/* A value is JSON if it is one item of an array. */

static sio_span_t
json_of(sio_span_t text)
{
    size_t       at;
    uint8_t     *p;
    sio_span_t   array, item, next;

    array.n = text.n + 2;
    array.p = p = fuzz_alloc(array.n);
    p[0] = '[';
    memcpy(p + 1, text.p, text.n);
    p[text.n + 1] = ']';
    at = 0;

    if (!sio_utf8_valid(text.p, text.n)
        || sio_json_validate(json, array, NULL, NULL) != SIO_OK
        || sio_json_next(array, &at, &item) != SIO_OK
        || sio_json_next(array, &at, &next) != SIO_DONE)
    {
        item = sio_span_null;

    } else {
        item.p = text.p + (item.p - p - 1);
    }

    fuzz_free(p, array.n);

    return item;
}


static sio_span_t
args_of(sio_template_t *t, values_t *v, values_mode_t mode)
{
    sio_out_t   o;
    sio_span_t  out;

    v->mode = mode;

    o.p = NULL;
    o.n = 0;
    sio_template_args(t, get, v, &o);

    out.n = o.n;
    out.p = fuzz_alloc(out.n);
    o.p = out.p;
    o.n = 0;
    sio_template_args(t, get, v, &o);
    CHECK(o.n == out.n && o.p == out.p + out.n);

    return out;
}


static int
is_marked(sio_span_t token)
{
    size_t  i, n;

    n = sizeof(MARK) - 1;

    for (i = 0; i + n <= token.n; i++) {
        if (memcmp(token.p + i, MARK, n) == 0) {
            return 1;
        }
    }

    return 0;
}


/* b has the structure of a, but for the values that are marked in a. */

static void
check_structure(sio_span_t a, sio_span_t b)
{
    size_t           at, bt;
    sio_rc_t         rc;
    sio_span_t       x, y, key_x, key_y;
    sio_json_type_t  type;

    type = sio_json_type(a);
    at = 0;
    bt = 0;

    switch (type) {

    case SIO_JSON_ARRAY:
        CHECK(sio_json_type(b) == type);

        do {
            rc = sio_json_next(a, &at, &x);
            CHECK(sio_json_next(b, &bt, &y) == rc);

            if (rc == SIO_OK) {
                check_structure(x, y);
            }
        } while (rc == SIO_OK);

        break;

    case SIO_JSON_OBJECT:
        CHECK(sio_json_type(b) == type);

        do {
            rc = sio_json_next_member(a, &at, &key_x, &x);
            CHECK(sio_json_next_member(b, &bt, &key_y, &y) == rc);

            if (rc == SIO_OK) {
                CHECK(sio_span_eq(key_x, key_y));
                check_structure(x, y);
            }
        } while (rc == SIO_OK);

        break;

    default:
        if (sio_span_eq(a, sio_span("\"" MARK "\""))) {
            break;
        }

        if (is_marked(a)) {
            CHECK(type == SIO_JSON_STRING && sio_json_type(b) == type);
            break;
        }

        CHECK(sio_span_eq(a, b));
    }
}


static void
check_args(sio_template_t *t, values_t *v)
{
    size_t            i;
    values_mode_t           mode;
    sio_span_t        marked, out;
    sio_json_type_t   type;
    sio_json_check_t  c;

    marked = args_of(t, v, MARKED);
    memset(&c, 0, sizeof(c));

    for (mode = MISSING; mode <= HOSTILE; mode++) {
        out = args_of(t, v, mode);

        /* depth grows by what is inserted, placeholders don't */

        c.max_depth = 1000;
        c.attachments = (mode == TRUE) ? UINT32_MAX : 0;

        CHECK(sio_utf8_valid(out.p, out.n));
        CHECK(sio_json_validate(json, out, &c, &type) == SIO_OK);
        CHECK(type == SIO_JSON_ARRAY && c.n_placeholders == 0);

        check_structure(marked, out);
        fuzz_free(out.p, out.n);
    }

    for (i = 0; i < t->n; i++) {
        CHECK(t->parts[i].var != SIO_VAR_LITERAL || !t->parts[i].alone);
    }

    fuzz_free(marked.p, marked.n);
}


static void
check_name(sio_template_t *t, values_t *v)
{
    size_t      i;
    sio_rc_t    rc;
    values_mode_t  mode;
    sio_out_t   o;
    sio_span_t  out;

    for (mode = MISSING; mode <= HOSTILE; mode++) {
        v->mode = mode;

        o.p = NULL;
        o.n = 0;
        rc = sio_template_name(t, get, v, &o);
        CHECK(rc == SIO_OK || rc == SIO_EINVAL);

        for (i = 0; mode == MISSING && i < t->n; i++) {
            CHECK(rc == SIO_EINVAL || t->parts[i].var == SIO_VAR_LITERAL);
        }

        if (rc != SIO_OK) {
            continue;
        }

        out.n = o.n;
        out.p = fuzz_alloc(out.n);
        o.p = out.p;
        o.n = 0;
        CHECK(sio_template_name(t, get, v, &o) == SIO_OK);
        CHECK(o.n == out.n && o.p == out.p + out.n);
        fuzz_free(out.p, out.n);
    }
}


static void
check_template(sio_span_t text, int args, values_t *v)
{
    uint32_t              n;
    const char           *error;
    sio_rc_t              rc;
    sio_span_t            where;
    sio_template_t        t;
    sio_template_part_t  *parts;

    error = NULL;
    rc = sio_template_compile(json, text, args, NULL, 0, &t, &error, &where);

    if (rc != SIO_OK) {
        CHECK(rc == SIO_EINVAL && error != NULL);
        CHECK(where.p >= text.p && where.p + where.n <= text.p + text.n);
        return;
    }

    n = t.n;
    parts = malloc(n * sizeof(sio_template_part_t) + 1);
    CHECK(parts != NULL);

    CHECK(n == 0 || sio_template_compile(json, text, args, parts, n - 1, &t,
                                         &error, &where) == SIO_ELIMIT);

    rc = sio_template_compile(json, text, args, parts, n, &t, &error,
                              &where);
    CHECK(rc == SIO_OK && t.n == n && t.parts == parts && t.json == args);

    if (args) {
        check_args(&t, v);

    } else {
        check_name(&t, v);
    }

    free(parts);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          i, n;
    values_t        v;
    sio_span_t      text;
    sio_json_mem_t  mem = { mem_alloc, mem_free, NULL };

    if (json == NULL) {
        json = sio_json_create(&mem);
        CHECK(json != NULL);
    }

    n = strnlen((const char *) data, size);
    text = fuzz_span(data, n);
    v.n = 0;

    while (n < size && v.n < MAX_VALUES) {
        data += n + 1;
        size -= n + 1;
        n = (size == 0) ? 0 : strnlen((const char *) data, size);

        v.text[v.n] = fuzz_span(data, n);
        v.json[v.n] = json_of(v.text[v.n]);
        v.n++;
    }

    check_template(text, 1, &v);
    check_template(text, 0, &v);

    for (i = 0; i < v.n; i++) {
        fuzz_free(v.text[i].p, v.text[i].n);
    }

    fuzz_free(text.p, text.n);

    return 0;
}
