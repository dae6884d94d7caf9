# Handlers: one request of a socket at a time, in their order; of many sockets
# as many as there may be; and a client that is faster than the backend waits.

use lib 't/lib';
use SioCluster;
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();
use Socket qw(SOL_SOCKET SO_SNDBUF);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $backend = SioBackend->new(answers => {
    tick => { delay => 0.002 },
    slow => { delay => 0.005 },
    more => { body => [{ op => 'ack', args => ['done'] }] },
})->start;

# Sessions move: one worker is not enough.

my $workers = $ENV{NGX_SIO_WORKERS} || 1;
$workers = 2 if $workers == 1;

my $t = SioCluster->new(
    workers => $workers,
    api => '',
    http => "upstream app { server ${\$backend->address}; keepalive 16; }",
    location => 'sio; sio_handler /app; sio_ping_interval 30s;',
    server => <<'EOC',
    location /few/ { sio; sio_handler /app; sio_handler_inflight 3; }
    location /one/ { sio; sio_handler /app; sio_handler_inflight 1; }
    location /batch/ {
        sio; sio_handler /app; sio_handler_batch 5;
        sio_on other handler /other;
    }
    location /queue/ {
        sio; sio_handler /app; sio_handler_queue 16k;
        sio_ping_interval 300ms; sio_ping_timeout 600ms;
        sio_namespace /also { sio_on * reply; }
    }
    location ~ ^/(app|other)$ {
        internal;
        proxy_pass         http://app;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);
my @workers = $t->worker_pids;
my $holds = 0;

sub joined {
    my ($pid, @opt) = @_;
    my $ws = $t->websocket($pid, @opt);
    $backend->take(1);
    return $ws;
}

# Clients leave; what the backend hears of that.
sub leave {
    $_->close for @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(join(' ', map { ref $_->{json} eq 'ARRAY' ? $_->{json}[0]{type}
                                                        : $_->{json}{type} }
                            $backend->take(scalar @_)),
              join(' ', ('disconnect') x @_), 'they leave');
}

# An event whose answer is held, and that is under way.
sub holds {
    my ($ws, %opt) = @_;
    my $name = 'hold' . ++$holds;
    $ws->text('42' . $json->encode(['do', { hold => $name, %opt }]));
    $backend->take(1);
    return $name;
}

# Whether requests of each socket have come one after the other.
sub in_order {
    my ($name, @r) = @_;
    my (%seq, @wrong);
    for my $r (@r) {
        my $j = $r->{json};
        push @wrong, "$j->{seq} after $seq{$j->{id}}"
            if defined $seq{$j->{id}} && $j->{seq} != $seq{$j->{id}} + 1;
        push @wrong, "$j->{seq}: $r->{together} at once"
            if $r->{together} != 1;
        $seq{$j->{id}} = $j->{seq};
    }
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(join(', ', @wrong), '', $name);
}

sub most { (sort { $b <=> $a } map { $_->{running} } @_)[0] }


subtest 'one at a time' => sub {
    my @ws = map { joined($_) } (@workers) x (4 / @workers);
    my @s = map { SioRaw::Polling->open($port) } 1 .. 2;
    $_->join('/') for @s;
    $backend->take(2);

    my @packets = map { "42[\"tick\",$_]" } 1 .. 60;
    $_->write(join '', map { SioRaw::WS->frame(1, $_) } @packets) for @ws;
    $_->post(join "\x1e", @packets) for @s;

    my @r = $backend->take(60 * (@ws + @s));
    my %args;
    in_order('in the order of seq', @r);
    push @{$args{$_->{json}{id}}}, $_->{json}{args}[0] for @r;
    is_deeply([values %args], [([1 .. 60]) x (@ws + @s)],
              'and of what was sent');
    cmp_ok(most(@r), '>', 1, 'those of others meanwhile: ' . most(@r));
    $_->post('1') for @s;
    leave(@ws, map { $_->{gone} = 1; () } @s);
    $backend->take(2);
};


subtest 'in parallel' => sub {
    my @ws = map { joined($_) } (@workers) x (20 / @workers);
    my $do = $json->encode(['do', { hold => 'parallel', body =>
                                    [{ op => 'ack' }] }]);

    $_->text("421$do") for @ws;
    is(most($backend->take(scalar @ws)), scalar @ws,
       'requests of 20 sockets are under way at once');
    is($t->status->{handler_running}, scalar @ws, 'handler_running');
    $_->text('42["next"]') for @ws;
    $t->wait_for(sub { $t->status->{handler_queued} == 2 * @ws },
                 'those that follow wait');
    is(scalar($backend->rest), undef, 'at nginx');
    $backend->release('parallel');
    is(join(' ', map { $_->message } @ws), join(' ', ('431[]') x @ws),
       'answered');
    is(scalar(() = $backend->take(scalar @ws)), scalar @ws, 'the next ones');
    leave(@ws);
};


subtest 'sio_handler_inflight' => sub {
    my $pid = $workers[0];
    my @few = map { joined($pid, path => '/few/') } 1 .. 8;
    my $other = joined($pid);
    my $do = $json->encode(['do', { hold => 'few' }]);

    $_->text("42$do") for @few;
    $t->wait_for(sub { $t->status->{handler_queued} == 8 }, 'eight are there');
    is(most($backend->take(3)), 3, 'three are under way');
    is(scalar($backend->rest), undef, 'and no other');
    is($t->status->{handler_running}, 3, 'handler_running');
    $other->text('42["other"]');
    is($backend->take(1)->{json}{event}, 'other',
       'another location has its own');

    # One that waits leaves: as a socket it is told of, as a connect not.
    my $gone = pop @few;
    $gone->close;
    my $opened = SioRaw::WS->open($port, path => '/few/',
                                  on => $t->connect_to($pid));
    $opened->text('40');
    $t->wait_for(sub { $t->status->{handler_queued} == 10 },
                 'a disconnect and a connect wait, too');
    $opened->close;
    $t->wait_for(sub { $t->status->{sessions} == 8 }, 'two are gone');

    $backend->release('few');
    my @r = $backend->take(6);
    is(join(' ', sort map { $_->{json}{type} } @r),
       'disconnect event event event event event', 'all that waited are told');
    cmp_ok(most(@r), '<=', 3, 'three at a time at most');
    leave(@few, $other);
};


subtest 'turns are taken while the worker is busy' => sub {
    my ($ws, $other) = map { joined($workers[0], path => '/one/') } 1, 2;

    # More than a turn of the event loop bears.
    my %heavy = (body => [{ op => 'data', set => { text => 'x' x 5000 } }]);

    $backend->set(heavy => \%heavy);
    my $hold = holds($ws, %heavy);
    $ws->text("42[\"heavy\",$_]") for 1 .. 10;
    $other->text('42["other"]');
    $t->wait_for(sub { $t->status->{handler_queued} == 12 }, 'two clients wait');
    $backend->release($hold);
    is(join(' ', map { $_->{json}{args}[0] // $_->{json}{event} }
                     $backend->take(11)),
       join(' ', 'other', 1 .. 10), 'who has waited is first');
    leave($ws, $other);
};


subtest 'sio_handler_batch' => sub {
    my $ws = $t->websocket($workers[0], path => '/batch/');
    my $r = $backend->take(1)->{json};
    is(ref $r eq 'ARRAY' && @$r . " $r->[0]{type}", '1 connect',
       'an array of one');

    my $hold = holds($ws);
    $ws->text("42$_") for '1["a",1]', '2["a",2]', '["a",3]', '4["a",4]',
        '["a",5]', '6["a",6]', '7["other",7]', '8["a",8]', '["a",9]';
    $t->wait_for(sub { $t->status->{handler_queued} == 10 }, 'nine wait');
    my $acks = [map { { op => 'ack', seq => $_->[0], args => [$_->[1]] } }
                [6, 'd'], [3, 'a'], [4, 'b'], [5, 'c'], [3, 'again']];
    $backend->set(a => [{ body => $acks },
                        { body => [{ op => 'ack', args => ['one'] }] },
                        { body => [{ op => 'ack', args => ['alone'] }] }]);
    $backend->release($hold);
    is($json->encode([map { [map { $_->{args}[0] // $_->{type} }
                                 @{$_->{json}}] } $backend->take(4)]),
       '[[1,2,3,4,5],[6],[7],[8,9]]',
       'as many as there may be, of one handler');
    is(join(' ', map { $ws->message } 1 .. 5),
       '434["d"] 431["a"] 432["b"] 436["one"] 438["alone"]',
       'each acknowledged by its number, or as the only one');

    $hold = holds($ws);
    $ws->text($_) for '42["c",1]', '42["c",2]', '41';
    ok(defined $ws->join('/'), 'it leaves and comes back');
    is($backend->take(1)->{json}[0]{type}, 'connect', 'as another socket');
    $ws->text('42["c",3]');
    is($backend->take(1)->{json}[0]{args}[0], 3, 'whose events do not wait');
    is($t->status->{handler_queued}, 4, 'for those of the former');
    $backend->release($hold);
    is($json->encode([map { [map { $_->{args}[0] // $_->{type} }
                                 @{$_->{json}}] } $backend->take(2)]),
       '[[1,2],["disconnect"]]', 'a disconnect goes alone');

    # Without a number it would not be clear which one.
    $hold = holds($ws);
    $ws->text("42$_") for '1["b"]', '2["b"]', '3["c"]';
    $t->wait_for(sub { $t->status->{handler_queued} == 4 }, 'three wait');
    $backend->set(b => { body => [{ op => 'emit', event => 'x' },
                                  { op => 'ack' }] });
    $backend->release($hold);
    is(scalar @{$backend->take(1)->{json}}, 3, 'and go together');
    $ws->text('429["more"]');
    is($ws->message, '439["done"]', 'nothing of its answer is carried out');
    like($t->log, qr/"seq" is missing: more than one event/, 'as the log says');
    $backend->take(1);
    leave($ws);
};


# Sends frames and answers pings until all are sent and that is done, or the
# time is over; the number of bytes that are left.
sub pump {
    my ($ws, $frames, $seconds, $done) = @_;
    my $until = SioRaw::now() + $seconds;

    # It is asked each time: reading all that was told at once takes long.

    while (SioRaw::now() < $until && (!$done->() || @$frames)) {
        if (@$frames) {
            my $n = $ws->write($frames->[0], 0.05);
            substr($frames->[0], 0, $n) = '';
            shift @$frames if $frames->[0] eq '';
        }
        while (defined(my $m = $ws->message(@$frames ? 0 : 0.01))) {
            splice @$frames, @$frames ? 1 : 0, 0, SioRaw::WS->frame(1, '3')
                if $m eq '2';
        }
        return 'closed' if $ws->{eof};
    }
    return length join '', @$frames;
}

my $PAUSED = 2;         # more than twice sio_ping_interval + sio_ping_timeout


subtest 'sio_handler_queue, WebSocket' => sub {
    my $limited = $t->status->{limit_handler_queue};
    my $ws = joined($workers[0], path => '/queue/');
    setsockopt $ws->{fh}, SOL_SOCKET, SO_SNDBUF, 65536;

    my $hold = holds($ws);
    my $text = 'x' x 4000;
    my $n = 400;
    my @frames = map { SioRaw::WS->frame(1, "42[\"slow\",$_,\"$text\"]") }
                     1 .. $n;

    my $left = pump($ws, \@frames, $PAUSED, sub { 0 });
    like($left, qr/^[1-9]/, 'a client that is not read any more');
    my $status = $t->status;
    is($status->{limit_handler_queue}, $limited + 1, 'counted');
    cmp_ok($status->{handler_queued}, '<', 60, 'little waits');
    is($status->{sessions}, 1, 'the client stays');

    my $all = $backend->requests + $n;
    $backend->release($hold);
    is(pump($ws, \@frames, 20 * $SioRaw::SCALE,
            sub { $backend->requests == $all }), 0, 'it can go on');
    my @r = $backend->take($n);
    in_order('in order', @r);
    is(join(' ', map { $_->{json}{args}[0] } @r), join(' ', 1 .. $n),
       'nothing is lost');
    cmp_ok($t->status->{limit_handler_queue}, '>', $limited + 1,
       'it had to wait more than once');

    # A client that goes meanwhile: all that it has sent is told.
    $hold = holds($ws);
    $ws->text("42[\"more\",\"$text\"]") for 1 .. 12;
    $t->wait_for(sub { $t->status->{handler_queued} > 4 }, 'it waits again');
    $ws->close;
    $backend->release($hold);
    is(join(' ', map { $_->{json}{type} } $backend->take(13)),
       join(' ', ('event') x 12, 'disconnect'), 'and leaves');
};


for my $far (0, 1) {
    subtest 'sio_handler_queue, ' . ($far ? 'a POST to another worker'
                                          : 'polling') => sub {
        my ($from, $to) = @workers[0, $far];
        my $limited = $t->status->{limit_handler_queue};
        my $n = 100;
        my $text = 'x' x 1000;
        my $do = $json->encode(['do', { hold => "poll$far" }]);
        my ($pings, $answer) = (0, '');

        $t->request_on($to, GET => '/pid');
        my $s = $t->polling($from, path => '/queue/');
        $t->begin_on($to, POST => $s->url, body => '40');
        is($t->finish_on($to)->body, 'ok', 'a client connects');
        $answer = join ' ', $s->packets while $answer !~ /40\{"sid/;
        $t->begin_on($to, POST => $s->url, body => join "\x1e", "42$do",
                     map { "42[\"more\",$_,\"$text\"]" } 1 .. $n);
        is(scalar(() = $backend->take(2)), 2, 'and sends much');

        # Its GETs are answered meanwhile.
        my $until = SioRaw::now() + $PAUSED;
        $pings += () = ($s->packets)[0] =~ /^2$/ while SioRaw::now() < $until;
        cmp_ok($pings, '>', 1, "pings: $pings");
        ok($t->{asking}{$to}->quiet(0), 'the POST is not answered');
        is($t->status->{limit_handler_queue}, $limited + 1, 'counted');
        cmp_ok($t->status->{handler_queued}, '<', $n / 2, 'a part waits');

        $backend->release("poll$far");
        is($t->finish_on($to)->body, 'ok', 'now it is');
        $s->post("3\x1e421[\"more\"]");
        $answer .= join ' ', $s->packets while $answer !~ /431|status/;
        like($answer, qr/431\["done"\]/, 'the session lives');
        $s->post('1');
        $s->{gone} = 1;

        my @r = $backend->take($n + 2);
        in_order('in order', @r);
        is(join(' ', map { $_->{json}{args}[0] // $_->{json}{type} } @r),
           join(' ', 1 .. $n, 'event', 'disconnect'), 'nothing is lost');
    };
}


subtest 'a session that moves meanwhile' => sub {
    my $s = $t->polling($workers[0]);
    $s->join('/');
    $backend->take(1);

    my $do = $json->encode(['do', { hold => 'move', body => [
        { op => 'join', rooms => 'r' }, { op => 'emit', event => 'x' },
        { op => 'ack', args => ['moved'] }] }]);
    $s->post("427$do\x1e42[\"a\",1]");
    $backend->take(1);
    my $moves = $t->status->{moves};
    my $ws = $t->upgrade($s, $workers[1]);
    $ws->text('42["a",2]');
    $t->wait_for(sub { $t->status->{moves} == $moves + 1 }, 'it moves');
    $backend->release('move');
    is(join(' ', map { $ws->message } 1, 2), '42["x"] 437["moved"]',
       'the answer follows');
    my @r = $backend->take(2);
    in_order('in order', @r);
    is($json->encode([map { [@{$_->{json}}{qw(seq args rooms)}] } @r]),
       '[[3,[1],["r"]],[4,[2],["r"]]]', 'nothing is lost');
    leave($ws);
};


SioBackend::ends($t, $before, $backend);
is(join("\n", map { $_->{body} } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
