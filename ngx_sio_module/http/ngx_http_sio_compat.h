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

/* the location of allow and deny, which no header of nginx declares */

typedef struct {
    ngx_array_t                  *rules;
#if (NGX_HAVE_INET6)
    ngx_array_t                  *rules6;
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
    ngx_array_t                  *rules_un;
#endif
} ngx_http_sio_access_t;


#endif /* NGX_HTTP_SIO_COMPAT_H */
