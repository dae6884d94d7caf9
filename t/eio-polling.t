# Engine.IO over long-polling, by hand: the checks of a request and their
# order, sessions of GETs and POSTs, what ends them, HTTP in its flavours,
# origins, CORS and the cookie.

use lib 't/lib';
use SioTest;
use SioRaw;
use Compress::Zlib ();
use MIME::Base64 ();

my $rules = 'sio_on echo reply; sio_on ack ack; sio_on bye disconnect close;';

my $t = SioTest->new(
    location => "sio; $rules",
    server => <<"EOC",
    location /small/ {
        sio; sio_max_payload 1000; sio_allow_origin https://a.example; $rules
    }
    location /no-polling/ { sio; sio_transports websocket; $rules }
    location /no-websocket/ { sio; sio_transports polling; $rules }
    location /named/ {
        sio;
        sio_allow_origin https://a.example null
                         "~^https://[a-z]+\\.b\\.example\$";
        $rules
    }
    location /any/ { sio; sio_allow_origin *; $rules }
    location /cookie/ { sio; sio_cookie io; $rules }
    location /cookies/ {
        sio; sio_cookie me path=/x samesite=strict secure; $rules
    }
    location /plain/ { sio; sio_parser none; sio_on message reply; }
    location /gzip/ { gzip on; gzip_types text/plain; sio; $rules }
EOC
);
$t->start;

my $port = $t->port;
my $open = 'EIO=4&transport=polling';
my @text = ('Transport unknown', 'Session ID unknown', 'Bad handshake method',
            'Bad request', 'Forbidden', 'Unsupported protocol version');

sub http { SioRaw::http($port, @_) }
sub session { SioRaw::Polling->open($port, @_) }

sub joined {
    my $s = session(@_);
    $s->join('/');
    return $s;
}

