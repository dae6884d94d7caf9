/*
 * nginx serves requests of connections, so that a call brings one of its own:
 * one that has no descriptor: nothing is ever read or written there.  It
 * carries a main request that does nothing but to wait for its subrequest.
 * As any subrequest, that one passes by access checks and may go to internal
 * locations.  What the location answers is taken by filters that come before
 * all others; none of it goes to a client.
 *
 *   start -> subrequest ... -> wake (it has ended) or terminated -> done
 *
 * The main request counts as blocked, so that nginx never closes it: it is
 * freed here, in an event of its own, when nothing of nginx refers to it.
 */

#include "http/ngx_http_sio_call.h"
#include "core/ngx_sio_stats.h"


#define NGX_HTTP_SIO_CALL_POOL   3072
#define NGX_HTTP_SIO_CALL_REQUEST_POOL  12288    /* of all its requests */
#define NGX_HTTP_SIO_CALL_BODY   512     /* a response's, to begin with */
#define NGX_HTTP_SIO_CALL_SPARE  256     /* pools kept from call to call */
#define NGX_HTTP_SIO_CALL_HEAP   (4 * 1024 * 1024)
#define NGX_HTTP_SIO_CALL_AGAIN  10      /* ms */


struct ngx_http_sio_call_s {
    ngx_http_sio_call_request_t    request;
    ngx_http_sio_call_response_t   response;

    ngx_pool_t                    *pool;      /* in which all this lies */
    ngx_http_request_t            *main;
    ngx_http_request_t            *sub;

    u_char                        *body;      /* of the response */
    size_t                         len;
    size_t                         size;      /* bound: max_response */

    ngx_uint_t                     status;    /* 0: no header yet */
    unsigned                       skip:1;    /* no body is wanted */
    unsigned                       last:1;    /* the end of the response came */
    unsigned                       failed:1;  /* result says why */
    unsigned                       ended:1;   /* so has the subrequest */
    unsigned                       forced:1;  /* nothing is waited for */

    ngx_event_t                    done;      /* posted, or a timer */
    ngx_queue_t                    queue;     /* of the location's calls */
    ngx_msec_t                     due;       /* its end, at the latest */
    unsigned                       queued:1;

    /* what stands for a client */

    ngx_connection_t               connection;
    ngx_event_t                    read;
    ngx_event_t                    write;
    ngx_log_t                      log;
    ngx_http_log_ctx_t             log_ctx;
    ngx_http_connection_t          http;
    ngx_http_addr_conf_t           addr_conf;
    ngx_buf_t                      header_in;
    ngx_http_post_subrequest_t     post;
    ngx_sockaddr_t                 sockaddr;
};


