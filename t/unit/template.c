/* proto/sio_template */

#include "proto/sio_template.h"
#include "tap.h"


static sio_json_t  *json;
static int          fail;


static void *
test_alloc(void *ctx, size_t n)
{
    (void) ctx;

    return fail ? NULL : malloc(n);
}


static void
test_free(void *ctx, void *p)
{
    (void) ctx;

    free(p);
}


static sio_span_t
span_of(const char *s)
{
    sio_span_t  span;

    span.n = strlen(s);
    span.p = guarded(s, span.n);

    return span;
}


/* an event; NULL is missing */

typedef struct {
    const char  *id, *nsp, *event, *args, *arg[10], *auth, *reason, *user;
} test_event_t;


static sio_span_t
get(void *ctx, const sio_template_part_t *part)
{
    const char          *s;
    const test_event_t  *e = ctx;

    switch (part->var) {
    case SIO_VAR_ID:
        s = e->id;
        break;
    case SIO_VAR_NAMESPACE:
        s = e->nsp;
        break;
    case SIO_VAR_EVENT:
        s = e->event;
        break;
    case SIO_VAR_ARGS:
        s = e->args;
        break;
    case SIO_VAR_ARG:
        s = e->arg[part->arg];
        break;
    case SIO_VAR_AUTH:
        s = e->auth;
        break;
    case SIO_VAR_REASON:
        s = e->reason;
        break;
    case SIO_VAR_DATA:
        s = sio_span_eq(part->text, sio_span("user")) ? e->user : NULL;
        break;
    default:
        s = NULL;
    }

    return s ? span_of(s) : sio_span_null;
}


static sio_template_part_t  parts[16];
static sio_template_t       template;
static const char          *error;
static sio_span_t           where;


static sio_rc_t
compile(const char *text, int args)
{
    sio_rc_t        rc;
    sio_template_t  counted;

    error = NULL;
    rc = sio_template_compile(json, span_of(text), args, NULL, 0, &counted,
                              &error, &where);

    if (rc == SIO_OK) {
        rc = sio_template_compile(json, span_of(text), args, parts,
                                  counted.n, &template, &error, &where);

        if (rc == SIO_OK && template.n != counted.n) {
            return SIO_ENOMEM;
        }
    }

    return rc;
}


static const test_event_t  event = {
    "ID", "/chat", "say \"hi\"\n", "[\"a\\n\",2,{\"b\":[]}]",
    { NULL, "\"a\\n\\u00e9\"", "2", "{\"b\":[]}", "\"\"", "true", "null",
      "-1.5e3", "\"\\ud83d\\\"\"" },
    "{\"token\":\"t\"}", "transport close", "\x01" "ann\"\xff"
};

/* template, its value as a name (NULL: none) */

static const char *const  names[][2] = {
    { "", "" },
    { "lobby", "lobby" },
    { "a$$b$$", "a$b$" },
    { "$$", "$" },
    { "$$sio_id", "$sio_id" },
    { "$$$sio_id", "$ID" },
    { "$sio_id", "ID" },
    { "${sio_id}", "ID" },
    { "${sio_id}s", "IDs" },
    { "room-$sio_id.", "room-ID." },
    { "$sio_id$sio_id", "IDID" },
    { "$sio_namespace/$sio_reason", "/chat/transport close" },
    { "$sio_event", "say \"hi\"\n" },
    { "u:$sio_data_user", "u:\x01" "ann\"\xff" },
    { "$sio_data_users", NULL },
    { "$sio_arg1", "a\n\xc3\xa9" },
    { "$sio_arg2", "2" },
    { "$sio_arg7", "-1.5e3" },
    { "x$sio_arg4", "x" },
    { "$sio_arg3", NULL },
    { "$sio_arg5", NULL },
    { "$sio_arg6", NULL },
    { "x$sio_arg9", NULL },
    { "$sio_args", NULL },
    { "$sio_auth", NULL },
    { "{$sio_arg2}", "{2}" },
    { "\"${sio_arg2}:", "\"2:" },
    { "\xc3\xa9$sio_arg2\xc3\xa9", "\xc3\xa9" "2\xc3\xa9" }
};


