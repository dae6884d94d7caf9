# The configuration: what nginx -t refuses and how it says so, what it warns
# about, and how settings inherit.

use lib 't/lib';
use SioTest;
use SioRaw;

# nginx -t on the content of a location (or on other arguments of SioTest)
sub outcome { SioTest::nginx_t(@_ == 1 ? (location => $_[0]) : @_) }

sub refused {
    my ($message, @config) = @_;
    my ($exit, $output) = outcome(@config);
    my $name = $config[-1] =~ s/\s+/ /gr;
    ok($exit, "refused: $name");
    like($output, qr/\[emerg\] [^\n]*$message/, 'with a reason');
    unlike($output, qr/Sanitizer|runtime error/, 'and nothing else');
}

sub accepted {
    my (@config) = @_;
    my ($exit, $output) = outcome(@config);
    my $name = $config[-1] =~ s/\s+/ /gr;
    is($exit, 0, "accepted: $name") or diag $output;
    return $output;
}


subtest 'duplicates' => sub {
    my @twice = ('sio', 'sio_app a', 'sio_ping_interval 1s',
                 'sio_ping_timeout 1s', 'sio_upgrade_timeout 1s',
                 'sio_connect_timeout 1s', 'sio_max_payload 1m',
                 'sio_max_queue 1m', 'sio_max_attachments 1',
                 'sio_max_namespaces 1', 'sio_max_rooms 1', 'sio_max_depth 1',
                 'sio_cookie io',
                 'sio_allow_origin *', 'sio_parser json',
                 'sio_handler /a', 'sio_handler_headers a',
                 'sio_handler_inflight 1', 'sio_handler_queue 1k',
                 'sio_handler_batch 1', 'sio_handler_retry 1s',
                 'sio_handler_timeout 1s', 'sio_handler_max_response 1k');
    for my $line (@twice) {
        my ($word) = split / /, $line;
        refused(qr/"$word" directive is duplicate/,
                ($word eq 'sio' ? '' : 'sio; ') . "$line; $line;");
    }
    refused(qr/duplicate[^\n]*"user"|"user"[^\n]*duplicate/,
            'sio; sio_data user a; sio_data user b;');
    refused(qr{duplicate[^\n]*"/a"|"/a"[^\n]*duplicate},
            'sio; sio_namespace /a { } sio_namespace /a { }');
};


subtest 'directives that serve a location' => sub {
    my %line = (sio => 'sio;', sio_status => 'sio_status;',
                sio_api => 'sio_api; internal;');

    for my $first (sort keys %line) {
        for my $second (sort keys %line) {
            my $why = $first eq $second ? 'is duplicate'
                      : qq(cannot share a location with "$first");

            refused(qr/"$second" directive $why/, "$line{$first} $second;");
        }
    }
};