static ngx_int_t ngx_http_sio_call_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_call_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_http_sio_call_t *ngx_http_sio_call_of(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_call_append(ngx_http_sio_call_t *call,
    ngx_buf_t *b);
static ngx_int_t ngx_http_sio_call_fail(ngx_http_sio_call_t *call,
    ngx_http_sio_call_result_e result);

static void ngx_http_sio_call_connect(ngx_http_sio_call_t *call);
static ngx_int_t ngx_http_sio_call_headers(ngx_http_sio_call_t *call);
static ngx_table_elt_t *ngx_http_sio_call_header(ngx_http_request_t *r,
    ngx_table_elt_t *header, ngx_str_t *value);
static ngx_int_t ngx_http_sio_call_subrequest(ngx_http_sio_call_t *call);
static ngx_int_t ngx_http_sio_call_begin_phase(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_call_phase(ngx_http_request_t *r);
static void ngx_http_sio_call_wake(ngx_http_request_t *r);
static ngx_int_t ngx_http_sio_call_finished(ngx_http_request_t *r, void *data,
    ngx_int_t rc);
static void ngx_http_sio_call_terminated(void *data);
static void ngx_http_sio_call_set_timer(ngx_http_sio_call_t *call);
static void ngx_http_sio_call_del_timer(ngx_http_sio_call_t *call);
static void ngx_http_sio_call_timeout(ngx_event_t *ev);
static void ngx_http_sio_call_done(ngx_event_t *ev);
static void ngx_http_sio_call_judge(ngx_http_sio_call_t *call);
static ngx_uint_t ngx_http_sio_call_unsent(ngx_http_request_t *sr);
static void ngx_http_sio_call_peer(ngx_http_sio_call_t *call);
static void ngx_http_sio_call_free(ngx_http_sio_call_t *call);
static void ngx_http_sio_call_clear(ngx_event_t *ev);

static ngx_chain_t *ngx_http_sio_call_send_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_http_sio_call_no_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ssize_t ngx_http_sio_call_no_recv_chain(ngx_connection_t *c,
    ngx_chain_t *in, off_t limit);
static ssize_t ngx_http_sio_call_no_send(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_http_sio_call_event(ngx_event_t *ev);
static u_char *ngx_http_sio_call_log(ngx_log_t *log, u_char *buf, size_t len);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;

static ngx_str_t        ngx_http_sio_call_post = ngx_string("POST");
static ngx_str_t        ngx_http_sio_call_json =
                            ngx_string("application/json");
static ngx_listening_t  ngx_http_sio_call_listening;

/* other modules look headers up by their hash, which is set at the start */

static ngx_table_elt_t  ngx_http_sio_call_type = {
    .key = ngx_string("Content-Type"),
    .lowcase_key = (u_char *) "content-type"
};

static ngx_table_elt_t  ngx_http_sio_call_length = {
    .key = ngx_string("Content-Length"),
    .lowcase_key = (u_char *) "content-length"
};

/* the server's side of a connection that there is not */

static struct sockaddr_in  ngx_http_sio_call_local;

/* pools for the next calls */

static ngx_pool_t  *ngx_http_sio_call_spare[NGX_HTTP_SIO_CALL_SPARE];
static ngx_uint_t   ngx_http_sio_call_nspare;


ngx_int_t
ngx_http_sio_call_install(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sio_call_phase;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_sio_call_begin_phase;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_sio_call_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_sio_call_body_filter;

    ngx_http_sio_call_type.hash =
        ngx_hash_key(ngx_http_sio_call_type.lowcase_key,
                     ngx_http_sio_call_type.key.len);
    ngx_http_sio_call_length.hash =
        ngx_hash_key(ngx_http_sio_call_length.lowcase_key,
                     ngx_http_sio_call_length.key.len);

    ngx_str_set(&ngx_http_sio_call_listening.addr_text, "127.0.0.1");

    ngx_http_sio_call_local.sin_family = AF_INET;
    ngx_http_sio_call_local.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    return NGX_OK;
}


/*
 * Calls come and go in waves.  By default glibc gives memory at the end of
 * the heap back as soon as there are 128 KiB of it, to ask for it again with
 * the next wave: that took a tenth of the CPU time of a call.
 */

void
ngx_http_sio_call_init(void)
{
#ifdef M_TRIM_THRESHOLD
    (void) mallopt(M_TRIM_THRESHOLD, NGX_HTTP_SIO_CALL_HEAP);
#endif
}


/*
 * The server's own, but that the pool of a request has room for what a call
 * needs: a main request, its subrequest and an upstream.
 */

ngx_http_conf_ctx_t *
ngx_http_sio_call_ctx(ngx_conf_t *cf)
{
    size_t                     size;
    ngx_http_conf_ctx_t       *ctx, *server;
    ngx_http_core_srv_conf_t  *cscf, *own;

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);
    server = cscf->ctx;

    size = ngx_http_max_module * sizeof(void *);

    ctx = ngx_palloc(cf->pool, sizeof(ngx_http_conf_ctx_t));
    own = ngx_palloc(cf->pool, sizeof(ngx_http_core_srv_conf_t));

    if (ctx == NULL || own == NULL) {
        return NULL;
    }

    *ctx = *server;
    *own = *cscf;

    own->request_pool_size = NGX_HTTP_SIO_CALL_REQUEST_POOL;

    ctx->srv_conf = ngx_palloc(cf->pool, size);
    if (ctx->srv_conf == NULL) {
        return NULL;
    }

    ngx_memcpy(ctx->srv_conf, server->srv_conf, size);
    ctx->srv_conf[ngx_http_core_module.ctx_index] = own;

    return ctx;
}


ngx_http_sio_call_t *
ngx_http_sio_call_create(size_t size)
{
    u_char               *p;
    ngx_pool_t           *pool;
    ngx_http_sio_call_t  *call;

    if (ngx_http_sio_call_nspare) {
        pool = ngx_http_sio_call_spare[--ngx_http_sio_call_nspare];

    } else {
        pool = ngx_create_pool(NGX_HTTP_SIO_CALL_POOL, ngx_cycle->log);
        if (pool == NULL) {
            ngx_sio_count(memory_errors);
            return NULL;
        }
    }

    call = ngx_pcalloc(pool, sizeof(ngx_http_sio_call_t));
    p = ngx_pnalloc(pool, size);

    if (call == NULL || p == NULL) {
        ngx_sio_count(memory_errors);
        ngx_destroy_pool(pool);
        return NULL;
    }

    call->pool = pool;
    call->request.body.p = p;
    call->request.body.n = size;

    return call;
}


ngx_http_sio_call_request_t *
ngx_http_sio_call_request(ngx_http_sio_call_t *call)
{
    return &call->request;
}


ngx_http_sio_call_response_t *
ngx_http_sio_call_response(ngx_http_sio_call_t *call)
{
    return &call->response;
}


ngx_pool_t *
ngx_http_sio_call_pool(ngx_http_sio_call_t *call)
{
    return call->pool;
}


void
ngx_http_sio_call_start(ngx_http_sio_call_t *call)
{
    ngx_http_request_t        *r;
    ngx_http_cleanup_t        *cln;

    call->done.handler = ngx_http_sio_call_done;
    call->done.data = call;
    call->done.log = call->request.conf->core.log;

    ngx_http_sio_call_connect(call);

    r = ngx_http_create_request(&call->connection);

    if (r == NULL) {
        ngx_sio_count(memory_errors);
        (void) ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_FAILED);
        ngx_post_event(&call->done, &ngx_posted_events);
        return;
    }

    call->main = r;
    call->connection.data = r;

    ngx_http_set_ctx(r, call, ngx_http_sio_module);

    /* a server's post_action is not for it */

    r->post_action = 1;
    r->uri_changes = 0;

    r->blocked = 1;
    r->write_event_handler = ngx_http_sio_call_wake;
    r->read_event_handler = ngx_http_block_reading;
    r->header_in = &call->header_in;

    cln = ngx_http_cleanup_add(r, 0);

    if (cln) {
        cln->handler = ngx_http_sio_call_terminated;
        cln->data = call;
    }

    if (cln == NULL || ngx_http_sio_call_headers(call) != NGX_OK
        || ngx_http_sio_call_subrequest(call) != NGX_OK)
    {
        ngx_sio_count(memory_errors);
        (void) ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_FAILED);

        call->ended = 1;
        ngx_post_event(&call->done, &ngx_posted_events);
        return;
    }

    ngx_http_sio_call_set_timer(call);

    ngx_http_run_posted_requests(&call->connection);
}