static void
test_names(void)
{
    size_t     i, n;
    uint8_t    buf[256];
    sio_rc_t   rc;
    sio_out_t  o;

    for (i = 0; i < sio_countof(names); i++) {
        ok(compile(names[i][0], 0) == SIO_OK && !template.json,
           "compiled name %zu", i);

        o.p = NULL;
        o.n = 0;
        rc = sio_template_name(&template, get, (void *) &event, &o);
        n = o.n;

        o.p = buf;
        o.n = 0;

        if (names[i][1] == NULL) {
            ok(rc == SIO_EINVAL
               && sio_template_name(&template, get, (void *) &event, &o)
                  == SIO_EINVAL, "no name %zu", i);
            continue;
        }

        ok(rc == SIO_OK && sio_template_name(&template, get,
                                             (void *) &event, &o) == SIO_OK,
           "name %zu", i);
        is_text(buf, o.n, names[i][1], "value of name %zu", i);
        ok(n == o.n, "measured %zu", i);
    }
}


/* template, its value as args, its value if everything is missing */

static const char *const  args[][3] = {
    { "[]", "[]", "[]" },
    { " [ 1 , \"$$\" ] ", " [ 1 , \"$\" ] ", " [ 1 , \"$\" ] " },
    { "[$sio_id]", "[\"ID\"]", "[null]" },
    { "[\"$sio_id\"]", "[\"ID\"]", "[\"\"]" },
    { "[\"<${sio_id}>\",$sio_namespace]", "[\"<ID>\",\"/chat\"]",
      "[\"<>\",null]" },
    { "[$sio_event,\"$sio_event\"]",
      "[\"say \\\"hi\\\"\\n\",\"say \\\"hi\\\"\\n\"]", "[null,\"\"]" },
    { "[$sio_data_user,\"$sio_data_user$sio_data_none\"]",
      "[\"\\u0001ann\\\"\xef\xbf\xbd\",\"\\u0001ann\\\"\xef\xbf\xbd\"]",
      "[null,\"\"]" },
    { "[$sio_arg1,\"-$sio_arg1-\"]",
      "[\"a\\n\\u00e9\",\"-a\\n\\u00e9-\"]", "[null,\"--\"]" },
    { "[$sio_arg2,\"$sio_arg2\"]", "[2,\"2\"]", "[null,\"\"]" },
    { "[$sio_arg3,\"$sio_arg3\"]", "[{\"b\":[]},\"{\\\"b\\\":[]}\"]",
      "[null,\"\"]" },
    { "[$sio_arg4,\"$sio_arg4\"]", "[\"\",\"\"]", "[null,\"\"]" },
    { "[$sio_arg5,$sio_arg6,\"$sio_arg6\"]", "[true,null,\"null\"]",
      "[null,null,\"\"]" },
    { "[\"$sio_arg8\\ude00\"]", "[\"\\ud83d\\\"\\ude00\"]",
      "[\"\\ude00\"]" },
    { "[$sio_args]", "[[\"a\\n\",2,{\"b\":[]}]]", "[null]" },
    { "[\"$sio_args\"]",
      "[\"[\\\"a\\\\n\\\",2,{\\\"b\\\":[]}]\"]", "[\"\"]" },
    { "[{\"a\":$sio_auth,\"b\":[$sio_reason]}]",
      "[{\"a\":{\"token\":\"t\"},\"b\":[\"transport close\"]}]",
      "[{\"a\":null,\"b\":[null]}]" },
    { "[ $sio_arg2 , $sio_arg2\n]", "[ 2 , 2\n]", "[ null , null\n]" },
    { "[{\"k\\\"\":$sio_arg2,\"\":\"\\\"$sio_arg2\\\\\",\"$$\":1}]",
      "[{\"k\\\"\":2,\"\":\"\\\"2\\\\\",\"$\":1}]",
      "[{\"k\\\"\":null,\"\":\"\\\"\\\\\",\"$\":1}]" },
    { "[\"$sio_id: \",\":$sio_id\",{\"a\" : $sio_id}]",
      "[\"ID: \",\":ID\",{\"a\" : \"ID\"}]",
      "[\": \",\":\",{\"a\" : null}]" },
    { "[{\"_placeholder\":\"$sio_arg5\",\"num\":0}]",
      "[{\"_placeholder\":\"true\",\"num\":0}]",
      "[{\"_placeholder\":\"\",\"num\":0}]" },
    { "[{\"num\":$sio_arg2,\"_placeholder\":false}]",
      "[{\"num\":2,\"_placeholder\":false}]",
      "[{\"num\":null,\"_placeholder\":false}]" },
    { "[\"_placeholder\",$sio_arg5]", "[\"_placeholder\",true]",
      "[\"_placeholder\",null]" }
};