subtest 'values' => sub {
    my @bad = (
        (map { my $word = $_; map { "$word $_" } '', '0', '-1', 'x', '1s 2s' }
             qw(sio_ping_interval sio_ping_timeout sio_upgrade_timeout
                sio_connect_timeout sio_handler_timeout)),
        (map { my $word = $_; map { "$word $_" } '', '0', '-1', 'x', '1m 2m' }
             qw(sio_max_payload sio_max_queue sio_handler_queue
                sio_handler_max_response)),
        (map { my $word = $_; map { "$word $_" } '', '0', '-1', 'x', '1 2' }
             qw(sio_max_namespaces sio_max_rooms sio_max_depth
                sio_handler_inflight sio_handler_batch)),
        'sio_handler_inflight 65536', 'sio_handler_batch 1001',
        'sio_handler_retry', 'sio_handler_retry -1', 'sio_handler_retry x',
        'sio_handler_retry 1s 2s',
        'sio_max_attachments', 'sio_max_attachments -1',
        'sio_max_attachments x',
        'sio_max_attachments 256', 'sio on', 'sio_app', 'sio_app a b',
        'sio_transports', 'sio_transports webtransport',
        'sio_transports polling carrier',
        'sio_parser', 'sio_parser xml', 'sio_parser json none',
        'sio_cookie', 'sio_cookie io path', 'sio_cookie io samesite=maybe',
        'sio_cookie io httponly', 'sio_cookie "a b"', 'sio_cookie "a;b"',
        'sio_cookie io "path=/;x"',
        'sio_allow_origin', 'sio_allow_origin ~(',
        'sio_data', 'sio_data a', 'sio_data a b c', 'sio_data a-b c',
        'sio_data a $no_such_variable',
    );
    refused(qr/invalid|duplicate|regex|pcre|must be|unknown "/i,
            "sio; $_;") for @bad;
    refused(qr/invalid value "webtransport"/,
            'sio; sio_transports webtransport;');
    refused(qr/invalid value "xml"/, 'sio; sio_parser xml;');
    refused(qr/invalid number of arguments in "sio_ping_interval"/,
            'sio; sio_ping_interval;');
    refused(qr/unknown "no_such_variable" variable/,
            'sio; sio_data a $no_such_variable;');

    accepted("sio; $_;") for (
        'sio_ping_interval 100ms', 'sio_ping_timeout 1m', 'sio_max_payload 64k',
        'sio_max_queue 10m', 'sio_max_attachments 255',
        'sio_max_attachments 0', 'sio_app "a b"',
        'sio_transports polling websocket', 'sio_transports websocket',
        'sio_parser none', 'sio_cookie io',
        'sio_cookie io path=/x samesite=none secure',
        'sio_allow_origin https://a.example "~^https://b" null',
        'sio_allow_origin *',
        'sio_data user $remote_user; sio_data agent "x $http_user_agent"',
        'sio_handler_inflight 1', 'sio_handler_inflight 65535',
        'sio_handler_queue 1', 'sio_handler_batch 1', 'sio_handler_batch 1000',
        'sio_handler_retry 0', 'sio_handler_timeout 100ms',
        'sio_handler_max_response 1',
    );
};


subtest 'contexts' => sub {
    my $here = sub { qr/"$_[0]"[^\n]* is not allowed/ };
    my %inner = (sio => 'sio;', sio_status => 'sio_status;');

    for my $word (sort keys %inner) {
        refused($here->($word), http => $inner{$word});
        refused($here->($word), server => $inner{$word});
        refused($here->($word), location => "sio; sio_namespace /a { $word; }");
    }
    for my $line ('sio_ping_interval 1s', 'sio_max_payload 1m',
                  'sio_allow_origin *', 'sio_app a', 'sio_data a b',
                  'sio_handler_headers a', 'sio_handler_inflight 1',
                  'sio_handler_queue 1k', 'sio_handler_batch 2',
                  'sio_handler_retry 1s', 'sio_handler_timeout 1s',
                  'sio_handler_max_response 1k') {
        my ($word) = split / /, $line;
        refused($here->($word), main => "$line;");
        refused($here->($word), "sio; sio_namespace /a { $line; }");
        accepted(http => "$line;");
    }
    refused($here->('sio_on'), http => 'sio_on a reply;');
    refused($here->('sio_handler'), $_ => 'sio_handler /a;')
        for qw(main http server);
    refused($here->('sio_handler'), 'sio; if ($arg_a) { sio_handler /a; }');
    refused($here->('sio_namespace'), http => 'sio_namespace /a { }');
    refused(qr/unexpected "\{"|not allowed/,
            'sio; sio_namespace /a { sio_namespace /b { } }');
    refused($here->('root'), 'sio; sio_namespace /a { root html; }');
};