/* as HTTP/2 does for its streams */

static void
ngx_http_sio_call_connect(ngx_http_sio_call_t *call)
{
    ngx_addr_t         addr;
    ngx_connection_t  *c;

    call->log = *call->request.conf->core.log;
    call->log.connection = 0;
    call->log.handler = ngx_http_sio_call_log;
    call->log.data = &call->log_ctx;
    call->log.action = "calling a handler";

    c = &call->connection;

    call->log_ctx.connection = c;

    call->http.conf_ctx = call->request.conf->call_ctx;
    call->http.addr_conf = &call->addr_conf;
    call->addr_conf.default_server =
        ngx_http_get_module_srv_conf(call->http.conf_ctx,
                                     ngx_http_core_module);

    call->read.data = c;
    call->read.handler = ngx_http_sio_call_event;
    call->read.log = &call->log;
    call->read.active = 1;

    call->write.data = c;
    call->write.handler = ngx_http_sio_call_event;
    call->write.log = &call->log;
    call->write.write = 1;
    call->write.active = 1;
    call->write.ready = 1;

    c->data = &call->http;
    c->read = &call->read;
    c->write = &call->write;
    c->fd = (ngx_socket_t) -1;
    c->pool = call->pool;
    c->log = &call->log;
    c->log_error = NGX_ERROR_INFO;
    c->type = SOCK_STREAM;
    c->listening = &ngx_http_sio_call_listening;
    c->start_time = ngx_current_msec;

    c->recv = ngx_http_sio_call_no_recv;
    c->send = ngx_http_sio_call_no_send;
    c->recv_chain = ngx_http_sio_call_no_recv_chain;
    c->send_chain = ngx_http_sio_call_send_chain;

    c->sndlowat = 1;
    c->tcp_nodelay = NGX_TCP_NODELAY_DISABLED;
    c->tcp_nopush = NGX_TCP_NOPUSH_DISABLED;

    /* for $remote_addr and what is like it: the client's, without its port */

    c->addr_text = call->request.addr;
    c->local_sockaddr = (struct sockaddr *) &ngx_http_sio_call_local;
    c->local_socklen = sizeof(struct sockaddr_in);

    c->sockaddr = &call->sockaddr.sockaddr;

    if (ngx_parse_addr(call->pool, &addr, call->request.addr.data,
                       call->request.addr.len) == NGX_OK)
    {
        c->sockaddr = addr.sockaddr;
        c->socklen = addr.socklen;

    } else {
        call->sockaddr.sockaddr.sa_family = AF_UNIX;
        c->socklen = offsetof(struct sockaddr, sa_data);
    }
}


