/* proto/sio_json */

#include "proto/sio_json.h"
#include "tap.h"


/* memory that is counted, and that fails when told so */

typedef struct {
    size_t  calls;
    size_t  bytes;                         /* in use */
    size_t  fail;                          /* the call that fails, 0: none */
} test_mem_t;

static test_mem_t   counter;
static sio_json_t  *json;


static void *
test_alloc(void *ctx, size_t n)
{
    size_t      *p;
    test_mem_t  *m = ctx;

    if (++m->calls == m->fail) {
        return NULL;
    }

    p = malloc(16 + n);
    *p = n;
    m->bytes += n;
    memset(p + 2, 0xa5, n);

    return p + 2;
}


static void
test_free(void *ctx, void *p)
{
    test_mem_t  *m = ctx;

    if (p != NULL) {
        m->bytes -= ((size_t *) p)[-2];
        free((size_t *) p - 2);
    }
}


static const sio_json_mem_t  mem = { test_alloc, test_free, &counter };


static sio_span_t
span_of(const char *s)
{
    sio_span_t  span;

    span.n = strlen(s);
    span.p = guarded(s, span.n);

    return span;
}


static sio_rc_t
validate(const char *s)
{
    return sio_json_validate(json, span_of(s), NULL, NULL);
}


static const char *const  accepted[] = {
    "[]", "{}", "[[]]", "[{}]", "{\"\":{}}", " \t\r\n[ \t\r\n] \t\r\n",
    "[1]", "[0]", "[-0]", "[-1]", "[10]", "[1.5]", "[0.0]", "[1e5]",
    "[1E5]", "[1e+5]", "[1e-5]", "[1.25e10]", "[-0.0e-0]", "[0e0]",
    "[123456789012345678901234567890]", "[1e999999]", "[-1e999999]",
    "[9223372036854775808]", "[0.000000000000000000000000000000000001]",
    "[true]", "[false]", "[null]", "[true,false,null]",
    "[ true , false ]", "{\"a\":1}", "{ \"a\" : 1 , \"b\" : [ ] }",
    "{\"a\":1,\"a\":2}", "{\"a\":{\"a\":{\"a\":[1,2,{}]}}}",
    "[\"\"]", "[\"a\"]", "[\"\\\"\"]", "[\"\\\\\"]", "[\"\\/\"]",
    "[\"\\b\\f\\n\\r\\t\"]", "[\"\\u0000\"]", "[\"\\uABCD\\uabcd\"]",
    "[\"\\ud83d\\ude00\"]", "[\"\\ud83d\"]", "[\"\\ude00\"]",
    "[\"\\ud83d\\u0041\"]", "[\"\\\\\\\\\",\"\\\\\\\"\"]",
    "[\"\x7f\"]", "[\"\xc3\xa9\xf0\x9f\x98\x80\xe2\x80\xa8\"]",
    "[\"]\",\"}\",\"[\",\"{\",\":\",\",\"]", "[\"\\u2028\"]",
    "[\"//\",\"/* */\"]"
};

