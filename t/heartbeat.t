# The heartbeat: the server pings, only a pong keeps a session alive, on both
# transports and across the upgrade.

use lib 't/lib';
use SioTest;
use SioRaw;

my $t = SioTest->new(
    location => 'sio; sio_ping_interval 300ms; sio_ping_timeout 400ms; '
                . 'sio_on * reply;',
    server => <<'EOC',
    location /many/ { sio; sio_ping_interval 300ms; sio_ping_timeout 2s; }
    location /slow/ { sio; sio_ping_interval 1h; sio_ping_timeout 1s; }
EOC
);
$t->start;

my $port = $t->port;
my $late = 1.5 * $SioRaw::SCALE;    # slack of a busy machine

# the seconds until the next message, and the message
sub next_message {
    my $ws = shift;
    my $start = SioRaw::now();
    my $message = $ws->message($late + 1) // 'none';
    return (SioRaw::now() - $start, $message);
}

sub between {
    my ($took, $min, $name) = @_;
    ok($took > $min - 0.03 && $took < $min + $late,
       sprintf '%s: after %d ms', $name, $min * 1000)
        or diag sprintf '%d ms', $took * 1000;
}


subtest 'WebSocket' => sub {
    my $ws = SioRaw::WS->open($port);
    is($ws->opened->{pingInterval}, 300, 'the client knows the interval');
    is($ws->opened->{pingTimeout}, 400, 'and the timeout');

    my ($took, $message) = next_message($ws);
    is($message, '2', 'a ping');
    between($took, 0.3, 'the first');
    ok($ws->quiet(0.2), 'the client takes its time');
    $ws->text('3');
    ($took, $message) = next_message($ws);
    is($message, '2', 'the next ping');
    between($took, 0.3, 'counted from the pong');
    for (1 .. 3) {
        $ws->text('3');
        is($ws->message, '2', 'and so on');
    }

    my $start = SioRaw::now();
    ok(defined $ws->close_code($late + 1), 'no pong: closed');
    between(SioRaw::now() - $start, 0.4, 'the timeout');

    $ws = SioRaw::WS->socket($port);
    my $until = SioRaw::now() + 0.3 + 2 * 0.4 + $late;
    my ($frames, $f) = (0);
    while (SioRaw::now() < $until) {
        $ws->text('42["x"]');
        $ws->send_frame(10, 'pong');
        $f = $ws->recv(0.5) // last;
        last if $f->{op} == 8;
        $frames++;
        $ws->fill(0.02);
    }
    ok($frames > 10, 'messages come and go');
    ok($ws->{eof} || $f && $f->{op} == 8, 'but are no pong');

    $ws = SioRaw::WS->socket($port);
    $ws->text('3'), $ws->fill(0.1) for 1 .. 12;
    $ws->text('42["x"]');
    my @got = $ws->message // 'none';
    push @got, $ws->message // 'none' if $got[0] eq '2';
    is($got[-1], '42["x"]', 'pongs that come too early do no harm');
};


subtest 'polling' => sub {
    my $s = SioRaw::Polling->open($port);
    my $start = SioRaw::now();
    is(join('|', $s->packets), '2', 'a waiting GET gets the ping');
    between(SioRaw::now() - $start, 0.3, 'the first');
    for (1 .. 3) {
        is($s->post('3')->body, 'ok', 'pong');
        is(join('|', $s->packets), '2', 'the next ping');
    }
    is(join('|', $s->packets), '1', 'no pong: the GET gets the close packet');
    ok($s->gone, 'the session is gone');

    $s = SioRaw::Polling->open($port);
    $t->wait_for(sub { $s->gone }, 'a ping nobody fetches is not answered', 3);

    $s = SioRaw::Polling->open($port);
    $s->join('/');
    my $quiet = SioRaw->connect($port);
    $quiet->quiet(0.5);
    is(join('|', $s->packets), '2', 'a ping waits for the next GET');
    is($s->post("3\x1e42[\"x\"]")->body, 'ok', 'a pong among other packets');
    is(join('|', $s->packets), '42["x"]', 'counts');
    is(join('|', $s->packets), '2', 'and the heart goes on');
};


subtest 'upgrade' => sub {
    my $s = SioRaw::Polling->open($port);
    my $ws = SioRaw::WS->upgrade($port, query =>
                 'EIO=4&transport=websocket&sid=' . $s->sid);
    $ws->ask('2probe');
    my @got;
    push @got, grep { $_ ne '6' } $s->packets until @got;
    is("@got", '2', 'before 5 the ping goes by polling');
    $s->post('3');
    $ws->text('5');
    for (1 .. 3) {
        is($ws->message, '2', 'afterwards by the WebSocket');
        $ws->text('3');
    }
    is($ws->message, '2', 'once more');
    ok(defined $ws->close_code($late + 1), 'no pong: closed');
    ok($s->gone, 'gone');
};


subtest 'many' => sub {
    my $beats = $t->status->{heartbeats};
    my @ws = map { SioRaw::WS->open($port, path => '/many/') } 1 .. 200;
    my @deaf = splice @ws, 100;
    my $pinged = sub { scalar grep { ($_->message // '') eq '2' } @_ };
    my $closed = sub { scalar grep { defined $_->close_code($late + 3) } @_ };

    is($pinged->(@ws, @deaf), 200, 'all are pinged');
    $_->text('3') for @ws;
    is($pinged->(@ws), 100, 'those that answer again');
    is($t->status->{heartbeats}, $beats + 100, 'pongs are counted');
    is($closed->(@deaf), 100, 'those that do not are closed');
    is($closed->(@ws), 100, 'in the end all');
    like($t->log, qr/\[info\].*ping timeout/, 'the log says why');
};


subtest 'a long interval' => sub {
    my $ws = SioRaw::WS->open($port, path => '/slow/');
    is($ws->opened->{pingInterval}, 3_600_000, 'in milliseconds');
    ok($ws->quiet(0.5), 'no ping yet');
};

$t->stop;
done_testing;