static ngx_int_t
ngx_http_sio_call_headers(ngx_http_sio_call_t *call)
{
    u_char              *p;
    sio_out_t            o;
    ngx_str_t            length;
    ngx_http_request_t  *r;

    r = call->main;

    p = ngx_pnalloc(r->pool, NGX_OFF_T_LEN);

    if (p == NULL
        || ngx_list_init(&r->headers_in.headers, r->pool, 2,
                         sizeof(ngx_table_elt_t)) != NGX_OK)
    {
        return NGX_ERROR;
    }

    o.p = p;
    o.n = 0;
    sio_out_uint(&o, call->request.body.n);

    length.data = p;
    length.len = o.n;

    r->headers_in.content_type =
        ngx_http_sio_call_header(r, &ngx_http_sio_call_type,
                                 &ngx_http_sio_call_json);
    r->headers_in.content_length =
        ngx_http_sio_call_header(r, &ngx_http_sio_call_length, &length);
    r->headers_in.content_length_n = call->request.body.n;

    return (r->headers_in.content_type && r->headers_in.content_length)
           ? NGX_OK : NGX_ERROR;
}


static ngx_table_elt_t *
ngx_http_sio_call_header(ngx_http_request_t *r, ngx_table_elt_t *header,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);

    if (h) {
        *h = *header;
        h->value = *value;
    }

    return h;
}


