/*
 * Rules: events answered by the configuration (sio_on).
 */

#ifndef NGX_HTTP_SIO_RULES_H
#define NGX_HTTP_SIO_RULES_H

#include "http/ngx_http_sio.h"


/* the rules as the application of the core */

extern const ngx_sio_application_t  ngx_http_sio_rules_application;


/* Creates an empty set of rules for a namespace; NULL if no memory. */
ngx_http_sio_rules_t *ngx_http_sio_rules_create(ngx_conf_t *cf);

/*
 * Adds the rule of a sio_on directive, whose words are in cf->args.
 *
 * takes    keep_auth: set to 1 if the rule uses $sio_auth
 * returns  NGX_CONF_OK or NGX_CONF_ERROR (logged)
 */
char *ngx_http_sio_rules_add(ngx_conf_t *cf, ngx_http_sio_rules_t *rules,
    ngx_uint_t *keep_auth);

/*
 * Checks that the rules suit sio_parser none, which has neither names nor
 * arguments to give.
 *
 * returns  NGX_OK or NGX_ERROR (logged)
 */
ngx_int_t ngx_http_sio_rules_check_plain(ngx_conf_t *cf,
    ngx_http_sio_rules_t *rules);

/*
 * Prepares the rules in a worker; called once, in the worker.
 *
 * returns  NGX_ERROR if there is no memory
 */
ngx_int_t ngx_http_sio_rules_init(ngx_cycle_t *cycle);

/* Gives back what ngx_http_sio_rules_init took. */
void ngx_http_sio_rules_done(void);


#endif /* NGX_HTTP_SIO_RULES_H */
