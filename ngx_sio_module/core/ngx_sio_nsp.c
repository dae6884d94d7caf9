/*
 * Namespaces exist while they have sockets, admitted or not, so that a client
 * who makes up names for a regular expression leaves nothing behind.
 */

#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_stats.h"


static ngx_sio_app_t  **ngx_sio_apps;
static ngx_uint_t       ngx_sio_napps;


void
ngx_sio_app_init(ngx_sio_app_t *app)
{
    ngx_rbtree_init(&app->namespaces, &app->sentinel,
                    ngx_str_rbtree_insert_value);
}


void
ngx_sio_app_set(ngx_sio_app_t **apps, ngx_uint_t n)
{
    ngx_sio_apps = apps;
    ngx_sio_napps = n;
}


ngx_sio_app_t *
ngx_sio_app_find(sio_span_t name)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_sio_napps; i++) {
        if (sio_span_eq(ngx_sio_span(&ngx_sio_apps[i]->name), name)) {
            return ngx_sio_apps[i];
        }
    }

    return NULL;
}


const ngx_sio_conf_t *
ngx_sio_app_conf(ngx_sio_app_t *app, sio_span_t place)
{
    ngx_uint_t        i;
    ngx_sio_conf_t  **conf;

    conf = app->confs.elts;

    for (i = 0; i < app->confs.nelts; i++) {
        if (sio_span_eq(ngx_sio_span(&conf[i]->place), place)) {
            return conf[i];
        }
    }

    return NULL;
}


ngx_sio_nsp_t *
ngx_sio_nsp_find(ngx_sio_app_t *app, ngx_str_t *name)
{
    return (ngx_sio_nsp_t *) ngx_str_rbtree_lookup(&app->namespaces, name,
                                     ngx_crc32_short(name->data, name->len));
}


ngx_sio_nsp_t *
ngx_sio_nsp_get(ngx_sio_app_t *app, ngx_str_t *name)
{
    ngx_sio_nsp_t  *nsp;

    nsp = ngx_sio_nsp_find(app, name);
    if (nsp) {
        return nsp;
    }

    nsp = ngx_calloc(sizeof(ngx_sio_nsp_t) + name->len, ngx_cycle->log);
    if (nsp == NULL) {
        ngx_sio_count(memory_errors);
        return NULL;
    }

    nsp->app = app;

    nsp->sn.str.data = (u_char *) (nsp + 1);
    nsp->sn.str.len = name->len;
    ngx_memcpy(nsp->sn.str.data, name->data, name->len);

    nsp->sn.node.key = ngx_crc32_short(name->data, name->len);

    ngx_queue_init(&nsp->sockets);
    ngx_rbtree_init(&nsp->rooms, &nsp->sentinel, ngx_str_rbtree_insert_value);

    ngx_rbtree_insert(&app->namespaces, &nsp->sn.node);
    ngx_sio_count(namespaces);

    return nsp;
}


void
ngx_sio_nsp_release(ngx_sio_nsp_t *nsp)
{
    if (nsp->n || nsp->rooms.root != nsp->rooms.sentinel) {
        return;
    }

    ngx_rbtree_delete(&nsp->app->namespaces, &nsp->sn.node);
    ngx_sio_uncount(namespaces);

    ngx_free(nsp);
}


ngx_sio_nsp_conf_t *
ngx_sio_nsp_match(const ngx_sio_conf_t *conf, ngx_str_t *name)
{
    ngx_uint_t           i;
    ngx_sio_nsp_conf_t  *nc;

    nc = conf->namespaces.elts;

    for (i = 0; i < conf->namespaces.nelts; i++) {

#if (NGX_PCRE)
        if (nc[i].regex) {
            if (ngx_regex_exec(nc[i].regex, name, NULL, 0) >= 0) {
                return &nc[i];
            }

            continue;
        }
#endif

        if (nc[i].name.len == name->len
            && ngx_memcmp(nc[i].name.data, name->data, name->len) == 0)
        {
            return &nc[i];
        }
    }

    return NULL;
}
