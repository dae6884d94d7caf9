/*
 * Rules at start-up: each sio_on directive is checked and compiled to a
 * ngx_http_sio_rule_t in the configuration's memory.  What could go wrong at
 * event time for a reason that stands in the configuration is refused here.
 */

#include "http/ngx_http_sio_rules_conf.h"
#include "http/ngx_http_sio_rules.h"
#include "core/ngx_sio_socket.h"
#include "proto/sio_packet.h"


static char *ngx_http_sio_rules_conf_parse(ngx_conf_t *cf,
    ngx_http_sio_rule_t *rule, ngx_str_t *event, ngx_uint_t *keep_auth);
static ngx_int_t ngx_http_sio_rules_conf_param(ngx_conf_t *cf,
    ngx_http_sio_rule_t *rule, ngx_str_t *word, ngx_uint_t *keep_auth);
static ngx_http_sio_rules_list_t *ngx_http_sio_rules_conf_for(ngx_conf_t *cf,
    ngx_http_sio_rules_t *rules, ngx_str_t *event);
static ngx_int_t ngx_http_sio_rules_conf_list(ngx_conf_t *cf,
    ngx_http_sio_rules_list_t *list);
static ngx_int_t ngx_http_sio_rules_conf_template(ngx_conf_t *cf,
    ngx_str_t *text, ngx_uint_t json, sio_template_t *t,
    ngx_uint_t *keep_auth);
static ngx_int_t ngx_http_sio_rules_conf_plain(ngx_conf_t *cf,
    ngx_array_t *rules);


static const ngx_http_sio_rule_type_t  ngx_http_sio_rule_types[] = {

    { ngx_string("emit"), NGX_HTTP_SIO_RULE_EMIT,
      NGX_HTTP_SIO_RULE_TO|NGX_HTTP_SIO_RULE_EVENT|NGX_HTTP_SIO_RULE_ARGS
      |NGX_HTTP_SIO_RULE_SEND },

    { ngx_string("broadcast"), NGX_HTTP_SIO_RULE_BROADCAST,
      NGX_HTTP_SIO_RULE_TO|NGX_HTTP_SIO_RULE_EVENT|NGX_HTTP_SIO_RULE_ARGS
      |NGX_HTTP_SIO_RULE_SEND },

    { ngx_string("reply"), NGX_HTTP_SIO_RULE_REPLY,
      NGX_HTTP_SIO_RULE_EVENT|NGX_HTTP_SIO_RULE_ARGS },

    { ngx_string("ack"), NGX_HTTP_SIO_RULE_ACK, NGX_HTTP_SIO_RULE_ARGS },

    { ngx_string("join"), NGX_HTTP_SIO_RULE_JOIN, NGX_HTTP_SIO_RULE_ROOM },

    { ngx_string("leave"), NGX_HTTP_SIO_RULE_LEAVE, NGX_HTTP_SIO_RULE_ROOM },

    { ngx_string("disconnect"), NGX_HTTP_SIO_RULE_DISCONNECT,
      NGX_HTTP_SIO_RULE_CLOSE },

    { ngx_null_string, 0, 0 }
};


ngx_http_sio_rules_t *
ngx_http_sio_rules_conf_create(ngx_conf_t *cf)
{
    ngx_http_sio_rules_t  *rules;

    rules = ngx_pcalloc(cf->pool, sizeof(ngx_http_sio_rules_t));
    if (rules == NULL) {
        return NULL;
    }

    ngx_rbtree_init(&rules->events, &rules->sentinel,
                    ngx_str_rbtree_insert_value);

    if (ngx_http_sio_rules_conf_list(cf, &rules->connection) != NGX_OK
        || ngx_http_sio_rules_conf_list(cf, &rules->disconnect) != NGX_OK
        || ngx_http_sio_rules_conf_list(cf, &rules->any) != NGX_OK)
    {
        return NULL;
    }

    return rules;
}


static ngx_int_t
ngx_http_sio_rules_conf_list(ngx_conf_t *cf, ngx_http_sio_rules_list_t *list)
{
    return ngx_array_init(&list->rules, cf->pool, 1,
                          sizeof(ngx_http_sio_rule_t));
}


char *
ngx_http_sio_rules_conf_add(ngx_conf_t *cf, ngx_http_sio_rules_t *rules,
    ngx_http_sio_loc_conf_t *conf, ngx_http_sio_rules_conf_handler_pt handler)
{
    ngx_str_t                  *value;
    ngx_http_sio_rule_t        *rule;
    ngx_http_sio_rules_list_t  *list;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "connect") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is no event \"connect\", "
                           "use \"sio_on connection\"");
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[1].data, "disconnect") != 0
        && sio_packet_reserved(ngx_sio_span(&value[1])))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no client can send an event \"%V\", "
                           "its name is reserved", &value[1]);
        return NGX_CONF_ERROR;
    }

    list = ngx_http_sio_rules_conf_for(cf, rules, &value[1]);
    if (list == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_strcmp(value[2].data, "handler") == 0) {

        if (cf->args->nelts != 4) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "action \"handler\" needs a URI, and takes "
                               "nothing else");
            return NGX_CONF_ERROR;
        }

        if (list->handler) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" has a handler already", &value[1]);
            return NGX_CONF_ERROR;
        }

        list->handler = handler(cf, conf, &value[3]);

        return list->handler ? NGX_CONF_OK : NGX_CONF_ERROR;
    }

    rule = ngx_array_push(&list->rules);
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(rule, sizeof(ngx_http_sio_rule_t));

    return ngx_http_sio_rules_conf_parse(cf, rule, &value[1],
                                         &conf->core.keep_auth);
}


