package SioScenarios;

# What the scenarios of t/clients expect of the server: for each the arguments
# of SioTest->new, so that one worker and several are judged by the same.

use strict;
use warnings;

use Carp qw(croak);

my %config;


sub names { return sort keys %config }


# The arguments of SioTest->new, a list.

sub config {
    my ($name) = @_;

    croak "no scenario $name" if !$config{$name};

    return %{$config{$name}};
}


# The files of t/clients to run against it.

sub clients {
    my ($name) = @_;

    return $name eq 'events' ? qw(events.js verbatim.js) : "$name.js";
}


# Who watches learns why others leave.

my $observers = <<'CONF';
    sio_on watch join observers;
    sio_on disconnect emit to=observers event=gone
                           args=[$sio_id,$sio_reason,$sio_args];
CONF


$config{events}{location} = <<'CONF';
    sio;

    sio_on sync  ack;
    sio_on echo  reply;
    sio_on ask   ack;
    sio_on first ack 'args=["got",$sio_arg1,{"all":$sio_args}]';

    sio_on both  reply event=one;
    sio_on both  ack;
    sio_on both  reply event=two;

    sio_on *     reply;
CONF


my $people = <<'CONF';
    sio_on connection join lobby;

    sio_on sync      ack;
    sio_on join      join $sio_arg1;
    sio_on join      ack;
    sio_on leave     leave $sio_arg1;
    sio_on leave     ack;
    sio_on join-team join team:$sio_arg1;

    sio_on all    emit;
    sio_on others broadcast;
    sio_on me     reply;
    sio_on lobby  emit to=lobby event=msg;
    sio_on local  emit local event=msg;
    sio_on team   emit to=team:$sio_arg1 event=msg args=[$sio_arg2];

    sio_on to     emit to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on past   broadcast to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on two    emit to=$sio_arg1 to=$sio_arg2 event=msg args=[$sio_arg3];
    sio_on but    emit except=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on to-but emit to=$sio_arg1 except=$sio_arg2 except=$sio_arg3
                       event=msg args=[$sio_arg4];
    sio_on member emit to=$sio_arg1 member event=msg args=[$sio_arg2];

    sio_on volatile       emit volatile;
    sio_on volatile-lobby emit to=lobby event=volatile volatile;
CONF

$config{rooms}{location} = <<"CONF";
    sio;
    $people
    sio_namespace /other {
        $people
    }
CONF


$config{rules}{location} = <<'CONF';
    sio;

    sio_data user  $http_x_user;
    sio_data color $cookie_color;
    sio_data query $arg_token;
    sio_data fixed "fixed text";
    sio_data mixed $remote_addr/$http_x_user;

    sio_on connection reply event=hello
        'args=[$sio_id,$sio_auth,$sio_data_user,{"color":$sio_data_color}]';

    sio_on sync      ack;
    sio_on variables ack 'args=[{"id": $sio_id, "namespace": $sio_namespace,
                                 "event": $sio_event, "args": $sio_args,
                                 "arg1": $sio_arg1, "arg2": $sio_arg2,
                                 "arg9": $sio_arg9, "auth": $sio_auth,
                                 "user": $sio_data_user,
                                 "color": $sio_data_color,
                                 "query": $sio_data_query,
                                 "fixed": $sio_data_fixed,
                                 "mixed": "$sio_data_mixed"}]';

    sio_on swap      ack 'args=[$sio_arg2,$sio_arg1]';
    sio_on deep      ack 'args=[{"a":[$sio_arg1,{"b":$sio_arg1}]}]';
    sio_on second    ack 'args=[$sio_arg2]';
    sio_on list      ack 'args=[$sio_args,3]';
    sio_on none      ack 'args=[]';
    sio_on constant  ack 'args=[null,true,1.5e3,"text",{"a":[]},
                                "$$sio_id costs 5$$"]';
    sio_on text      ack 'args=["<$sio_arg1|$sio_data_user|${sio_arg2}!>",
                                {"key":"$sio_arg1$sio_arg1"}]';

    sio_on rename    reply event=$sio_arg1 'args=[$sio_arg2,$sio_arg3]';
    sio_on "say it"  broadcast "event=it was said"
                     'args=[{"from":$sio_id,"text":$sio_arg1}]';

    sio_on several   reply event=first;
    sio_on several   emit event=everybody;
    sio_on several   join own;
    sio_on several   emit to=own event=room;
    sio_on several   leave own;
    sio_on several   emit to=own event=nobody;
    sio_on several   reply event=last;

    sio_on bye       emit event=before;
    sio_on bye       disconnect;
    sio_on bye       reply event=after;

    sio_on *         reply event=other 'args=[$sio_event,$sio_args]';

    sio_namespace /more {
        sio_on sync      ack;
        sio_on variables ack 'args=[{"id":$sio_id,"namespace":$sio_namespace,
                                     "event":$sio_event,"args":$sio_args,
                                     "auth":$sio_auth,"user":$sio_data_user}]';
    }
