/*
 * Ids and the two trees that find sessions and sockets by them.  Ids begin
 * with 12 random bytes, so their first characters serve as keys and nobody
 * can choose colliding ones; a look-up compares the whole id.  A sid ends
 * with its first owner, so that any worker knows whom to ask; a socket's id
 * with a check of the rest, so that any worker knows it for one.
 */

#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_socket.h"
#include "core/ngx_sio_nsp.h"
#include "proto/sio_base64.h"


#define NGX_SIO_RANDOM_SIZE  1020
#define NGX_SIO_RANDOM_FILE  "/dev/urandom"


static void ngx_sio_registry_check(u_char *raw, u_char *check);
static ngx_rbtree_key_t ngx_sio_registry_key(u_char *id);


static ngx_rbtree_t       ngx_sio_sessions;
static ngx_rbtree_t       ngx_sio_sockets;
static ngx_rbtree_node_t  ngx_sio_sessions_sentinel;
static ngx_rbtree_node_t  ngx_sio_sockets_sentinel;

static u_char             ngx_sio_random[NGX_SIO_RANDOM_SIZE];
static size_t             ngx_sio_random_left;

static u_char             ngx_sio_origin[6];    /* epoch and slot */
static u_char             ngx_sio_node[3];


ngx_int_t
ngx_sio_registry_init(ngx_cycle_t *cycle)
{
    uint32_t  node;

    ngx_rbtree_init(&ngx_sio_sessions, &ngx_sio_sessions_sentinel,
                    ngx_rbtree_insert_value);
    ngx_rbtree_init(&ngx_sio_sockets, &ngx_sio_sockets_sentinel,
                    ngx_rbtree_insert_value);

    ngx_sio_random_left = 0;

    node = ngx_murmur_hash2(cycle->hostname.data, cycle->hostname.len);
    ngx_memcpy(ngx_sio_node, &node, sizeof(ngx_sio_node));

    return NGX_OK;
}


void
ngx_sio_registry_set_origin(ngx_sio_origin_t origin)
{
    ngx_uint_t  i;

    for (i = 0; i < sizeof(ngx_sio_origin); i++) {
        ngx_sio_origin[i] = (u_char) (origin >> (8 * i));
    }
}


ngx_sio_origin_t
ngx_sio_registry_owner(sio_span_t sid)
{
    u_char            buf[12];
    ngx_str_t         in, out;
    ngx_uint_t        i;
    ngx_sio_origin_t  origin;

    if (sid.n != NGX_SIO_SID_LEN) {
        return 0;
    }

    in.data = sid.p + 16;
    in.len = 12;
    out.data = buf;

    if (ngx_decode_base64url(&out, &in) != NGX_OK) {
        return 0;
    }

    for (origin = 0, i = sizeof(ngx_sio_origin); i > 0; i--) {
        origin = (origin << 8) | buf[i - 1];
    }

    return origin;
}


ngx_int_t
ngx_sio_registry_random(u_char *buf, size_t n)
{
    u_char   *p;
    ssize_t   got;
    ngx_fd_t  fd;

    if (ngx_sio_random_left < n) {

        fd = ngx_open_file(NGX_SIO_RANDOM_FILE, NGX_FILE_RDONLY,
                           NGX_FILE_OPEN, 0);
        if (fd == NGX_INVALID_FILE) {
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                          ngx_open_file_n " \"%s\" failed",
                          NGX_SIO_RANDOM_FILE);
            return NGX_ERROR;
        }

        got = ngx_read_fd(fd, ngx_sio_random, NGX_SIO_RANDOM_SIZE);

        if (ngx_close_file(fd) == NGX_FILE_ERROR) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          ngx_close_file_n " \"%s\" failed",
                          NGX_SIO_RANDOM_FILE);
        }

        if (got != NGX_SIO_RANDOM_SIZE) {
            ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, ngx_errno,
                          ngx_read_fd_n " \"%s\" returned only %z",
                          NGX_SIO_RANDOM_FILE, got);
            return NGX_ERROR;
        }

        ngx_sio_random_left = NGX_SIO_RANDOM_SIZE;
    }

    /* what was given away is wiped: no id can be read from memory twice */

    ngx_sio_random_left -= n;
    p = ngx_sio_random + ngx_sio_random_left;

    ngx_memcpy(buf, p, n);
    ngx_memzero(p, n);

    return NGX_OK;
}