static void
check_args(const test_event_t *e, const char *want, const char *what,
    size_t i)
{
    size_t           n;
    uint8_t          buf[256];
    sio_out_t        o;
    sio_json_type_t  type;

    o.p = NULL;
    o.n = 0;
    sio_template_args(&template, get, (void *) e, &o);
    n = o.n;

    o.p = buf;
    o.n = 0;
    sio_template_args(&template, get, (void *) e, &o);

    is_text(buf, o.n, want, "%s of args %zu", what, i);
    ok(n == o.n, "measured %zu", i);

    ok(sio_json_validate(json, (sio_span_t) { buf, n }, NULL, &type)
       == SIO_OK && type == SIO_JSON_ARRAY, "%zu is an array", i);
}


static void
test_args(void)
{
    size_t              i;
    const test_event_t  nothing = { .id = NULL };

    for (i = 0; i < sio_countof(args); i++) {
        ok(compile(args[i][0], 1) == SIO_OK && template.json,
           "compiled args %zu", i);

        check_args(&event, args[i][1], "value", i);
        check_args(&nothing, args[i][2], "empty value", i);
    }
}


/* template, 1 for args, what the error says, where it begins */

static const struct {
    const char  *text;
    int          args;
    const char  *error;
    const char  *where;
}  wrong[] = {
    { "$", 0, "no variable", "$" },
    { "a$", 0, "no variable", "$" },
    { "$$$", 0, "no variable", "$" },
    { "a$ b", 0, "no variable", "$ b" },
    { "a$-", 0, "no variable", "$-" },
    { "a${", 0, "no variable", "${" },
    { "a${}", 0, "no variable", "${}" },
    { "a${sio_id", 0, "no variable", "${sio_id" },
    { "a${sio_id-}", 0, "no variable", "${sio_id-}" },
    { "a$\xc3\xa9", 0, "no variable", "$\xc3\xa9" },
    { "$remote_addr", 0, "unknown variable", "remote_addr" },
    { "a-$sio_idx-", 0, "unknown variable", "sio_idx" },
    { "${sio_ids}x", 0, "unknown variable", "sio_ids" },
    { "$sio_", 0, "unknown variable", "sio_" },
    { "$1", 0, "unknown variable", "1" },
    { "$SIO_ID", 0, "unknown variable", "SIO_ID" },
    { "$sio_arg", 0, "unknown variable", "sio_arg" },
    { "$sio_arg0", 0, "unknown variable", "sio_arg0" },
    { "$sio_arg10", 0, "unknown variable", "sio_arg10" },
    { "$sio_argx", 0, "unknown variable", "sio_argx" },
    { "$sio_data_", 0, "unknown variable", "sio_data_" },
    { "$sio_data", 0, "unknown variable", "sio_data" },
    { "a\xff", 0, "UTF-8", NULL },
    { "[\"\xc3\"]", 1, "UTF-8", NULL },
    { "[$sio_x]", 1, "unknown variable", "sio_x" },
    { "[\"$ \"]", 1, "no variable", "$ \"]" },

    { "", 1, "not a JSON array", NULL },
    { "$sio_args", 1, "not a JSON array", NULL },
    { "\"$sio_args\"", 1, "not a JSON array", NULL },
    { "{}", 1, "not a JSON array", NULL },
    { "{\"a\":$sio_id}", 1, "not a JSON array", NULL },
    { "[1,]", 1, "not a JSON array", NULL },
    { "[a]", 1, "not a JSON array", NULL },
    { "['$sio_id']", 1, "not a JSON array", NULL },
    { "[$sio_id", 1, "not a JSON array", NULL },
    { "[\"$sio_id]", 1, "not a JSON array", NULL },
    { "[\"a\\\"]", 1, "not a JSON array", NULL },
    { "[1]$sio_id", 1, "not a JSON array", NULL },
    { "$sio_id[1]", 1, "not a JSON array", NULL },
    { "[$$]", 1, "not a JSON array", NULL },
    { "[1$sio_arg1]", 1, "not a JSON array", NULL },
    { "[${sio_arg1}1]", 1, "not a JSON array", NULL },
    { "[-$sio_arg1]", 1, "not a JSON array", NULL },
    { "[1e$sio_arg1]", 1, "not a JSON array", NULL },
    { "[$sio_arg1.5]", 1, "not a JSON array", NULL },
    { "[tru$sio_arg1]", 1, "not a JSON array", NULL },
    { "[${sio_arg1}e]", 1, "not a JSON array", NULL },
    { "[$sio_arg1$sio_arg2]", 1, "not a JSON array", NULL },
    { "[$sio_arg1 $sio_arg2]", 1, "not a JSON array", NULL },
    { "[\"a\"$sio_arg1]", 1, "not a JSON array", NULL },
    { "[$sio_arg1\"a\"]", 1, "not a JSON array", NULL },
    { "[$sio_arg1[]]", 1, "not a JSON array", NULL },
    { "[\"\\$sio_arg1\"]", 1, "not a JSON array", NULL },
    { "[\"\\u$sio_arg1\"]", 1, "not a JSON array", NULL },
    { "[\"\\u00${sio_arg2}41\"]", 1, "not a JSON array", NULL },
    { "[\"\\u004$sio_arg2\"]", 1, "not a JSON array", NULL },
    { "[\"\\\\\\${sio_arg2}\"]", 1, "not a JSON array", NULL },
    { "[\"\\$$\"]", 1, "not a JSON array", NULL },
    { "[\"\n$sio_arg2\"]", 1, "not a JSON array", NULL },
    { "[{$sio_arg1}]", 1, "not a JSON array", NULL },
    { "[{\"a\",$sio_arg1}]", 1, "not a JSON array", NULL },

    { "[{$sio_id:1}]", 1, "object's key", NULL },
    { "[{$sio_arg1 : 1}]", 1, "object's key", NULL },
    { "[{\"$sio_id\":1}]", 1, "object's key", NULL },
    { "[{\"a$sio_id\" \n:1}]", 1, "object's key", NULL },
    { "[{\"\\\"${sio_id}\\\\b\":1}]", 1, "object's key", NULL },
    { "[{\"a\":1,\"$sio_id-$sio_id\":1}]", 1, "object's key", NULL },

    { "[{\"_placeholder\":true,\"num\":0}]", 1, "_placeholder", NULL },
    { "[{\"_placeholder\":true}]", 1, "_placeholder", NULL },
    { "[{\"\\u005fplaceholder\":true,\"num\":0}]", 1, "_placeholder",
      NULL },
    { "[{\"_placeholder\":$sio_arg1,\"num\":0}]", 1, "_placeholder", NULL },
    { "[{\"a\":[{\"_placeholder\":$sio_auth}]}]", 1, "_placeholder", NULL },
    { "[{\"_placeholder\":true,\"num\":$sio_arg1}]", 1, "_placeholder",
      NULL }
};


