/*
 *   REQUEST   holder -> owner    when its headers have come
 *   BODY      holder -> owner    a POST's, as a whole
 *   RELEASE   holder -> owner    answer it if it only waits
 *   ANSWER    owner -> holder    once
 *   FINISHED  holder -> owner    the last: it was written, or broke off
 *
 * The owner keeps a request until FINISHED, so that a connection which fails
 * under an answer ends the session as it would on one worker.
 */

#include "cluster/ngx_sio_relay.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_stats.h"


#define NGX_SIO_RELAY_POLLING    0x01
#define NGX_SIO_RELAY_VERSION    0x02
#define NGX_SIO_RELAY_ORIGIN     0x04
#define NGX_SIO_RELAY_OCTETS     0x08
#define NGX_SIO_RELAY_TOO_LARGE  0x10


static ngx_int_t ngx_sio_relay_requested(ngx_sio_origin_t from, uint64_t id,
    sio_in_t *in);
static ngx_int_t ngx_sio_relay_got_body(ngx_sio_remote_t *remote,
    sio_in_t *in);
static ngx_int_t ngx_sio_relay_answered(ngx_sio_origin_t from, uint64_t id,
    sio_in_t *in);
static void ngx_sio_relay_forget(ngx_sio_remote_t *remote);
static ngx_sio_relay_t *ngx_sio_relay_find(uint64_t id);
static ngx_sio_relay_t *ngx_sio_relay_after(uint64_t id);
static ngx_sio_remote_t *ngx_sio_relay_remote(ngx_sio_origin_t holder,
    uint64_t id);
static ngx_rbtree_key_t ngx_sio_relay_key(ngx_sio_origin_t holder,
    uint64_t id);
static ngx_rbtree_node_t *ngx_sio_relay_first(ngx_rbtree_t *tree);


static const ngx_sio_holder_t  *ngx_sio_relay_holder;
static const ngx_sio_poller_t  *ngx_sio_relay_poller;

static ngx_rbtree_t             ngx_sio_relays;        /* by id */
static ngx_rbtree_node_t        ngx_sio_relays_sentinel;
static ngx_rbtree_t             ngx_sio_remotes;
static ngx_rbtree_node_t        ngx_sio_remotes_sentinel;
static uint64_t                 ngx_sio_relay_last_id;


void
ngx_sio_relay_init(void)
{
    ngx_rbtree_init(&ngx_sio_relays, &ngx_sio_relays_sentinel,
                    ngx_rbtree_insert_value);
    ngx_rbtree_init(&ngx_sio_remotes, &ngx_sio_remotes_sentinel,
                    ngx_rbtree_insert_value);
}


void
ngx_sio_relay_set(const ngx_sio_holder_t *holder,
    const ngx_sio_poller_t *poller)
{
    ngx_sio_relay_holder = holder;
    ngx_sio_relay_poller = poller;
}


static ngx_rbtree_node_t *
ngx_sio_relay_first(ngx_rbtree_t *tree)
{
    return (tree->root == tree->sentinel)
           ? NULL : ngx_rbtree_min(tree->root, tree->sentinel);
}


/* answering one may free it, and with it others of its connection */

void
ngx_sio_relay_gone(ngx_sio_origin_t origin)
{
    uint64_t            id;
    ngx_sio_relay_t    *relay;
    ngx_sio_remote_t   *remote;
    ngx_rbtree_node_t  *node, *next;

    for (node = ngx_sio_relay_first(&ngx_sio_remotes); node; node = next) {
        next = ngx_rbtree_next(&ngx_sio_remotes, node);
        remote = ngx_rbtree_data(node, ngx_sio_remote_t, node);

        if (remote->holder == origin) {
            if (remote->poll) {
                ngx_sio_relay_poller->finished(remote->poll, 1, 0);
            }

            ngx_sio_relay_forget(remote);
        }
    }

    for (id = 0; (relay = ngx_sio_relay_after(id)) != NULL; /* void */) {
        id = relay->node.key;

        if (relay->owner == origin) {
            ngx_sio_relay_holder->answer(relay->data, NGX_SIO_ANSWER_ERROR,
                                         SIO_EIO_UNKNOWN_SID, sio_span_null);
        }
    }
}


ngx_int_t
ngx_sio_relay_handle(ngx_sio_origin_t from, ngx_sio_frame_e type,
    sio_in_t *in)
{
    uint8_t            aborted;
    uint16_t           status;
    uint64_t           id;
    ngx_sio_remote_t  *remote;

    id = sio_in_u64(in);

    if (in->bad) {
        return NGX_ERROR;
    }

    if (type == NGX_SIO_FRAME_REQUEST) {
        return ngx_sio_relay_requested(from, id, in);
    }

    if (type == NGX_SIO_FRAME_ANSWER) {
        return ngx_sio_relay_answered(from, id, in);
    }

    remote = ngx_sio_relay_remote(from, id);

    if (remote == NULL) {
        return NGX_OK;
    }

    switch (type) {

    case NGX_SIO_FRAME_BODY:
        return ngx_sio_relay_got_body(remote, in);

    case NGX_SIO_FRAME_RELEASE:
        if (remote->poll) {
            ngx_sio_relay_poller->release(remote->poll);
        }

        return NGX_OK;

    default: /* NGX_SIO_FRAME_FINISHED */
        aborted = sio_in_u8(in);
        status = sio_in_u16(in);

        if (in->bad) {
            return NGX_ERROR;
        }

        if (remote->poll) {
            ngx_sio_relay_poller->finished(remote->poll, aborted, status);
        }

        ngx_sio_relay_forget(remote);

        return NGX_OK;
    }
}