ngx_int_t
ngx_sio_registry_new_sid(u_char *sid)
{
    u_char     raw[21];
    sio_out_t  o;

    if (ngx_sio_registry_random(raw, 12) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_memcpy(raw + 12, ngx_sio_origin, 6);
    ngx_memcpy(raw + 18, ngx_sio_node, 3);

    o.p = sid;
    o.n = 0;

    sio_base64url_encode(&o, (sio_span_t) { raw, sizeof(raw) });

    return NGX_OK;
}


ngx_int_t
ngx_sio_registry_new_id(u_char *id)
{
    u_char     raw[15];
    sio_out_t  o;

    if (ngx_sio_registry_random(raw, 12) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sio_registry_check(raw, raw + 12);

    o.p = id;
    o.n = 0;

    sio_base64url_encode(&o, (sio_span_t) { raw, sizeof(raw) });

    return NGX_OK;
}


ngx_uint_t
ngx_sio_registry_is_id(sio_span_t name)
{
    u_char     raw[15], check[3];
    ngx_str_t  in, out;

    if (name.n != NGX_SIO_ID_LEN) {
        return 0;
    }

    in = ngx_sio_str(name);
    out.data = raw;

    if (ngx_decode_base64url(&out, &in) != NGX_OK || out.len != sizeof(raw)) {
        return 0;
    }

    ngx_sio_registry_check(raw, check);

    return ngx_memcmp(raw + 12, check, sizeof(check)) == 0;
}


static void
ngx_sio_registry_check(u_char *raw, u_char *check)
{
    uint32_t  hash;

    hash = ngx_murmur_hash2(raw, 12);

    check[0] = (u_char) (hash >> 16);
    check[1] = (u_char) (hash >> 8);
    check[2] = (u_char) hash;
}


static ngx_rbtree_key_t
ngx_sio_registry_key(u_char *id)
{
    ngx_rbtree_key_t  key;

    ngx_memcpy(&key, id, sizeof(key));

    return key;
}


void
ngx_sio_registry_add_session(ngx_sio_session_t *s)
{
    s->node.key = ngx_sio_registry_key(s->sid);
    ngx_rbtree_insert(&ngx_sio_sessions, &s->node);
}


void
ngx_sio_registry_remove_session(ngx_sio_session_t *s)
{
    ngx_rbtree_delete(&ngx_sio_sessions, &s->node);
}


void
ngx_sio_registry_add_socket(ngx_sio_socket_t *sk)
{
    sk->node.key = ngx_sio_registry_key(sk->id);
    ngx_rbtree_insert(&ngx_sio_sockets, &sk->node);
}


void
ngx_sio_registry_remove_socket(ngx_sio_socket_t *sk)
{
    ngx_rbtree_delete(&ngx_sio_sockets, &sk->node);
}


/* the next node with this key; two ids share one once in 2^48 */

static ngx_rbtree_node_t *
ngx_sio_registry_find(ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel,
    ngx_rbtree_key_t key)
{
    while (node != sentinel && node->key != key) {
        node = (key < node->key) ? node->left : node->right;
    }

    return node;
}


ngx_sio_session_t *
ngx_sio_registry_session(ngx_sio_app_t *app, sio_span_t sid)
{
    ngx_rbtree_key_t    key;
    ngx_rbtree_node_t  *node, *sentinel;
    ngx_sio_session_t  *s;

    if (sid.n != NGX_SIO_SID_LEN) {
        return NULL;
    }

    key = ngx_sio_registry_key(sid.p);
    node = ngx_sio_sessions.root;
    sentinel = ngx_sio_sessions.sentinel;

    for ( ;; ) {
        node = ngx_sio_registry_find(node, sentinel, key);

        if (node == sentinel) {
            return NULL;
        }

        s = ngx_rbtree_data(node, ngx_sio_session_t, node);

        if (s->conf->app == app
            && ngx_memcmp(s->sid, sid.p, NGX_SIO_SID_LEN) == 0)
        {
            return s;
        }

        node = node->right;
    }
}


void
ngx_sio_registry_each_session(void (*f)(ngx_sio_session_t *s))
{
    ngx_rbtree_node_t  *node, *next;

    if (ngx_sio_sessions.root == ngx_sio_sessions.sentinel) {
        return;
    }

    for (node = ngx_rbtree_min(ngx_sio_sessions.root,
                               ngx_sio_sessions.sentinel);
         node; node = next)
    {
        next = ngx_rbtree_next(&ngx_sio_sessions, node);
        f(ngx_rbtree_data(node, ngx_sio_session_t, node));
    }
}


ngx_sio_socket_t *
ngx_sio_registry_socket(ngx_sio_nsp_t *nsp, sio_span_t id)
{
    ngx_rbtree_key_t    key;
    ngx_sio_socket_t   *sk;
    ngx_rbtree_node_t  *node, *sentinel;

    if (id.n != NGX_SIO_ID_LEN) {
        return NULL;
    }

    key = ngx_sio_registry_key(id.p);
    node = ngx_sio_sockets.root;
    sentinel = ngx_sio_sockets.sentinel;

    for ( ;; ) {
        node = ngx_sio_registry_find(node, sentinel, key);

        if (node == sentinel) {
            return NULL;
        }

        sk = ngx_rbtree_data(node, ngx_sio_socket_t, node);

        if (sk->nsp == nsp && ngx_memcmp(sk->id, id.p, NGX_SIO_ID_LEN) == 0) {
            return sk;
        }

        node = node->right;
    }
}