static void
test_wrong(void)
{
    size_t  i;

    for (i = 0; i < sio_countof(wrong); i++) {
        ok(compile(wrong[i].text, wrong[i].args) == SIO_EINVAL,
           "refused %zu", i);
        ok(error != NULL && strstr(error, wrong[i].error) != NULL,
           "with the reason %s", error);

        if (wrong[i].where != NULL) {
            is_bytes(where.p, where.n, wrong[i].where,
                     strlen(wrong[i].where), "where %zu", i);
        }
    }
}


/* What the caller sees of a compiled template. */

static void
test_parts(void)
{
    ok(compile("a$$b${sio_data_x_1}c$sio_arg9", 0) == SIO_OK
       && template.n == 5, "five parts");
    is_text(parts[0].text.p, parts[0].text.n, "a$", "a literal dollar");
    is_text(parts[1].text.p, parts[1].text.n, "b", "the next literal");
    ok(parts[2].var == SIO_VAR_DATA && !parts[2].alone, "data");
    is_text(parts[2].text.p, parts[2].text.n, "x_1", "the data's name");
    ok(parts[4].var == SIO_VAR_ARG && parts[4].arg == 9, "the last arg");

    ok(compile("[$sio_id,\"$sio_id\"]", 1) == SIO_OK && template.n == 5
       && parts[1].alone && !parts[3].alone, "alone and within");
}