CONF


sub namespace {
    my ($word) = @_;

    return <<"    CONF";
        sio_on connection reply event=welcome
                          'args=[\$sio_id,\$sio_namespace,\$sio_auth]';
        sio_on sync  ack;
        sio_on where ack 'args=["$word",\$sio_namespace]';
        sio_on say   broadcast;
    CONF
}

$config{namespaces}{location} = <<"CONF";
    sio;

    @{[ namespace('main') ]}

    sio_namespace ~^/room-\\d+\$ { @{[ namespace('number') ]} }
    sio_namespace ~^/room-      { @{[ namespace('room') ]} }
    sio_namespace ~^/auth-[ab]\$ { @{[ namespace('auth') ]} }

    sio_namespace /chat     { @{[ namespace('chat') ]} }
    sio_namespace /room-7   { @{[ namespace('seven') ]} }
    sio_namespace "/чат ✓"  { @{[ namespace('unicode') ]} }
CONF


$config{upgrade}{location} = <<'CONF';
    sio;

    sio_on sync ack;
    sio_on echo reply;
    sio_on ask  ack;
    sio_on tick broadcast;
CONF


my $ends = <<"CONF";
    $observers
    sio_on sync ack;
    sio_on echo reply;
    sio_on kick disconnect;
    sio_on kill disconnect close;

    sio_on last reply;
    sio_on last disconnect close;
    sio_on last reply event=never;
CONF

$config{disconnect}{location} = <<"CONF";
    sio;
    sio_ping_interval 60s;
    $ends
    sio_namespace /other {
        $ends
    }
    sio_namespace /closed {
        sio_on connection disconnect;
    }
CONF


$config{reconnect}{location} = <<'CONF';
    sio;
    sio_ping_interval 1s;
    sio_ping_timeout  2s;

    sio_on connection reply event=welcome args=[$sio_id,$sio_auth];

    sio_on sync ack;
    sio_on echo reply;
    sio_on join join $sio_arg1;
    sio_on to   emit to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on kill disconnect close;
CONF


$config{engine}{server} = <<'CONF';
    location /engine.io/ {
        sio;
        sio_parser none;
        sio_on message reply;
    }

    location /shared/ {
        sio;
        sio_parser none;
        sio_on message emit;
    }

    location /short/ {
        sio;
        sio_parser none;
        sio_ping_interval 200ms;
        sio_connect_timeout 100ms;
        sio_on message reply;
    }
CONF


$config{large}{http} = 'client_max_body_size 2m;';

$config{large}{location} = <<"CONF";
    sio;
    sio_max_payload 1000000;

    sio_on sync  ack;
    sio_on echo  reply;
    sio_on ask   ack;
    $observers
CONF


$config{heartbeat}{location} = <<"CONF";
    sio;
    sio_ping_interval   300ms;
    sio_ping_timeout    1s;
    sio_connect_timeout 500ms;

    sio_on sync  ack;
    $observers
CONF


$config{http}{location} = <<'CONF';
    sio;
    sio_cookie io path=/ samesite=lax;
    sio_allow_origin https://example.com ~^https://\w+\.example\.org$;

    gzip on;
    gzip_types text/plain;
    gzip_min_length 1000;

    sio_on sync ack;
    sio_on ask  ack;
CONF

1;