static ngx_int_t
ngx_http_sio_call_subrequest(ngx_http_sio_call_t *call)
{
    ngx_buf_t                     *b;
    ngx_str_t                      uri, args;
    ngx_http_request_t            *r, *sr;
    ngx_http_request_body_t       *body;
    const ngx_http_sio_handler_t  *handler;

    r = call->main;
    handler = call->request.handler;

    uri = handler->uri;
    args = handler->args;

    r->method = NGX_HTTP_POST;
    r->method_name = ngx_http_sio_call_post;
    r->http_version = NGX_HTTP_VERSION_11;
    ngx_str_set(&r->http_protocol, "HTTP/1.1");

    r->uri = uri;
    r->args = args;
    r->unparsed_uri = handler->text;
    r->request_line = handler->line;
    r->internal = 1;
    r->valid_location = 1;
    r->http_state = NGX_HTTP_PROCESS_REQUEST_STATE;

#if (NGX_STAT_STUB)
    (void) ngx_atomic_fetch_add(ngx_stat_reading, -1);
    r->stat_reading = 0;
    (void) ngx_atomic_fetch_add(ngx_stat_writing, 1);
    r->stat_writing = 1;
#endif

    body = ngx_pcalloc(r->pool, sizeof(ngx_http_request_body_t));
    b = ngx_calloc_buf(r->pool);

    if (body == NULL || b == NULL) {
        return NGX_ERROR;
    }

    b->start = b->pos = call->request.body.p;
    b->end = b->last = b->pos + call->request.body.n;
    b->memory = 1;
    b->last_buf = 1;

    body->bufs = ngx_alloc_chain_link(r->pool);
    if (body->bufs == NULL) {
        return NGX_ERROR;
    }

    body->bufs->buf = b;
    body->bufs->next = NULL;
    body->buf = b;

    r->request_body = body;

    call->post.handler = ngx_http_sio_call_finished;
    call->post.data = call;

    if (ngx_http_subrequest(r, &uri, args.len ? &args : NULL, &sr, &call->post,
                            NGX_HTTP_SUBREQUEST_WAITED) != NGX_OK)
    {
        return NGX_ERROR;
    }

    sr->method = NGX_HTTP_POST;
    sr->method_name = ngx_http_sio_call_post;
    sr->header_in = r->header_in;


    call->sub = sr;

    return NGX_OK;
}


/* the filters */

static ngx_http_sio_call_t *
ngx_http_sio_call_of(ngx_http_request_t *r)
{
    if (r->connection->send_chain != ngx_http_sio_call_send_chain) {
        return NULL;
    }

    return ngx_http_get_module_ctx(r->main, ngx_http_sio_module);
}


static ngx_int_t
ngx_http_sio_call_header_filter(ngx_http_request_t *r)
{
    ngx_http_sio_call_t  *call;

    call = ngx_http_sio_call_of(r);

    /* a subrequest that the location makes goes its usual way */

    if (call == NULL || r != call->sub) {
        return ngx_http_next_header_filter(r);
    }

    if (r->header_sent) {
        return NGX_OK;
    }

    r->header_sent = 1;
    call->status = r->headers_out.status;

    /* of an error of the server's, be it nginx's own page, nothing is read */

    call->skip = (call->status / 100 != 2 && call->status / 100 != 4);

    if (!call->skip
        && r->headers_out.content_length_n
           > (off_t) call->request.conf->handler_max_response)
    {
        return ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_TOO_LARGE);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_call_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t            *b;
    ngx_http_sio_call_t  *call;

    call = ngx_http_sio_call_of(r);

    if (call == NULL || r != call->sub) {
        return ngx_http_next_body_filter(r, in);
    }

    for ( /* void */ ; in; in = in->next) {
        b = in->buf;

        if (!call->skip && ngx_http_sio_call_append(call, b) != NGX_OK) {
            return NGX_ERROR;
        }

        if (b->last_buf || b->last_in_chain) {
            call->last = 1;
        }

        b->pos = b->last;
        b->file_pos = b->file_last;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_call_append(ngx_http_sio_call_t *call, ngx_buf_t *b)
{
    off_t     n;
    size_t    size, max;
    u_char   *body;
    ssize_t   read;

    if (ngx_buf_special(b)) {
        return NGX_OK;
    }

    n = ngx_buf_size(b);
    max = call->request.conf->handler_max_response;

    if (n > (off_t) (max - call->len)) {
        return ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_TOO_LARGE);
    }

    if (call->len + n > call->size) {
        size = ngx_max(2 * call->size, call->len + (size_t) n);
        size = ngx_max(size, NGX_HTTP_SIO_CALL_BODY);
        size = ngx_min(size, max);

        /* most responses are small, and need no memory of their own */

        body = (size <= NGX_HTTP_SIO_CALL_BODY)
               ? ngx_pnalloc(call->pool, size)
               : ngx_alloc(size, call->done.log);

        if (body == NULL) {
            ngx_sio_count(memory_errors);
            return ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_FAILED);
        }

        if (call->len) {
            ngx_memcpy(body, call->body, call->len);
        }

        if (call->size > NGX_HTTP_SIO_CALL_BODY) {
            ngx_free(call->body);
        }

        call->body = body;
        call->size = size;
    }

    if (ngx_buf_in_memory(b)) {
        ngx_memcpy(call->body + call->len, b->pos, n);

    } else {
        read = ngx_read_file(b->file, call->body + call->len, n, b->file_pos);

        if (read != n) {
            return ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_FAILED);
        }
    }

    call->len += n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_call_fail(ngx_http_sio_call_t *call,
    ngx_http_sio_call_result_e result)
{
    if (!call->failed) {
        call->failed = 1;
        call->response.result = result;
    }

    return NGX_ERROR;
}


