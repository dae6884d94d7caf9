/*
 * Value templates.  A template is compiled to a list of literals and
 * variables; literals are pieces of the template's own text.
 *
 * What keeps an args template's structure safe: at start-up its text, with
 * stand-ins for the variables, is one valid array, and each variable is a
 * whole value or lies within a string that is a value.  Whatever is put
 * there later is a whole valid value or the escaped inside of a string.
 */

#include "proto/sio_template.h"
#include "proto/sio_utf8.h"


/*
 * Stand-ins, shorter than any variable.  "true" next to another character
 * is never one token with it, and an object whose _placeholder is a variable
 * is seen to be a possible placeholder.  "x" is no hexadecimal digit, so a
 * variable cannot be a part of an escape.
 */

#define SIO_TEMPLATE_ALONE   "true"
#define SIO_TEMPLATE_WITHIN  "x"


/* an args template, while it is compiled */

typedef struct {
    sio_out_t   out;             /* the text with stand-ins */
    uint8_t     text[SIO_TEMPLATE_MAX_ARGS];
    unsigned    quoted:1;        /* within a string */
    unsigned    escaped:1;       /* after a backslash in it */
    unsigned    variable:1;      /* the string, or the one before, has one */
} sio_template_json_t;


static sio_rc_t sio_template_next(sio_span_t *in, sio_template_part_t *part,
    const char **error, sio_span_t *where);
static sio_rc_t sio_template_parse_variable(sio_span_t name,
    sio_template_part_t *part);
static sio_rc_t sio_template_feed(sio_template_json_t *json,
    sio_template_part_t *part, const char **error);
static sio_rc_t sio_template_check(sio_json_t *j, sio_template_json_t *json,
    const char **error);
static int sio_template_is_json(const sio_template_part_t *part);
static void sio_template_put_alone(sio_out_t *o,
    const sio_template_part_t *part, sio_span_t value);
static void sio_template_put_within(sio_out_t *o,
    const sio_template_part_t *part, sio_span_t value);


sio_rc_t
sio_template_compile(sio_json_t *j, sio_span_t text, int json,
    sio_template_part_t *parts, uint32_t max, sio_template_t *t,
    const char **error, sio_span_t *where)
{
    sio_rc_t             rc;
    sio_span_t           in;
    sio_template_part_t  part;
    sio_template_json_t  state;

    *where = text;

    if (!sio_utf8_valid(text.p, text.n)) {
        *error = "not UTF-8";
        return SIO_EINVAL;
    }

    if (json && text.n > SIO_TEMPLATE_MAX_ARGS) {
        *error = "too long";
        return SIO_EINVAL;
    }

    state.out.p = state.text;
    state.out.n = 0;
    state.quoted = 0;
    state.escaped = 0;
    state.variable = 0;

    t->parts = parts;
    t->n = 0;
    t->json = (json != 0);

    for (in = text; in.n != 0; t->n++) {

        rc = sio_template_next(&in, &part, error, where);

        if (rc == SIO_OK && json) {
            rc = sio_template_feed(&state, &part, error);
        }

        if (rc != SIO_OK) {
            return rc;
        }

        if (parts != NULL) {
            if (t->n == max) {
                *error = "too many variables";
                return SIO_ELIMIT;
            }

            parts[t->n] = part;
        }
    }

    return json ? sio_template_check(j, &state, error) : SIO_OK;
}


/* Cuts the next part off in, which is not empty. */

static sio_rc_t
sio_template_next(sio_span_t *in, sio_template_part_t *part,
    const char **error, sio_span_t *where)
{
    uint8_t     *p, *last;
    sio_span_t   name;

    memset(part, 0, sizeof(sio_template_part_t));

    p = in->p;
    last = in->p + in->n;

    while (p < last && *p != '$') {
        p++;
    }

    if (p > in->p || (in->n > 1 && p[1] == '$')) {
        part->text.p = in->p;

        if (last - p > 1 && p[1] == '$') {
            part->text.n = p + 1 - in->p;
            p += 2;

        } else {
            part->text.n = p - in->p;
        }

        in->p = p;
        in->n = last - p;

        return SIO_OK;
    }

    name.p = ++p;

    if (p < last && *p == '{') {
        name.p = ++p;
    }

    while (p < last && ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
                        || (*p >= '0' && *p <= '9') || *p == '_'))
    {
        p++;
    }

    name.n = p - name.p;

    if (name.n == 0 || (name.p[-1] == '{' && (p == last || *p++ != '}'))) {
        *error = "a \"$\" that begins no variable";
        *where = *in;
        return SIO_EINVAL;
    }

    if (sio_template_parse_variable(name, part) != SIO_OK) {
        *error = "unknown variable";
        *where = name;
        return SIO_EINVAL;
    }

    in->p = p;
    in->n = last - p;

    return SIO_OK;
}