static const char *const  refused[] = {
    "", " ", "\n", "1", "\"a\"", "true", "null", " 1 ", "\"[]\"",
    "[", "]", "{", "}", "[}", "{]", "[[]", "[]]", "{}}", "[{]}", "{[}]",
    "[1]]", "[1],", "[1],[2]", "[1][2]", "[1] [2]", "[1]{}", "{}[]",
    "[1]2", "[1] 2", "[1]\"a\"", "[1]\"a]", "[1]true", "[1]tru", "[1]]x",
    "[1]-", "[1]\"", "[1]\v", "[1]\f", "\v[1]", "\f[1]", "[\v1]", "[1\f]",
    "[\"\v\"]", "[\"\f\"]", "[1,\v2]", "{\"a\"\f:1}", "[1]//", "//[1]\n[1]",
    "[/**/1]", "[1/*]*/]", "[1]#", "\xef\xbb\xbf[1]", "[1]\xef\xbb\xbf",
    "[\xc2\xa0]", "[\xe2\x80\xa8]", "[1]\xc2\xa0", "[1]\x7f", "[1]\x1f",
    "[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1:2]", "[\"a\":1]",
    "[:]", "[1,", "[1", "[\"", "[\"]", "[\"a", "[\"a]", "[\"\\\"]",
    "[\"\\", "[\"\\u", "[\"\\u00", "[\"a\\\\\\\"]",
    "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{:1}", "{\"a\" 1}",
    "{\"a\",1}", "{\"a\":1 \"b\":2}", "{\"a\":1:2}", "{\"a\"::1}",
    "{a:1}", "{1:1}", "{null:1}", "{[]:1}", "{{}:1}", "{'a':1}", "['a']",
    "{\"a\":1,,\"b\":2}", "{,\"a\":1}", "{\"a\":,\"b\":1}",
    "[01]", "[-01]", "[00]", "[-]", "[+1]", "[.5]", "[1.]", "[-.5]",
    "[1.e5]", "[1e]", "[1e+]", "[1e-]", "[1e5.5]", "[1.5.5]", "[0x10]",
    "[1_000]", "[1n]", "[--1]", "[1-1]", "[- 1]", "[1 .5]", "[NaN]",
    "[Infinity]", "[-Infinity]", "[nan]", "[inf]",
    "[tru]", "[truee]", "[True]", "[TRUE]", "[fals]", "[nul]", "[nulll]",
    "[undefined]", "[truefalse]", "[true false]", "[t]", "[n]", "[f]",
    "[\"\\a\"]", "[\"\\x41\"]", "[\"\\0\"]", "[\"\\'\"]", "[\"\\U0041\"]",
    "[\"\\u\"]", "[\"\\u004\"]", "[\"\\u004g\"]", "[\"\\u 041\"]",
    "[\"\\u00 4\"]", "[\"\\u-041\"]", "[\"\\v\"]", "[\"\\\n\"]",
    "[\"\x01\"]", "[\"\x1f\"]", "[\"\n\"]", "[\"\t\"]", "[\"\r\"]",
    "[\"a\"\"b\"]", "[\"a\" \"b\"]", "[1\"a\"]", "[\"a\"1]", "[1[2]]",
    "[[1]2]", "[{}1]", "[$]", "[@]", "[;]", "[(1)]", "[`a`]", "\\[]",
    "[\\]", "[\\\"a\\\"]", "[1]\\"
};


static void
test_validate(void)
{
    size_t           i;
    sio_json_type_t  type;

    for (i = 0; i < sio_countof(accepted); i++) {
        ok(validate(accepted[i]) == SIO_OK, "accepted %zu", i);
    }

    for (i = 0; i < sio_countof(refused); i++) {
        ok(validate(refused[i]) == SIO_EINVAL && validate("[1]") == SIO_OK,
           "refused %zu, and the next text is not hurt", i);
    }

    ok(sio_json_validate(json, sio_span_null, NULL, NULL) == SIO_EINVAL,
       "nothing at NULL");

    ok(sio_json_validate(json, span_of(" [1]"), NULL, &type) == SIO_OK
       && type == SIO_JSON_ARRAY, "an array");
    ok(sio_json_validate(json, span_of("\n{}"), NULL, &type) == SIO_OK
       && type == SIO_JSON_OBJECT, "an object");
}


/* Any proper beginning is refused, a NUL or a control character anywhere. */

static void
test_damage(void)
{
    size_t             i, n, passed;
    uint8_t            c, *p;
    sio_span_t         s;
    static const char  text[] =
        "[\"ev\\u00e9\\\\nt\",{\"a\":-1.5e+3,\"b\":[true,false,null]},12]";

    passed = 0;
    s.n = sizeof(text) - 1;

    for (n = 0; n < s.n; n++) {
        s.p = guarded(text, n);
        passed += sio_json_validate(json, (sio_span_t) { s.p, n }, NULL,
                                    NULL) == SIO_OK;
    }

    ok(passed == 0, "cut anywhere");

    for (i = 0; i < s.n; i++) {
        p = guarded(text, s.n);
        s.p = p;

        for (c = 0; c < 0x20; c++) {
            if (c == '\t' || c == '\n' || c == '\r') {
                continue;
            }

            p[i] = c;
            passed += sio_json_validate(json, s, NULL, NULL) == SIO_OK;
        }
    }

    ok(passed == 0, "a control character anywhere");

    for (n = 1; n <= 3; n++) {
        p = guarded("[1]\0\0\0", 3 + n);
        passed += sio_json_validate(json, (sio_span_t) { p, 3 + n }, NULL,
                                    NULL) == SIO_OK;
    }

    ok(passed == 0, "NULs behind the end");

    ok(validate(text) == SIO_OK, "the whole text");
}


