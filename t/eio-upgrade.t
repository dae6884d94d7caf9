# The upgrade from long-polling to WebSocket, by hand: the probe, what the
# polling side sees meanwhile, upgrades that are not completed, and those
# that are refused.

use lib 't/lib';
use SioTest;
use SioRaw;

my $rules = 'sio_on echo reply; sio_on bye disconnect close;';

my $t = SioTest->new(
    location => "sio; $rules",
    server => <<"EOC",
    location /brief/ { sio; sio_upgrade_timeout 300ms; $rules }
    location /no-websocket/ { sio; sio_transports polling; $rules }
EOC
);
$t->start;

my $port = $t->port;

sub session {
    my $s = SioRaw::Polling->open($port, @_);
    $s->join('/');
    return $s;
}

sub upgrade {
    my ($s, %opt) = @_;
    return SioRaw::WS->upgrade($port, path => $s->{path}, %opt,
        query => "EIO=4&transport=websocket&sid=" . $s->sid);
}

sub mismatch {
    my ($r, $name) = @_;
    is($r->status . $r->body, '400{"code":3,"message":"Bad request"}', $name);
}


subtest 'probe and upgrade' => sub {
    my $s = session();
    my $before = $t->status->{upgrades};
    my $get = $s->start('GET');
    my $ws = upgrade($s);

    ok($ws->switched, 'switched');
    ok($get->quiet(0.2), 'nothing happens before the probe');
    is(($ws->ask('2probe'))[0], '3probe', 'probe');
    is($get->response(deadline => 0.5)->body, '6', 'the waiting GET: noop');
    is($s->get(deadline => 0.5)->body, '6', 'and the next');
    is(($ws->ask('2probe'))[0], '3probe', 'probed again');

    $s->post('42["echo",1]');
    is($s->get->body, '42["echo",1]', 'until 5 all goes by polling');
    $s->post('42["echo",2]');
    $s->post('42["echo",3]');
    ok($ws->quiet(0.2), 'nothing on the new socket');

    $ws->text('5');
    is($ws->message, '42["echo",2]', 'what was buffered comes');
    is($ws->message, '42["echo",3]', 'in order');
    ok($ws->alive, 'and works');
    mismatch($s->get, 'GET afterwards');
    mismatch($s->post('42["echo"]'), 'POST afterwards');
    ok($ws->alive, 'the session is unhurt');
    is($t->status->{upgrades}, $before + 1, 'counted');

    $ws->close;
    $t->wait_for(sub { $s->gone }, 'gone with its WebSocket', 2);
};


