# Each limit: what a client sees at it, one step before it, its line in the
# log and its counter.

use lib 't/lib';
use SioTest;
use SioRaw;
use MIME::Base64 ();

my $t = SioTest->new(
    location => <<'EOC',
        sio;
        sio_on join join $sio_arg1;
        sio_on say emit to=$sio_arg1 event=said;
        sio_on all broadcast;
        sio_on * reply;
        sio_namespace ~^/n { sio_on * reply; }
EOC
    server => <<'EOC',
    location /payload/ { sio; sio_max_payload 1k; sio_on * reply; }
    location /queue/ { sio; sio_max_queue 64k; sio_on all broadcast;
                       sio_on * reply; }
    location /connect/ { sio; sio_connect_timeout 200ms; }
    location /upgrade/ { sio; sio_upgrade_timeout 200ms; sio_on * reply; }
    location /attachments/ { sio; sio_max_attachments 2; sio_on * reply; }
    location /namespaces/ {
        sio; sio_max_namespaces 2; sio_namespace ~^/n { sio_on * reply; }
    }
    location /rooms/ {
        sio; sio_max_rooms 3;
        sio_on join join $sio_arg1;
        sio_on leave leave $sio_arg1;
        sio_on say emit to=$sio_arg1 event=said;
        sio_on * reply;
    }
    location /depth/ { sio; sio_max_depth 4; sio_on * reply; }
    location /data/ {
        sio; sio_data agent $http_user_agent;
        sio_on connection reply event=hello args=[$sio_auth];
        sio_on * reply;
    }
    location /origin/ { sio; sio_allow_origin https://a.example; }
EOC
);
$t->start;

my $port = $t->port;

sub joined { SioRaw::WS->socket($port, @_) }
sub frame { SioRaw::WS->frame(@_) }

sub session {
    my $s = SioRaw::Polling->open($port, @_);
    $s->join('/');
    return $s;
}

# Runs what goes beyond a limit so many times: it is counted and logged.
sub limit {
    my ($name, $directive, $counter, $times, $code) = @_;

    subtest $name => sub {
        my $before = $t->status->{$counter};
        my $logged = length $t->log;
        $code->();
        $t->wait_for(sub { $t->status->{$counter} == $before + $times },
                     "$counter + $times", 2)
            or diag "$before, now " . $t->status->{$counter};
        like(substr($t->log, $logged),
             qr/\[warn\] [^\n]*"\Q$directive"/,
             "the log names $directive");
        unlike(substr($t->log, $logged), qr/\[(?:error|crit|alert|emerg)\]/,
               'and sees no error');
    };
}


limit('payload', 'sio_max_payload', 'limit_payload', 6, sub {
    my $event = sub { '42["echo","' . 'x' x ($_[0] - 13) . '"]' };
    my $s = session(path => '/payload/');
    my $ws = joined(path => '/payload/');

    is($s->opened->{maxPayload}, 1024, 'the client is told');
    is($s->post($event->(1025))->status, 413, 'a POST of 1025');
    is($s->start('POST', chunks => [($event->(1024)) x 2])->response->status,
       413, 'in chunks');
    ok($s->lives, 'the session lives');
    is($s->post($event->(1024))->body, 'ok', 'a POST of 1024');
    is($s->get->body, $event->(1024), 'passes');

    ok(($ws->ask($event->(1024)))[0] eq $event->(1024), 'a message of 1024');
    $ws->text($event->(1025));
    is($ws->close_code, 1009, 'of 1025');
    $ws = joined(path => '/payload/');
    $ws->write(frame(1, $event->(1024), fin => 0) . frame(0, ' '));
    is($ws->close_code, 1009, 'in fragments');

    my $two = '452-["a",{"_placeholder":true,"num":0},'
              . '{"_placeholder":true,"num":1}]';
    $ws = joined(path => '/payload/');
    $ws->text($two);
    $ws->binary('x' x 512) for 1, 2;
    like($ws->message, qr/^452-/, 'attachments of 1024 together');
    $ws->message for 1, 2;
    $ws->text($two);
    $ws->binary('x' x 513) for 1, 2;
    is($ws->close_code, 1009, 'of 1026');

    my $half = MIME::Base64::encode_base64('x' x 513, '');
    is($s->post($two)->body, 'ok', 'by polling');
    is($s->post("b$half")->body, 'ok', 'one');
    $s->post("b$half", deadline => 1);
    ok($s->gone || join('', $s->packets) =~ /1$/, 'of 1026');
});


limit('queue', 'sio_max_queue', 'limit_queue', 3, sub {
    my $sender = joined(path => '/queue/');
    my $reader = joined(path => '/queue/');
    my $event = sub { '42["all","' . $_[0] x 20_000 . '"]' };

    my $s = session(path => '/queue/');
    $sender->text($event->($_)) for 1 .. 3;
    ok($sender->alive, 'three events of 20 KB');
    ok($s->lives, 'wait for a GET');
    $reader->message for 1 .. 3;
    $sender->text($event->(4));
    is($reader->message, $event->(4), 'a client that reads gets the fourth');
    ok($s->gone, 'it is too much for the other');

    my $big = '42["echo","' . 'y' x 300_000 . '"]';
    ok(($reader->ask($big))[0] eq $big, 'one packet may be larger');
    $s = session(path => '/queue/');
    $s->post($big);
    ok($s->get->body eq $big, 'by polling too');
    undef $s;

    # What the kernel takes for a client that does not read is no matter of
    # the module: enough must follow.
    my $deaf = joined(path => '/queue/', rcvbuf => 4096);
    my $id = $deaf->sid;
    my $n = 0;
    my $gone = sub {
        SioRaw::http($port, GET => '/queue/?EIO=4&transport=polling&sid=' . $id)
            ->body =~ /"code":1,/;
    };
    while ($n < 2000) {
        $sender->text($event->('z'));
        defined $reader->message or last;
        last if ++$n % 20 == 0 && $gone->();
    }
    ok($gone->(), 'a WebSocket that does not read is closed');
    cmp_ok($n, '<', 2000, "after $n events of 20 KB");
    ok($deaf->closes, 'the connection ends');
    ok($sender->alive && $reader->alive, 'the others live');

    $deaf = joined(path => '/queue/', rcvbuf => 4096);
    my $ask = frame(1, '42["echo","' . 'x' x 50_000 . '"]');
    $n = 0;
    $n++ while $n < 1000 && $deaf->write($ask, 1) == length $ask;
    cmp_ok($n, '<', 1000, "one that asks and never reads: closed after $n");
    ok($sender->alive && $reader->alive, 'the others live');
});


limit('connect timeout', 'sio_connect_timeout', 'connect_timeouts', 2, sub {
    my $ws = SioRaw::WS->open($port, path => '/connect/');
    my $s = SioRaw::Polling->open($port, path => '/connect/');
    my $get = $s->start('GET');
    my $good = joined(path => '/connect/');
    my $start = SioRaw::now();

    ok(defined $ws->close_code, 'a WebSocket without CONNECT');
    cmp_ok(SioRaw::now() - $start, '>', 0.1, 'not at once');
    is($get->response->body, '1', 'polling');
    ok($s->gone, 'gone');
    ok($good->quiet(0.3), 'one that has connected stays');
});


limit('upgrade timeout', 'sio_upgrade_timeout', 'upgrade_timeouts', 2, sub {
    my $s = session(path => '/upgrade/');
    for my $probe (0, 1) {
        my $ws = SioRaw::WS->upgrade($port, path => '/upgrade/', query =>
                     'EIO=4&transport=websocket&sid=' . $s->sid);
        $ws->ask('2probe') if $probe;
        ok(defined $ws->close_code, 'the new WebSocket is closed');
    }
    $s->post('42["a"]');
    is($s->get->body, '42["a"]', 'the session lives');
});


limit('attachments', 'sio_max_attachments', 'limit_attachments', 2, sub {
    my $event = sub { my $n = shift; "45$n-[\"a\","
        . join(',', map { "{\"_placeholder\":true,\"num\":$_}" } 0 .. $n - 1)
        . ']' };
    my $ws = joined(path => '/attachments/');
    $ws->text($event->(2));
    $ws->binary($_) for 'x', 'y';
    is(join('|', map { $ws->message } 0 .. 2), $event->(2) . '|x|y', 'two');
    $ws->text($event->(3));
    ok(defined $ws->close_code, 'three: closed');

    my $s = session(path => '/attachments/');
    my $get = $s->start('GET');
    $get->quiet(0.05);
    $s->post($event->(3), deadline => 0.5);
    is($get->response->body, '1', 'polling');
});


limit('namespaces', 'sio_max_namespaces', 'limit_namespaces', 3, sub {
    my $ws = SioRaw::WS->open($port, path => '/namespaces/');
    ok(defined $ws->join($_), "joins $_") for '/', '/n1';
    for (1, 2) {
        my ($answer) = $ws->ask('40/n2,');
        like($answer, qr{^44/n2,\{"message":"[^"]+"\}$}, 'the third: refused');
    }
    is(($ws->ask('42/n1,["a"]'))[0], '42/n1,["a"]', 'the session lives');
    $ws->text('41/n1,');
    ok(defined $ws->join('/n2'), 'after one is left there is room');
    like(($ws->ask('40/n1,'))[0], qr{^44/n1,}, 'for one');
});


limit('rooms', 'sio_max_rooms', 'limit_rooms', 3, sub {
    my $ws = joined(path => '/rooms/');
    my $in = sub {
        $ws->text("42[\"say\",\"$_[0]\"]");
        my ($answer) = $ws->ask('42["done"]');
        return 0 if $answer eq '42["done"]';
        $ws->message;
        return $answer eq "42[\"said\",\"$_[0]\"]";
    };
    $ws->text("42[\"join\",\"$_\"]") for qw(a b c d);
    ok($in->($_), "in $_") for qw(a b c);
    ok(!$in->('d'), 'not in d');
    $ws->text('42["join","a"]');
    ok($in->('a'), 'a again is no more');
    $ws->text("42[\"join\",\"$_\"]") for qw(d e);
    $ws->text('42["leave","b"]');
    $ws->text('42["join","e"]');
    ok($in->('e') && !$in->('b'), 'after one is left there is room');
});


limit('depth', 'sio_max_depth', 'limit_depth', 3, sub {
    my $ws = joined(path => '/depth/');
    for my $fits ('42["a",[[[1]]]]', '42["a",{"b":[{}]}]') {
        is(($ws->ask($fits))[0], $fits, "$fits passes");
    }
    $ws->text('42["a",[[[[]]]]]');
    ok(defined $ws->close_code, 'one level more: closed');
    $ws = joined(path => '/depth/');
    $ws->text('42["a",{"b":{"c":[{}]}}]');
    ok(defined $ws->close_code, 'objects count too');
    my $s = session(path => '/depth/');
    my $get = $s->start('GET');
    $get->quiet(0.05);
    $s->post('42["a",[[[[]]]]]', deadline => 0.5);
    is($get->response->body, '1', 'polling');
});


limit('data of a session', 'sio_data', 'limit_data', 3, sub {
    my $with = sub { (path => '/data/',
                      headers => ['User-Agent' => 'x' x $_[0]]) };
    my $s = SioRaw::Polling->open($port, $with->(4096));
    isnt($s->sid, 'none', 'a value of 4096');
    is(SioRaw::Polling->open($port, $with->(4097))->opening->status, 400,
       'of 4097: refused');
    is(SioRaw::WS->upgrade($port, $with->(4097))->answered->status, 400,
       'by WebSocket, too');

    my $auth = sub { '{"a":"' . 'x' x ($_[0] - 8) . '"}' };
    my $ws = SioRaw::WS->open($port, path => '/data/');
    like(($ws->ask('40' . $auth->(8193)))[0], qr/^44\{"message":/,
         'an auth payload of 8193 that rules use: refused');
    ok(defined $ws->join('/', $auth->(8192)), 'of 8192: connected');
    is($ws->message, '42["hello",' . $auth->(8192) . ']', 'and used');
});


subtest 'origin' => sub {
    my $before = $t->status->{origins_refused};
    my @evil = (headers => [Origin => 'https://evil.example']);
    my $s = SioRaw::Polling->open($port, path => '/origin/');

    is(SioRaw::http($port, GET => '/origin/?EIO=4&transport=polling', @evil)
       ->status, 403, 'handshake');
    is(SioRaw::http($port, POST => $s->url, body => '40', @evil)->status, 403,
       'POST of a session');
    is(SioRaw::WS->upgrade($port, path => '/origin/', @evil)->answered->status,
       400, 'upgrade');
    is($t->status->{origins_refused}, $before + 3, 'origins_refused + 3');
    like($t->log, qr/\[(?:info|warn)\] [^\n]*origin/i, 'logged');
    ok($s->lives, 'the session lives');
};


subtest 'defaults' => sub {
    my $depth = sub { '42["a",' . '[' x ($_[0] - 1) . ']' x ($_[0] - 1) . ']' };
    my $event = sub { my $n = shift; "45$n-[\"a\","
        . join(',', map { "{\"_placeholder\":true,\"num\":$_}" } 0 .. $n - 1)
        . ']' };

    my $ws = joined();
    is($ws->opened->{maxPayload}, 1_000_000, 'sio_max_payload 1000000');
    my $big = '42["a","' . 'x' x (1_000_000 - 10) . '"]';
    ok(($ws->ask($big))[0] eq $big, 'a message of 1000000 passes');

    is(($ws->ask($depth->(64)))[0], $depth->(64), 'sio_max_depth 64');
    $ws->text($depth->(65));
    ok(defined $ws->close_code, '65: closed');

    $ws = joined();
    $ws->text($event->(10));
    $ws->binary($_) for 1 .. 10;
    like($ws->message, qr/^4510-/, 'sio_max_attachments 10');
    $ws->message for 1 .. 10;
    $ws->text($event->(11));
    ok(defined $ws->close_code, '11: closed');

    $ws = SioRaw::WS->open($port);
    my @joined = grep { defined $ws->join("/n$_") } 1 .. 16;
    is(@joined, 16, 'sio_max_namespaces 16');
    like(($ws->ask('40/n17,'))[0], qr{^44/n17,}, '17: refused');

    $ws = joined();
    $ws->write(join '', map { frame(1, "42[\"join\",\"r$_\"]") } 1 .. 257);
    ok($ws->alive, 'sio_max_rooms 256');
    is(($ws->ask('42["say","r256"]'))[0], '42["said","r256"]', '256: joined');
    $ws->text('42["say","r257"]');
    ok($ws->alive, '257: not');

    my $sender = joined();
    my $s = session();
    my $part = '42["all","' . 'x' x 250_000 . '"]';
    $sender->text($part) for 1 .. 4;
    ok($sender->alive && $s->lives, 'sio_max_queue 1m: less');
    $sender->text($part);
    ok($sender->alive && $t->await(sub { $s->gone }), 'more: closed');
};

$t->stop;


$t = SioTest->new(workers => 1, events => 'worker_connections 24;',
                  expect_log => [qr/worker_connections are not enough/]);
$t->start;
$port = $t->port;

limit('sessions per worker', 'worker_connections', 'limit_sessions', 2, sub {
    my @s = map { SioRaw::Polling->open($port) } 1 .. 24;
    is(scalar(grep { $_->sid ne 'none' } @s), 24, 'as many as connections');
    my $r = SioRaw::http($port, GET => '/socket.io/?EIO=4&transport=polling');
    is($r->status, 503, 'one more: 503');
    is(SioRaw::WS->upgrade($port)->answered->status, 503, 'by WebSocket too');
    ok($s[0]->lives && $s[23]->lives, 'the others live');
    $s[0]->post('1');
    ok($s[0]->gone, 'one leaves');
    $s[0] = SioRaw::Polling->open($port);
    isnt($s[0]->sid, 'none', 'another may come');
});

$t->stop;
done_testing;