static sio_rc_t
sio_template_parse_variable(sio_span_t name, sio_template_part_t *part)
{
    size_t  i, prefix;

    const struct {
        sio_span_t          name;
        sio_template_var_t  var;
    } known[] = {
        { sio_span("sio_id"), SIO_VAR_ID },
        { sio_span("sio_namespace"), SIO_VAR_NAMESPACE },
        { sio_span("sio_event"), SIO_VAR_EVENT },
        { sio_span("sio_args"), SIO_VAR_ARGS },
        { sio_span("sio_auth"), SIO_VAR_AUTH },
        { sio_span("sio_reason"), SIO_VAR_REASON }
    };

    for (i = 0; i < sio_countof(known); i++) {
        if (sio_span_eq(name, known[i].name)) {
            part->var = known[i].var;
            return SIO_OK;
        }
    }

    prefix = sizeof("sio_arg") - 1;

    if (name.n == prefix + 1 && memcmp(name.p, "sio_arg", prefix) == 0
        && name.p[prefix] >= '1' && name.p[prefix] <= '9')
    {
        part->var = SIO_VAR_ARG;
        part->arg = name.p[prefix] - '0';
        return SIO_OK;
    }

    prefix = sizeof("sio_data_") - 1;

    if (name.n > prefix && memcmp(name.p, "sio_data_", prefix) == 0) {
        part->var = SIO_VAR_DATA;
        part->text.p = name.p + prefix;
        part->text.n = name.n - prefix;
        return SIO_OK;
    }

    return SIO_EINVAL;
}


/*
 * Follows the JSON through one part, enough to know what is within a string
 * and which strings are keys, and writes it down with stand-ins.
 */

static sio_rc_t
sio_template_feed(sio_template_json_t *json, sio_template_part_t *part,
    const char **error)
{
    size_t   i;
    uint8_t  c;

    if (part->var != SIO_VAR_LITERAL) {

        part->alone = !json->quoted;
        json->variable = 1;

        if (part->alone) {
            sio_out_str(&json->out, SIO_TEMPLATE_ALONE);

        } else {
            sio_out_str(&json->out, SIO_TEMPLATE_WITHIN);
        }

        return SIO_OK;
    }

    sio_out_span(&json->out, part->text);

    for (i = 0; i < part->text.n; i++) {
        c = part->text.p[i];

        if (json->escaped) {
            json->escaped = 0;

        } else if (json->quoted) {
            json->quoted = (c != '"');
            json->escaped = (c == '\\');

        } else if (c == ':' && json->variable) {
            *error = "a variable in an object's key";
            return SIO_EINVAL;

        } else if (c == '"') {
            json->quoted = 1;
            json->variable = 0;

        } else if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            json->variable = 0;
        }
    }

    return SIO_OK;
}


static sio_rc_t
sio_template_check(sio_json_t *j, sio_template_json_t *json,
    const char **error)
{
    sio_rc_t          rc;
    sio_span_t        text;
    sio_json_type_t   type;
    sio_json_check_t  check;

    text.p = json->text;
    text.n = json->out.n;

    rc = sio_json_validate(j, text, NULL, &type);

    if (rc == SIO_ENOMEM) {
        *error = "no memory";
        return rc;
    }

    if (rc != SIO_OK || type != SIO_JSON_ARRAY) {
        *error = "not a JSON array";
        return SIO_EINVAL;
    }

    memset(&check, 0, sizeof(sio_json_check_t));
    check.max_depth = UINT32_MAX;
    check.attachments = UINT32_MAX;

    rc = sio_json_validate(j, text, &check, NULL);

    if (rc != SIO_OK || check.n_placeholders != 0) {
        *error = "a \"_placeholder\" of its own";
        return SIO_EINVAL;
    }

    return SIO_OK;
}


sio_rc_t
sio_template_name(const sio_template_t *t, sio_template_get_pt get,
    void *ctx, sio_out_t *o)
{
    uint32_t              i;
    sio_span_t            value;
    sio_json_type_t       type;
    sio_template_part_t  *part;

    for (i = 0; i < t->n; i++) {
        part = &t->parts[i];

        if (part->var == SIO_VAR_LITERAL) {
            sio_out_span(o, part->text);
            continue;
        }

        value = get(ctx, part);

        if (value.p == NULL) {
            return SIO_EINVAL;
        }

        if (!sio_template_is_json(part)) {
            sio_out_span(o, value);
            continue;
        }

        type = sio_json_type(value);

        if (type == SIO_JSON_STRING) {
            sio_json_unescape(o, value);

        } else if (type == SIO_JSON_NUMBER) {
            sio_out_span(o, value);

        } else {
            return SIO_EINVAL;
        }
    }

    return SIO_OK;
}


void
sio_template_args(const sio_template_t *t, sio_template_get_pt get,
    void *ctx, sio_out_t *o)
{
    uint32_t              i;
    sio_template_part_t  *part;

    for (i = 0; i < t->n; i++) {
        part = &t->parts[i];

        if (part->var == SIO_VAR_LITERAL) {
            sio_out_span(o, part->text);

        } else if (part->alone) {
            sio_template_put_alone(o, part, get(ctx, part));

        } else {
            sio_template_put_within(o, part, get(ctx, part));
        }
    }
}


static int
sio_template_is_json(const sio_template_part_t *part)
{
    return part->var == SIO_VAR_ARGS || part->var == SIO_VAR_ARG
           || part->var == SIO_VAR_AUTH;
}


static void
sio_template_put_alone(sio_out_t *o, const sio_template_part_t *part,
    sio_span_t value)
{
    if (value.p == NULL) {
        sio_out_str(o, "null");

    } else if (sio_template_is_json(part)) {
        sio_out_span(o, value);

    } else {
        sio_out_byte(o, '"');
        sio_json_escape(o, value);
        sio_out_byte(o, '"');
    }
}


static void
sio_template_put_within(sio_out_t *o, const sio_template_part_t *part,
    sio_span_t value)
{
    if (value.p == NULL) {
        return;
    }

    if (sio_template_is_json(part) && *value.p == '"') {

        /* valid between quotes there, valid between these */

        sio_out_bytes(o, value.p + 1, value.n - 2);
        return;
    }

    sio_json_escape(o, value);
}