/* the holder */

ngx_int_t
ngx_sio_relay_open(ngx_sio_relay_t *relay, ngx_sio_origin_t owner,
    ngx_sio_poll_request_t *request, void *data)
{
    size_t          n;
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    n = 8 + 2 + 8 + 4 + request->app_name.n + 4 + request->sid.n;

    m = ngx_sio_frame(NGX_SIO_FRAME_REQUEST, n, &o);
    if (m == NULL) {
        return NGX_ERROR;
    }

    relay->owner = owner;
    relay->data = data;
    relay->get = (request->method == NGX_SIO_METHOD_GET);
    relay->node.key = ++ngx_sio_relay_last_id;

    ngx_rbtree_insert(&ngx_sio_relays, &relay->node);

    ngx_sio_count(relays);
    ngx_sio_count(relays_held);

    sio_out_u64(&o, relay->node.key);
    sio_out_byte(&o, request->method);
    sio_out_byte(&o, (request->polling ? NGX_SIO_RELAY_POLLING : 0)
                     | (request->version ? NGX_SIO_RELAY_VERSION : 0)
                     | (request->origin ? NGX_SIO_RELAY_ORIGIN : 0)
                     | (request->octets ? NGX_SIO_RELAY_OCTETS : 0)
                     | (request->too_large ? NGX_SIO_RELAY_TOO_LARGE : 0));
    sio_out_u64(&o, request->length);
    sio_out_string(&o, request->app_name);
    sio_out_string(&o, request->sid);

    ngx_sio_bus_send(owner, m);

    return NGX_OK;
}


ngx_int_t
ngx_sio_relay_body(ngx_sio_relay_t *relay, sio_span_t body)
{
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    m = ngx_sio_frame(NGX_SIO_FRAME_BODY,
                      8 + 1 + (body.p ? body.n : sizeof(uint64_t)), &o);

    if (m == NULL) {
        return NGX_ERROR;
    }

    sio_out_u64(&o, relay->node.key);
    sio_out_byte(&o, body.p != NULL);

    if (body.p) {
        sio_out_span(&o, body);

    } else {
        sio_out_u64(&o, body.n);
    }

    ngx_sio_bus_send(relay->owner, m);

    return NGX_OK;
}


void
ngx_sio_relay_finish(ngx_sio_relay_t *relay, ngx_uint_t aborted,
    ngx_uint_t status)
{
    uint64_t        id;
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    id = relay->node.key;              /* a deletion clears it */

    ngx_rbtree_delete(&ngx_sio_relays, &relay->node);
    ngx_sio_uncount(relays_held);

    m = ngx_sio_frame(NGX_SIO_FRAME_FINISHED, 8 + 1 + 2, &o);

    if (m) {
        sio_out_u64(&o, id);
        sio_out_byte(&o, aborted);
        sio_out_u16(&o, status);

        ngx_sio_bus_send(relay->owner, m);
    }
}


void
ngx_sio_relay_release(void)
{
    sio_out_t           o;
    ngx_sio_msg_t      *m;
    ngx_sio_relay_t    *relay;
    ngx_rbtree_node_t  *node;

    for (node = ngx_sio_relay_first(&ngx_sio_relays);
         node;
         node = ngx_rbtree_next(&ngx_sio_relays, node))
    {
        relay = ngx_rbtree_data(node, ngx_sio_relay_t, node);

        if (!relay->get) {
            continue;
        }

        m = ngx_sio_frame(NGX_SIO_FRAME_RELEASE, sizeof(uint64_t), &o);

        if (m) {
            sio_out_u64(&o, node->key);
            ngx_sio_bus_send(relay->owner, m);
        }
    }
}


static ngx_int_t
ngx_sio_relay_answered(ngx_sio_origin_t from, uint64_t id, sio_in_t *in)
{
    uint8_t           answer;
    uint16_t          value;
    ngx_sio_relay_t  *relay;

    answer = sio_in_u8(in);
    value = sio_in_u16(in);

    if (in->bad || answer > NGX_SIO_ANSWER_LATER) {
        return NGX_ERROR;
    }

    relay = ngx_sio_relay_find(id);

    if (relay && relay->owner == from) {
        ngx_sio_relay_holder->answer(relay->data, answer, value,
                                     (sio_span_t) { in->p, in->n });
    }

    return NGX_OK;
}