static sio_rc_t
nested(size_t depth, uint32_t max, const char *open, const char *in,
    const char *close)
{
    size_t            i, n;
    uint8_t          *p, *q;
    sio_rc_t          rc;
    sio_json_check_t  c;

    n = depth * (strlen(open) + strlen(close)) + strlen(in);
    p = q = malloc(n);

    for (i = 0; i < depth; i++) {
        q = (uint8_t *) memcpy(q, open, strlen(open)) + strlen(open);
    }

    q = (uint8_t *) memcpy(q, in, strlen(in)) + strlen(in);

    for (i = 0; i < depth; i++) {
        q = (uint8_t *) memcpy(q, close, strlen(close)) + strlen(close);
    }

    memset(&c, 0, sizeof(c));
    c.max_depth = max;
    c.attachments = 1;

    rc = sio_json_validate(json, (sio_span_t) { p, n }, max ? &c : NULL,
                           NULL);
    free(p);

    return rc;
}


static void
test_depth(void)
{
    size_t            bytes, depth;
    unsigned          passed;
    sio_json_check_t  c;

    ok(nested(64, 64, "[", "", "]") == SIO_OK, "64 deep");
    ok(nested(65, 64, "[", "", "]") == SIO_ELIMIT, "65 deep");
    ok(nested(64, 0, "[", "", "]") == SIO_OK, "64 deep, by default");
    ok(nested(65, 0, "[", "", "]") == SIO_ELIMIT, "65 deep, by default");
    ok(nested(64, 64, "{\"a\":", "1", "}") == SIO_OK, "64 objects deep");
    ok(nested(65, 64, "{\"a\":", "1", "}") == SIO_ELIMIT, "65 objects");
    ok(nested(1000000, 64, "[", "", "") == SIO_ELIMIT, "a million deep");
    ok(nested(63, 64, "[", "\"[[[[[[\"", "]") == SIO_OK,
       "brackets in strings don't count");
    ok(nested(1, 1, "[", "1", "]") == SIO_OK, "one deep of one");

    memset(&c, 0, sizeof(c));
    ok(sio_json_validate(json, span_of("[]"), &c, NULL) == SIO_ELIMIT,
       "no depth at all");

    bytes = counter.bytes;
    passed = 0;

    for (depth = 1; depth <= 1024; depth++) {
        passed += nested(depth, 2000, "[", "1", "]") == SIO_OK;
        passed += nested(depth, 2000, "[", "1", "}") == SIO_EINVAL;
        passed += nested(depth, 2000, "{\"a\":", "{}", "}") == SIO_OK;
    }

    ok(passed == 3 * 1024, "any depth up to 1024");
    ok(counter.bytes <= bytes + 65536, "takes little memory: %zu",
       counter.bytes);

    ok(nested(300000, 300000, "[", "", "]") == SIO_OK, "300000 deep");
    ok(nested(300000, 300000, "[{\"a\":", "", "}]") == SIO_ELIMIT, "more");
    ok(nested(150000, 300000, "[{\"a\":", "{}", "}]") == SIO_ELIMIT,
       "one more");
    ok(nested(150000, 300000, "[{\"a\":", "1", "}]") == SIO_OK, "as much");
    ok(nested(150000, 300000, "[{\"a\":", "", "}]") == SIO_EINVAL,
       "as much, broken");
    ok(validate("[1]") == SIO_OK, "then a short text");
    ok(counter.bytes <= bytes, "the memory is back: %zu", counter.bytes);
}


/* No memory is asked for in normal life, and none grows with the text. */

