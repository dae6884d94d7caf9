/*
 * sio_json: the first byte is the number of attachments, the second the
 * depth allowed, the third the allocation that fails; the rest is the text.
 * A plain recursive reader of RFC 8259 must accept the same texts and find
 * the same placeholders; the iterators must cut an accepted text at its
 * seams; strings must survive being unescaped and escaped.
 */

#include "proto/sio_json.h"
#include "proto/sio_utf8.h"
#include "fuzz.h"


#define MAX_PLACEHOLDERS  64

typedef struct {
    sio_span_t  object[MAX_PLACEHOLDERS];
    uint32_t    num[MAX_PLACEHOLDERS];
    uint32_t    n;
    uint32_t    broken;
} found_t;

typedef struct {
    size_t      calls;
    size_t      fail;
    size_t      in_use;
} mem_t;


static void *
mem_alloc(void *ctx, size_t n)
{
    mem_t  *m = ctx;

    if (++m->calls == m->fail) {
        return NULL;
    }

    m->in_use++;

    return malloc(n);
}


static void
mem_free(void *ctx, void *p)
{
    mem_t  *m = ctx;

    m->in_use -= (p != NULL);
    free(p);
}


/*
 * The reader: each function returns what follows, or NULL if the text
 * violates the grammar.
 */

static uint8_t *
read_blanks(uint8_t *p, uint8_t *last)
{
    while (p != last && *p != 0 && strchr(" \t\n\r", *p) != NULL) {
        p++;
    }

    return p;
}


static uint8_t *
read_digits(uint8_t *p, uint8_t *last)
{
    uint8_t  *start;

    for (start = p; p != last && *p >= '0' && *p <= '9'; p++);

    return (p == start) ? NULL : p;
}


static uint8_t *
read_number(uint8_t *p, uint8_t *last)
{
    if (*p == '-' && ++p == last) {
        return NULL;
    }

    p = (*p == '0') ? p + 1 : read_digits(p, last);

    if (p != NULL && p != last && *p == '.') {
        p = read_digits(p + 1, last);
    }

    if (p != NULL && p != last && (*p == 'e' || *p == 'E')) {
        if (++p != last && (*p == '+' || *p == '-')) {
            p++;
        }

        p = read_digits(p, last);
    }

    return p;
}


static uint8_t *
read_string(uint8_t *p, uint8_t *last)
{
    int  i;

    if (p == last || *p++ != '"') {
        return NULL;
    }

    for ( ; p != last && *p != '"'; p++) {

        if (*p < 0x20) {
            return NULL;
        }

        if (*p != '\\') {
            continue;
        }

        if (++p == last || *p == 0 || strchr("\"\\/bfnrtu", *p) == NULL) {
            return NULL;
        }

        for (i = (*p == 'u') ? 4 : 0; i != 0; i--) {
            if (++p == last || *p == 0
                || strchr("0123456789abcdefABCDEF", *p) == NULL)
            {
                return NULL;
            }
        }
    }

    return (p == last) ? NULL : p + 1;
}


static uint8_t *
read_value(uint8_t *p, uint8_t *last, uint32_t depth)
{
    size_t       i, n;
    uint8_t      close;
    const char  *words[] = { "true", "false", "null" };

    if (p == last) {
        return NULL;
    }

    if (*p == '"') {
        return read_string(p, last);
    }

    if (*p != '[' && *p != '{') {
        for (i = 0; i < 3; i++) {
            n = strlen(words[i]);

            if ((size_t) (last - p) >= n && memcmp(p, words[i], n) == 0) {
                return p + n;
            }
        }

        return read_number(p, last);
    }

    if (depth == 0) {
        return NULL;
    }

    close = (*p == '[') ? ']' : '}';
    p = read_blanks(p + 1, last);

    if (p != last && *p == close) {
        return p + 1;
    }

    for ( ;; ) {
        if (close == '}') {
            p = read_string(p, last);
            p = (p == NULL) ? NULL : read_blanks(p, last);

            if (p == NULL || p == last || *p != ':') {
                return NULL;
            }

            p = read_blanks(p + 1, last);
        }

        p = read_value(p, last, depth - 1);
        p = (p == NULL) ? NULL : read_blanks(p, last);

        if (p == NULL || p == last || (*p != ',' && *p != close)) {
            return NULL;
        }

        if (*p++ == close) {
            return p;
        }

        p = read_blanks(p, last);
    }
}


