/*
 * What the files of the HTTP layer share: the location's configuration and
 * the ways to answer a request.
 */

#ifndef NGX_HTTP_SIO_H
#define NGX_HTTP_SIO_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "core/ngx_sio.h"
#include "core/ngx_sio_session.h"
#include "proto/sio_eio.h"


#define NGX_HTTP_SIO_POLLING        0x0002
#define NGX_HTTP_SIO_WEBSOCKET      0x0004

#define NGX_HTTP_SIO_PARSER_JSON    0
#define NGX_HTTP_SIO_PARSER_NONE    1

#define NGX_HTTP_SIO_MAX_DATA_SIZE  4096    /* of all sio_data together */


typedef enum {
    NGX_HTTP_SIO_ORIGIN_EXACT = 0,
    NGX_HTTP_SIO_ORIGIN_REGEX,
    NGX_HTTP_SIO_ORIGIN_ANY
} ngx_http_sio_origin_type_e;

typedef struct {
    ngx_http_sio_origin_type_e    type;
    ngx_str_t                     value;
#if (NGX_PCRE)
    ngx_regex_t                  *regex;
#endif
} ngx_http_sio_origin_t;

typedef struct {
    ngx_str_t                     name;
    ngx_http_complex_value_t      value;
} ngx_http_sio_data_t;

typedef struct {
    ngx_str_t                     name;       /* empty: no cookie */
    ngx_str_t                     attributes; /* "; Path=/; HttpOnly..." */
} ngx_http_sio_cookie_t;


/* a URI to which events are passed */

typedef struct {
    ngx_str_t                     text;       /* as it was written */
    ngx_str_t                     uri;
    ngx_str_t                     args;
    ngx_str_t                     line;       /* of the request */

    /* a worker's own: no server can be reached now */

    ngx_uint_t                    down;
    ngx_msec_t                    since;
    ngx_uint_t                    probing;    /* one is tried */
    ngx_msec_t                    delay;
    ngx_event_t                   timer;
    ngx_queue_t                   waiting;    /* what is to be passed */
} ngx_http_sio_handler_t;


/* rules and templates of one namespace: opaque but for the rules' file */

typedef struct ngx_http_sio_rules_s  ngx_http_sio_rules_t;


typedef struct {
    ngx_sio_conf_t                core;

    ngx_flag_t                    enable;
    ngx_str_t                     app;
    ngx_str_t                     location;   /* the name, for the default */
    ngx_uint_t                    transports;
    ngx_uint_t                    parser;
    ngx_array_t                  *origins;    /* ngx_http_sio_origin_t */
    ngx_array_t                  *data;       /* ngx_http_sio_data_t */
    ngx_http_sio_cookie_t         cookie;

    ngx_http_sio_rules_t         *rules;      /* of "/" */
    ngx_array_t                   namespaces; /* ngx_sio_nsp_conf_t as
                                                 written */

    ngx_http_conf_ctx_t          *call_ctx;   /* for calls of handlers */
    ngx_queue_t                   calls;      /* in the order of their ends, */
    ngx_event_t                   calls_timer;   /* and that of the first */
    ngx_array_t                  *handlers;   /* ngx_http_sio_handler_t * */
    ngx_array_t                  *handler_headers;    /* ngx_str_t, in lower
                                                         case */
    ngx_uint_t                    handler_inflight;
    size_t                        handler_queue;
    ngx_uint_t                    handler_batch;
    ngx_msec_t                    handler_retry;
    ngx_msec_t                    handler_timeout;
    size_t                        handler_max_response;

    /* a worker's own */

    ngx_uint_t                    handler_running;    /* calls */
    ngx_queue_t                   handler_waiting;    /* for a place */

    ngx_uint_t                    api;        /* "sio_api" is there, */
    ngx_sio_app_t                *api_app;    /* for this app */
} ngx_http_sio_loc_conf_t;


/* a location with "sio" or "sio_api" */

typedef struct {
    ngx_http_core_srv_conf_t     *server;
    ngx_http_core_loc_conf_t     *location;
    ngx_http_sio_loc_conf_t      *conf;
} ngx_http_sio_place_t;


typedef struct {
    ngx_array_t                   apps;       /* ngx_sio_app_t * */
    ngx_array_t                   places;     /* ngx_http_sio_place_t */
    ngx_array_t                   apis;       /* ngx_http_sio_place_t */

    ngx_str_t                     bus_path;
    size_t                        bus_buffer;
    size_t                        zone_size;
    ngx_shm_zone_t               *zone;

    ngx_uint_t                    used;       /* some location has "sio", */
    ngx_uint_t                    handlers;   /* or even handlers */
} ngx_http_sio_main_conf_t;


extern ngx_module_t  ngx_http_sio_module;


/* what a handshake tells of a client; lives as long as the request */

typedef struct {
    ngx_str_t                    *data;       /* values of sio_data */
    ngx_uint_t                    n;
    ngx_str_t                     handshake;  /* JSON, for handlers */
} ngx_http_sio_client_t;