static void
test_memory(void)
{
    size_t       i, n, calls;
    uint8_t     *p;
    unsigned     passed;
    sio_json_t  *j;

    calls = counter.calls;

    for (i = 0; i < 1000; i++) {
        validate(accepted[i % sio_countof(accepted)]);
        validate(refused[i % sio_countof(refused)]);
    }

    ok(counter.calls == calls, "no allocation for any short text");

    n = 3000000;
    p = malloc(n);
    memset(p, 'a', n);
    p[0] = '[';
    p[1] = '"';
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_EINVAL, "a long string without end");
    p[n - 1] = ']';
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_EINVAL, "a long string without end, but a bracket");
    p[n - 2] = '"';
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_OK, "a long string");
    memset(p + 2, '\\', n - 4);
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_OK, "a long string of backslashes");
    memset(p + 1, '1', n - 2);
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_OK, "a long number");
    memset(p + 1, ' ', n - 2);
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_OK, "a long blank");
    p[1] = '{';
    ok(sio_json_validate(json, (sio_span_t) { p, n }, NULL, NULL)
       == SIO_EINVAL, "a long blank in an open object");
    free(p);

    ok(counter.calls == calls, "no allocation for any long text");

    counter.calls = 0;
    passed = 0;

    for (i = 1; i <= 2; i++) {
        counter.fail = i;
        j = sio_json_create(&mem);
        passed += (j == NULL);
        counter.calls = 0;
    }

    counter.fail = 3;
    j = sio_json_create(&mem);
    ok(passed == 2 && j != NULL && counter.calls == 2,
       "each allocation of create fails once");
    sio_json_destroy(j);
    sio_json_destroy(NULL);

    counter.fail = counter.calls + 1;
    ok(nested(500000, 500000, "[", "", "]") == SIO_ENOMEM,
       "no memory for a deep text");
    counter.fail = counter.calls + 1;
    ok(validate("[1]") == SIO_ENOMEM, "nor for the next");
    counter.fail = 0;
    ok(validate("[1]") == SIO_OK, "then it works again");
    ok(nested(500000, 500000, "[", "", "]") == SIO_OK, "both do");
}


/* attachments, text, result, the numbers found: "0,1" */