/*
 * client_max_body_size is not for this body.  nginx looks at it when it finds
 * a location: until then the length is not known.
 */

static ngx_int_t
ngx_http_sio_call_begin_phase(ngx_http_request_t *r)
{
    ngx_http_sio_call_t  *call;

    call = ngx_http_sio_call_of(r);

    if (call && r == call->sub) {
        r->headers_in.content_length_n = -1;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_sio_call_phase(ngx_http_request_t *r)
{
    ngx_http_sio_call_t  *call;

    call = ngx_http_sio_call_of(r);

    if (call && r == call->sub) {
        r->headers_in.content_length_n = call->request.body.n;
    }

    return NGX_DECLINED;
}


/* the end of the subrequest; it may come more than once for error pages */

static ngx_int_t
ngx_http_sio_call_finished(ngx_http_request_t *r, void *data, ngx_int_t rc)
{
    ngx_http_sio_call_t *call = data;

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE && !r->header_sent) {
        call->status = rc;
    }

    return rc;
}


/* the main request is posted when its subrequest has ended */

static void
ngx_http_sio_call_wake(ngx_http_request_t *r)
{
    ngx_http_sio_call_t  *call;

    call = ngx_http_get_module_ctx(r, ngx_http_sio_module);

    if (!call->sub->done || call->ended) {
        return;
    }

    call->ended = 1;
    ngx_post_event(&call->done, &ngx_posted_events);
}


/* nginx gives the request up, or it is freed */

static void
ngx_http_sio_call_terminated(void *data)
{
    ngx_http_sio_call_t *call = data;

    if (!call->ended) {
        call->ended = 1;
        (void) ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_FAILED);
        ngx_post_event(&call->done, &ngx_posted_events);
    }
}


/* all calls of a location have the same time: one timer is enough */

static void
ngx_http_sio_call_set_timer(ngx_http_sio_call_t *call)
{
    ngx_http_sio_loc_conf_t  *conf;

    conf = call->request.conf;

    call->queued = 1;
    call->due = ngx_current_msec + conf->handler_timeout;

    ngx_queue_insert_tail(&conf->calls, &call->queue);

    if (!conf->calls_timer.timer_set) {
        conf->calls_timer.handler = ngx_http_sio_call_timeout;
        conf->calls_timer.data = conf;
        conf->calls_timer.log = conf->core.log;

        ngx_add_timer(&conf->calls_timer, conf->handler_timeout);
    }
}


/* without calls no timer: it would keep a worker that exits */