static void
test_limits(void)
{
    char                 text[SIO_TEMPLATE_MAX_ARGS + 2];
    sio_rc_t             rc;
    sio_template_t       t;
    sio_json_check_t     deep;
    sio_template_part_t  few[3];

    memset(few, 0xa5, sizeof(few));

    rc = sio_template_compile(json, span_of("a$sio_id-$sio_id"), 0, few, 2,
                              &t, &error, &where);
    ok(rc == SIO_ELIMIT && few[2].arg == 0xa5a5a5a5, "too many parts");

    rc = sio_template_compile(json, span_of("a$sio_id"), 0, few, 2, &t,
                              &error, &where);
    ok(rc == SIO_OK, "as many as there is room for");

    rc = sio_template_compile(json, sio_span_null, 0, few, 0, &t, &error,
                              &where);
    ok(rc == SIO_OK && t.n == 0, "a name of nothing");

    memset(text, ' ', sizeof(text));
    text[0] = '[';
    text[SIO_TEMPLATE_MAX_ARGS - 1] = ']';
    text[SIO_TEMPLATE_MAX_ARGS] = '\0';
    ok(compile(text, 1) == SIO_OK, "the longest args");

    text[SIO_TEMPLATE_MAX_ARGS] = ' ';
    text[SIO_TEMPLATE_MAX_ARGS + 1] = '\0';
    ok(compile(text, 1) == SIO_EINVAL, "longer");
    ok(compile(text, 0) == SIO_OK, "a name that long");

    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    text[130] = '\0';
    ok(compile(text, 1) == SIO_EINVAL, "args that are too deep");
    text[129] = '\0';
    ok(compile(text + 1, 1) == SIO_OK, "args that are deep");

    memset(text, '[', 2000);
    memset(text + 2000, ']', 2000);
    text[4000] = '\0';

    memset(&deep, 0, sizeof(deep));
    deep.max_depth = 2000;
    ok(sio_json_validate(json, span_of(text), &deep, NULL) == SIO_OK,
       "a text after which the validator starts anew");

    fail = 1;
    ok(compile("[1]", 1) == SIO_ENOMEM, "no memory");
    fail = 0;
    ok(compile("[1]", 1) == SIO_OK, "memory again");
}


int
main(void)
{
    sio_json_mem_t  mem = { test_alloc, test_free, NULL };

    json = sio_json_create(&mem);

    test_names();
    test_args();
    test_wrong();
    test_parts();
    test_limits();

    sio_json_destroy(json);

    return done_testing();
}