static const struct {
    uint32_t     attachments;
    const char  *in;
    sio_rc_t     rc;
    const char  *found;
}  placeholders[] = {
    { 1, "[{\"_placeholder\":true,\"num\":0}]", SIO_OK, "0" },
    { 1, "[{\"num\":0,\"_placeholder\":true}]", SIO_OK, "0" },
    { 1, "[ { \"_placeholder\" : true , \"num\" : 0 } ]", SIO_OK, "0" },
    { 1, "{\"_placeholder\":true,\"num\":0}", SIO_OK, "0" },
    { 0, "[{\"_placeholder\":true,\"num\":0}]", SIO_OK, "" },
    { 0, "[{\"_placeholder\":true,\"num\":-1}]", SIO_OK, "" },
    { 2, "[1,{\"_placeholder\":true,\"num\":1},{\"a\":"
         "[{\"_placeholder\":true,\"num\":0}]}]", SIO_OK, "1,0" },
    { 2, "[{\"_placeholder\":true,\"num\":1},"
         "{\"_placeholder\":true,\"num\":1}]", SIO_OK, "1,1" },
    { 1, "[{\"_placeholder\":true,\"num\":1}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":4294967296}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":18446744073709551616}]",
      SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":-0}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":-1}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":0.0}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":0e0}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":0E0}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":\"0\"}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":null}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":[0]}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"num\":{\"num\":0}}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"a\":{\"num\":0}}]", SIO_EINVAL, "" },
    { 1, "[{\"_placeholder\":true,\"nu\":0,\"numm\":0}]", SIO_EINVAL, "" },
    { 2, "[{\"_placeholder\":true,\"num\":10}]", SIO_EINVAL, "" },
    { 11, "[{\"_placeholder\":true,\"num\":10}]", SIO_OK, "10" },
    { UINT32_MAX, "[{\"_placeholder\":true,\"num\":4294967294}]", SIO_OK,
      "4294967294" },
    { UINT32_MAX, "[{\"_placeholder\":true,\"num\":4294967295}]",
      SIO_EINVAL, "" },

    /* the last of a key wins */

    { 2, "[{\"_placeholder\":true,\"num\":9,\"num\":1}]", SIO_OK, "1" },
    { 2, "[{\"_placeholder\":true,\"num\":1,\"num\":9}]", SIO_EINVAL, "" },
    { 2, "[{\"_placeholder\":true,\"num\":1,\"num\":\"1\"}]", SIO_EINVAL,
      "" },
    { 1, "[{\"_placeholder\":false,\"_placeholder\":true,\"num\":0}]",
      SIO_OK, "0" },
    { 1, "[{\"_placeholder\":true,\"_placeholder\":false,\"num\":9}]",
      SIO_OK, "" },
    { 1, "[{\"_placeholder\":true,\"_placeholder\":{},\"num\":9}]",
      SIO_OK, "" },

    /* keys with escapes */

    { 1, "[{\"\\u005fplaceholder\":true,\"n\\u0075m\":0}]", SIO_OK, "0" },
    { 1, "[{\"\\u005Fplaceholde\\u0072\":true,\"num\":0}]", SIO_OK, "0" },
    { 1, "[{\"_placeholder\":true,\"num\":0,\"\\u006e\\u0075\\u006d\":7}]",
      SIO_EINVAL, "" },
    { 1, "[{\"\\u005fplaceholder\":true,\"num\":0,"
         "\"_placeholder\":1}]", SIO_OK, "" },
    { 1, "[{\"_place\\/holder\":true,\"num\":9}]", SIO_OK, "" },
    { 1, "[{\"_placeholder\\u0000\":true,\"num\":9}]", SIO_OK, "" },
    { 1, "[{\"_placeholder\\ud83d\":true,\"num\":9}]", SIO_OK, "" },

    /* only true is true */

    { 1, "[{\"_placeholder\":1,\"num\":9}]", SIO_OK, "" },
    { 1, "[{\"_placeholder\":\"true\",\"num\":9}]", SIO_OK, "" },
    { 1, "[{\"_placeholder\":null,\"num\":9}]", SIO_OK, "" },
    { 1, "[{\"_placeholder\":[true],\"num\":9}]", SIO_OK, "" },
    { 1, "[\"_placeholder\",true,\"num\",9]", SIO_OK, "" },
    { 1, "[\"{\\\"_placeholder\\\":true,\\\"num\\\":9}\"]", SIO_OK, "" },
    { 1, "[{\"a\":\"_placeholder\",\"b\":true,\"num\":9}]", SIO_OK, "" },

    /* the outer one swallows what is in it, broken or not */

    { 3, "[{\"_placeholder\":true,\"num\":0,\"x\":{\"_placeholder\":true,"
         "\"num\":1}},{\"_placeholder\":true,\"num\":2}]", SIO_OK, "0,2" },
    { 3, "[{\"x\":[{\"_placeholder\":true,\"num\":9}],"
         "\"_placeholder\":true,\"num\":0}]", SIO_OK, "0" },
    { 3, "[{\"x\":[{\"_placeholder\":true,\"num\":1}],"
         "\"_placeholder\":true,\"num\":9}]", SIO_EINVAL, "" },
    { 3, "[{\"_placeholder\":{\"_placeholder\":true,\"num\":1},"
         "\"num\":9}]", SIO_OK, "1" },
    { 3, "[{\"num\":{\"_placeholder\":true,\"num\":1}}]", SIO_OK, "1" },
    { 3, "[{\"__proto__\":{\"_placeholder\":true,\"num\":1}}]", SIO_OK,
      "1" }
};