static void
ngx_http_sio_call_del_timer(ngx_http_sio_call_t *call)
{
    ngx_http_sio_loc_conf_t  *conf;

    if (!call->queued) {
        return;
    }

    conf = call->request.conf;

    call->queued = 0;
    ngx_queue_remove(&call->queue);

    if (ngx_queue_empty(&conf->calls) && conf->calls_timer.timer_set) {
        ngx_del_timer(&conf->calls_timer);
    }
}


static void
ngx_http_sio_call_timeout(ngx_event_t *ev)
{
    ngx_queue_t              *q;
    ngx_msec_int_t            left;
    ngx_http_sio_call_t      *call;
    ngx_http_sio_loc_conf_t  *conf;

    conf = ev->data;

    while (!ngx_queue_empty(&conf->calls)) {
        q = ngx_queue_head(&conf->calls);
        call = ngx_queue_data(q, ngx_http_sio_call_t, queue);

        left = call->due - ngx_current_msec;

        if (left > 0) {
            ngx_add_timer(ev, left);
            return;
        }

        ngx_http_sio_call_del_timer(call);

        /* what runs beside one that has ended ends, too */

        if (call->ended) {
            call->forced = 1;

        } else {
            (void) ngx_http_sio_call_fail(call, NGX_HTTP_SIO_CALL_TIMEOUT);
        }

        ngx_http_finalize_request(call->main, NGX_ERROR);
    }
}


/*
 * What still runs beside it, a mirror or the reading of a file, is waited
 * for: it refers to the request.
 */

static void
ngx_http_sio_call_done(ngx_event_t *ev)
{
    ngx_http_request_t   *r;
    ngx_http_sio_call_t  *call;

    call = ev->data;
    r = call->main;

    if (r && (r->blocked > 1
              || (!call->failed && !call->forced && r->count > 1)))
    {
        ngx_add_timer(ev, NGX_HTTP_SIO_CALL_AGAIN);
        return;
    }

    ngx_http_sio_call_judge(call);
    ngx_http_sio_call_free(call);

    call->request.done(call);
}


static void
ngx_http_sio_call_judge(ngx_http_sio_call_t *call)
{
    ngx_http_request_t            *sr;
    ngx_http_sio_call_response_t  *response;

    sr = call->sub;
    response = &call->response;

    if (sr) {
        ngx_http_sio_call_peer(call);
    }

    if (call->failed) {

        /* in time or not: nobody has had it */

        if (response->result == NGX_HTTP_SIO_CALL_TIMEOUT
            && ngx_http_sio_call_unsent(sr))
        {
            response->result = NGX_HTTP_SIO_CALL_UNREACHABLE;
        }

        return;
    }

    response->status = call->status;
    response->body.p = call->body;
    response->body.n = call->len;

    /* 500 is what nginx says when it has no connection for it */

    if ((call->status == NGX_HTTP_BAD_GATEWAY
         || call->status == NGX_HTTP_GATEWAY_TIME_OUT
         || call->status == NGX_HTTP_INTERNAL_SERVER_ERROR)
        && ngx_http_sio_call_unsent(sr))
    {
        response->result = NGX_HTTP_SIO_CALL_UNREACHABLE;

    } else if (sr->upstream && sr->upstream->header_sent && !call->last
               && !sr->header_only)
    {
        response->result = NGX_HTTP_SIO_CALL_CUT;

    } else {
        response->result = NGX_HTTP_SIO_CALL_ANSWERED;
    }
}


/* of each server that was tried nginx knows what it was sent */

static ngx_uint_t
ngx_http_sio_call_unsent(ngx_http_request_t *sr)
{
    ngx_uint_t                  i;
    ngx_http_upstream_state_t  *state;

    /* without a state no address was found */

    if (sr->upstream_states == NULL) {
        return 0;
    }

    state = sr->upstream_states->elts;

    for (i = 0; i < sr->upstream_states->nelts; i++) {
        if (state[i].bytes_sent) {
            return 0;
        }
    }

    return 1;
}


