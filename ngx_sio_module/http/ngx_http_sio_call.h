/*
 * A call: a POST to a location of this nginx that no client has sent, and
 * its response in memory.
 */

#ifndef NGX_HTTP_SIO_CALL_H
#define NGX_HTTP_SIO_CALL_H

#include "http/ngx_http_sio.h"


typedef enum {
    NGX_HTTP_SIO_CALL_ANSWERED = 0,    /* status, body */
    NGX_HTTP_SIO_CALL_UNREACHABLE,     /* no server was sent a byte */
    NGX_HTTP_SIO_CALL_CUT,             /* the response has no end */
    NGX_HTTP_SIO_CALL_TOO_LARGE,       /* it has more than max_response */
    NGX_HTTP_SIO_CALL_TIMEOUT,
    NGX_HTTP_SIO_CALL_FAILED,          /* no response; nginx has logged why */
    NGX_HTTP_SIO_CALL_GONE,            /* with the worker that made the call */
    NGX_HTTP_SIO_CALL_UNFIT            /* for the way from that worker */
} ngx_http_sio_call_result_e;


typedef struct ngx_http_sio_call_s  ngx_http_sio_call_t;

/* what the location's variables are made of; empty: there is none */

typedef struct {
    sio_span_t                    id;         /* of the socket */
    sio_span_t                    nsp;
    sio_span_t                    event;      /* a JSON token, or plain text */
    sio_span_t                    data;       /* a JSON object */
} ngx_http_sio_call_vars_t;


/* set by who makes it, before the start */

typedef struct {
    const ngx_http_sio_handler_t *handler;
    ngx_http_sio_loc_conf_t      *conf;       /* of the "sio" location */
    ngx_str_t                     addr;       /* the client's, as text */
    ngx_http_sio_call_vars_t      vars;       /* they may point to the body */
    sio_span_t                    body;

    /*
     * Called once, not within the start; then the result can be read until
     * ngx_http_sio_call_destroy.
     */
    void                        (*done)(ngx_http_sio_call_t *call);
    void                         *data;
} ngx_http_sio_call_request_t;


/* set when it is done */

typedef struct {
    ngx_http_sio_call_result_e    result;
    ngx_uint_t                    status;
    sio_span_t                    body;
    ngx_str_t                     peer;       /* that answered or failed last,
                                                 empty: not an upstream */
} ngx_http_sio_call_response_t;


/* Installs what takes part in the requests of calls; NGX_ERROR: no memory. */
ngx_int_t ngx_http_sio_call_install(ngx_conf_t *cf);

/* Prepares calls in a worker that makes some. */
void ngx_http_sio_call_init(void);

/*
 * Makes what a location's calls take for their server's configuration.
 *
 * returns  NULL if there is no memory
 */
ngx_http_conf_ctx_t *ngx_http_sio_call_ctx(ngx_conf_t *cf);

/*
 * Makes a call, with room for its body.
 *
 * takes    size: of the body
 * returns  NULL if there is no memory (counted)
 */
ngx_http_sio_call_t *ngx_http_sio_call_create(size_t size);

/* What is to be set, what was found, and memory that lives as the call. */
ngx_http_sio_call_request_t *ngx_http_sio_call_request(
    ngx_http_sio_call_t *call);
ngx_http_sio_call_response_t *ngx_http_sio_call_response(
    ngx_http_sio_call_t *call);
ngx_pool_t *ngx_http_sio_call_pool(ngx_http_sio_call_t *call);

/*
 * Starts it.
 *
 * may      run the location's phases, connect and send
 */
void ngx_http_sio_call_start(ngx_http_sio_call_t *call);

/* Frees a call that is done, or has not been started. */
void ngx_http_sio_call_destroy(ngx_http_sio_call_t *call);

/* The call whose request r is, or is a part of; NULL if it is none. */
ngx_http_sio_call_vars_t *ngx_http_sio_call_vars(ngx_http_request_t *r);


#endif /* NGX_HTTP_SIO_CALL_H */