/*
 * Finds out what there is to know of a client.
 *
 * returns  NGX_OK, NGX_DECLINED if it is too large (logged, counted), or an
 *          HTTP status
 */
ngx_int_t ngx_http_sio_client(ngx_http_request_t *r,
    ngx_http_sio_client_t *client);

typedef enum {
    NGX_HTTP_SIO_ORIGIN_NONE = 0,        /* the request names no origin */
    NGX_HTTP_SIO_ORIGIN_ALLOWED,
    NGX_HTTP_SIO_ORIGIN_REFUSED
} ngx_http_sio_origin_e;


/*
 * Judges the request's Origin by sio_allow_origin, or compares it with Host,
 * and adds the CORS headers where they are due.
 */
ngx_http_sio_origin_e ngx_http_sio_origin(ngx_http_request_t *r);

/* Logs and counts that a request was refused for its Origin. */
void ngx_http_sio_log_origin(ngx_http_request_t *r);

/*
 * Finds a request header by its name in any case.
 *
 * takes    token: NULL, or a text that the value must contain in any case:
 *          the header may be there more than once
 * returns  NULL if there is none
 */
ngx_table_elt_t *ngx_http_sio_header(ngx_http_request_t *r, const char *name,
    const char *token);

/*
 * Adds a response header.
 *
 * takes    key: a literal that lives forever; value: lives as long as r
 * returns  NGX_OK or NGX_ERROR
 */
ngx_int_t ngx_http_sio_add_header(ngx_http_request_t *r, const char *key,
    ngx_str_t *value);

/* Adds the Set-Cookie header of a handshake, if sio_cookie is set. */
ngx_int_t ngx_http_sio_add_cookie(ngx_http_request_t *r,
    ngx_sio_session_t *s);

/*
 * Answers a request with a whole body.
 *
 * takes    type: NULL, or the content type, a literal; charset too
 *          body: lives as long as r; may be empty
 * returns  what goes to ngx_http_finalize_request
 */
ngx_int_t ngx_http_sio_send(ngx_http_request_t *r, ngx_uint_t status,
    ngx_str_t *type, ngx_str_t *body);

/* Answers with an Engine.IO error: JSON, or plain and closed for upgrades. */
ngx_int_t ngx_http_sio_send_error(ngx_http_request_t *r, sio_eio_error_t code,
    ngx_uint_t upgrade);

/* Answers a POST of long-polling whose packets were handled. */
ngx_int_t ngx_http_sio_send_ok(ngx_http_request_t *r);

/* Answers a GET of long-polling; body lives as long as r. */
ngx_int_t ngx_http_sio_send_payload(ngx_http_request_t *r, ngx_str_t *body);

/* Answers with a status and no body. */
ngx_int_t ngx_http_sio_send_empty(ngx_http_request_t *r, ngx_uint_t status);

/* The text of a status of the client's fault, as HTTP has it. */
ngx_str_t ngx_http_sio_status_text(ngx_uint_t status);

/* Has a client that goes while its request is held seen at once. */
ngx_int_t ngx_http_sio_watch(ngx_http_request_t *r);

/*
 * Tells if the connection failed before all of the answer was written.  What
 * happens to it later, in nginx's lingering close, is nobody's loss.
 */
ngx_uint_t ngx_http_sio_broken(ngx_http_request_t *r);

/*
 * Gives a body that was read in one piece, writable.
 *
 * takes    body: its length is set in any case
 * returns  NGX_OK, NGX_DECLINED if it has more than max bytes, NGX_ERROR
 */
ngx_int_t ngx_http_sio_gather_body(ngx_http_request_t *r, size_t max,
    sio_span_t *body);

/* Tells if the body is announced as application/octet-stream. */
ngx_uint_t ngx_http_sio_octet_stream(ngx_http_request_t *r);

/*
 * Holds a request until the other workers know this one or, later, until
 * there is news of one of them, and handles it again then.
 *
 * takes    handler: a content handler
 * returns  what a content handler returns
 */
ngx_int_t ngx_http_sio_park(ngx_http_request_t *r,
    ngx_http_handler_pt handler);

/*
 * Tells if the request is a WebSocket handshake that can be accepted.
 *
 * returns  NGX_OK; NGX_DECLINED if it is no upgrade at all; NGX_ERROR if it
 *          is one, but wrong (RFC 6455, 4.2.1)
 */
ngx_int_t ngx_http_sio_handshake_check(ngx_http_request_t *r);

/*
 * Answers such a request with 101.
 *
 * takes    s: the session that begins with it, whose open packet and cookie
 *          are sent too, or NULL
 * returns  NGX_OK; anything else if the answer did not leave as a whole
 */
ngx_int_t ngx_http_sio_handshake_answer(ngx_http_request_t *r,
    ngx_sio_session_t *s);

/*
 * Logs through the connection's log, as nginx does, but without the request
 * line: it carries the sid.
 */
void ngx_http_sio_log(ngx_uint_t level, ngx_http_request_t *r,
    const char *fmt, ...);


#endif /* NGX_HTTP_SIO_H */
