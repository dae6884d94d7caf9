/*
 * The differences between the versions of nginx that the module builds
 * against: 1.22 (Debian 12) to mainline.
 */

#ifndef NGX_HTTP_SIO_COMPAT_H
#define NGX_HTTP_SIO_COMPAT_H

#include <ngx_config.h>
#include <ngx_core.h>


/* since 1.23.0 headers of one name are linked */

#if (nginx_version >= 1023000)
#define ngx_http_sio_header_last(h)  (h)->next = NULL
#else
#define ngx_http_sio_header_last(h)
#endif


#endif /* NGX_HTTP_SIO_COMPAT_H */