subtest 'rules' => sub {
    my @refused = (
        ['invalid number of arguments in "sio_on"', 'sio_on;'],
        ['invalid number of arguments in "sio_on"', 'sio_on a;'],
        ['unknown action "shout"', 'sio_on a shout;'],
        ['unknown action ""', 'sio_on a "";'],
        ['invalid parameter "x" of action "emit"', 'sio_on a emit x;'],
        ['invalid parameter "to="', 'sio_on a emit to=;'],
        ['invalid parameter "close"', 'sio_on a emit close;'],
        ['invalid parameter "to=r"', 'sio_on a reply to=r;'],
        ['invalid parameter "volatile"', 'sio_on a reply volatile;'],
        ['invalid parameter "event=x"', 'sio_on a ack event=x;'],
        ['invalid parameter "event=y"', 'sio_on a emit event=x event=y;'],
        ['invalid parameter "args=\[\]"', 'sio_on a emit args=[] args=[];'],
        ['invalid parameter "b"', 'sio_on a join r b;'],
        ['invalid parameter "now"', 'sio_on a disconnect now;'],
        ['action "join" needs a room', 'sio_on a join;'],
        ['action "leave" needs a room', 'sio_on a leave;'],
        ['"member" needs "to="', 'sio_on a emit member;'],

        ['"sio_on connection"', 'sio_on connect emit event=x;'],
        map({ ["\"$_\".*reserved", "sio_on $_ reply;"] }
            qw(connect_error disconnecting newListener removeListener)),
        map({ ["\"$_\".*reserved", "sio_on a emit event=$_;"] }
            qw(connect connect_error disconnect disconnecting newListener
               removeListener)),
        map({ my $event = $_;
              map { ["\"$_\" on \"$event\" needs \"event=\"",
                     "sio_on $event $_;"] } qw(emit broadcast reply) }
            qw(connection disconnect)),

        map({ ["\"$_\".*sio_data", "sio_on a emit to=\$$_;"] }
            qw(remote_addr uri arg_x sio sio_ID sio_data nothing)),
        map({ ["\"$_\".*arg1 to .sio_arg9", "sio_on a emit to=\$$_;"] }
            qw(sio_arg sio_arg0 sio_arg10 sio_argx)),
        ['"remote_addr".*sio_data', 'sio_on a emit args=["$remote_addr"];'
         =~ s/args=(\S+);/'args=$1';/r],
        ['"host".*sio_data', 'sio_on a emit event=x$host;'],
        ['"host".*sio_data', 'sio_on a join $host;'],
        ['"host".*sio_data', 'sio_on a emit except=${host};'],
        ['invalid value', 'sio_on a emit to=$;'],
        ['invalid value', 'sio_on a emit to=a$;'],
        ['invalid value', 'sio_on a emit to=${sio_id;'],

        map({ ['invalid value', "sio_on a reply 'args=$_';"] }
            '', 'x', '1', '{}', '"a"', 'null', '$sio_args', '[', '[1,]', '[,1]',
            '[1', '[1]]', '[1]x', '[a]', "[\"a]", '[01]', '[+1]', '[.5]',
            '[{"a"}]', '[{"a":}]', '[{a:1}]', '[{$sio_event:1}]',
            '[{"$sio_event":1}]', '[$sio_arg1$sio_arg2]', '[1$sio_arg1]',
            '[$sio_arg1 1]', '["a"$sio_arg1]', '["\x"]', '[nul]', '[NaN]',
            '[{"_placeholder":true,"num":0}]'),
    );
    refused(qr/$$_[0]/, "sio; $$_[1]") for @refused;
    refused(qr/$$_[0]/, "sio; sio_namespace /a { $$_[1] }")
        for @refused[0, 2, 17];

    accepted("sio; sio_on $_;") for (
        'a emit', '* broadcast', '"chat message" emit',
        'typing broadcast to=lobby volatile', 'a emit local',
        'a emit to=a to=$sio_arg1 except=$sio_id except=b member',
        'a emit event=$sio_event', 'a emit event=x$sio_arg1',
        'connection join lobby', 'connection reply event=hello',
        'connection emit event=in args=[$sio_id]',
        'disconnect broadcast event=out args=[$sio_id,$sio_reason]',
        'connection disconnect', 'a disconnect close', 'a leave ${sio_arg1}x',
        q{a reply 'args=["a b", {"x": [1, -2.5e3, $sio_arg1]}, "$sio_id!"]'},
        'a ack args=[]', 'a ack args=[$sio_args,$sio_auth,$sio_data_user]',
        'a reply args=["$$"]', 'connection join $sio_data_room',
        'a-b_c.d/e reply', '7 reply', '"" reply',
    );
};