static ngx_sio_relay_t *
ngx_sio_relay_find(uint64_t id)
{
    ngx_rbtree_node_t  *node;

    node = ngx_sio_relays.root;

    while (node != ngx_sio_relays.sentinel) {

        if (node->key == id) {
            return ngx_rbtree_data(node, ngx_sio_relay_t, node);
        }

        node = (id < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* the one with the lowest id above */

static ngx_sio_relay_t *
ngx_sio_relay_after(uint64_t id)
{
    ngx_rbtree_node_t  *node, *found;

    found = NULL;
    node = ngx_sio_relays.root;

    while (node != ngx_sio_relays.sentinel) {

        if (node->key > id) {
            found = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return found ? ngx_rbtree_data(found, ngx_sio_relay_t, node) : NULL;
}


/* the owner */

static ngx_int_t
ngx_sio_relay_requested(ngx_sio_origin_t from, uint64_t id, sio_in_t *in)
{
    uint8_t                  method, flags;
    ngx_sio_remote_t        *remote;
    ngx_sio_poll_request_t   request;

    method = sio_in_u8(in);
    flags = sio_in_u8(in);

    request.method = method;
    request.polling = (flags & NGX_SIO_RELAY_POLLING) != 0;
    request.version = (flags & NGX_SIO_RELAY_VERSION) != 0;
    request.origin = (flags & NGX_SIO_RELAY_ORIGIN) != 0;
    request.octets = (flags & NGX_SIO_RELAY_OCTETS) != 0;
    request.too_large = (flags & NGX_SIO_RELAY_TOO_LARGE) != 0;
    request.length = sio_in_u64(in);
    request.app_name = sio_in_string(in);
    request.sid = sio_in_string(in);

    if (in->bad || method > NGX_SIO_METHOD_OTHER
        || ngx_sio_relay_remote(from, id))
    {
        return NGX_ERROR;
    }

    remote = ngx_calloc(sizeof(ngx_sio_remote_t), ngx_cycle->log);

    if (remote == NULL) {
        ngx_sio_count(memory_errors);
        return NGX_ERROR;
    }

    remote->holder = from;
    remote->id = id;
    remote->node.key = ngx_sio_relay_key(from, id);

    ngx_rbtree_insert(&ngx_sio_remotes, &remote->node);
    ngx_sio_count(relayed);

    request.app = ngx_sio_app_find(request.app_name);

    ngx_sio_relay_poller->request(remote, &request);

    return NGX_OK;
}


static ngx_int_t
ngx_sio_relay_got_body(ngx_sio_remote_t *remote, sio_in_t *in)
{
    uint8_t     whole;
    sio_span_t  body;

    whole = sio_in_u8(in);

    if (!whole) {
        body.p = NULL;
        body.n = sio_in_u64(in);
    }

    if (in->bad) {
        return NGX_ERROR;
    }

    if (remote->poll == NULL) {
        return NGX_OK;
    }

    if (whole) {
        body.n = in->n;
        body.p = ngx_alloc(in->n + 1, ngx_cycle->log);

        if (body.p == NULL) {
            ngx_sio_count(memory_errors);
            return NGX_ERROR;
        }

        ngx_memcpy(body.p, in->p, in->n);
    }

    ngx_sio_relay_poller->body(remote->poll, body);

    return NGX_OK;
}


ngx_sio_msg_t *
ngx_sio_relay_answer(ngx_sio_remote_t *remote, ngx_sio_answer_e answer,
    ngx_uint_t value, size_t n, u_char **body)
{
    sio_out_t       o;
    ngx_sio_msg_t  *m;

    m = ngx_sio_frame(NGX_SIO_FRAME_ANSWER, 8 + 1 + 2 + n, &o);

    if (m == NULL) {
        return NULL;
    }

    sio_out_u64(&o, remote->id);
    sio_out_byte(&o, answer);
    sio_out_u16(&o, value);

    if (body) {
        *body = o.p;
    }

    return m;
}


void
ngx_sio_relay_send_answer(ngx_sio_remote_t *remote, ngx_sio_msg_t *m)
{
    ngx_sio_bus_send(remote->holder, m);
}


static void
ngx_sio_relay_forget(ngx_sio_remote_t *remote)
{
    ngx_rbtree_delete(&ngx_sio_remotes, &remote->node);
    ngx_free(remote);
}


static ngx_rbtree_key_t
ngx_sio_relay_key(ngx_sio_origin_t holder, uint64_t id)
{
    return (ngx_rbtree_key_t) (id ^ (holder * 0x9e3779b97f4a7c15ULL));
}


static ngx_sio_remote_t *
ngx_sio_relay_remote(ngx_sio_origin_t holder, uint64_t id)
{
    ngx_rbtree_key_t    key;
    ngx_sio_remote_t   *remote;
    ngx_rbtree_node_t  *node;

    key = ngx_sio_relay_key(holder, id);
    node = ngx_sio_remotes.root;

    while (node != ngx_sio_remotes.sentinel) {

        if (node->key != key) {
            node = (key < node->key) ? node->left : node->right;
            continue;
        }

        remote = ngx_rbtree_data(node, ngx_sio_remote_t, node);

        if (remote->holder == holder && remote->id == id) {
            return remote;
        }

        node = node->right;
    }

    return NULL;
}
