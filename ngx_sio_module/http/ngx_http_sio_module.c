/*
 * The module: directives, their inheritance and checks, and the one place
 * where the layers are plugged together (ngx_http_sio_wire).
 */

#include "http/ngx_http_sio.h"
#include "http/ngx_http_sio_api.h"
#include "http/ngx_http_sio_application.h"
#include "http/ngx_http_sio_backend.h"
#include "http/ngx_http_sio_call.h"
#include "http/ngx_http_sio_compat.h"
#include "http/ngx_http_sio_handler.h"
#include "http/ngx_http_sio_relay.h"
#include "http/ngx_http_sio_rules.h"
#include "http/ngx_http_sio_rules_conf.h"
#include "http/ngx_http_sio_status.h"
#include "http/ngx_http_sio_transfer.h"
#include "http/ngx_http_sio_variables.h"
#include "cluster/ngx_sio_bus.h"
#include "cluster/ngx_sio_directory.h"
#include "cluster/ngx_sio_handover.h"
#include "cluster/ngx_sio_relay.h"
#include "cluster/ngx_sio_zone.h"
#include "core/ngx_sio_nsp.h"
#include "core/ngx_sio_registry.h"
#include "core/ngx_sio_session.h"
#include "core/ngx_sio_socket.h"


#define NGX_HTTP_SIO_MAX_ATTACHMENTS  255

#define NGX_HTTP_SIO_BUS_SUFFIX       ".sio"    /* behind the pid file */
#define NGX_HTTP_SIO_BUS_BUFFER       (16 * 1024 * 1024)
#define NGX_HTTP_SIO_MIN_BUS_BUFFER   (1024 * 1024)
#define NGX_HTTP_SIO_MAX_BUS_BUFFER   (256 * 1024 * 1024)
#define NGX_HTTP_SIO_ZONE_SIZE        (1024 * 1024)


static ngx_int_t ngx_http_sio_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_sio_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_sio_check_api(ngx_conf_t *cf,
    ngx_http_sio_place_t *api);
static ngx_uint_t ngx_http_sio_guarded(ngx_conf_t *cf,
    ngx_http_core_loc_conf_t *clcf);
static void *ngx_http_sio_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_sio_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_sio_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_sio_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_http_sio_wire(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf);
static ngx_int_t ngx_http_sio_place(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf, ngx_uint_t api);
static ngx_int_t ngx_http_sio_name_place(ngx_conf_t *cf,
    ngx_http_sio_place_t *place);
static ngx_int_t ngx_http_sio_data_names(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf);
static ngx_int_t ngx_http_sio_namespaces(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf);
static ngx_sio_app_t *ngx_http_sio_app(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf);