sub refused {
    my ($r, $code, $name) = @_;
    my $status = $code == 4 ? 403 : 400;
    is(join(' ', $r->status, $r->header('content-type') // '', $r->body),
       "$status application/json {\"code\":$code,\"message\":\"$text[$code]\"}",
       $name);
}

sub accepted {
    my ($r, $name) = @_;
    like($r->status . ' ' . $r->body, qr/^200 0\{"sid":/, $name);
    return SioRaw::Polling->of($r);
}


subtest 'handshake' => sub {
    my $r = http(GET => "/socket.io/?$open");
    my $s = SioRaw::Polling->of($r);

    is($r->status, 200, 'status');
    like($r->body, qr/^0\{"sid":"[\w-]{20,}","upgrades":\["websocket"\],
                      "pingInterval":25000,"pingTimeout":20000,
                      "maxPayload":1000000\}$/x, 'open packet');
    is($r->header('content-type'), 'text/plain; charset=UTF-8', 'type');
    is($r->header('cache-control'), 'no-store', 'not to be stored');
    is($r->header('set-cookie'), undef, 'no cookie unless asked for');
    is($r->header('access-control-allow-origin'), undef, 'no CORS either');
    isnt(session()->sid, session()->sid, 'each session has its own id');

    is_deeply(session(path => '/no-websocket/')->opened->{upgrades}, [],
              'no upgrade offered without websocket');
    accepted(http(GET => "/socket.io/any/thing/below?$open"), 'below');
    is(http(GET => "/socket.io?$open")->status, 404, 'without the slash');
};


subtest 'parameters without a session' => sub {
    my @refused = (
        [0, GET => ''],
        [0, GET => '?EIO=4'],
        [0, GET => '?EIO=4&transport'],
        [0, GET => '?EIO=4&transport='],
        [0, GET => '?EIO=4&transport=carrier-pigeon'],
        [0, GET => '?EIO=4&transport=Polling'],
        [0, GET => '?EIO=4&Transport=polling'],
        [0, GET => '?EIO=4&transport=webtransport'],
        [0, GET => '?EIO=4&transport=polling+'],
        [0, GET => '?EIO=4&transport=%00polling'],
        [0, GET => '?EIO=4&transport=' . 'x' x 2000],
        [0, POST => '?EIO=3&transport=x&sid=nope'],
        [1, GET => "?$open&sid=nope"],
        [1, GET => '?EIO=3&transport=polling&sid=nope'],
        [1, GET => '?EIO=4&transport=websocket&sid=nope'],
        [1, POST => "?$open&sid=nope"],
        [1, PUT => "?$open&sid=nope"],
        [1, GET => "?$open&sid=" . 'x' x 3000],
        [1, GET => "?$open&sid=__proto__"],
        [2, POST => "?$open"],
        [2, POST => "?$open&sid="],
        [2, POST => '?EIO=3&transport=polling'],
        [2, POST => '?EIO=4&transport=websocket'],
        [2, PUT => "?$open"],
        [2, DELETE => "?$open"],
        [2, OPTIONS => "?$open"],
        [3, GET => '?EIO=4&transport=websocket'],
        [3, GET => '?EIO=3&transport=websocket'],
        [5, GET => '?transport=polling'],
        [5, GET => '?EIO=&transport=polling'],
        [5, GET => '?EIO=3&transport=polling'],
        [5, GET => '?EIO=5&transport=polling'],
        [5, GET => '?EIO=44&transport=polling'],
        [5, GET => '?EIO=04&transport=polling'],
        [5, GET => '?EIO=4.0&transport=polling'],
        [5, GET => '?EIO=four&transport=polling'],
    );
    for (@refused) {
        my ($code, $method, $query) = @$_;
        my $short = length $query > 60 ? substr($query, 0, 60) . '...' : $query;
        refused(http($method => "/socket.io/$query"), $code,
                "$method $short: $code");
    }

    is(http(HEAD => "/socket.io/?$open")->status, 400, 'HEAD: 2, no body');
    refused(http(GET => "/no-polling/?$open"), 0, 'polling is switched off');

    accepted(http(GET => "/socket.io/?$_"), $_) for (
        "$open&sid=",
        "sid=nope&$open&sid=",
        'transport=x&transport=polling&EIO=4',
        'EIO=3&EIO=4&transport=polling',
        'EIO=%34&transport=%70ol%6cing',
        'EI%4f=4&tr%61nsport=polling',
        "&&t=Pabc&$open&x=%zz&=&y",
    );
    refused(http(GET => "/socket.io/?$open&transport=x"), 0, 'the last wins');
    refused(http(GET => "/socket.io/?$open&EIO=3"), 5, 'the last EIO wins');
};


subtest 'parameters with a session' => sub {
    my $s = session();
    my $sid = $s->sid;
    my @refused = (
        [0, "EIO=4&sid=$sid"],
        [0, "EIO=4&transport=x&sid=$sid"],
        [1, "$open&sid=$sid" . 'x'],
        [1, "$open&sid=" . substr $sid, 0, -1],
        [1, "$open&sid=$sid&sid=nope"],
        [3, "EIO=4&transport=websocket&sid=$sid"],
        [3, "EIO=3&transport=polling&sid=$sid"],
        [3, "transport=polling&sid=$sid"],
    );
    refused(http(GET => "/socket.io/?$$_[1]"), $$_[0], "code $$_[0]: "
            . $$_[1] =~ s/\Q$sid/SID/gr) for @refused;

    is(http($_ => $s->url)->status, 500, "$_ of a session") for qw(PUT PATCH);
    refused(http(GET => "/no-websocket/?$open&sid=$sid"), 1,
            'of another server');
    refused(http(GET => "/socket.io/?$open&sid=" . lc($sid) . uc $sid), 1,
            'in another case');
    is($s->post('40')->body, 'ok', 'the session lives all the same');
    like(($s->packets)[0], qr/^40\{"sid":"[\w-]{20}"\}$/, 'and works');
};


subtest 'POST and GET' => sub {
    my $s = joined();
    my $r = $s->post('42["echo",1]');

    is($r->status . $r->body, '200ok', 'POST');
    is($r->header('content-type'), 'text/html', 'its type');
    is($r->header('content-length'), 2, 'its length');
    is($r->header('cache-control'), 'no-store', 'not to be stored');

    $r = $s->get;
    is($r->body, '42["echo",1]', 'GET');
    is($r->header('content-type'), 'text/plain; charset=UTF-8', 'its type');
    is($r->header('cache-control'), 'no-store', 'not to be stored');

    my $get = $s->start('GET');
    ok($get->quiet(0.2), 'a GET waits');
    $s->post('42["echo","é"]');
    is($get->response->body, '42["echo","é"]', 'until there is something');

    $s->post(join "\x1e", map { "42[\"echo\",$_]" } 1 .. 300);
    is_deeply([$s->packets], [map { "42[\"echo\",$_]" } 1 .. 300],
              '300 packets in one payload, in order');

    $s->post("42[\"echo\",$_]") for 1 .. 3;
    is($s->get->body, join("\x1e", map { "42[\"echo\",$_]" } 1 .. 3),
       'several POSTs, one GET');

    is($s->post(join "\x1e", qw(0 3 3x 5 5x 6 6x 0{}))->body, 'ok',
       'open, pong, upgrade and noop of a client do nothing');
    ok($s->lives, 'the session lives');

    is(join(' ', $s->post('42["ack",{"a":[1]}]')->body,
            $s->post('4212["ack",{"a":[1]}]')->body, $s->packets),
       'ok ok 4312[{"a":[1]}]', 'acknowledged where it was asked for');
};


subtest 'binary' => sub {
    my $s = joined();
    my $packet = '451-["echo",{"_placeholder":true,"num":0}]';

    $s->post("$packet\x1ebAQID");
    is_deeply([$s->packets], [$packet, 'bAQID'], 'there and back');

    is($s->post($packet)->body, 'ok', 'an attachment is due');
    my $get = $s->start('GET');
    ok($get->quiet(0.2), 'nothing happens until it comes');
    $s->post('bAQI');
    my $got = $get->response->body;
    $got .= "\x1e" . $s->get->body unless $got =~ /\x1e/;
    is($got, "$packet\x1ebAQI=", 'in a later POST; padding may be missing');

    $s->post("$packet\x1eb");
    is_deeply([$s->packets], [$packet, 'b'], 'an empty attachment');

    my $all = MIME::Base64::encode_base64(join('', map { chr } 0 .. 255), '');
    $s->post('452-["echo",{"_placeholder":true,"num":1},'
             . "{\"_placeholder\":true,\"num\":0}]\x1eb$all\x1eb/+8=");
    my ($text, @parts) = $s->packets;
    is_deeply([map { $parts[$_] } $text =~ /"num":(\d)/g],
              ['b/+8=', "b$all"], 'two attachments, named in reverse');
};


subtest 'overlaps' => sub {
    my $s = session();
    $s->join('/');
    my $first = $s->start('GET');
    ok($first->quiet(0.1), 'a GET waits');
    my $second = $s->get;
    is($second->status . '|' . $second->body, '400|', 'the second: 400, empty');
    my $r = $first->response;
    is($r->status . $r->body, '2001', 'the first gets the close packet');
    ok($s->gone, 'the session is gone');

    $s = joined();
    my $waiting = $s->start('GET');
    my $post = $s->start('POST', headers => ['Content-Length' => 20],
                         body => '42["echo');
    ok($post->quiet(0.2), 'a POST is under way');
    $r = $s->post('42["echo",1]');
    is($r->status . '|' . $r->body, '400|', 'the second: 400, empty');
    $r = $waiting->response;
    is($r->status . $r->body, '2001', 'a waiting GET gets the close packet');
    ok($s->gone, 'the session is gone');
    $post->write('",123456789]');
    unlike($post->response->status, qr/^2/,
           'the first POST does not succeed');
};


subtest 'aborts' => sub {
    for my $how (qw(close reset finish)) {
        my $s = joined();
        my $get = $s->start('GET');
        ok($get->quiet(0.1), 'a GET waits');
        $get->$how;
        $t->wait_for(sub { $s->gone }, "GET, $how: gone", 2);

        $s = joined();
        my $post = $s->start('POST', headers => ['Content-Length' => 20],
                             body => '42["echo');
        ok($post->quiet(0.1), 'a POST is under way');
        $post->$how;
        $t->wait_for(sub { $s->gone }, "POST, $how: gone", 2);
    }

    my $s = joined();
    my $get = $s->start('GET');
    my $post = $s->start('POST', headers => ['Content-Length' => 20],
                         body => '42["echo');
    ok($post->quiet(0.1), 'a GET waits and a POST is under way');
    $post->close;
    is($get->response->body, '1',
       'the POST breaks: the GET gets the close packet');
};


subtest 'what ends a session' => sub {
    my @bad = (
        ['unknown type', 'x'],
        ['type 7', '7'],
        ['type 4 in UTF-16', "4\0"],
        ['a ping', '2'],
        ['a probe', '2probe'],
        ['an upper-case B', 'BAQID'],
        ['a line', "\n"],
        ['empty', ''],
        ['only a separator', "\x1e"],
        ['a separator first', "\x1e6"],
        ['a separator last', "6\x1e"],
        ['two separators', "6\x1e\x1e6"],
        ['binary by octet-stream', "4x",
         'Content-Type' => 'application/octet-stream'],
        ['a bad packet after good ones', "42[\"echo\",1]\x1ex"],
    );
    for (@bad) {
        my ($name, $body, @headers) = @$_;
        my $s = joined();
        my $get = $s->start('GET');
        ok($get->quiet(0.02), 'a GET waits');
        $s->post($body, headers => \@headers, deadline => 0.5);
        like($get->response->body, qr/^(42\["echo",1\](\x1e1)?|1)$/,
             "$name: the GET is closed");
        ok($s->gone, 'gone');
    }

    my $s = joined();
    my $post = $s->start('POST');
    $post->response(deadline => 0.5);
    ok($s->gone, 'a POST without any body');

    $s = joined();
    my $get = $s->start('GET');
    ok($get->quiet(0.05), 'a GET waits');
    is($s->post("1\x1e42[\"echo\",1]")->body, 'ok', 'close packet: ok');
    is($get->response->body, '6', 'the waiting GET gets a noop');
    ok($s->gone, 'gone');
};


subtest 'the server closes' => sub {
    my $until_close = sub {
        my $s = shift;
        my @got;
        for (1 .. 3) {
            push @got, grep { $_ ne '6' } $s->packets;
            last if $got[-1] eq '1' || $got[-1] =~ /^status/;
        }
        return "@got";
    };

    my $s = joined();
    $s->post('42["bye"]', deadline => 0.5);
    is($until_close->($s), '41 1', 'no GET waits: the next ones are told');
    ok($s->gone, 'then gone');

    $s = joined();
    my $get = $s->start('GET');
    ok($get->quiet(0.1), 'a GET waits');
    $s->post('42["bye"]', deadline => 0.5);
    my $body = $get->response->body;
    like($body, qr/^41(\x1e1)?$/, 'it is told');
    is($until_close->($s), '1', 'and the next one') if $body eq '41';
    ok($s->gone, 'then gone');

    $s = session();
    $s->post('42["echo"]', deadline => 0.5);
    is($until_close->($s), '1', 'an event before CONNECT, no GET waits');
    ok($s->gone, 'then gone');
};


subtest 'size' => sub {
    my $event = sub { '42["echo","' . 'x' x ($_[0] - 13) . '"]' };
    my $s = joined(path => '/small/');

    is($s->opened->{maxPayload}, 1000, 'the client is told');
    is($s->post($event->(1001))->status, 413, 'one byte too many');
    is($s->start('POST', chunks => [$event->(600), $event->(600)])
       ->response->status, 413, 'in chunks');
    ok($s->lives, 'the session lives');
    is($s->post($event->(1000))->body, 'ok', 'exactly the limit');
    is($s->get->body, $event->(1000), 'passes');
    is($s->start('POST', chunks => [split /(?<=x{200})/, $event->(1000)])
       ->response->body, 'ok', 'in chunks too');
    is($s->start('POST', headers => ['Content-Length' => 5_000_000_000])
       ->response->status, 413, 'refused by its announcement');
    ok($s->lives, 'the session lives');

    my $r = $s->post($event->(1001),
                     headers => [Origin => 'https://a.example']);
    is($r->header('access-control-allow-origin'), 'https://a.example',
       'a page can read the 413');
};


subtest 'HTTP' => sub {
    my $s = joined();
    my $c = SioRaw->connect($port);
    for my $i (1 .. 3) {
        $c->send_request(POST => $s->url, body => "42[\"echo\",$i]");
        is($c->response->body, 'ok', "kept alive: POST $i");
        $c->send_request(GET => $s->url);
        is($c->response->body, "42[\"echo\",$i]", "kept alive: GET $i");
    }
    $c->write($c->request(POST => $s->url, body => '42["echo",4]')
              . $c->request(GET => $s->url));
    is($c->response->body . $c->response->body, 'ok42["echo",4]', 'pipelined');
    $c->send_request(GET => $s->url, headers => [Connection => 'close']);
    $s->post('42["echo",5]');
    is($c->response->body, '42["echo",5]', 'Connection: close');
    ok($c->closes, 'closes');
    ok($s->lives, 'the connection, not the session');

    my $r = http(GET => "/socket.io/?$open", version => '1.0', see_close => 1);
    my $old = accepted($r, 'HTTP/1.0');
    my $url = $old->url;
    ok($r->closed, 'closes');
    is(http(POST => $url, version => '1.0', body => '40')->body, 'ok', 'POST');
    like(http(GET => $url, version => '1.0')->body, qr/^40\{/, 'GET');

    is($s->start('POST', chunks => ['42["e', "cho\"", ',6]'])->response->body,
       'ok', 'a chunked POST');
    is($s->get->body, '42["echo",6]', 'is one payload');

    my $post = SioRaw->connect($port);
    $post->drip($post->request(POST => $s->url,
                               body => "42[\"echo\",\"\xe2\x9c\x93\"]"));
    is($post->response->body, 'ok', 'byte by byte');
    is($s->get->body, "42[\"echo\",\"\xe2\x9c\x93\"]", 'the same');

    $s = joined(path => '/gzip/');
    my $long = '42["echo","' . 'long ' x 1000 . '"]';
    $s->post($long);
    $r = $s->get(headers => ['Accept-Encoding' => 'gzip']);
    is($r->header('content-encoding'), 'gzip', 'gzip');
    is(Compress::Zlib::memGunzip($r->body), $long, 'unzipped');
    my $get = $s->start('GET', headers => ['Accept-Encoding' => 'gzip']);
    ok($get->quiet(0.1), 'a GET that waits');
    $s->post($long);
    is(Compress::Zlib::memGunzip($get->response->body), $long, 'gzip too');
};


subtest 'origin' => sub {
    my $from = sub {
        my ($path, $origin, $host, $query, $method) = @_;
        return http($method // 'GET', "$path?" . ($query // $open),
                    headers => [Origin => $origin], host => $host);
    };
    my @same = (
        ['http://localhost', 'localhost'],
        ['https://localhost', 'localhost'],
        ['http://localhost:80', 'localhost'],
        ['https://localhost:443', 'localhost'],
        ['http://localhost', 'localhost:80'],
        ['http://localhost:8080', 'localhost:8080'],
        ['https://[::1]:8080', '[::1]:8080'],
    );
    for (@same) {
        my $r = $from->('/socket.io/', @$_);
        accepted($r, "$$_[0] at $$_[1]");
        is($r->header('access-control-allow-origin'), undef, 'no CORS');
    }

    my @other = (
        ['http://localhost', 'localhost:8080'],
        ['http://localhost:8080', 'localhost'],
        ['http://localhost.example', 'localhost'],
        ['http://example/localhost', 'localhost'],
        ['http://localhost@example', 'localhost'],
        ['http://example:80@localhost', 'localhost'],
        ['null', 'localhost'],
        ['localhost', 'localhost'],
        ['x', 'localhost'],
    );
    refused($from->('/socket.io/', @$_), 4, "$$_[0] at $$_[1]") for @other;

    my $bad = 'https://evil.example';
    refused($from->('/socket.io/', $bad, undef, 'EIO=4'), 0, 'transport first');
    refused($from->('/socket.io/', $bad, undef, "$open&sid=x"), 1, 'then sid');
    refused($from->('/socket.io/', $bad, undef, $open, 'POST'), 2,
            'then method');
    refused($from->('/socket.io/', $bad, undef, 'transport=polling'), 4,
            'then the origin, before EIO');

    my $s = joined();
    for my $method (qw(GET POST)) {
        refused($from->('/socket.io/', $bad, undef, $s->{query}, $method), 4,
                "$method of a session");
    }
    ok($s->lives, 'which lives');

    my $up = SioRaw::WS->upgrade($port, headers => [Origin => $bad]);
    is($up->answered->status, 400, 'upgrade: 400');
    is($up->answered->body, 'Forbidden', 'the bare message');
    ok($up->closes, 'closed');
    $up = SioRaw::WS->upgrade($port, headers => [Origin => 'http://localhost']);
    ok($up->switched, 'upgrade from the same host');
};


subtest 'CORS' => sub {
    my $cors = sub {
        my $r = shift;
        return join ' | ', $r->header('access-control-allow-origin') // '-',
            $r->header('access-control-allow-credentials') // '-',
            join(', ', $r->headers('vary')) =~ /\bOrigin\b/ ? 'Vary' : '-';
    };
    my $from = sub {
        my ($path, $origin, $query, $method, @headers) = @_;
        return http($method // 'GET', "$path?" . ($query // $open),
                    headers => [Origin => $origin, @headers]);
    };

    for my $origin ('https://a.example', 'https://www.b.example', 'null') {
        my $named = "$origin | true | Vary";
        my $r = $from->('/named/', $origin);
        my $s = accepted($r, "$origin: allowed");
        is($cors->($r), $named, 'handshake');
        my $query = $s->{query};

        is($cors->($from->('/named/', $origin, 'EIO=4')), $named, 'error 0');
        is($cors->($from->('/named/', $origin, "$open&sid=x")), $named,
           'error 1');
        $r = http(POST => "/named/?$query", body => '40',
                  headers => [Origin => $origin]);
        is($cors->($r), $named, 'POST');
        $r = $from->('/named/', $origin, $query);
        is($cors->($r), $named, 'GET');
        like($r->body, qr/^40/, 'with its packets');

        $r = $from->('/named/', $origin, $query, 'OPTIONS',
                     'Access-Control-Request-Method' => 'POST',
                     'Access-Control-Request-Headers' => 'x-mine');
        is($r->status . $r->body, 204, 'preflight');
        is($cors->($r), $named, 'its headers');
        like($r->header('access-control-allow-methods') // '', qr/\bPOST\b/,
             'methods');
        is($r->header('access-control-allow-headers'), 'x-mine', 'headers');
        is(http(POST => "/named/?$query", body => '6')->body, 'ok',
           'the session lives');
    }

    for my $origin ('https://a.example.org', 'http://a.example',
                    'https://a.example:444', 'https://x1.b.example',
                    'https://www.b.example.org', 'https://evil.example') {
        my $r = $from->('/named/', $origin);
        refused($r, 4, "$origin: refused");
        is($r->header('access-control-allow-origin'), undef, 'not echoed');
        is($from->('/named/', $origin, $open, 'OPTIONS')
           ->header('access-control-allow-origin'), undef, 'preflight neither');
    }
    accepted(http(GET => "/named/?$open"), 'no origin');
    accepted($from->('/named/', 'http://localhost'), 'the same host');

    my $r = $from->('/any/', 'https://evil.example');
    accepted($r, 'any origin');
    is($r->header('access-control-allow-origin'), '*', 'is told so');
    is($r->header('access-control-allow-credentials'), undef,
       'without credentials');
    $r = $from->('/any/', 'https://evil.example', $open, 'OPTIONS');
    is($r->status, 204, 'preflight');
    is($r->header('access-control-allow-origin'), '*', 'any');
    is($r->header('access-control-allow-credentials'), undef,
       'without credentials');
    ok(SioRaw::WS->upgrade($port, path => '/any/', headers =>
                           [Origin => 'https://evil.example'])->switched,
       'upgrade from any origin');
};


subtest 'cookie' => sub {
    my $parts = sub { join ' ', sort split /;\s*/, $_[0] // '' };

    my $s = session(path => '/cookie/');
    is($parts->($s->opening->header('set-cookie')),
       'HttpOnly Path=/ SameSite=Lax io=' . $s->sid, 'default attributes');
    $s->post('40');
    is($s->get->header('set-cookie'), undef, 'in the handshake only');

    $s = session(path => '/cookies/');
    is($parts->($s->opening->header('set-cookie')),
       'HttpOnly Path=/x SameSite=Strict Secure me=' . $s->sid, 'all given');

    my $ws = SioRaw::WS->open($port, path => '/cookies/');
    is($parts->($ws->answered->header('set-cookie')),
       'HttpOnly Path=/x SameSite=Strict Secure me=' . $ws->sid, 'WebSocket');
};


subtest 'plain Engine.IO' => sub {
    my $s = session(path => '/plain/');

    $s->post("4hello\x1e4\x1ebAAEC\x1e442[\"x");
    is_deeply([$s->packets], ['4hello', '4', 'bAAEC', '442["x'],
              'each message comes back');
    $s->post("4\xff");
    ok($s->gone, 'text that is not UTF-8');
};


my @own = grep { / sio: / } split /\n/, $t->log;
ok(@own > 0, 'the module logs');
ok(!grep({ /sid=/ } @own), 'but never a sid');

$t->stop;
done_testing;