subtest 'handlers' => sub {
    my $needs = 'action "handler" needs a URI, and takes nothing else';
    my @refused = (
        ['invalid number of arguments in "sio_handler"', 'sio_handler;'],
        ['invalid number of arguments in "sio_handler"', 'sio_handler /a /b;'],

        map({ my ($text, $shown) = @$_;
              map { ["invalid handler \"\Q$shown\E\", it must be a URI of this "
                     . 'server that begins with "/"', "$_ $text;"] }
                  'sio_handler', 'sio_on a handler' }
            ['""', ''], ['app', 'app'], ['?a', '?a'], ['@app', '@app'],
            ['http://127.0.0.1/', 'http://127.0.0.1/'], ['" /a"', ' /a']),

        map({ my ($text, $char) = @$_;
              map { ["invalid handler \"[^\n]*\": \"\Q$char\E\" cannot stand "
                     . 'in it', "$_ $text;"] }
                  'sio_handler', 'sio_on a handler' }
            ['/$uri', '$'], ['/a$', '$'], ['"/a b"', ' '],
            ['"/a?b=$arg_c"', '$'], ['/a#b', '#'], ["/a\x7f", "\x7f"]),

        [$needs, 'sio_on a handler;'],
        [$needs, 'sio_on a handler /a /b;'],
        [$needs, 'sio_on a handler /a volatile;'],
        [$needs, 'sio_on a handler /a args=[];'],
        ['unknown action "handle"', 'sio_on a handle /a;'],

        ['"a" has a handler already',
         'sio_on a handler /a; sio_on a handler /b;'],
        ['"a" has a handler already',
         'sio_on a handler /a; sio_on a reply; sio_on a handler /a;'],
        map({ ["\"\Q$_\E\" has a handler already",
               "sio_on $_ handler /a; sio_on $_ handler /b;"] }
            qw(* connection disconnect)),

        ['"sio_on connection"', 'sio_on connect handler /a;'],
        map({ ["\"$_\".*reserved", "sio_on $_ handler /a;"] }
            qw(connect_error disconnecting newListener removeListener)),
    );
    refused(qr/$$_[0]/, "sio; $$_[1]") for @refused;

    # in a namespace the number of words is looked at elsewhere

    refused(qr/$$_[0]/, "sio; sio_namespace /a { $$_[1] }")
        for @refused[2 .. $#refused];
    refused(qr/"sio_handler" directive has an invalid number of arguments/,
            "sio; sio_namespace /a { sio_handler $_; }") for '', '/a /b';
    refused(qr/"sio_handler" directive is duplicate/, "sio; $_") for
        'sio_namespace /a { sio_handler /a; sio_handler /a; }',
        'sio_handler /a; sio_namespace / { sio_handler /b; }',
        'sio_namespace / { sio_handler /b; } sio_handler /a;';
    refused(qr/"a" has a handler already/,
            'sio; sio_on a handler /a; '
            . 'sio_namespace / { sio_on a handler /a; }');

    refused(qr{"sio_handler"[^\n]* need "sio" in their location, "/socket.io/"},
            $_) for
        'sio_handler /a;', 'sio_on a handler /a;',
        'sio_namespace /a { sio_handler /a; }',
        'sio_handler /a; location /socket.io/a { sio; }';

    refused(qr/invalid header name "\Q$$_[1]\E"/,
            "sio; sio_handler_headers $$_[0];")
        for ['""', ''], ['"a b"', 'a b'], ['a:', 'a:'], ['a: b', 'a:'],
            ['a,b', 'a,b'], ['"a;"', 'a;'], ['a=b', 'a=b'], ['"{a}"', '{a}'],
            ['a/b', 'a/b'], ["\xc3\xa9", "\xc3\xa9"], ['a ""', ''];
    refused(qr/invalid number of arguments in "sio_handler_headers"/,
            'sio; sio_handler_headers;');

    accepted("sio; $_;") for (
        'sio_handler /', 'sio_handler /a', 'sio_handler /a?b=c&d',
        'sio_handler "/caf\xc3\xa9"', 'sio_handler /a%20b', 'sio_handler /none',
        'sio_on a handler /a', 'sio_on * handler /a',
        'sio_on connection handler /a', 'sio_on disconnect handler /a',
        'sio_handler /a; sio_on a handler /a; sio_on b handler /b',
        'sio_on a reply; sio_on a handler /a; sio_on a emit',
        'sio_handler_headers Cookie User-Agent x-1 X_2 !#$%&\'*+.^`|~',
        'sio_handler_headers cookie Cookie',
    );
    accepted("sio; $_") for (
        'sio_handler /a; sio_namespace /a { sio_handler /a; } '
        . 'sio_namespace ~^/b { sio_handler /b; sio_on a reply; }',
        'sio_on a handler /a; sio_namespace /a { sio_on a handler /a; }',
        'sio_namespace / { sio_handler /a; } sio_on a reply;',
        'sio_handler /a; location /socket.io/a { sio; sio_handler /b; }',
        'sio_handler /a; limit_except GET POST { deny all; }',
        'sio_handler /a; if ($arg_a) { set $a b; }',
    );
};


subtest 'variables of handlers' => sub {
    accepted(http => "log_format a '\$sio_id \$sio_namespace \$sio_event "
                     . "\$sio_data_a \$sio_data_b';");
    accepted(http => 'upstream a { hash $sio_id consistent; '
                     . 'server 127.0.0.1; }');
    refused(qr/unknown "sio_arg1" variable/, http => 'log_format a $sio_arg1;');
};


subtest 'namespaces' => sub {
    refused(qr/invalid[^\n]*"chat"/, 'sio; sio_namespace chat { }');
    refused(qr/regex|pcre/i, 'sio; sio_namespace ~( { }');
    refused(qr/invalid number of arguments/, 'sio; sio_namespace { }');
    refused(qr/invalid number of arguments/, 'sio; sio_namespace /a /b { }');
    refused(qr/no opening "\{"|invalid/, 'sio; sio_namespace /a;');
    accepted("sio; sio_namespace $_ { }") for '/a', '~^/b', '/', '"/a b"';
    accepted('sio; sio_namespace / { sio_on a reply; } sio_on b reply;');
};


subtest 'plain Engine.IO' => sub {
    refused(qr/"a".*sio_parser none/, 'sio; sio_parser none; sio_on a reply;');
    refused(qr/sio_parser none/, "sio; sio_parser none; sio_on message $_;")
        for 'ack', 'reply event=x', 'reply args=[]';
    refused(qr/sio_parser none/,
            'sio; sio_parser none; sio_namespace /a { sio_on * reply; }');
    accepted("sio; sio_parser none; sio_on $_;") for
        'message reply', '* broadcast', 'message emit to=r',
        'connection join r', 'message disconnect close',
        map { "$_ handler /a" } qw(message * connection disconnect);
    accepted('sio; sio_parser none; sio_handler /a;');
    refused(qr/"a".*sio_parser none/,
            'sio; sio_parser none; sio_on a handler /a;');
};


subtest 'warnings' => sub {
    my $warning = qr/\[warn\] [^\n]*client_max_body_size/;
    like(accepted('sio; client_max_body_size 500k;'), $warning,
         'client_max_body_size is less than sio_max_payload');
    like(accepted(http => 'client_max_body_size 1k;'), $warning, 'inherited');
    like(accepted('sio; sio_max_payload 2m;'), $warning,
         'sio_max_payload is more than the default');
    unlike(accepted("sio; $_"), qr/\[warn\]/, 'none') for
        '', 'client_max_body_size 0; sio_max_payload 10m;',
        'client_max_body_size 1000000;',
        'client_max_body_size 1k; sio_max_payload 1k;';
    unlike(accepted('client_max_body_size 1;'), qr/\[warn\]/,
           'none without sio');
};


subtest 'inheritance' => sub {
    my $t = SioTest->new(
        http => <<'EOC',
            sio_ping_interval 11s; sio_ping_timeout 12s; sio_max_payload 1300;
            sio_allow_origin https://http.example; sio_cookie http;
            sio_max_namespaces 2;
EOC
        location => 'sio; sio_on * reply; sio_namespace ~^/n { }',
        server => <<'EOC',
            sio_ping_timeout 22s;
            location /own/ {
                sio; sio_ping_interval 31s; sio_max_payload 3300;
                sio_allow_origin https://own.example; sio_transports polling;
            }
            location /nested/ {
                sio; sio_max_payload 4300; sio_on * reply;
                location /nested/inner/ { sio; sio_ping_interval 51s; }
            }
            location = /exact { sio; }
            location /one/ { sio; sio_app shared; sio_on * reply; }
            location /two/ { sio; sio_app shared; sio_on * reply; }
EOC
    );
    $t->start;
    my $port = $t->port;
    my $settings = sub {
        my $s = SioRaw::Polling->open($port, path => shift);
        return join ' ', @{$s->opened}{qw(pingInterval pingTimeout maxPayload)},
            @{$s->opened->{upgrades} || []},
            ($s->opening->header('set-cookie') // '') =~ /^([^=]+)=/;
    };
    my $origin = sub {
        my ($path, $origin) = @_;
        return SioRaw::http($port, GET => "$path?EIO=4&transport=x",
                            headers => [Origin => "https://$origin.example"])
            ->header('access-control-allow-origin') // 'none';
    };

    is($settings->('/socket.io/'), '11000 22000 1300 websocket http',
       'http and server');
    is($settings->('/own/'), '31000 22000 3300 http', 'and location');
    is($settings->('/nested/'), '11000 22000 4300 websocket http', 'outer');
    is($settings->('/nested/inner/'), '51000 22000 4300 websocket http',
       'inner');
    is($settings->('/exact'), '11000 22000 1300 websocket http',
       'an exact location');
    is($origin->('/socket.io/', 'http'), 'https://http.example', 'origins');
    is($origin->('/own/', 'own'), 'https://own.example', 'replaced');
    is($origin->('/own/', 'http'), 'none', 'not merged');

    my $ws = SioRaw::WS->socket($port);
    ok(defined $ws->join('/n1'), 'a limit from http');
    like(($ws->ask('40/n2,'))[0], qr{^44/n2}, 'holds in a namespace');
    ok($ws->alive, 'rules of the location');
    $ws->text('42/n1,["a"]');
    ok($ws->alive, 'are not those of a namespace');

    my $s = SioRaw::Polling->open($port, path => '/one/');
    my $elsewhere = sub {
        SioRaw::http($port, POST => "$_[0]?$s->{query}", body => '6')->body
    };
    is($elsewhere->('/two/'), 'ok', 'one sio_app: one server');
    like($elsewhere->('/own/'), qr/"code":1,/, 'another location is another');
    my ($one, $two) = map { SioRaw::WS->socket($port, path => $_) }
                          '/one/', '/two/';
    ok($one->alive && $two->alive, 'both locations work');
    undef $_ for $s, $ws, $one, $two;
    $t->stop;
};

done_testing;
