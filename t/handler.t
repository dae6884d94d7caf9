# Handlers: what a backend is told, and when.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();
use Time::Local qw(timegm);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $backend = SioBackend->new->start;

my $t = SioTest->new(
    tls => 1,
    http => "upstream app { server ${\$backend->address}; keepalive 8; }",
    location => <<'EOC',
        sio;
        sio_handler_headers Cookie X-Two user-agent;
        sio_data user $arg_user;
        sio_data none $arg_none;

        sio_handler /app;
        sio_namespace /chat { sio_handler /chat; }
        sio_namespace ~^/team { sio_handler /team?of=1&of=2; }
        sio_namespace /quiet { sio_on echo reply; }
EOC
    server => <<'EOC',
    location /on/ {
        sio;
        sio_handler /app;
        sio_on news       handler /news;
        sio_on 7          handler /seven;
        sio_on rule       reply;
        sio_on both       reply;
        sio_on both       handler /both;
        sio_on bye        disconnect;
        sio_on connection reply event=hello;
        sio_on connection handler /connection;
        sio_on disconnect handler /disconnect;
    }
    location /any/ {
        sio;
        sio_handler /app;
        sio_on rule reply;
        sio_on *    handler /star;
    }
    location /star/ { sio; sio_on rule reply; sio_on * handler /star; }
    location /gone/ { sio; sio_on disconnect handler /disconnect; }
    location /mortal/ {
        sio; sio_ping_interval 100ms; sio_ping_timeout 100ms;
        sio_handler /app;
    }
    location /plain/ {
        sio; sio_app plain; sio_parser none; sio_handler /app;
    }
    location ~ ^/[a-z]+$ {
        internal;
        proxy_pass         http://app;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
        proxy_set_header   X-Event $sio_event;
        proxy_set_header   X-Id $sio_id;
        proxy_set_header   X-Namespace $sio_namespace;
        proxy_set_header   X-User $sio_data_user;
        proxy_set_header   X-None $sio_data_unknown;
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);

# A client that was admitted; its connect was taken from the backend's log.
sub joined {
    my $ws = SioRaw::WS->socket($port, @_);
    $backend->take(1);
    return $ws;
}

# A client leaves: that is the next thing that the backend hears of.
sub leaves {
    my $ws = shift;
    $ws->close;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($backend->take(1)->{json}{type}, 'disconnect', 'it leaves');
}

# What JSON means, with the kinds of values, in one way of writing it.
sub canonical { return $json->encode($json->decode(shift)) }

sub same {
    my ($r, $expected, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(eval { canonical($r->{body}) } // $r->{body},
              canonical($expected), $name);
}

sub headers {
    my ($r, @names) = @_;
    return join '|', map { SioBackend::header($r, $_) } @names;
}


subtest 'connect' => sub {
    my $query = 'EIO=4&transport=websocket&user=a%20n%2Bn&x&&y=%C3%A9+1&z==';
    my $ws = SioRaw::WS->open($port, query => $query, headers => [
        Cookie => 'a=1', 'X-Two' => 1, 'X-Other' => 'secret',
        'X-Two' => '"\\é']);
    my $id = $ws->join('/', '{"token":[1.50,"é\ud83d\ude00"],"":null}');
    my $r = $backend->take(1);

    my ($when) = $r->{body} =~ /"time":"([^"]*)"/;
    my @when = reverse $when =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)Z$/;

    cmp_ok(abs(time - timegm(@when[0 .. 3], $when[4] - 1, $when[5])), '<=',
           5 * $SioRaw::SCALE, "the time: $when");
    same($r, <<"EOJ", 'by WebSocket');
{"type": "connect", "namespace": "/", "id": "$id", "seq": 1,
 "auth": {"token": [1.50, "é\\ud83d\\ude00"], "": null},
 "handshake": {"address": "127.0.0.1", "url": "/socket.io/?$query",
   "query": {"EIO": "4", "transport": "websocket", "user": "a n+n", "x": "",
             "y": "é 1", "z": "="},
   "secure": false, "time": "$when",
   "headers": {"cookie": "a=1", "x-two": "1, \\"\\\\é"}},
 "data": {"user": "a%20n%2Bn", "none": ""}}
EOJ
    like($r->{body}, qr/"auth":\{"token":\[1\.50,"é\\ud83d\\ude00"\],"":null\}/,
         'auth as it was sent');
    is("$r->{method} $r->{target} $r->{version}", 'POST /app HTTP/1.1',
       'the request');
    is(headers($r, 'Content-Type'), 'application/json', 'Content-Type, once');
    is(headers($r, 'Content-Length'), length $r->{body},
       'Content-Length, once');
    is(headers($r, map { "X-$_" } qw(Event Id Namespace User None)),
       "connect|$id|/|a%20n%2Bn", 'the variables');
    is(headers($r, qw(Cookie X-Two X-Other Upgrade Sec-WebSocket-Key)), '',
       'no header of the client');
    leaves($ws);

    my $s = SioRaw::Polling->open($port, headers =>
        [Cookie => 'a=1', Cookie => 'b=2', 'User-Agent' => 'test']);
    like($s->join('/'), qr/^40\{"sid":"/, 'by polling');
    $r = $backend->take(1);
    is_deeply($r->{json}{handshake}{headers},
              { cookie => 'a=1; b=2', 'user-agent' => 'test' },
              'headers: of two with a name one');
    is_deeply($r->{json}{auth}, {}, 'no auth');
    $s->post('1');
    is($backend->take(1)->{json}{reason}, 'transport close', 'it leaves');
    $s->{gone} = 1;

    $ws = SioRaw::WS->socket($t->tls_port, tls => 1);
    is($json->encode($backend->take(1)->{json}{handshake}{secure}), 'true',
       'secure');
    leaves($ws);

    # A handshake that is too large is refused, not cut.
    my $sized = sub { SioRaw::WS->upgrade($port, query =>
        'EIO=4&transport=websocket&x=' . 'x' x shift)->answered->status };
    is($sized->(3900), 101, 'a handshake of 8 KB');
    is($sized->(4100), 400, 'and of more');
};


subtest 'event' => sub {
    my $ws = joined();
    my $id = $ws->id;
    my $seq = 1;

    # What is sent, the event's name, its arguments, its acknowledgement.
    for (['["news"]', '"news"', '[]'],
         ['7["news",{"a":[]}]', '"news"', '[{"a":[]}]', 7],
         ['0["a",null]', '"a"', '[null]', 0],
         ['9007199254740991["a"]', '"a"', '[]', '9007199254740991'],
         ['["n",1.0,-0,1e3,12345678901234567890,0.10]', '"n"',
          '[1.0,-0,1e3,12345678901234567890,0.10]'],
         ['[5,"a"]', '"5"', '["a"]'],
         ['[-1.50e2]', '"-1.50e2"', '[]'],
         ['["\u0061\/\"\\\\\n\u0000",""]', '"a/\"\\\\\n\u0000"', '[""]'],
         ['["é\u00e9\ud83d\ude00 ✓"]', '"éé\ud83d\ude00 ✓"', '[]'],
         ['["",[[[]]]]', '""', '[[[[]]]]'],
         ['[ "b" , 1 , [ 2 ] ]', '"b"', '[1,[2]]'],
         ["[\t\"c\"\t]", '"c"', '[]'],
         ['["],[",",\",]"]', '"],["', '[",\",]"]'],
         ['["{\"_base64\":\"AA==\"}",{"__proto__":1}]',
          '"{\"_base64\":\"AA==\"}"', '[{"__proto__":1}]']) {
        my ($packet, $event, $args, $ack) = @$_;

        $ws->text("42$packet");
        $seq++;

        my $r = $backend->take(1);

        same($r, qq({"type":"event","namespace":"/","id":"$id","seq":$seq,)
                 . qq("event":$event,"args":$args,"rooms":[],"data":{"user":"","none":""})
                 . (defined $ack ? qq(,"ack":$ack}) : '}'),
             $packet =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger);
        like($r->{body} =~ s/\s+//gr, qr/"args":\Q$args\E/, 'as it was sent');
    }
    leaves($ws);

    $ws = joined(query => 'EIO=4&transport=websocket&user=ann');
    $ws->text('42["a\n\u0000b",1]');
    my $r = $backend->take(1);
    is(headers($r, map { "X-$_" } qw(Event Id Namespace User)),
       'a%0A%00b|' . $ws->id . '|/|ann', 'the variables');
    is_deeply($r->{json}{data}, { user => 'ann', none => '' }, 'data');
    leaves($ws);

    $ws = SioRaw::WS->open($port, path => '/plain/');
    $r = $backend->take(1);
    is($r->{json}{type}, 'connect', 'a plain session: connect');
    $ws->text('4a "text"');
    $ws->binary("\1\2");
    is_deeply([map { "$_->{json}{event} " . $json->encode($_->{json}{args}) }
                   $backend->take(2)],
              ['message ["a \"text\""]', 'message [{"_base64":"AQI="}]'],
              'its messages');
    leaves($ws);
};


subtest 'the reasons of a disconnect' => sub {
    my $text = sub { my $text = shift; sub { $_[0]->text($text) } };

    for (['leaves the namespace', 'client namespace disconnect', $text->('41')],
         ['closes', 'transport close', sub { $_[0]->send_frame(8, '') }],
         ['breaks', 'transport close', sub { $_[0]->reset }],
         ['is silent', 'ping timeout', sub { }, path => '/mortal/'],
         ['no packet', 'parse error', $text->('x')],
         ['out of place', 'forced close', $text->('42/nope,["a"]')],
         ['an unmasked frame', 'transport error',
          sub { $_[0]->send_frame(1, '6', mask => '') }]) {
        my ($name, $reason, $end, %opt) = @$_;
        my $ws = joined(%opt);

        SioBackend::did($ws, { op => 'join', rooms => ['a', "b\"\\\n", 'c'] },
                        { op => 'leave', rooms => 'c' });
        $ws->text('42["a"]');
        is_deeply([sort @{($backend->take(2))[1]{json}{rooms}}],
                  ['a', "b\"\\\n"], "$name: its rooms");
        $end->($ws);

        my $r = $backend->take(1);
        my $rooms = $json->encode($r->{json}{rooms}[0] eq 'a'
                                  ? ['a', "b\"\\\n"] : ["b\"\\\n", 'a']);

        same($r, qq({"type":"disconnect","namespace":"/","id":"${\$ws->id}",)
                 . qq("seq":4,"reason":"$reason","rooms":$rooms,"data":)
                 . ($opt{path} ? '{}}' : '{"user":"","none":""}}'),
             $reason);
        is(headers($r, 'X-Event'), 'disconnect', '$sio_event');
        $ws->close if $name ne 'breaks';
    }

    # By an operation: of the socket itself, or of another one.
    my $bye = { op => 'disconnect' };
    my $quit = { op => 'disconnect', close => JSON::PP::true };
    my $sent_away = sub {
        my ($ws, @expected) = @_;
        is_deeply([sort map { "$_->{json}{namespace} $_->{json}{type} "
                              . ($_->{json}{reason} // '') }
                            $backend->take(scalar @expected)], \@expected,
                  'the backend hears of it');
    };
    my $why = 'server namespace disconnect';

    my $ws = joined();
    $ws->join('/chat');
    $backend->take(1);
    $ws->text('42' . SioBackend::answered_by($bye));
    is($ws->message, '41', 'disconnect: the client is told');
    $sent_away->($ws, "/ disconnect $why", '/ event ');
    is(SioBackend::did($ws, '/chat', SioBackend::emit('x')),
       '42/chat,["x"]', 'the session stays');
    ok(defined $ws->join('/'), 'and it may come back');
    $backend->take(2);
    $ws->text('42' . SioBackend::answered_by($quit));
    ok($ws->closes, 'with close: the session ends');
    $sent_away->($ws, "/ disconnect $why", '/ event ',
                 "/chat disconnect $why");

    $ws = joined();
    my $other = joined();
    is(SioBackend::did($ws, { %$bye, sockets => [$other->id] }), '',
       'another one');
    is($other->message, '41', 'is told');
    $sent_away->($ws, "/ disconnect $why", '/ event ');
    $other->close;
    leaves($ws);
};


subtest 'who hears of what' => sub {
    my $ws = SioRaw::WS->open($port, path => '/on/');

    ok(defined $ws->join('/'), 'connects');
    is($ws->message, '42["hello"]', 'a rule of connection');
    $ws->text("42$_") for '["other"]', '["news"]', '["rule"]', '["both"]',
                          '[7]', '["7"]', '["\u006eews"]';
    is($ws->message, "42[\"$_\"]", "a rule: $_") for 'rule', 'both';
    is(join(' ', map { $_->{target} } $backend->take(7)),
       '/connection /app /news /both /seven /seven /news',
       'a handler of its own, or that of the namespace, or none');
    $ws->text('42["bye"]');
    is($ws->message, '41', 'a rule ends it');
    my $r = $backend->take(1);
    is("$r->{target} $r->{json}{reason} $r->{json}{seq}",
       '/disconnect server namespace disconnect 8', 'the backend hears of it');
    $ws->close;

    $ws = joined(path => '/any/');
    $ws->text('42["rule"]');
    is($ws->message, '42["rule"]', '* and a rule');
    $ws->text('42["a"]');
    is($backend->take(1)->{target}, '/star', 'any other event');
    $ws->text('41');
    is($backend->take(1)->{target}, '/app', 'but no disconnect');
    $ws->close;

    $ws = SioRaw::WS->socket($port, path => '/star/');
    $ws->text('42["a"]');
    $r = $backend->take(1);
    is("$r->{target} $r->{json}{type} $r->{json}{seq}", '/star event 1',
       'without sio_handler no connect');
    $ws->text("42[\"$_\"]") for 'rule', 'b';
    is($ws->message, '42["rule"]', 'nor what has rules');
    is($backend->take(1)->{json}{event}, 'b', 'but the next');
    $ws->text('41');
    ok(defined $ws->join('/'), 'nor a disconnect');
    $ws->text('42["c"]');
    is($backend->take(1)->{json}{event}, 'c', 'but events');
    $ws->close;

    $ws = SioRaw::WS->socket($port, path => '/gone/');
    $ws->text('42["a"]');
    leaves($ws);

    $ws = SioRaw::WS->open($port);
    my %target = ('/chat' => '/chat', '/team1' => '/team?of=1&of=2');
    for my $nsp (sort keys %target) {
        my $id = $ws->join($nsp);
        $ws->text("42$nsp,[\"a\"]");
        $ws->text("41$nsp,");
        my @r = $backend->take(3);
        is(join(' ', map { "$_->{target} $_->{json}{namespace} "
                           . "$_->{json}{seq}" } @r),
           join(' ', map { "$target{$nsp} $nsp $_" } 1 .. 3), "in $nsp");
        is(headers($r[1], 'X-Namespace'), $nsp, '$sio_namespace');
    }
    $ws->join('/quiet');
    is(($ws->ask('42/quiet,["echo"]'))[0], '42/quiet,["echo"]',
       'a namespace without a handler');
    $ws->join('/chat');
    is($backend->take(1)->{json}{namespace}, '/chat', 'tells nothing');
    leaves($ws);
};


SioBackend::ends($t, $before, $backend);
is(join("\n", map { $_->{body} } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
