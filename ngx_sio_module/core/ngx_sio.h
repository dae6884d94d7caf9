/*
 * What the whole core shares: the names of its objects, the settings of a
 * location, and the way between sio_span_t and ngx_str_t.
 */

#ifndef NGX_SIO_H
#define NGX_SIO_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "proto/sio_base.h"


typedef struct ngx_sio_app_s          ngx_sio_app_t;
typedef struct ngx_sio_nsp_s          ngx_sio_nsp_t;
typedef struct ngx_sio_room_s         ngx_sio_room_t;
typedef struct ngx_sio_socket_s       ngx_sio_socket_t;
typedef struct ngx_sio_session_s      ngx_sio_session_t;
typedef struct ngx_sio_msg_s          ngx_sio_msg_t;
typedef struct ngx_sio_op_s           ngx_sio_op_t;
typedef struct ngx_sio_ack_s          ngx_sio_ack_t;
typedef struct ngx_sio_user_s         ngx_sio_user_t;
typedef struct ngx_sio_application_s  ngx_sio_application_t;


/* a public socket id, in base64url */

#define NGX_SIO_ID_LEN         20

#define NGX_SIO_MAX_NAME_LEN   256    /* of a room or a namespace */
#define NGX_SIO_MAX_DATA       255    /* values of sio_data */


/* why a session or a socket ended; the texts are those of Node.js */

#define NGX_SIO_REASONS(X)                                                    \
    X(NONE, "none")                                                           \
    X(CLIENT_DISCONNECT, "client namespace disconnect")                       \
    X(SERVER_DISCONNECT, "server namespace disconnect")                       \
    X(TRANSPORT_CLOSE, "transport close")                                     \
    X(TRANSPORT_ERROR, "transport error")                                     \
    X(PING_TIMEOUT, "ping timeout")                                           \
    X(PARSE_ERROR, "parse error")                                             \
    X(FORCED_CLOSE, "forced close")                                           \
    X(FORCED_SERVER_CLOSE, "forced server close")                             \
    X(SHUTTING_DOWN, "server shutting down")

#define NGX_SIO_REASON_ENUM(name, text)  NGX_SIO_##name,

typedef enum {
    NGX_SIO_REASONS(NGX_SIO_REASON_ENUM)
    NGX_SIO_REASON_N
} ngx_sio_reason_t;

extern ngx_str_t  ngx_sio_reasons[NGX_SIO_REASON_N];


/*
 * A worker in one of its lives: its slot in the upper, its epoch in the lower
 * 32 bits.
 */

typedef uint64_t  ngx_sio_origin_t;


/* what a location knows of one namespace, exact or by regular expression */

typedef struct {
    ngx_str_t                     name;
#if (NGX_PCRE)
    ngx_regex_t                  *regex;
#endif
    void                         *application;  /* of conf->application */
} ngx_sio_nsp_conf_t;


/* the settings of a location; live as long as the configuration */

typedef struct {
    ngx_sio_app_t                *app;
    ngx_str_t                     place;        /* of it in any worker's
                                                   configuration */
    ngx_log_t                    *log;

    const ngx_sio_user_t         *user;         /* the parser's layer */
    const ngx_sio_application_t  *application;
    ngx_array_t                   namespaces;   /* ngx_sio_nsp_conf_t, exact
                                                   ones first */

    ngx_msec_t                    ping_interval;
    ngx_msec_t                    ping_timeout;
    ngx_msec_t                    upgrade_timeout;
    ngx_msec_t                    connect_timeout;

    size_t                        max_payload;
    size_t                        max_queue;
    ngx_uint_t                    max_attachments;
    ngx_uint_t                    max_namespaces;
    ngx_uint_t                    max_rooms;
    ngx_uint_t                    max_depth;

    ngx_uint_t                    keep_auth;    /* a rule uses $sio_auth */
    ngx_uint_t                    bound_auth;   /* so, or a handler gets it */

    ngx_str_t                    *data_names;   /* of sio_data */
    ngx_uint_t                    ndata;
} ngx_sio_conf_t;


/* Returns the bytes of s as a span; borrowed. */

static ngx_inline sio_span_t
ngx_sio_span(ngx_str_t *s)
{
    return (sio_span_t) { s->data, s->len };
}


/* Returns the bytes of s as an nginx string; borrowed. */

static ngx_inline ngx_str_t
ngx_sio_str(sio_span_t s)
{
    return (ngx_str_t) { s.n, s.p };
}


#endif /* NGX_SIO_H */