static void
test_placeholders(void)
{
    char                    found[64];
    size_t                  i, n, at;
    sio_rc_t                rc;
    sio_span_t              text;
    sio_json_check_t        c;
    sio_json_placeholder_t  list[4];

    memset(&c, 0, sizeof(c));
    c.max_depth = 64;
    c.placeholders = list;
    c.max_placeholders = sio_countof(list);

    for (i = 0; i < sio_countof(placeholders); i++) {
        c.attachments = placeholders[i].attachments;
        text = span_of(placeholders[i].in);
        rc = sio_json_validate(json, text, &c, NULL);

        found[0] = '\0';

        for (n = 0, at = 0; n < c.n_placeholders; n++) {
            at += snprintf(found + at, sizeof(found) - at, "%s%u",
                           n ? "," : "", (unsigned) list[n].num);
        }

        ok(rc == placeholders[i].rc, "placeholders %zu", i);
        ok(strcmp(found, placeholders[i].found) == 0,
           "placeholders %zu: \"%s\"", i, found);
    }

    c.attachments = 2;
    text = span_of("[\"a\", {\"x\":{\"_placeholder\":true,\"num\":1}} ,"
                   "{ \"num\":0,\"_placeholder\":true } ]");
    ok(sio_json_validate(json, text, &c, NULL) == SIO_OK
       && c.n_placeholders == 2, "two");
    is_text(list[0].object.p, list[0].object.n,
            "{\"_placeholder\":true,\"num\":1}", "where the first is");
    is_text(list[1].object.p, list[1].object.n,
            "{ \"num\":0,\"_placeholder\":true }", "where the second is");

    c.max_placeholders = 1;
    ok(sio_json_validate(json, text, &c, NULL) == SIO_ELIMIT,
       "more than there is room for");

    c.max_placeholders = 0;
    c.placeholders = NULL;
    ok(sio_json_validate(json, text, &c, NULL) == SIO_OK
       && c.n_placeholders == 2, "only counted");

    c.max_placeholders = 1;
    c.placeholders = list;
    text = span_of("[{\"x\":[{\"_placeholder\":true,\"num\":1},"
                   "{\"_placeholder\":true,\"num\":1}],"
                   "\"_placeholder\":true,\"num\":0}]");
    ok(sio_json_validate(json, text, &c, NULL) == SIO_OK
       && c.n_placeholders == 1 && list[0].num == 0,
       "what is swallowed needs no room");
}


/* Joins what an iteration gives with bars. */

static sio_rc_t
next_item(sio_span_t text, size_t *at, sio_out_t *o)
{
    sio_rc_t    rc;
    sio_span_t  key, value;

    if (sio_json_type(text) == SIO_JSON_ARRAY) {
        rc = sio_json_next(text, at, &value);

    } else {
        rc = sio_json_next_member(text, at, &key, &value);

        if (rc == SIO_OK) {
            sio_out_span(o, key);
            sio_out_byte(o, '=');
        }
    }

    if (rc == SIO_OK) {
        sio_out_span(o, value);
        sio_out_byte(o, '|');
    }

    return rc;
}


static const char *
items_of(sio_span_t text)
{
    size_t       at;
    sio_rc_t     rc;
    sio_out_t    o;
    static char  buf[512];

    at = 0;
    o.p = (uint8_t *) buf;
    o.n = 0;

    do {
        rc = next_item(text, &at, &o);
    } while (rc == SIO_OK);

    if (rc != SIO_DONE || next_item(text, &at, &o) != SIO_DONE) {
        return "does not end, or does not stay at the end";
    }

    sio_out_byte(&o, '\0');

    return buf;
}


static void
test_iterate(void)
{
    size_t              i;
    const char         *got;
    static const char  *t[][2] = {
        { "[]", "" },
        { " [ \n] ", "" },
        { "{}", "" },
        { "\t{\r} ", "" },
        { "[1]", "1|" },
        { " [ 1 ] ", "1|" },
        { "[1,-2.5e3,true,false,null]", "1|-2.5e3|true|false|null|" },
        { "[ 1 , -2.5e3 ,true\n,\tfalse,null ]",
          "1|-2.5e3|true|false|null|" },
        { "[\"a\",\"\",\"\\\"\",\"\\\\\",\"],[\"]",
          "\"a\"|\"\"|\"\\\"\"|\"\\\\\"|\"],[\"|" },
        { "[[],[[1,2],[3]],{},{\"a\":[]}]",
          "[]|[[1,2],[3]]|{}|{\"a\":[]}|" },
        { "[ [ ] , { } ]", "[ ]|{ }|" },
        { "[[\"]\"],{\"}\":\"]\"}]", "[\"]\"]|{\"}\":\"]\"}|" },
        { "{\"a\":1}", "\"a\"=1|" },
        { " { \"a\" : 1 , \"b\\\"\" : [ 2 , 3 ] } ",
          "\"a\"=1|\"b\\\"\"=[ 2 , 3 ]|" },
        { "{\"\":\"\",\":\":\",\",\",\":{\"a\":{}},\"t\":true}",
          "\"\"=\"\"|\":\"=\",\"|\",\"={\"a\":{}}|\"t\"=true|" },
        { "{\"a\":1,\"a\":2}", "\"a\"=1|\"a\"=2|" }
    };

    for (i = 0; i < sio_countof(t); i++) {
        ok(validate(t[i][0]) == SIO_OK, "iterated %zu is valid", i);
        got = items_of(span_of(t[i][0]));
        is_text(got, strlen(got), t[i][1], "iterated %zu", i);
    }
}


