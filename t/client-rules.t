# Rules, their templates and variables, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
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

$t->client('rules.js');

$t->stop;

done_testing;
