/*
 * Variables for the configuration.
 */

#ifndef NGX_HTTP_SIO_VARIABLES_H
#define NGX_HTTP_SIO_VARIABLES_H

#include "http/ngx_http_sio.h"


/* Adds the module's variables; returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_sio_variables_add(ngx_conf_t *cf);


#endif /* NGX_HTTP_SIO_VARIABLES_H */
