/*
 * Rules at start-up: sio_on directives become what events run.
 */

#ifndef NGX_HTTP_SIO_RULES_CONF_H
#define NGX_HTTP_SIO_RULES_CONF_H

#include "http/ngx_http_sio.h"


/* makes a handler of a URI; NULL if that can't be (logged) */

typedef ngx_http_sio_handler_t *(*ngx_http_sio_rules_conf_handler_pt)(
    ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf, ngx_str_t *text);


/* Creates an empty set of rules for a namespace; NULL if no memory. */
ngx_http_sio_rules_t *ngx_http_sio_rules_conf_create(ngx_conf_t *cf);

/*
 * Adds the rule of a sio_on directive, whose words are in cf->args.
 *
 * takes    conf: whose keep_auth is set if the rule uses $sio_auth
 * returns  NGX_CONF_OK or NGX_CONF_ERROR (logged)
 */
char *ngx_http_sio_rules_conf_add(ngx_conf_t *cf, ngx_http_sio_rules_t *rules,
    ngx_http_sio_loc_conf_t *conf,
    ngx_http_sio_rules_conf_handler_pt handler);

/*
 * Checks that the rules suit sio_parser none, which has neither names nor
 * arguments to give.
 *
 * returns  NGX_OK or NGX_ERROR (logged)
 */
ngx_int_t ngx_http_sio_rules_conf_check_plain(ngx_conf_t *cf,
    ngx_http_sio_rules_t *rules);


#endif /* NGX_HTTP_SIO_RULES_CONF_H */