static int
reference(sio_span_t text, uint32_t depth)
{
    uint8_t  *p, *last;

    last = text.p + text.n;
    p = read_blanks(text.p, last);

    if (p == last || (*p != '[' && *p != '{')) {
        return 0;
    }

    p = read_value(p, last, depth);

    return p != NULL && read_blanks(p, last) == last;
}


static sio_span_t
written(void (*put)(sio_out_t *o, sio_span_t in), sio_span_t in)
{
    sio_out_t   o;
    sio_span_t  out;

    o.p = NULL;
    o.n = 0;
    put(&o, in);

    out.n = o.n;
    out.p = fuzz_alloc(out.n);
    o.p = out.p;
    o.n = 0;
    put(&o, in);
    CHECK(o.n == out.n && o.p == out.p + out.n);

    return out;
}


static void
put_token(sio_out_t *o, sio_span_t text)
{
    sio_out_byte(o, '"');
    sio_json_escape(o, text);
    sio_out_byte(o, '"');
}


static void
check_string(sio_span_t token)
{
    sio_span_t  text, other, again;

    text = written(sio_json_unescape, token);
    CHECK(text.n <= token.n - 2);
    CHECK(sio_utf8_valid(text.p, text.n));
    CHECK(sio_json_string_eq(token, text));

    other = written(put_token, text);
    CHECK(read_string(other.p, other.p + other.n) == other.p + other.n);
    CHECK(sio_json_string_eq(other, text));

    again = written(sio_json_unescape, other);
    CHECK(sio_span_eq(again, text));
    fuzz_free(again.p, again.n);

    if (text.n != 0) {
        text.n--;
        CHECK(!sio_json_string_eq(token, text));
        text.p[text.n++] ^= 1;
        CHECK(!sio_json_string_eq(token, text));
    }

    fuzz_free(text.p, text.n);
    fuzz_free(other.p, other.n);
}


static void check_value(sio_span_t value, uint32_t attachments,
    found_t *found);


/* Nothing but blanks and the one separator lies between p and next. */

static void
check_seam(uint8_t *p, uint8_t *next, uint8_t separator)
{
    p = read_blanks(p, next);
    CHECK(p < next && *p == separator);
    CHECK(read_blanks(p + 1, next) == next);
}


static void
check_array(sio_span_t array, uint32_t attachments, found_t *found)
{
    size_t      at;
    uint8_t    *p, separator;
    sio_span_t  item;

    at = 0;
    p = array.p;
    separator = '[';

    while (sio_json_next(array, &at, &item) == SIO_OK) {
        check_seam(p, item.p, separator);
        check_value(item, attachments, found);
        p = item.p + item.n;
        separator = ',';
    }

    if (separator == '[') {
        check_seam(p, array.p + array.n - 1, '[');

    } else {
        CHECK(read_blanks(p, array.p + array.n - 1)
              == array.p + array.n - 1);
    }

    CHECK(sio_json_next(array, &at, &item) == SIO_DONE);
}


static void
check_object(sio_span_t object, uint32_t attachments, found_t *found)
{
    int         marked;
    char        num[32];
    size_t      at;
    found_t     before;
    uint8_t    *p, separator;
    uint64_t    n;
    sio_span_t  key, value;

    at = 0;
    p = object.p;
    separator = '{';
    marked = 0;
    n = UINT64_MAX;
    before = *found;

    while (sio_json_next_member(object, &at, &key, &value) == SIO_OK) {
        check_seam(p, key.p, separator);
        check_seam(key.p + key.n, value.p, ':');
        check_string(key);
        check_value(value, attachments, found);
        p = value.p + value.n;
        separator = ',';

        if (sio_json_string_eq(key, sio_span("_placeholder"))) {
            marked = (sio_json_type(value) == SIO_JSON_TRUE);
        }

        if (sio_json_string_eq(key, sio_span("num"))) {
            n = UINT64_MAX;

            if (read_digits(value.p, value.p + value.n)
                == value.p + value.n && value.n < 16)
            {
                memcpy(num, value.p, value.n);
                num[value.n] = '\0';
                n = strtoull(num, NULL, 10);
            }
        }
    }

    CHECK(sio_json_next_member(object, &at, &key, &value) == SIO_DONE);
    CHECK(separator == ',' || read_blanks(p + 1, object.p + object.n - 1)
                              == object.p + object.n - 1);

    if (marked && attachments != 0) {
        *found = before;

        if (n >= attachments) {
            found->broken++;

        } else if (found->n < MAX_PLACEHOLDERS) {
            found->object[found->n] = object;
            found->num[found->n++] = (uint32_t) n;

        } else {
            found->n++;
        }
    }
}