static ngx_http_sio_rules_list_t *
ngx_http_sio_rules_conf_for(ngx_conf_t *cf, ngx_http_sio_rules_t *rules,
    ngx_str_t *event)
{
    uint32_t                     hash;
    ngx_http_sio_rules_event_t  *node;

    if (event->len == 1 && event->data[0] == '*') {
        return &rules->any;
    }

    if (ngx_strcmp(event->data, "connection") == 0) {
        return &rules->connection;
    }

    if (ngx_strcmp(event->data, "disconnect") == 0) {
        return &rules->disconnect;
    }

    hash = ngx_crc32_short(event->data, event->len);

    node = (ngx_http_sio_rules_event_t *)
               ngx_str_rbtree_lookup(&rules->events, event, hash);

    if (node) {
        return &node->list;
    }

    node = ngx_pcalloc(cf->pool, sizeof(ngx_http_sio_rules_event_t));
    if (node == NULL) {
        return NULL;
    }

    if (ngx_http_sio_rules_conf_list(cf, &node->list) != NGX_OK) {
        return NULL;
    }

    node->sn.str = *event;
    node->sn.node.key = hash;

    ngx_rbtree_insert(&rules->events, &node->sn.node);

    return &node->list;
}


static char *
ngx_http_sio_rules_conf_parse(ngx_conf_t *cf, ngx_http_sio_rule_t *rule,
    ngx_str_t *event, ngx_uint_t *keep_auth)
{
    ngx_str_t                       *value;
    ngx_uint_t                       i;
    const ngx_http_sio_rule_type_t  *type;

    value = cf->args->elts;

    for (type = ngx_http_sio_rule_types; type->name.len; type++) {
        if (type->name.len == value[2].len
            && ngx_strcmp(type->name.data, value[2].data) == 0)
        {
            break;
        }
    }

    if (type->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "unknown action \"%V\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    rule->type = type;

    if (ngx_array_init(&rule->to, cf->pool, 1, sizeof(sio_template_t))
        != NGX_OK
        || ngx_array_init(&rule->except, cf->pool, 1, sizeof(sio_template_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 3; i < cf->args->nelts; i++) {
        if (ngx_http_sio_rules_conf_param(cf, rule, &value[i], keep_auth)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    if ((type->takes & NGX_HTTP_SIO_RULE_ROOM) && rule->room == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "action \"%V\" needs a room", &type->name);
        return NGX_CONF_ERROR;
    }

    if (rule->member && rule->to.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "parameter \"member\" needs \"to=\"");
        return NGX_CONF_ERROR;
    }

    if (type->action == NGX_HTTP_SIO_RULE_ACK
        && (ngx_strcmp(event->data, "connection") == 0
            || ngx_strcmp(event->data, "disconnect") == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "there is nothing to acknowledge on \"%V\"", event);
        return NGX_CONF_ERROR;
    }

    if ((type->takes & NGX_HTTP_SIO_RULE_EVENT) && rule->event == NULL
        && (ngx_strcmp(event->data, "connection") == 0
            || ngx_strcmp(event->data, "disconnect") == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "action \"%V\" on \"%V\" needs \"event=\": "
                           "the name itself is reserved",
                           &type->name, event);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_sio_rules_conf_param(ngx_conf_t *cf, ngx_http_sio_rule_t *rule,
    ngx_str_t *word, ngx_uint_t *keep_auth)
{
    ngx_str_t         text;
    ngx_uint_t        takes;
    sio_template_t   *t, **single;

    takes = rule->type->takes;
    single = NULL;

    if (takes & NGX_HTTP_SIO_RULE_ROOM) {
        if (rule->room) {
            goto invalid;
        }

        text = *word;
        single = &rule->room;

    } else if ((takes & NGX_HTTP_SIO_RULE_TO)
               && (ngx_strncmp(word->data, "to=", 3) == 0
                   || ngx_strncmp(word->data, "except=", 7) == 0))
    {
        t = ngx_array_push(word->data[0] == 't' ? &rule->to : &rule->except);
        if (t == NULL) {
            return NGX_ERROR;
        }

        text.data = word->data + (word->data[0] == 't' ? 3 : 7);
        text.len = word->data + word->len - text.data;

        if (text.len == 0) {
            goto invalid;
        }

        return ngx_http_sio_rules_conf_template(cf, &text, 0, t, keep_auth);

    } else if ((takes & NGX_HTTP_SIO_RULE_EVENT) && rule->event == NULL
               && ngx_strncmp(word->data, "event=", 6) == 0)
    {
        text.data = word->data + 6;
        text.len = word->len - 6;
        single = &rule->event;

        if (sio_packet_reserved(ngx_sio_span(&text))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "event name \"%V\" is reserved: "
                               "clients would drop their connection", &text);
            return NGX_ERROR;
        }

    } else if ((takes & NGX_HTTP_SIO_RULE_ARGS) && rule->args == NULL
               && ngx_strncmp(word->data, "args=", 5) == 0)
    {
        text.data = word->data + 5;
        text.len = word->len - 5;
        single = &rule->args;
    }

    if (single) {
        t = ngx_palloc(cf->pool, sizeof(sio_template_t));
        if (t == NULL) {
            return NGX_ERROR;
        }

        *single = t;

        return ngx_http_sio_rules_conf_template(cf, &text,
                                                single == &rule->args, t,
                                                keep_auth);
    }

    if ((takes & NGX_HTTP_SIO_RULE_SEND)
        && ngx_strcmp(word->data, "volatile") == 0)
    {
        rule->volatil = 1;

    } else if ((takes & NGX_HTTP_SIO_RULE_SEND)
               && ngx_strcmp(word->data, "local") == 0)
    {
        rule->local = 1;

    } else if ((takes & NGX_HTTP_SIO_RULE_TO)
               && ngx_strcmp(word->data, "member") == 0)
    {
        rule->member = 1;

    } else if ((takes & NGX_HTTP_SIO_RULE_CLOSE)
               && ngx_strcmp(word->data, "close") == 0)
    {
        rule->close = 1;

    } else {
        goto invalid;
    }

    return NGX_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of action \"%V\"",
                       word, &rule->type->name);
    return NGX_ERROR;
}


static ngx_int_t
ngx_http_sio_rules_conf_template(ngx_conf_t *cf, ngx_str_t *text,
    ngx_uint_t json, sio_template_t *t, ngx_uint_t *keep_auth)
{
    ngx_str_t      name;
    sio_rc_t       rc;
    ngx_uint_t     i;
    const char    *error;
    sio_json_t    *j;
    sio_span_t     where;

    j = ngx_sio_socket_create_json(cf->log);
    if (j == NULL) {
        return NGX_ERROR;
    }

    rc = sio_template_compile(j, ngx_sio_span(text), json, NULL, UINT32_MAX,
                              t, &error, &where);

    if (rc == SIO_OK && t->n) {
        t->parts = ngx_palloc(cf->pool, t->n * sizeof(sio_template_part_t));
        if (t->parts == NULL) {
            sio_json_destroy(j);
            return NGX_ERROR;
        }

        rc = sio_template_compile(j, ngx_sio_span(text), json, t->parts, t->n,
                                  t, &error, &where);
    }

    sio_json_destroy(j);

    if (rc != SIO_OK) {
        ngx_str_null(&name);

        if (ngx_strcmp(error, "unknown variable") == 0) {
            name = ngx_sio_str(where);
        }

        if (name.len >= 7 && ngx_strncmp(name.data, "sio_arg", 7) == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown variable \"%V\": the arguments of an "
                               "event are $sio_arg1 to $sio_arg9", &name);

        } else if (name.len) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown variable \"%V\": rules run when the "
                               "request is gone, keep its value with "
                               "\"sio_data NAME $%V\" and use "
                               "\"$sio_data_NAME\"", &name, &name);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\": %s", text, error);
        }

        return NGX_ERROR;
    }

    for (i = 0; i < t->n; i++) {
        if (t->parts[i].var == SIO_VAR_AUTH) {
            *keep_auth = 1;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_sio_rules_conf_check_plain(ngx_conf_t *cf, ngx_http_sio_rules_t *rules)
{
    ngx_rbtree_node_t           *node;
    ngx_http_sio_rules_event_t  *e;

    if (ngx_http_sio_rules_conf_plain(cf, &rules->connection.rules) != NGX_OK
        || ngx_http_sio_rules_conf_plain(cf, &rules->disconnect.rules)
           != NGX_OK
        || ngx_http_sio_rules_conf_plain(cf, &rules->any.rules) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rules->events.root == rules->events.sentinel) {
        return NGX_OK;
    }

    for (node = ngx_rbtree_min(rules->events.root, rules->events.sentinel);
         node;
         node = ngx_rbtree_next(&rules->events, node))
    {
        e = (ngx_http_sio_rules_event_t *) node;

        if (ngx_strcmp(e->sn.str.data, "message") != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no event \"%V\" with \"sio_parser none\", "
                               "which knows \"message\" only", &e->sn.str);
            return NGX_ERROR;
        }

        if (ngx_http_sio_rules_conf_plain(cf, &e->list.rules) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_sio_rules_conf_plain(ngx_conf_t *cf, ngx_array_t *rules)
{
    ngx_uint_t            i;
    ngx_http_sio_rule_t  *rule;

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {

        if (rule[i].event || rule[i].args
            || rule[i].type->action == NGX_HTTP_SIO_RULE_ACK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"event=\", \"args=\" and action \"ack\" mean "
                               "nothing with \"sio_parser none\"");
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