static void
test_type(void)
{
    ok(sio_json_type(span_of("[]")) == SIO_JSON_ARRAY, "array");
    ok(sio_json_type(span_of(" {}")) == SIO_JSON_OBJECT, "object");
    ok(sio_json_type(span_of("\n\"a\"")) == SIO_JSON_STRING, "string");
    ok(sio_json_type(span_of("-1")) == SIO_JSON_NUMBER, "negative");
    ok(sio_json_type(span_of("0")) == SIO_JSON_NUMBER, "zero");
    ok(sio_json_type(span_of("9.5")) == SIO_JSON_NUMBER, "number");
    ok(sio_json_type(span_of("true")) == SIO_JSON_TRUE, "true");
    ok(sio_json_type(span_of("false")) == SIO_JSON_FALSE, "false");
    ok(sio_json_type(span_of("null")) == SIO_JSON_NULL, "null");
    ok(sio_json_type(span_of(" ")) == SIO_JSON_NONE, "blank");
    ok(sio_json_type(sio_span_null) == SIO_JSON_NONE, "nothing");
}


static void
test_unescape(void)
{
    size_t              i;
    uint8_t             buf[64], *p;
    sio_out_t           o;
    sio_span_t          token, text;
    static const struct {
        const char     *token;
        const char     *text;
        size_t          n;
    }  t[] = {
        { "\"\"", "", 0 },
        { "\"a\"", "a", 1 },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8 },
        { "\"a\\nb\"", "a\nb", 3 },
        { "\"\\\\n\"", "\\n", 2 },
        { "\"\\u0041\\u007f\"", "A\x7f", 2 },
        { "\"\\u0000\"", "\0", 1 },
        { "\"\\u0080\\u07ff\"", "\xc2\x80\xdf\xbf", 4 },
        { "\"\\u0800\\uffff\"", "\xe0\xa0\x80\xef\xbf\xbf", 6 },
        { "\"\\uABCD\\uabcd\"", "\xea\xaf\x8d\xea\xaf\x8d", 6 },
        { "\"\\ud800\\udc00\"", "\xf0\x90\x80\x80", 4 },
        { "\"\\uDBFF\\uDFFF\"", "\xf4\x8f\xbf\xbf", 4 },
        { "\"\\ud83d\\ude00\"", "\xf0\x9f\x98\x80", 4 },
        { "\"\\ud83d\"", "\xef\xbf\xbd", 3 },
        { "\"\\ude00\"", "\xef\xbf\xbd", 3 },
        { "\"\\ud83dx\"", "\xef\xbf\xbdx", 4 },
        { "\"\\ud83d\\n\"", "\xef\xbf\xbd\n", 4 },
        { "\"\\ud83d\\u0041\"", "\xef\xbf\xbd" "A", 4 },
        { "\"\\ud83d\\ud83d\\ude00\"", "\xef\xbf\xbd\xf0\x9f\x98\x80", 7 },
        { "\"\\ude00\\ud83d\"", "\xef\xbf\xbd\xef\xbf\xbd", 6 },
        { "\"\xc3\xa9\\u00e9\"", "\xc3\xa9\xc3\xa9", 4 }
    };

    for (i = 0; i < sio_countof(t); i++) {
        token = span_of(t[i].token);
        text.n = t[i].n;
        text.p = guarded(t[i].text, text.n);

        o.p = NULL;
        o.n = 0;
        sio_json_unescape(&o, token);
        ok(o.n == text.n && o.n <= token.n, "measured %zu", i);

        o.p = buf;
        o.n = 0;
        sio_json_unescape(&o, token);
        is_bytes(buf, o.n, text.p, text.n, "decoded %zu", i);

        ok(sio_json_string_eq(token, text) == 1, "equal %zu", i);

        if (text.n != 0) {
            ok(sio_json_string_eq(token, (sio_span_t) { text.p, text.n - 1 })
               == 0, "not equal to the beginning %zu", i);

            p = guarded(text.p, text.n);
            p[text.n - 1] ^= 1;
            ok(sio_json_string_eq(token, (sio_span_t) { p, text.n }) == 0,
               "not equal to another end %zu", i);
        }

        p = guarded(NULL, text.n + 1);
        memcpy(p, text.p, text.n);
        ok(sio_json_string_eq(token, (sio_span_t) { p, text.n + 1 }) == 0,
           "not equal to a longer one %zu", i);

        /* as it stands there, only if it has no escapes */

        ok(sio_json_string_eq(token, (sio_span_t) { token.p + 1, token.n - 2 })
           == (token.n - 2 == text.n), "equal to its bytes or not %zu", i);
    }

    ok(sio_json_string_eq(span_of("\"\""), sio_span_null) == 1,
       "empty, at NULL");
    ok(sio_json_string_eq(span_of("\"a\""), sio_span_null) == 0,
       "not empty, at NULL");
}