static char *ngx_http_sio(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sio_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_serve(ngx_http_core_loc_conf_t *clcf,
    ngx_http_handler_pt handler);
static char *ngx_http_sio_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_bus_path(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_bus_buffer(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_sio_zone_size(ngx_conf_t *cf, void *post, void *data);
static ngx_http_sio_rules_t *ngx_http_sio_own_rules(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *slcf);
static char *ngx_http_sio_on(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_http_sio_set_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_add_handler(ngx_conf_t *cf,
    ngx_http_sio_loc_conf_t *conf, ngx_http_sio_rules_t *rules);
static char *ngx_http_sio_handler_headers(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_namespace(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_namespace_line(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_allow_origin(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_data(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_set_cookie(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_sio_positive(ngx_conf_t *cf, void *post, void *data);
#if (NGX_PCRE)
static ngx_regex_t *ngx_http_sio_regex(ngx_conf_t *cf, ngx_str_t *pattern);
#endif

static ngx_int_t ngx_http_sio_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_sio_default_bus_path(ngx_cycle_t *cycle,
    ngx_str_t *path);
static ngx_int_t ngx_http_sio_init_process(ngx_cycle_t *cycle);
static void ngx_http_sio_exit_process(ngx_cycle_t *cycle);
static void ngx_http_sio_exit_master(ngx_cycle_t *cycle);


static ngx_conf_post_t  ngx_http_sio_positive_post = {
    ngx_http_sio_positive
};

static ngx_conf_post_t  ngx_http_sio_bus_buffer_post = {
    ngx_http_sio_bus_buffer
};

static ngx_conf_post_t  ngx_http_sio_zone_size_post = {
    ngx_http_sio_zone_size
};

static ngx_conf_num_bounds_t  ngx_http_sio_attachments_bounds = {
    ngx_conf_check_num_bounds, 0, NGX_HTTP_SIO_MAX_ATTACHMENTS
};

static ngx_conf_num_bounds_t  ngx_http_sio_namespaces_bounds = {
    ngx_conf_check_num_bounds, 1, 1024
};

static ngx_conf_num_bounds_t  ngx_http_sio_rooms_bounds = {
    ngx_conf_check_num_bounds, 1, -1
};

static ngx_conf_num_bounds_t  ngx_http_sio_depth_bounds = {
    ngx_conf_check_num_bounds, 1, 10000
};

static ngx_conf_num_bounds_t  ngx_http_sio_inflight_bounds = {
    ngx_conf_check_num_bounds, 1, 65535
};

static ngx_conf_num_bounds_t  ngx_http_sio_batch_bounds = {
    ngx_conf_check_num_bounds, 1, 1000
};


static ngx_conf_bitmask_t  ngx_http_sio_transport_names[] = {
    { ngx_string("polling"), NGX_HTTP_SIO_POLLING },
    { ngx_string("websocket"), NGX_HTTP_SIO_WEBSOCKET },
    { ngx_null_string, 0 }
};

static ngx_conf_enum_t  ngx_http_sio_parsers[] = {
    { ngx_string("json"), NGX_HTTP_SIO_PARSER_JSON },
    { ngx_string("none"), NGX_HTTP_SIO_PARSER_NONE },
    { ngx_null_string, 0 }
};


#define NGX_HTTP_SIO_ANY_CONF                                                 \
    (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF)


static ngx_command_t  ngx_http_sio_commands[] = {

    { ngx_string("sio"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_sio,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_app"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, app),
      NULL },

    { ngx_string("sio_parser"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, parser),
      &ngx_http_sio_parsers },

    { ngx_string("sio_transports"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE12,
      ngx_conf_set_bitmask_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, transports),
      &ngx_http_sio_transport_names },

    { ngx_string("sio_ping_interval"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.ping_interval),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_ping_timeout"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.ping_timeout),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_upgrade_timeout"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.upgrade_timeout),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_connect_timeout"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.connect_timeout),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_max_payload"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_payload),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_max_queue"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_queue),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_max_attachments"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_attachments),
      &ngx_http_sio_attachments_bounds },

    { ngx_string("sio_max_namespaces"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_namespaces),
      &ngx_http_sio_namespaces_bounds },

    { ngx_string("sio_max_rooms"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_rooms),
      &ngx_http_sio_rooms_bounds },

    { ngx_string("sio_max_depth"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, core.max_depth),
      &ngx_http_sio_depth_bounds },

    { ngx_string("sio_cookie"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_sio_set_cookie,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_allow_origin"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_sio_allow_origin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_data"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE2,
      ngx_http_sio_data,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_on"),
      NGX_HTTP_LOC_CONF|NGX_CONF_2MORE,
      ngx_http_sio_on,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_namespace"),
      NGX_HTTP_LOC_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_sio_namespace,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_handler"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_sio_set_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_handler_headers"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_sio_handler_headers,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_handler_inflight"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_inflight),
      &ngx_http_sio_inflight_bounds },

    { ngx_string("sio_handler_queue"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_queue),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_handler_batch"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_batch),
      &ngx_http_sio_batch_bounds },

    { ngx_string("sio_handler_retry"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_retry),
      NULL },

    { ngx_string("sio_handler_timeout"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_timeout),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_handler_max_response"),
      NGX_HTTP_SIO_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_sio_loc_conf_t, handler_max_response),
      &ngx_http_sio_positive_post },

    { ngx_string("sio_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_sio_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_sio_api,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_bus_path"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_sio_bus_path,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("sio_bus_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sio_main_conf_t, bus_buffer),
      &ngx_http_sio_bus_buffer_post },

    { ngx_string("sio_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_sio_main_conf_t, zone_size),
      &ngx_http_sio_zone_size_post },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_sio_module_ctx = {
    ngx_http_sio_preconfiguration,         /* preconfiguration */
    ngx_http_sio_postconfiguration,        /* postconfiguration */

    ngx_http_sio_create_main_conf,         /* create main configuration */
    ngx_http_sio_init_main_conf,           /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_sio_create_loc_conf,          /* create location configuration */
    ngx_http_sio_merge_loc_conf            /* merge location configuration */
};


ngx_module_t  ngx_http_sio_module = {
    NGX_MODULE_V1,
    &ngx_http_sio_module_ctx,              /* module context */
    ngx_http_sio_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_sio_init_module,              /* init module */
    ngx_http_sio_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_sio_exit_process,             /* exit process */
    ngx_http_sio_exit_master,              /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_sio_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_sio_variables_add(cf);
}


static ngx_int_t
ngx_http_sio_postconfiguration(ngx_conf_t *cf)
{
    size_t                     size;
    ngx_str_t                  name = ngx_string("sio");
    ngx_uint_t                 i;
    ngx_http_sio_place_t      *api, *place;
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);

    api = smcf->apis.elts;

    for (i = 0; i < smcf->apis.nelts; i++) {
        if (ngx_http_sio_check_api(cf, &api[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (!smcf->used) {
        return NGX_OK;
    }

    place = smcf->places.elts;

    for (i = 0; i < smcf->places.nelts; i++) {
        size = ngx_max(place[i].conf->core.max_payload,
                       place[i].conf->core.max_queue);

        /* binary packets grow by a third on their way to a poll */

        if (size + size / 3 > smcf->bus_buffer) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "\"sio_bus_buffer\" %uz is too small for "
                          "\"sio_max_payload\" and \"sio_max_queue\" in "
                          "location \"%V\": not all that they permit can go "
                          "from one worker to another", smcf->bus_buffer,
                          &place[i].conf->location);
            break;
        }
    }

    if (smcf->handlers && ngx_http_sio_call_install(cf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_sio_handover_judge = ngx_http_sio_judge;
    ngx_sio_bus_backend = &ngx_http_sio_transfer_bus;
    ngx_sio_relay_set(&ngx_http_sio_relay_holder, &ngx_http_sio_poller);

    smcf->zone = ngx_shared_memory_add(cf, &name, smcf->zone_size,
                                       &ngx_http_sio_module);
    if (smcf->zone == NULL) {
        return NGX_ERROR;
    }

    smcf->zone->init = ngx_sio_zone_init;

    return NGX_OK;
}


/* the app of an API: what sio_app says, or the only one of its server */

static ngx_int_t
ngx_http_sio_check_api(ngx_conf_t *cf, ngx_http_sio_place_t *api)
{
    ngx_uint_t                  i;
    ngx_http_sio_place_t       *place;
    ngx_http_sio_loc_conf_t    *conf;
    ngx_http_sio_main_conf_t   *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);
    conf = api->conf;

    if (!ngx_http_sio_guarded(cf, api->location)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "location \"%V\" with \"sio_api\" has neither "
                      "\"internal\" nor \"allow\" or \"deny\": who may "
                      "reach it can send to all clients",
                      &api->location->name);
        return NGX_ERROR;
    }

    place = smcf->places.elts;

    for (i = 0; i < smcf->places.nelts; i++) {

        if (conf->app.len
            ? (place[i].conf->core.app->name.len != conf->app.len
               || ngx_memcmp(place[i].conf->core.app->name.data,
                             conf->app.data, conf->app.len) != 0)
            : place[i].server != api->server)
        {
            continue;
        }

        if (conf->api_app && conf->api_app != place[i].conf->core.app) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"sio_api\" in location \"%V\" needs "
                          "\"sio_app\": its server has more than one app",
                          &api->location->name);
            return NGX_ERROR;
        }

        conf->api_app = place[i].conf->core.app;
    }

    if (conf->api_app == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sio_api\" in location \"%V\": there is no location "
                      "with \"sio\" %s", &api->location->name,
                      conf->app.len ? "and its \"sio_app\""
                                    : "in its server, nor a \"sio_app\"");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_sio_guarded(ngx_conf_t *cf, ngx_http_core_loc_conf_t *clcf)
{
    ngx_uint_t              i;
    ngx_http_sio_access_t  *access;

    if (clcf->internal) {
        return 1;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {

        if (ngx_strcmp(cf->cycle->modules[i]->name, "ngx_http_access_module")
            != 0)
        {
            continue;
        }

        access = clcf->loc_conf[cf->cycle->modules[i]->ctx_index];

        return access->rules != NULL
#if (NGX_HAVE_INET6)
               || access->rules6 != NULL
#endif
#if (NGX_HAVE_UNIX_DOMAIN)
               || access->rules_un != NULL
#endif
               ;
    }

    return 0;
}


static void *
ngx_http_sio_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sio_main_conf_t));
    if (smcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&smcf->apps, cf->pool, 4, sizeof(ngx_sio_app_t *))
        != NGX_OK
        || ngx_array_init(&smcf->places, cf->pool, 4,
                          sizeof(ngx_http_sio_place_t)) != NGX_OK
        || ngx_array_init(&smcf->apis, cf->pool, 1,
                          sizeof(ngx_http_sio_place_t)) != NGX_OK)
    {
        return NULL;
    }

    smcf->bus_buffer = NGX_CONF_UNSET_SIZE;
    smcf->zone_size = NGX_CONF_UNSET_SIZE;

    return smcf;
}


static char *
ngx_http_sio_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_sio_main_conf_t *smcf = conf;

    ngx_conf_init_size_value(smcf->bus_buffer, NGX_HTTP_SIO_BUS_BUFFER);
    ngx_conf_init_size_value(smcf->zone_size, NGX_HTTP_SIO_ZONE_SIZE);

    return NGX_CONF_OK;
}


static void *
ngx_http_sio_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_sio_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_sio_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->enable = 0;
     *     conf->transports = 0;
     *     conf->app = { 0, NULL };
     *     conf->rules = NULL;
     *     conf->namespaces = empty;
     */

    conf->core.ping_interval = NGX_CONF_UNSET_MSEC;
    conf->core.ping_timeout = NGX_CONF_UNSET_MSEC;
    conf->core.upgrade_timeout = NGX_CONF_UNSET_MSEC;
    conf->core.connect_timeout = NGX_CONF_UNSET_MSEC;
    conf->core.max_payload = NGX_CONF_UNSET_SIZE;
    conf->core.max_queue = NGX_CONF_UNSET_SIZE;
    conf->core.max_attachments = NGX_CONF_UNSET_UINT;
    conf->core.max_namespaces = NGX_CONF_UNSET_UINT;
    conf->core.max_rooms = NGX_CONF_UNSET_UINT;
    conf->core.max_depth = NGX_CONF_UNSET_UINT;

    conf->handler_inflight = NGX_CONF_UNSET_UINT;
    conf->handler_queue = NGX_CONF_UNSET_SIZE;
    conf->handler_batch = NGX_CONF_UNSET_UINT;
    conf->handler_retry = NGX_CONF_UNSET_MSEC;
    conf->handler_timeout = NGX_CONF_UNSET_MSEC;
    conf->handler_max_response = NGX_CONF_UNSET_SIZE;
    conf->handler_headers = NGX_CONF_UNSET_PTR;

    ngx_queue_init(&conf->handler_waiting);
    ngx_queue_init(&conf->calls);

    conf->parser = NGX_CONF_UNSET_UINT;
    conf->origins = NGX_CONF_UNSET_PTR;
    conf->data = NGX_CONF_UNSET_PTR;

    return conf;
}


static char *
ngx_http_sio_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_sio_loc_conf_t *prev = parent;
    ngx_http_sio_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except": a configuration of their own, served alike */

    if (clcf->noname && prev->api) {
        conf->api = 1;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_sio_api_handler;
        }
    }

    if (clcf->noname && prev->enable) {
        conf->enable = 1;
        conf->location = prev->location;
        conf->rules = prev->rules;
        conf->namespaces = prev->namespaces;
        conf->handlers = prev->handlers;
        conf->core.keep_auth = prev->core.keep_auth;

        if (clcf->lmt_excpt && clcf->handler == NULL) {
            clcf->handler = ngx_http_sio_handler;
        }
    }

    ngx_conf_merge_str_value(conf->app, prev->app, "");
    ngx_conf_merge_uint_value(conf->parser, prev->parser,
                              NGX_HTTP_SIO_PARSER_JSON);
    ngx_conf_merge_bitmask_value(conf->transports, prev->transports,
                                 (NGX_CONF_BITMASK_SET|NGX_HTTP_SIO_POLLING
                                  |NGX_HTTP_SIO_WEBSOCKET));

    ngx_conf_merge_msec_value(conf->core.ping_interval,
                              prev->core.ping_interval, 25000);
    ngx_conf_merge_msec_value(conf->core.ping_timeout,
                              prev->core.ping_timeout, 20000);
    ngx_conf_merge_msec_value(conf->core.upgrade_timeout,
                              prev->core.upgrade_timeout, 10000);
    ngx_conf_merge_msec_value(conf->core.connect_timeout,
                              prev->core.connect_timeout, 45000);

    ngx_conf_merge_size_value(conf->core.max_payload,
                              prev->core.max_payload, 1000000);
    ngx_conf_merge_size_value(conf->core.max_queue,
                              prev->core.max_queue, 1024 * 1024);
    ngx_conf_merge_uint_value(conf->core.max_attachments,
                              prev->core.max_attachments, 10);
    ngx_conf_merge_uint_value(conf->core.max_namespaces,
                              prev->core.max_namespaces, 16);
    ngx_conf_merge_uint_value(conf->core.max_rooms,
                              prev->core.max_rooms, 256);
    ngx_conf_merge_uint_value(conf->core.max_depth,
                              prev->core.max_depth, 64);

    ngx_conf_merge_uint_value(conf->handler_inflight,
                              prev->handler_inflight, 256);
    ngx_conf_merge_size_value(conf->handler_queue, prev->handler_queue,
                              256 * 1024);
    ngx_conf_merge_uint_value(conf->handler_batch, prev->handler_batch, 1);
    ngx_conf_merge_msec_value(conf->handler_retry, prev->handler_retry,
                              30000);
    ngx_conf_merge_msec_value(conf->handler_timeout, prev->handler_timeout,
                              60000);
    ngx_conf_merge_size_value(conf->handler_max_response,
                              prev->handler_max_response, 1024 * 1024);
    ngx_conf_merge_ptr_value(conf->handler_headers, prev->handler_headers,
                             NULL);

    ngx_conf_merge_ptr_value(conf->origins, prev->origins, NULL);
    ngx_conf_merge_ptr_value(conf->data, prev->data, NULL);

    if (conf->cookie.name.data == NULL) {
        conf->cookie = prev->cookie;
    }

    if (conf->api && ngx_http_sio_place(cf, conf, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (conf->enable) {
        return ngx_http_sio_wire(cf, conf);
    }

    if (conf->rules || conf->namespaces.nelts) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"sio_on\", \"sio_handler\" and \"sio_namespace\" need "
                      "\"sio\" in their location, \"%V\" has none",
                      &conf->location);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sio_place(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf,
    ngx_uint_t api)
{
    ngx_http_sio_place_t      *place;
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);

    place = ngx_array_push(api ? &smcf->apis : &smcf->places);
    if (place == NULL) {
        return NGX_ERROR;
    }

    place->server = ngx_http_conf_get_module_srv_conf(cf,
                                                      ngx_http_core_module);
    place->location = ngx_http_conf_get_module_loc_conf(cf,
                                                        ngx_http_core_module);
    place->conf = conf;

    return api ? NGX_OK : ngx_http_sio_name_place(cf, place);
}


/*
 * Names a location so that it is found again in the configuration of another
 * worker: by its server, its name, and its number among those named alike
 * ("if" blocks are).
 */

static ngx_int_t
ngx_http_sio_name_place(ngx_conf_t *cf, ngx_http_sio_place_t *place)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i, n;
    ngx_sio_conf_t            *core, **conf;
    ngx_http_sio_place_t      *other;
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);
    core = &place->conf->core;
    other = smcf->places.elts;

    for (n = 0, i = 0; &other[i] != place; i++) {
        n += other[i].conf->location.len == place->conf->location.len
             && ngx_strncmp(other[i].conf->location.data,
                            place->conf->location.data,
                            place->conf->location.len) == 0
             && other[i].server->server_name.len
                == place->server->server_name.len
             && ngx_strncmp(other[i].server->server_name.data,
                            place->server->server_name.data,
                            place->server->server_name.len) == 0;
    }

    name = &core->place;
    name->data = ngx_pnalloc(cf->pool, place->server->server_name.len
                                       + place->conf->location.len
                                       + NGX_INT_T_LEN + 2);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    name->len = ngx_sprintf(name->data, "%V %V", &place->server->server_name,
                            &place->conf->location) - name->data;

    if (n) {
        name->len = ngx_sprintf(name->data + name->len, " %ui", n)
                    - name->data;
    }

    conf = ngx_array_push(&core->app->confs);
    if (conf == NULL) {
        return NGX_ERROR;
    }

    *conf = core;

    return NGX_OK;
}


/* the whole machine: which code serves a sio location */

static char *
ngx_http_sio_wire(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    smcf->used = 1;
    smcf->handlers |= (conf->handlers != NULL);
    conf->core.bound_auth = conf->core.keep_auth || conf->handlers != NULL;

    conf->call_ctx = ngx_http_sio_call_ctx(cf);
    if (conf->call_ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    conf->core.log = clcf->error_log;
    conf->core.application = &ngx_http_sio_application;
    conf->core.user = (conf->parser == NGX_HTTP_SIO_PARSER_NONE)
                      ? &ngx_sio_plain_user : &ngx_sio_socket_user;

    conf->core.app = ngx_http_sio_app(cf, conf);

    if (conf->core.app == NULL
        || ngx_http_sio_namespaces(cf, conf) != NGX_OK
        || ngx_http_sio_data_names(cf, conf) != NGX_OK
        || ngx_http_sio_place(cf, conf, 0) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (clcf->client_max_body_size
        && clcf->client_max_body_size < (off_t) conf->core.max_payload)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "\"client_max_body_size\" %O is less than "
                      "\"sio_max_payload\" %uz in location \"%V\"",
                      clcf->client_max_body_size, conf->core.max_payload,
                      &conf->location);
    }

    /* a payload is worked off in memory: it never goes to a file first */

    clcf->client_body_buffer_size = ngx_max(clcf->client_body_buffer_size,
                                            conf->core.max_payload);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sio_data_names(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf)
{
    ngx_uint_t            i;
    ngx_http_sio_data_t  *data;

    if (conf->data == NULL) {
        return NGX_OK;
    }

    conf->core.ndata = conf->data->nelts;
    conf->core.data_names = ngx_palloc(cf->pool, conf->core.ndata
                                                 * sizeof(ngx_str_t));
    if (conf->core.data_names == NULL) {
        return NGX_ERROR;
    }

    data = conf->data->elts;

    for (i = 0; i < conf->core.ndata; i++) {
        conf->core.data_names[i] = data[i].name;
    }

    return NGX_OK;
}


/* "/" and the other exact names, then the regular expressions */

static ngx_int_t
ngx_http_sio_namespaces(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf)
{
    ngx_uint_t           i, regex;
    ngx_sio_nsp_conf_t  *nc, *written;

    if (conf->rules == NULL) {
        conf->rules = ngx_http_sio_rules_conf_create(cf);
        if (conf->rules == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_array_init(&conf->core.namespaces, cf->pool,
                       conf->namespaces.nelts + 1, sizeof(ngx_sio_nsp_conf_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    nc = ngx_array_push(&conf->core.namespaces);
    if (nc == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(nc, sizeof(ngx_sio_nsp_conf_t));
    ngx_str_set(&nc->name, "/");
    nc->application = conf->rules;

    written = conf->namespaces.elts;

    for (regex = 0; regex < 2; regex++) {
        for (i = 0; i < conf->namespaces.nelts; i++) {

            if ((written[i].name.data[0] == '~') != regex) {
                continue;
            }

            nc = ngx_array_push(&conf->core.namespaces);
            if (nc == NULL) {
                return NGX_ERROR;
            }

            *nc = written[i];
        }
    }

    if (conf->parser == NGX_HTTP_SIO_PARSER_NONE) {

        if (conf->namespaces.nelts) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"sio_parser none\" knows no namespaces, location "
                          "\"%V\" has some", &conf->location);
            return NGX_ERROR;
        }

        return ngx_http_sio_rules_conf_check_plain(cf, conf->rules);
    }

    return NGX_OK;
}


static ngx_sio_app_t *
ngx_http_sio_app(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf)
{
    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_sio_app_t              *app, **apps;
    ngx_http_core_srv_conf_t   *cscf;
    ngx_http_sio_main_conf_t   *smcf;

    smcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_sio_module);
    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    name = conf->app;

    if (name.len == 0) {
        name.len = cscf->server_name.len + conf->location.len;
        name.data = ngx_pnalloc(cf->pool, name.len);
        if (name.data == NULL) {
            return NULL;
        }

        ngx_memcpy(ngx_cpymem(name.data, cscf->server_name.data,
                              cscf->server_name.len),
                   conf->location.data, conf->location.len);
    }

    apps = smcf->apps.elts;

    for (i = 0; i < smcf->apps.nelts; i++) {
        if (apps[i]->name.len == name.len
            && ngx_memcmp(apps[i]->name.data, name.data, name.len) == 0)
        {
            if (apps[i]->user != conf->core.user) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "locations of the app \"%V\" differ in "
                              "\"sio_parser\"", &name);
                return NULL;
            }

            return apps[i];
        }
    }

    app = ngx_pcalloc(cf->pool, sizeof(ngx_sio_app_t));
    if (app == NULL) {
        return NULL;
    }

    app->name = name;
    app->user = conf->core.user;
    ngx_sio_app_init(app);

    if (ngx_array_init(&app->confs, cf->pool, 2, sizeof(ngx_sio_conf_t *))
        != NGX_OK)
    {
        return NULL;
    }

    apps = ngx_array_push(&smcf->apps);
    if (apps == NULL) {
        return NULL;
    }

    *apps = app;

    return app;
}


static char *
ngx_http_sio(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    slcf->enable = 1;
    slcf->location = clcf->name;

    return ngx_http_sio_serve(clcf, ngx_http_sio_handler);
}


/* other modules' handlers replace each other too */

static char *
ngx_http_sio_serve(ngx_http_core_loc_conf_t *clcf, ngx_http_handler_pt handler)
{
    if (clcf->handler == handler) {
        return "is duplicate";
    }

    if (clcf->handler == ngx_http_sio_handler) {
        return "cannot share a location with \"sio\"";
    }

    if (clcf->handler == ngx_http_sio_api_handler) {
        return "cannot share a location with \"sio_api\"";
    }

    if (clcf->handler == ngx_http_sio_status_handler) {
        return "cannot share a location with \"sio_status\"";
    }

    clcf->handler = handler;

    return NGX_CONF_OK;
}


static char *
ngx_http_sio_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_sio_serve(ngx_http_conf_get_module_loc_conf(cf,
                                                       ngx_http_core_module),
                              ngx_http_sio_status_handler);
}


static char *
ngx_http_sio_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    slcf->api = 1;

    return ngx_http_sio_serve(ngx_http_conf_get_module_loc_conf(cf,
                                                       ngx_http_core_module),
                              ngx_http_sio_api_handler);
}


static char *
ngx_http_sio_bus_path(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_main_conf_t *smcf = conf;

    ngx_str_t  *value;

    if (smcf->bus_path.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    smcf->bus_path = value[1];

    if (ngx_conf_full_name(cf->cycle, &smcf->bus_path, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_sio_directory_fits(&smcf->bus_path)
           ? NGX_CONF_OK : "is too long for the sockets of the workers";
}


static char *
ngx_http_sio_bus_buffer(ngx_conf_t *cf, void *post, void *data)
{
    size_t *size = data;

    return (*size >= NGX_HTTP_SIO_MIN_BUS_BUFFER
            && *size <= NGX_HTTP_SIO_MAX_BUS_BUFFER)
           ? NGX_CONF_OK : "must be between 1m and 256m";
}


static char *
ngx_http_sio_zone_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t *size = data;

    return (*size >= NGX_SIO_ZONE_MIN_SIZE) ? NGX_CONF_OK : "is too small";
}


/* the rules of "/", made on first use */

static ngx_http_sio_rules_t *
ngx_http_sio_own_rules(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *slcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (slcf->rules == NULL) {
        slcf->rules = ngx_http_sio_rules_conf_create(cf);

        clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
        slcf->location = clcf->name;
    }

    return slcf->rules;
}


static char *
ngx_http_sio_on(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    if (ngx_http_sio_own_rules(cf, slcf) == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_sio_rules_conf_add(cf, slcf->rules, slcf,
                                       ngx_http_sio_backend_handler);
}


static char *
ngx_http_sio_set_handler(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    if (ngx_http_sio_own_rules(cf, slcf) == NULL) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_sio_add_handler(cf, slcf, slcf->rules);
}


static char *
ngx_http_sio_add_handler(ngx_conf_t *cf, ngx_http_sio_loc_conf_t *conf,
    ngx_http_sio_rules_t *rules)
{
    ngx_str_t  *value;

    if (rules->handler) {
        return "is duplicate";
    }

    value = cf->args->elts;

    rules->handler = ngx_http_sio_backend_handler(cf, conf, &value[1]);

    return rules->handler ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* request headers, in lower case as handlers are told them */

static char *
ngx_http_sio_handler_headers(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    ngx_str_t   *value, *name;
    ngx_uint_t   i, j;

    if (slcf->handler_headers != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    slcf->handler_headers = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                             sizeof(ngx_str_t));
    if (slcf->handler_headers == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (j = 0; j < value[i].len; j++) {
            if (value[i].data[j] <= ' ' || value[i].data[j] >= 0x7f
                || ngx_strchr("()<>@,;:\\\"/[]?={}", value[i].data[j])
                || value[i].data[0] == '$')
            {
                break;
            }
        }

        if (j == 0 || j != value[i].len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid header name \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(slcf->handler_headers);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
        ngx_strlow(name->data, name->data, name->len);
    }

    return NGX_CONF_OK;
}


typedef struct {
    ngx_http_sio_loc_conf_t  *conf;
    ngx_http_sio_rules_t     *rules;
} ngx_http_sio_namespace_ctx_t;


static char *
ngx_http_sio_namespace(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    char                          *rv;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_conf_t                     save;
    ngx_sio_nsp_conf_t            *nc;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_sio_namespace_ctx_t   ctx;

    value = cf->args->elts;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    slcf->location = clcf->name;

    if (slcf->namespaces.elts == NULL
        && ngx_array_init(&slcf->namespaces, cf->pool, 4,
                          sizeof(ngx_sio_nsp_conf_t)) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (value[1].len == 1 && value[1].data[0] == '/') {

        if (slcf->rules == NULL) {
            slcf->rules = ngx_http_sio_rules_conf_create(cf);
            if (slcf->rules == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        ctx.rules = slcf->rules;

    } else {
        if (value[1].data[0] != '~'
            && (value[1].data[0] != '/' || value[1].len > NGX_SIO_MAX_NAME_LEN
                || ngx_strlchr(value[1].data, value[1].data + value[1].len,
                               ',')))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid namespace \"%V\", it must begin with "
                               "\"/\", without a comma, or with \"~\" for an "
                               "expression", &value[1]);
            return NGX_CONF_ERROR;
        }

        nc = slcf->namespaces.elts;

        for (i = 0; i < slcf->namespaces.nelts; i++) {
            if (nc[i].name.len == value[1].len
                && ngx_strcmp(nc[i].name.data, value[1].data) == 0)
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate namespace \"%V\"", &value[1]);
                return NGX_CONF_ERROR;
            }
        }

        nc = ngx_array_push(&slcf->namespaces);
        if (nc == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(nc, sizeof(ngx_sio_nsp_conf_t));
        nc->name = value[1];

        if (value[1].data[0] == '~') {
#if (NGX_PCRE)
            nc->regex = ngx_http_sio_regex(cf, &value[1]);
            if (nc->regex == NULL) {
                return NGX_CONF_ERROR;
            }
#else
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the using of the regex \"%V\" requires PCRE "
                               "library", &value[1]);
            return NGX_CONF_ERROR;
#endif
        }

        ctx.rules = ngx_http_sio_rules_conf_create(cf);
        if (ctx.rules == NULL) {
            return NGX_CONF_ERROR;
        }

        nc->application = ctx.rules;
    }

    ctx.conf = slcf;

    save = *cf;
    cf->handler = ngx_http_sio_namespace_line;
    cf->handler_conf = (void *) &ctx;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


static char *
ngx_http_sio_namespace_line(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_namespace_ctx_t *ctx = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[0].data, "sio_handler") == 0) {
        char  *rv;

        rv = (cf->args->nelts == 2)
             ? ngx_http_sio_add_handler(cf, ctx->conf, ctx->rules)
             : "has an invalid number of arguments";

        if (rv != NGX_CONF_OK && rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "\"%V\" directive %s",
                               &value[0], rv);
            return NGX_CONF_ERROR;
        }

        return rv;
    }

    if (ngx_strcmp(value[0].data, "sio_on") != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "directive \"%V\" is not allowed in "
                           "\"sio_namespace\"", &value[0]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid number of arguments in \"%V\" directive",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    return ngx_http_sio_rules_conf_add(cf, ctx->rules, ctx->conf,
                                       ngx_http_sio_backend_handler);
}


#if (NGX_PCRE)

/* ~pattern */

static ngx_regex_t *
ngx_http_sio_regex(ngx_conf_t *cf, ngx_str_t *pattern)
{
    ngx_regex_compile_t  rc;
    u_char               errstr[NGX_MAX_CONF_ERRSTR];

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = pattern->data + 1;
    rc.pattern.len = pattern->len - 1;
    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%V", &rc.err);
        return NULL;
    }

    return rc.regex;
}

#endif


static char *
ngx_http_sio_allow_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    u_char                 *p;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_http_sio_origin_t  *o;

    if (slcf->origins != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    slcf->origins = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                     sizeof(ngx_http_sio_origin_t));
    if (slcf->origins == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        o = ngx_array_push(slcf->origins);
        if (o == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(o, sizeof(ngx_http_sio_origin_t));
        o->value = value[i];

        if (value[i].len == 1 && value[i].data[0] == '*') {
            o->type = NGX_HTTP_SIO_ORIGIN_ANY;
            continue;
        }

        if (value[i].len && value[i].data[0] == '~') {
#if (NGX_PCRE)
            o->type = NGX_HTTP_SIO_ORIGIN_REGEX;
            o->regex = ngx_http_sio_regex(cf, &value[i]);
            if (o->regex == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
#else
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the using of the regex \"%V\" requires PCRE "
                               "library", &value[i]);
            return NGX_CONF_ERROR;
#endif
        }

        if (ngx_strcmp(value[i].data, "null") == 0) {
            continue;
        }

        /* an origin is scheme://host[:port] and nothing behind it */

        p = (u_char *) ngx_strstr(value[i].data, "://");

        if (p == NULL || p == value[i].data || p[3] == '\0'
            || ngx_strchr(p + 3, '/'))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid origin \"%V\", it must be "
                               "\"scheme://host[:port]\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_sio_data(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    ngx_str_t                         *value;
    ngx_uint_t                         i;
    ngx_http_sio_data_t               *d;
    ngx_http_compile_complex_value_t   ccv;

    if (slcf->data == NGX_CONF_UNSET_PTR) {
        slcf->data = ngx_array_create(cf->pool, 4,
                                      sizeof(ngx_http_sio_data_t));
        if (slcf->data == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (!((value[1].data[i] | 0x20) >= 'a'
              && (value[1].data[i] | 0x20) <= 'z')
            && !(value[1].data[i] >= '0' && value[1].data[i] <= '9')
            && value[1].data[i] != '_')
        {
            break;
        }
    }

    if (i == 0 || i != value[1].len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\", it must consist of letters, "
                           "digits and \"_\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    d = slcf->data->elts;

    for (i = 0; i < slcf->data->nelts; i++) {
        if (d[i].name.len == value[1].len
            && ngx_strcmp(d[i].name.data, value[1].data) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "duplicate name \"%V\"",
                               &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    if (i == NGX_SIO_MAX_DATA) {
        return "is used too often";
    }

    d = ngx_array_push(slcf->data);
    if (d == NULL) {
        return NGX_CONF_ERROR;
    }

    d->name = value[1];

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &d->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* sio_cookie off | NAME [path=] [samesite=] [secure] */

static char *
ngx_http_sio_set_cookie(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_sio_loc_conf_t *slcf = conf;

    u_char      *p;
    size_t       len;
    ngx_str_t   *value, path, samesite;
    ngx_uint_t   i, secure;

    if (slcf->cookie.name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        ngx_str_set(&slcf->cookie.name, "");
        return NGX_CONF_OK;
    }

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] <= ' ' || value[1].data[i] >= 0x7f
            || ngx_strchr("()<>@,;:\\\"/[]?={}", value[1].data[i]))
        {
            break;
        }
    }

    if (i == 0 || i != value[1].len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid name \"%V\"",
                           &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_str_set(&path, "/");
    ngx_str_set(&samesite, "Lax");
    secure = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "path=", 5) == 0 && value[i].len > 5
            && ngx_strchr(value[i].data, ';') == NULL)
        {
            path.data = value[i].data + 5;
            path.len = value[i].len - 5;

        } else if (ngx_strcasecmp(value[i].data,
                                  (u_char *) "samesite=strict") == 0)
        {
            ngx_str_set(&samesite, "Strict");

        } else if (ngx_strcasecmp(value[i].data,
                                  (u_char *) "samesite=lax") == 0)
        {
            ngx_str_set(&samesite, "Lax");

        } else if (ngx_strcasecmp(value[i].data,
                                  (u_char *) "samesite=none") == 0)
        {
            ngx_str_set(&samesite, "None");

        } else if (ngx_strcmp(value[i].data, "secure") == 0) {
            secure = 1;

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    len = sizeof("; Path=; HttpOnly; Secure; SameSite=") - 1 + path.len
          + samesite.len;

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    slcf->cookie.name = value[1];
    slcf->cookie.attributes.data = p;

    p = ngx_sprintf(p, "; Path=%V; HttpOnly%s; SameSite=%V", &path,
                    secure ? "; Secure" : "", &samesite);

    slcf->cookie.attributes.len = p - slcf->cookie.attributes.data;

    return NGX_CONF_OK;
}


/* a time or a size: zero would end each session at once */

static char *
ngx_http_sio_positive(ngx_conf_t *cf, void *post, void *data)
{
    size_t *value = data;

    return *value ? NGX_CONF_OK : "must be more than zero";
}


/*
 * The master prepares the directory of the bus.  What is wrong at the start
 * ends it; later, nginx would end with it, so the former directory stays in
 * use.
 */

static ngx_int_t
ngx_http_sio_init_module(ngx_cycle_t *cycle)
{
    ngx_str_t                  path;
    ngx_core_conf_t           *ccf;
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sio_module);

    if (smcf == NULL || !smcf->used) {
        return NGX_OK;
    }

    path = smcf->bus_path;

    if (path.len == 0
        && ngx_http_sio_default_bus_path(cycle, &path) != NGX_OK)
    {
        goto failed;
    }

    if (ngx_test_config) {
        return NGX_OK;
    }

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (ngx_sio_directory_create(cycle, &path, ccf->user) == NGX_OK) {
        return NGX_OK;
    }

failed:

    return ngx_is_init_cycle(cycle->old_cycle) ? NGX_ERROR : NGX_OK;
}


/* unique for each instance, and the same across a binary upgrade */

static ngx_int_t
ngx_http_sio_default_bus_path(ngx_cycle_t *cycle, ngx_str_t *path)
{
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    path->len = ccf->pid.len + sizeof(NGX_HTTP_SIO_BUS_SUFFIX) - 1;
    path->data = ngx_pnalloc(cycle->pool, path->len + 1);

    if (path->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(path->data, "%V" NGX_HTTP_SIO_BUS_SUFFIX "%Z",
                       &ccf->pid);

    if (!ngx_sio_directory_fits(path)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"%V\" is too long for the sockets of the workers, "
                      "name a shorter one with \"sio_bus_path\"", path);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* the cache manager and the loader serve nobody */

static ngx_int_t
ngx_http_sio_init_process(ngx_cycle_t *cycle)
{
    ngx_http_sio_main_conf_t  *smcf;

    smcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_sio_module);

    if (smcf == NULL || !smcf->used
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    if (smcf->handlers) {
        ngx_http_sio_call_init();
    }

    ngx_sio_session_init(cycle);
    ngx_sio_app_set(smcf->apps.elts, smcf->apps.nelts);

    if (ngx_sio_registry_init(cycle) != NGX_OK
        || ngx_sio_socket_init(cycle) != NGX_OK
        || ngx_http_sio_application_init(cycle) != NGX_OK
        || ngx_sio_bus_init(cycle, smcf->zone, smcf->bus_buffer) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_sio_exit_process(ngx_cycle_t *cycle)
{
    ngx_sio_bus_done();
    ngx_sio_socket_done();
    ngx_http_sio_application_done();
}


static void
ngx_http_sio_exit_master(ngx_cycle_t *cycle)
{
    ngx_sio_directory_remove(cycle);
}
