/*
 * The value templates of rules: text with $sio_ variables, compiled once at
 * start-up into memory of the caller, evaluated per event without
 * allocation.
 *
 * Two kinds.  A name (room, event) is plain text.  An args template is a
 * JSON array: a variable that stands alone as a value is inserted as JSON,
 * one inside a JSON string is inserted escaped, so that nothing a client
 * sends can change the structure.
 */

#ifndef SIO_TEMPLATE_H
#define SIO_TEMPLATE_H

#include "proto/sio_base.h"
#include "proto/sio_json.h"


/* an args template's length; nginx's configuration has no longer words */

#define SIO_TEMPLATE_MAX_ARGS  4096


typedef enum {
    SIO_VAR_LITERAL = 0,
    SIO_VAR_ID,                  /* $sio_id */
    SIO_VAR_NAMESPACE,           /* $sio_namespace */
    SIO_VAR_EVENT,               /* $sio_event */
    SIO_VAR_ARGS,                /* $sio_args */
    SIO_VAR_ARG,                 /* $sio_arg1 ... $sio_arg9 */
    SIO_VAR_AUTH,                /* $sio_auth */
    SIO_VAR_REASON,              /* $sio_reason */
    SIO_VAR_DATA                 /* $sio_data_NAME */
} sio_template_var_t;

typedef struct {
    sio_template_var_t  var;
    unsigned            alone:1;     /* an args template's: the variable is a
                                        whole JSON value, not within a
                                        string */
    unsigned            arg;         /* SIO_VAR_ARG: 1 to 9 */
    sio_span_t          text;        /* LITERAL: the text; DATA: the name */
} sio_template_part_t;

typedef struct {
    sio_template_part_t  *parts;
    uint32_t              n;
    unsigned              json:1;    /* an args template */
} sio_template_t;

/*
 * What a variable of an event stands for.  JSON variables (ARGS, ARG, AUTH)
 * are validated JSON, without blanks around it if it is a string or number;
 * the others are text.  p NULL: missing.
 */

typedef sio_span_t (*sio_template_get_pt)(void *ctx,
    const sio_template_part_t *part);


/*
 * Compiles a template.
 *
 * takes    text: borrowed by the parts, must live as long as they.  "$$" is
 *          a dollar; a "$" otherwise begins a variable, ${sio_id} works too
 *          json: 1 for an args template.  Text outside of variables must
 *          then make a JSON array (checked with j after putting true, or
 *          within a string a letter, in the variables' places; a variable
 *          may not be, or be in, an object's key, nor join with other
 *          characters to one token); an object that is or may become a
 *          placeholder is refused, and more than SIO_TEMPLATE_MAX_ARGS bytes
 *          parts: room for max parts, or NULL to count only
 * returns  SIO_OK      t->n parts were written (or counted)
 *          SIO_EINVAL  not a JSON array, or a bad "$"; *error is set
 *          SIO_ELIMIT  more than max parts
 *          SIO_ENOMEM  j has no memory
 *          error: the reason, text that lives forever.  For an unknown
 *          variable it is "unknown variable" and *where the name without $;
 *          otherwise *where is what the reason is about, from its start to
 *          the end of the text
 */
sio_rc_t sio_template_compile(sio_json_t *j, sio_span_t text, int json,
    sio_template_part_t *parts, uint32_t max, sio_template_t *t,
    const char **error, sio_span_t *where);

/*
 * Appends the value of a name template.  A JSON string is inserted decoded,
 * a JSON number as its text.
 *
 * returns  SIO_OK      the text was appended (it may be empty)
 *          SIO_EINVAL  a variable is missing, or JSON that is neither
 *                      string nor number: this is no name.  o is undefined
 */
sio_rc_t sio_template_name(const sio_template_t *t, sio_template_get_pt get,
    void *ctx, sio_out_t *o);

/*
 * Appends the JSON array of an args template.  A part that stands alone:
 * JSON variables as the bytes received, text variables as a JSON string, a
 * missing one as null.  Within a string: text escaped; of JSON variables a
 * string's own text is used (as it stands between its quotes), other JSON as
 * its text, escaped; a missing one as nothing.  $sio_args alone in an array is
 * inserted as a value (an array within the array).
 */
void sio_template_args(const sio_template_t *t, sio_template_get_pt get,
    void *ctx, sio_out_t *o);


#endif /* SIO_TEMPLATE_H */