static void
test_escape(void)
{
    size_t              i, n;
    unsigned            good;
    uint8_t             c, buf[128];
    sio_out_t           o;
    sio_span_t          text;
    static const char  *t[][2] = {
        { "", "" },
        { "a", "a" },
        { "a\"b\\c/", "a\\\"b\\\\c/" },
        { "\b\t\n\f\r", "\\b\\t\\n\\f\\r" },
        { "\x01\v\x0e\x1f\x7f", "\\u0001\\u000b\\u000e\\u001f\x7f" },
        { "\xc3\xa9\xe2\x80\xa8\xe2\x80\xa9\xf0\x9f\x98\x80",
          "\xc3\xa9\xe2\x80\xa8\xe2\x80\xa9\xf0\x9f\x98\x80" },
        { "\x80", "\xef\xbf\xbd" },
        { "\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xc3", "\xef\xbf\xbd" },
        { "\xe2\x80", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xf0\x9f\x98", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xc3\"", "\xef\xbf\xbd\\\"" },
        { "\xe2\x80\"", "\xef\xbf\xbd\xef\xbf\xbd\\\"" },
        { "\xf0\x9f\x98\"", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\\\"" },
        { "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "a\xc3\xa9\x80z", "a\xc3\xa9\xef\xbf\xbdz" }
    };

    for (i = 0; i < sio_countof(t); i++) {
        text = span_of(t[i][0]);

        o.p = NULL;
        o.n = 0;
        sio_json_escape(&o, text);
        n = o.n;

        o.p = buf;
        o.n = 0;
        sio_json_escape(&o, text);

        is_text(buf, o.n, t[i][1], "escaped %zu", i);
        ok(n == o.n, "measured %zu", i);
    }

    o.p = buf;
    o.n = 0;
    sio_json_escape(&o, sio_span_null);
    ok(o.n == 0, "nothing");

    good = 0;

    for (i = 0; i < 128; i++) {
        c = (uint8_t) i;
        text.p = guarded(&c, 1);
        text.n = 1;

        o.p = buf;
        o.n = 0;
        sio_out_str(&o, "[\"");
        sio_json_escape(&o, text);
        sio_out_str(&o, "\"]");

        n = o.n;
        good += sio_json_validate(json, (sio_span_t) { buf, n }, NULL, NULL)
                == SIO_OK
                && sio_json_string_eq((sio_span_t) { buf + 1, n - 2 }, text);
    }

    ok(good == 128, "each ASCII character survives the round trip");
}


int
main(void)
{
    json = sio_json_create(&mem);

    if (!ok(json != NULL, "create")) {
        return done_testing();
    }

    test_validate();
    test_damage();
    test_depth();
    test_memory();
    test_placeholders();
    test_iterate();
    test_type();
    test_unescape();
    test_escape();

    sio_json_destroy(json);
    ok(counter.bytes == 0, "all memory is back");

    return done_testing();
}