static void
check_value(sio_span_t value, uint32_t attachments, found_t *found)
{
    CHECK(value.n != 0);
    CHECK(read_value(value.p, value.p + value.n, UINT32_MAX)
          == value.p + value.n);

    switch (sio_json_type(value)) {

    case SIO_JSON_ARRAY:
        check_array(value, attachments, found);
        break;

    case SIO_JSON_OBJECT:
        check_object(value, attachments, found);
        break;

    case SIO_JSON_STRING:
        check_string(value);
        break;

    case SIO_JSON_NONE:
        CHECK(0);
        break;

    default:
        break;
    }
}


static sio_rc_t
checked(sio_json_t *j, sio_span_t text, const sio_json_check_t *limits)
{
    uint32_t                 i;
    found_t                  found;
    sio_rc_t                 rc;
    sio_json_type_t          type;
    sio_json_check_t         c;
    sio_json_placeholder_t   list[MAX_PLACEHOLDERS];

    c = *limits;
    c.placeholders = list;
    c.max_placeholders = MAX_PLACEHOLDERS;

    rc = sio_json_validate(j, text, &c, &type);

    if (rc == SIO_ENOMEM || !sio_utf8_valid(text.p, text.n)) {
        return rc;
    }

    if (!reference(text, c.max_depth)) {
        CHECK(rc == SIO_ELIMIT
              || (rc == SIO_EINVAL && !reference(text, UINT32_MAX)));
        return rc;
    }

    found.n = 0;
    found.broken = 0;

    while (read_blanks(text.p, text.p + text.n) != text.p) {
        text.p++;
        text.n--;
    }

    while (strchr("]}", text.p[text.n - 1]) == NULL) {
        text.n--;
    }

    CHECK(type == sio_json_type(text));
    check_value(text, c.attachments, &found);

    CHECK(rc == (found.broken ? SIO_EINVAL
                 : found.n > MAX_PLACEHOLDERS ? SIO_ELIMIT : SIO_OK));

    if (rc == SIO_OK) {
        CHECK(c.n_placeholders == found.n);

        for (i = 0; i < found.n; i++) {
            CHECK(list[i].num == found.num[i]);
            CHECK(list[i].object.p == found.object[i].p
                  && list[i].object.n == found.object[i].n);
        }
    }

    return rc;
}


/* Any bytes can be escaped. */

static void
check_escape(const uint8_t *data, size_t size)
{
    sio_span_t  raw, token;

    raw = fuzz_span(data, size);
    token = written(put_token, raw);

    CHECK(read_string(token.p, token.p + token.n) == token.p + token.n);
    CHECK(sio_utf8_valid(token.p, token.n));
    CHECK(!sio_utf8_valid(data, size) || sio_json_string_eq(token, raw));

    check_string(token);

    fuzz_free(token.p, token.n);
    fuzz_free(raw.p, raw.n);
}


/* The validator used before and a new one agree, with all memory or not. */

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    mem_t              few;
    sio_rc_t           rc, rc2;
    sio_json_t        *j;
    sio_span_t         text;
    sio_json_mem_t     mem;
    sio_json_check_t   c;
    static mem_t       all;
    static sio_json_t  *used;

    if (size < 3) {
        return 0;
    }

    mem.alloc = mem_alloc;
    mem.free = mem_free;
    mem.ctx = &all;

    if (used == NULL) {
        used = sio_json_create(&mem);
        CHECK(used != NULL);
    }

    memset(&c, 0, sizeof(c));
    c.attachments = data[0] % 16;
    c.max_depth = (data[1] < 0x80) ? data[1] : 0x80 << (data[1] % 8);

    text = fuzz_span(data + 3, size - 3);
    rc = checked(used, text, &c);
    CHECK(rc != SIO_ENOMEM);

    memset(&few, 0, sizeof(few));
    few.fail = data[2] % 8;
    mem.ctx = &few;
    j = sio_json_create(&mem);
    CHECK((j == NULL) == (few.fail == 1 || few.fail == 2));

    if (j != NULL) {
        rc2 = checked(j, text, &c);
        CHECK(rc2 == rc || (rc2 == SIO_ENOMEM && few.fail == few.calls));

        few.fail = 0;
        CHECK(checked(j, text, &c) == rc);
        sio_json_destroy(j);
    }

    CHECK(few.in_use == 0 && all.in_use <= 2);

    check_escape(text.p, text.n);
    fuzz_free(text.p, text.n);

    return 0;
}