subtest 'many packets around the switch' => sub {
    my $s = session();
    my $echo = sub { map { "42[\"echo\",$_]" } @_ };

    $s->post(join "\x1e", $echo->(1 .. 100));
    my $ws = upgrade($s, early => SioRaw::WS->frame(1, '2probe'));
    is($ws->message, '3probe', 'a probe that came with the request');
    $s->post(join "\x1e", $echo->(101 .. 200));
    $ws->write(join '', map { SioRaw::WS->frame(1, $_) }
                            5, $echo->(201 .. 300));
    my @got = map { $ws->message // 'none' } 1 .. 300;
    is_deeply(\@got, [$echo->(1 .. 300)], 'all arrive, once and in order');
    ok($ws->quiet(0.2), 'and nothing else');
};


subtest '5 without a probe' => sub {
    my $s = session();
    my $get = $s->start('GET');
    my $ws = upgrade($s);

    ok($get->quiet(0.1), 'a GET waits');
    $ws->text('5');
    ok($ws->alive, 'upgraded');
    like($get->response->body, qr/^[16]$/, 'the GET ends');
    mismatch($s->get, 'polling is over');

    $s = session();
    $ws = upgrade($s, early => SioRaw::WS->frame(1, '5'));
    ok($ws->alive, 'a 5 that came with the request');
    mismatch($s->get, 'polling is over');
};


subtest 'not completed' => sub {
    my $s = session();

    for my $packet ('4x', '42["echo",1]', '2', '2prob', '2probes', '3probe',
                    '6', '1', '0', '', 'x') {
        my $ws = upgrade($s);
        $ws->text($packet);
        like($ws->close_code, qr/^(1005|none)$/,
             "'$packet' ends the new socket");
    }
    for my $packet ('4x', '2', '') {
        my $ws = upgrade($s);
        $ws->ask('2probe');
        $ws->text($packet);
        like($ws->close_code, qr/^(1005|none)$/,
             "'$packet' after the probe, too");
    }
    {
        my $ws = upgrade($s);
        $ws->binary('5');
        like($ws->close_code, qr/^(1005|none)$/, 'a binary message');
    }
    for my $how (qw(close reset finish)) {
        my $ws = upgrade($s);
        $ws->ask('2probe');
        $ws->$how;
        $t->wait_for(sub { upgrade($s)->quiet(0.1) }, "$how: may try again");
    }
    {
        my $ws;
        $t->wait_for(sub { $ws = upgrade($s); $ws->quiet(0.1) }, 'a new try');
        $ws->send_frame(8, pack 'n', 1000);
        is($ws->close_code, 1000, 'a close frame is answered');
    }
    ok($s->lives, 'polling goes on');
    $s->post('42["echo",1]');
    is($s->get->body, '42["echo",1]', 'and works');

    my $ws;
    $t->wait_for(sub { $ws = upgrade($s); $ws->quiet(0.1) }, 'a last try');
    $ws->ask('2probe');
    $ws->text('5');
    ok($ws->alive, 'and a later upgrade succeeds');
};


subtest 'upgrade timeout' => sub {
    for my $probe (0, 1) {
        my $s = session(path => '/brief/');
        my $ws = upgrade($s);
        $ws->ask('2probe') if $probe;
        is($ws->close_code(2 * $SioRaw::SCALE), 1005,
           'the new socket is closed' . ' after the probe' x $probe);
        ok($s->lives, 'polling goes on');
        $ws = upgrade($s);
        $ws->ask('2probe');
        $ws->text('5');
        ok($ws->alive, 'a later upgrade succeeds');
        ok($ws->quiet(0.5), 'and has no timeout any more');
        ok($ws->alive, 'and lives');
    }
};


subtest 'the session ends meanwhile' => sub {
    my $s = session();
    my $ws = upgrade($s);
    $ws->ask('2probe');
    is($s->post('1')->body, 'ok', 'close by polling');
    like($ws->close_code, qr/^(1005|none)$/, 'ends the new socket');

    $s = session();
    $ws = upgrade($s);
    $ws->ask('2probe');
    my $get = $s->start('GET');
    $s->post('42["bye"]', deadline => 0.5);
    like($get->response->body, qr/41/, 'close by the server');
    $s->get(deadline => 0.5);
    like($ws->close_code, qr/^(1005|none)$/, 'ends the new socket');
};


subtest 'a second upgrade' => sub {
    my $s = session();
    my $ws = upgrade($s);
    $ws->ask('2probe');
    my $second = upgrade($s);
    is($second->answered->status, 101, 'during the first: switched');
    is($second->close_code, 1005, 'and closed');
    is(($ws->ask('2probe'))[0], '3probe', 'the first is unhurt');

    $second = upgrade($s, early => SioRaw::WS->frame(1, '2probe')
                                   . SioRaw::WS->frame(1, '5'));
    is($second->close_code, 1005, 'one that talks at once');

    $ws->text('5');
    ok($ws->alive, 'the first succeeds');
    $second = upgrade($s, early => SioRaw::WS->frame(1, '5'));
    is($second->answered->status, 101, 'after the first: switched');
    is($second->close_code, 1005, 'and closed');
    ok($ws->alive, 'the first is unhurt');

    my $direct = SioRaw::WS->socket($port);
    $second = SioRaw::WS->upgrade($port, query =>
                  'EIO=4&transport=websocket&sid=' . $direct->sid);
    is($second->answered->status, 101, 'of a WebSocket session: switched');
    $second->close;
    ok($direct->alive, 'the session is unhurt');

    $s = session();
    for my $query ('', '&sid=' . $s->sid) {
        my $ws = SioRaw::WS->upgrade($port, query =>
                     "EIO=4&transport=polling$query");
        is($ws->answered->status, 101, "transport=polling$query: switched"
           =~ s/sid=.*:/sid:/r);
        is($ws->close_code, 1005, 'and closed');
    }
    ok($s->lives, 'the session is unhurt');
};


subtest 'refused' => sub {
    my $s = session();
    my $sid = $s->sid;
    my $ws = 'EIO=4&transport=websocket';
    my @refused = (
        ['Transport unknown', ''],
        ['Transport unknown', 'EIO=4&transport=x'],
        ['Transport unknown', "EIO=4&transport=x&sid=$sid"],
        ['Transport unknown', $ws, path => '/no-websocket/'],
        ['Session ID unknown', "$ws&sid=nope"],
        ['Session ID unknown', "EIO=3&transport=websocket&sid=nope"],
        ['Session ID unknown', "$ws&sid=$sid", path => '/brief/'],
        ['Bad handshake method', $ws, method => 'POST'],
        ['Bad handshake method', 'EIO=3&transport=websocket',
         method => 'POST'],
        ['Bad request', "EIO=3&transport=websocket&sid=$sid"],
        ['Bad request', "transport=websocket&sid=$sid"],
        ['Unsupported protocol version', 'EIO=3&transport=websocket'],
        ['Unsupported protocol version', 'transport=websocket'],
        ['Forbidden', $ws, headers => [Origin => 'https://evil.example']],
        ['Forbidden', "$ws&sid=$sid",
         headers => [Origin => 'https://evil.example']],
        ['Forbidden', 'EIO=3&transport=websocket',
         headers => [Origin => 'https://evil.example']],
    );
    for (@refused) {
        my ($message, $query, %opt) = @$_;
        my $c = SioRaw::WS->upgrade($port, query => $query, %opt);
        my $r = $c->answered;
        is(join(' | ', $r->status, $r->header('content-type') // '',
                $r->header('connection') // '', $r->body),
           "400 | text/html | close | $message",
           ($opt{method} // 'GET') . " $query: $message" =~ s/\Q$sid/SID/r);
        ok($c->closes, 'closed');
    }
    ok($s->lives, 'the session lives');
};

$t->stop;
done_testing;