static void
ngx_http_sio_call_peer(ngx_http_sio_call_t *call)
{
    ngx_uint_t                  i;
    ngx_str_t                  *name;
    ngx_array_t                *states;
    ngx_http_upstream_state_t  *state;

    states = call->sub->upstream_states;

    if (states == NULL) {
        return;
    }

    state = states->elts;

    for (i = states->nelts; i > 0; i--) {
        name = state[i - 1].peer;

        if (name == NULL) {
            continue;
        }

        call->response.peer.data = ngx_pstrdup(call->pool, name);

        if (call->response.peer.data) {
            call->response.peer.len = name->len;
        }

        return;
    }
}


/* the request goes, the response stays */

static void
ngx_http_sio_call_free(ngx_http_sio_call_t *call)
{
    ngx_http_request_t  *r;

    ngx_http_sio_call_del_timer(call);

    r = call->main;

    if (r == NULL) {
        return;
    }

    ngx_http_sio_call_clear(&call->read);
    ngx_http_sio_call_clear(&call->write);

    call->sub = NULL;
    call->ended = 1;

    /* the subrequest was logged if it is to be */

    r->logged = 1;
    call->connection.timedout = 0;

    ngx_http_free_request(r, 0);

    call->main = NULL;
}


static void
ngx_http_sio_call_clear(ngx_event_t *ev)
{
    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (ev->posted) {
        ngx_delete_posted_event(ev);
    }
}


void
ngx_http_sio_call_destroy(ngx_http_sio_call_t *call)
{
    ngx_pool_t  *pool;

    pool = call->pool;

    if (call->size > NGX_HTTP_SIO_CALL_BODY) {
        ngx_free(call->body);
    }

    /* one that grew does not stay, nor one that others have something in */

    if (ngx_http_sio_call_nspare < NGX_HTTP_SIO_CALL_SPARE
        && pool->d.next == NULL && pool->cleanup == NULL)
    {
        ngx_reset_pool(pool);
        ngx_http_sio_call_spare[ngx_http_sio_call_nspare++] = pool;
        return;
    }

    ngx_destroy_pool(pool);
}


ngx_http_sio_call_vars_t *
ngx_http_sio_call_vars(ngx_http_request_t *r)
{
    ngx_http_sio_call_t  *call;

    call = ngx_http_sio_call_of(r);

    return call ? &call->request.vars : NULL;
}


/* nothing comes here but what a location sends beside its answer */

static ngx_chain_t *
ngx_http_sio_call_send_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    for ( /* void */ ; in; in = in->next) {
        in->buf->pos = in->buf->last;
        in->buf->file_pos = in->buf->file_last;
    }

    return NULL;
}


static ssize_t
ngx_http_sio_call_no_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}


static ssize_t
ngx_http_sio_call_no_recv_chain(ngx_connection_t *c, ngx_chain_t *in,
    off_t limit)
{
    return NGX_ERROR;
}


static ssize_t
ngx_http_sio_call_no_send(ngx_connection_t *c, u_char *buf, size_t size)
{
    return NGX_ERROR;
}


/* limit_req delays a request by a timer of its connection's */

static void
ngx_http_sio_call_event(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    c = ev->data;
    r = c->data;

    if (ev->delayed && ev->timedout) {
        ev->delayed = 0;
        ev->timedout = 0;
    }

    if (ev->write) {
        r->write_event_handler(r);

    } else {
        r->read_event_handler(r);
    }

    ngx_http_run_posted_requests(c);
}


static u_char *
ngx_http_sio_call_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char              *p;
    ngx_http_request_t  *r;
    ngx_http_log_ctx_t  *ctx;

    p = buf;
    ctx = log->data;

    if (log->action) {
        p = ngx_snprintf(p, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    p = ngx_snprintf(p, len, ", client: %V", &ctx->connection->addr_text);
    len -= p - buf;

    r = ctx->request;

    return r ? r->log_handler(r, ctx->current_request, p, len) : p;
}
