# Faults that several workers once had, each in the circumstances that brought
# it about: stopped workers, slow ones, workers without connections.

use lib 't/lib';
use SioCluster;
use Time::HiRes qw(time sleep);

my $slow = SioTest::slow();
my $t;


# A server whose workers know each other, and these.

sub start {
    $t = SioCluster->new(@_)->start;
    $t->wait_for(sub { $t->together }, 'the workers know each other');

    return $t->worker_pids;
}


sub location {
    my ($rules, @more) = @_;

    return "sio; $SioCluster::WHOAMI @more sio_on * $rules;";
}


sub same_workers {
    my ($name, @pids) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return is(join(' ', $t->worker_pids), "@pids", $name);
}


# Waits until those have ended, of which some may be stopped.

sub exits {
    my ($name, $seconds, @pids) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $t->wait_for(sub { !grep { -e "/proc/$_" } @pids }, $name, $seconds)
        or diag 'left: ' . join ' ', grep { -e "/proc/$_" } @pids;
}


sub quits {
    my ($seconds, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $start = time;

    $t->signal('QUIT');
    $t->await(sub { $t->reaped }, 10);

    my $took = time - $start;

    cmp_ok($took, '<', $seconds * $slow, $name);
    is($t->{exit}, 0, 'exit status of nginx');
    $t->check_logs;
}


# Children of the master, at once.

sub offspring {
    my $pid = $t->pid;

    return split ' ', SioTest::read_file("/proc/$pid/task/$pid/children");
}


# The messages of a WebSocket until one of them is this; undef if it does not
# come.

sub hears {
    my ($ws, $message) = @_;

    my @seen;

    while (defined(my $m = $ws->message)) {
        return 1 if $m eq $message;
        push @seen, $m;
    }

    diag 'instead: ' . join ' | ', @seen;
    return 0;
}


# A session that was closed waits for a GET, to send its close packet.  When
# that GET's client has gone there is nobody to write it to.

for my $workers (1, 4) {
    subtest "a close packet that cannot be written, workers: $workers" => sub {
        $t = SioCluster->new(workers => $workers, location => 'sio;')->start;
        $t->wait_for(sub { $t->together }, 'the workers are there');

        my @pids = $t->worker_pids;

        for my $i (0 .. 7) {
            my $s = $t->polling($pids[$i % $workers]);

            $s->{gone} = 1;
            is($s->post('4zzz')->status, 200, "$i: a packet that ends it");

            # Both are there before the worker reads: the owner, or another.

            my $c = $t->connect_to($pids[($i + int($i / 4)) % $workers]);

            SioCluster::halt($_) for @pids;
            $c->send_request(GET => $s->url);
            $c->reset;
            kill 'CONT', @pids;

            $t->wait_for(sub {
                return $s->post('3')->body =~ /"code":1,/;
            }, "$i: it is gone");
            same_workers("$i: the worker is not", @pids) or last;
        }

        $t->stop;
    };
}


# A WebSocket takes its session from a worker that is stopped, so that the ops
# of this time are logged; a question is what the log cannot hold.

subtest 'a question that overflows the log of a move' => sub {
    my @pids = start(location => location('reply', 'sio_max_queue 200m;',
                                          'sio_upgrade_timeout 20s;'),
                     http => 'sio_bus_buffer 1m;');

    $t->ready;

    my $ws = $t->probe($t->polling($pids[3]), $pids[0]);

    $t->stop_worker($pids[3]);
    SioCluster::upgraded($ws);
    $t->wait_for(sub { $t->status_on($pids[0])->{moves_pending} == 1 },
                 'a move is under way');

    my $big = 'x' x 400_000;
    my @names = map { sprintf 'n%0250d', $_ } 1 .. 1500;
    my @r = $t->api_on($pids[0],
        (map { { op => 'emit', to => 'nobody', event => 'e',
                 args => [$big] } } 1, 2),
        { op => 'count', except => \@names }, { op => 'count' });

    is(@r, 4, 'each op has its answer') or diag explain \@r;
    is($r[$_]{ok}, JSON::PP::true, 'an emit') for 0, 1;
    ok(defined $r[$_]{count}, 'a question') for 2, 3;

    $t->continue_worker($pids[3]);
    $t->wait_for(sub { $t->status_on($pids[0])->{moves_pending} == 0 },
                 'the move has ended');
    $t->wait_for(sub { $t->together }, 'the workers know each other again');
    is($t->api_on($_, { op => 'count' })->{partial}, undef,
       'a question is answered by all') for @pids[0, 3];
    same_workers('nobody has crashed', @pids);

    $ws->close;
    $t->stop;
};


# So many connections take a worker some time to prepare, in which it can be
# stopped before it says anything to the others.

subtest 'a reload whose workers are half a second late' => sub {
    my @pids = start(location => location('broadcast',
                                          'sio_on echo reply;'),
                     events => 'worker_connections 50000;');
    my %old = map { $_ => 1 } @pids;
    my @ws = $t->websockets;
    my (%late, $since);

    $t->signal('HUP');

    my $end = time + 5 * $slow;

    while (keys %late < 4 && time < $end) {
        for my $pid (grep { !$old{$_} && !$late{$_} } offspring()) {
            kill 'STOP', $pid;
            $late{$pid} = 1;
        }
    }

    is(keys %late, 4, 'four new workers, stopped');
    $t->wait_for(sub {
        return 4 == grep { SioTest::cmdline($_) =~ /shutting down/ } @pids;
    }, 'the old ones know that they are to end');

    # Meanwhile there is nobody but these.

    $since = time;

    ok($_->alive, 'an echo') for @ws;
    sleep 0.05 while time < $since + 0.5;
    ok($_->alive, 'and another, later') for @ws;

    kill 'CONT', keys %late;
    $t->wait_for(sub { $t->worker_pids == 4 }, 'the new ones are at work');
    $t->wait_for(sub {
        return 8 == (eval { @{$t->status->{workers}} } || 0)
               && $t->status->{links} == 56;
    }, 'all eight know each other');

    my @new = $t->websockets;

    ok($_->alive, 'an echo of each') for @ws, @new;

    for my $from ($ws[0], $new[0]) {
        my $what = $from == $ws[0] ? 'old' : 'new';

        $from->text("42[\"$what\"]");
        ok(hears($_, "42[\"$what\"]"), "a broadcast of the $what")
            for grep { $_ != $from } @ws, @new;
    }

    my @closed = grep { /session ended: server shutting down/ }
                     split /\n/, $t->log;

    is(@closed, 0, 'no session was closed') or diag join "\n", @closed;
    $_->close for @ws, @new;
    exits('the old ones end then', 5, @pids);
    $t->stop;
};


# The worker that comes for a dead one finds another that can accept nothing.

subtest 'a worker short of connections' => sub {
    my @pids = start(location => location('broadcast'),
                     events => 'worker_connections 64;',
                     expect_log => [qr/worker_connections are not enough/,
                                    qr/accept\(\) of another worker failed/,
                                    qr/exited on signal 9/]);
    my $s = $t->polling($pids[0]);
    my @ws = map { $t->websocket($_) } @pids[0, 1];

    $t->hang_up;

    # None but the first accepts while the master and the others are stopped.

    SioCluster::halt($t->pid);
    kill 'KILL', $pids[3];
    $t->wait_for(sub {
        return 3 == grep { $_->{links} == 2 } @{$t->status->{workers}};
    }, 'the others know that one is dead');
    SioCluster::halt($_) for @pids[1, 2];
    $t->hang_up;

    my @held;

    $t->wait_for(sub {
        push @held, SioRaw->connect($t->port);
        $held[-1]->write("GET /pid HTTP/1.1\r\nHo");
        return @held > 60 && $held[-1]->closes(0.02);
    }, 'one has no more connections');

    kill 'CONT', @pids[1, 2], $t->pid;

    my $new;

    $t->wait_for(sub {
        my @now = $t->worker_pids;
        my %old = map { $_ => 1 } @pids;
        ($new) = grep { !$old{$_} } @now;
        return @now == 4 && $new && !grep { $_ == $pids[3] } @now;
    }, 'there is a new worker');

    $t->wait_for(sub { $t->log =~ /did not answer in \d+ ms, starting / },
                 'which begins without one of the others');

    $_->close for @held;
    $t->wait_for(sub { $t->together }, 'later all know each other', 6);

    my $r = $t->request_on($new, POST => $s->url, body => '6');

    is($r->body, 'ok', 'a poll on the new one for a session of the other');

    push @ws, $t->websocket($new);

    for my $from (0, 2) {
        $ws[$from]->text("42[\"from $from\"]");
        ok(hears($ws[$_], "42[\"from $from\"]"), "an op from $from to $_")
            for grep { $_ != $from } 0 .. 2;
    }

    undef $s;
    $_->close for @ws;
    $t->hang_up;
    $t->wait_for(sub { $t->status->{sessions} == 0 }, 'all have left');
    $t->hang_up;
    quits(2, 'quit is quick');
};


# A connection that is closed after its answer lingers with what its client
# has sent beyond the request: the request is there when the owner goes on.

subtest 'an owner that answers too late' => sub {
    my @pids = start(location => location('broadcast',
                                          'sio_ping_interval 1s;
                                           sio_ping_timeout 1s;
                                           sio_upgrade_timeout 1s;'));
    my ($polled, $probed) = map { $t->polling($pids[3]) } 1, 2;
    my ($get, $upgrade) = map { $t->connect_to($pids[0]) } 1, 2;

    $_->{gone} = 1 for $polled, $probed;

    $t->ready;
    $t->stop_worker($pids[3]);

    $get->write($get->request(GET => $polled->url,
                              headers => [Connection => 'close'])
                . 'GET / HT');
    $upgrade->write(
        $upgrade->request(GET => '/socket.io/?EIO=4&transport=websocket&sid='
                                 . $probed->sid,
                          headers => [Connection => 'close, Upgrade',
                                      Upgrade => 'websocket',
                                      'Sec-WebSocket-Key' =>
                                          'c29tZSByYW5kb20gYnl0ZQ==',
                                      'Sec-WebSocket-Version' => 13])
        . SioRaw::WS->frame(1, '2probe'));

    is($upgrade->response->status, 504, 'an upgrade that is not answered');
    is($get->response(deadline => 10 * $slow)->status, 504, 'and a poll');

    $t->continue_worker($pids[3]);
    $t->wait_for(sub { $t->status->{sessions} == 0 },
                 'the sessions end, as they are not polled');
    is($_->response(deadline => 0.1)->status, 'none', 'no other answer')
        for $get, $upgrade;
    $_->close for $get, $upgrade;

    my @gauges = qw(relays_held moves_pending requests);
    my $state;

    $t->wait_for(sub {
        $state = $t->status;
        return !grep { $state->{$_} } @gauges;
    }, "@gauges: 0") or diag explain { map { $_ => $state->{$_} } @gauges };

    ok($t->log =~ /the worker that has the session does not answer/,
       'the log tells what was the matter');

    for my $s ($polled, $probed) {
        my $sid = $s->sid;
        ok(index($t->log, $sid) < 0, 'without the sid') or diag $sid;
    }

    same_workers('nobody has crashed', @pids);
    $t->stop;       # sees that there was no alert
};


# A WebSocket that has asked for its session, which does not come.

subtest 'a worker that is to end in the midst of a move' => sub {
    for my $case (['a reload', 1, ''],
                  ['worker_shutdown_timeout', 20,
                   'worker_shutdown_timeout 1s;'])
    {
        my ($name, $timeout, $main) = @$case;
        my @pids = start(main => $main,
                         location => location('broadcast',
                             "sio_upgrade_timeout ${timeout}s;"));
        my ($taking, $left, $asked) = map {
            my $s = $t->polling($pids[3]);
            $s->{gone} = 1;
            $t->probe($s, $pids[0]);
        } 1 .. 3;
        my @ws = map { $t->websocket($_) } $main ? @pids : ();

        $t->stop_worker($pids[3]);
        SioCluster::upgraded($_) for $taking, $left;
        $t->wait_for(sub { $t->status_on($pids[0])->{moves_pending} >= 2 },
                     "$name: moves are under way");
        $left->reset;
        $asked->reset;
        $t->hang_up;

        $t->signal('HUP');
        exits("$name: the other old workers end", 4, @pids[0 .. 2]);
        ok($taking->closes, "$name: the WebSocket is closed");

        my $last = pop @ws;

        ok($_->closes, "$name: so are those that have sessions") for @ws;

        # Of the three, only this one's client might still poll.

        $t->continue_worker($pids[3]);
        $t->wait_for(sub { $asked->{of}->post('1')->body eq 'ok' },
                     "$name: the owner is back") if !$main;
        exits("$name: and ends", 4, $pids[3]);
        ok($last->closes, "$name: with its own WebSocket") if $last;

        $_->close for $taking, @ws, grep { defined } $last;
        $t->stop;       # sees that there was no "open socket left"
    }
};


# Nothing wakes a worker that nobody has a connection to.

subtest 'workers that start with nobody there' => sub {
    my $late = qr/worker \d+ did not answer/;

    for my $i (1 .. 8) {
        $t = SioCluster->new(location => location('reply'),
                             expect_log => [qr/exited on signal 9/])->start;

        # One is asked on a connection that is there before: a new one might
        # wake the worker that is born.

        my ($other, $born) = $t->worker_pids;

        $t->status_on($other);
        kill 'KILL', $born;
        $t->wait_for(sub {
            return $t->worker_pids == 4
                   && !grep { $_ == $born } $t->worker_pids;
        }, 'a worker comes in the place of another');
        $t->wait_for(sub { $t->status_on($other)->{links} == 12 },
                     'and is known to all');
        ok($t->log !~ $late, 'at once') or last;
        $t->hang_up;
        $t->stop;
    }
};


# Two workers die.  The first that comes in their place finds the socket of the
# other dead one, which nobody reads, before those of the living, in the order
# in which the directory has them.

subtest 'a new worker that is greeted late' => sub {
    my @pids = start(location => location('reply'),
                     expect_log => [qr/exited on signal 9/]);
    my %pid = reverse $t->slots;

    opendir my $dir, $t->dir . '/nginx.pid.sio' or die "opendir: $!";
    my ($second) = grep { $_ } map { /^(\d+)\.(?!lock)/ ? $1 : () }
                                   readdir $dir;
    closedir $dir;

    my @killed = ($pid{0}, $pid{$second});
    my @living = grep { my $pid = $_; !grep { $_ == $pid } @killed } @pids;

    SioCluster::halt($_) for $t->pid, @living;
    kill 'KILL', @killed;

    my $start = time;

    kill 'CONT', $t->pid;
    $t->wait_for(sub {
        return $t->worker_pids == 4
               && !grep { my $pid = $_; grep { $_ == $pid } @killed }
                       $t->worker_pids;
    }, 'two new workers');

    # Only these accept.

    my $c = SioRaw->connect($t->port);

    $c->send_request(GET => '/socket.io/?EIO=4&transport=polling');

    my $r = $c->response;
    my $took = time - $start;

    is($r->status, 200, 'a request is answered');
    cmp_ok($took, '>', 0.9, 'when those who live had had their time');
    ok($t->log =~ /worker \d+ did not answer in \d+ ms/, 'the log tells');

    kill 'CONT', @living;
    $c->close;
    $t->wait_for(sub { $t->together }, 'later all know each other');
    $t->hang_up;
    quits(3, 'quit is quick');
};


# A request that is refused before its session's worker hears of it, and one
# that is too large for the way there.

subtest 'requests that do not reach the owner' => sub {
    my @pids = start(location => location('reply', 'sio_max_payload 4m;',
                                          'client_max_body_size 4m;'),
                     http => 'sio_bus_buffer 1m;');
    my $s = $t->polling($pids[3]);

    $s->join('/');
    $s->post('42["kept"]');

    my $c = $t->connect_to($pids[0]);

    $c->write($c->request(GET => $s->url,
                          headers => ['Transfer-Encoding' => 'chunked'])
              . "ZZ\r\n");
    is($c->response->status, 400, 'a GET with a body that is no body');
    is($s->get->body, '42["kept"]', 'costs its session nothing');

    # All of it is there before it is read, and nobody waits for the answer.

    for my $end (qw(finish reset)) {
        my $d = $t->connect_to($pids[0]);

        SioCluster::halt($pids[0]);
        $d->send_request(POST => $s->url, body => '42["' . 'x' x 2**21 . '"]');
        $d->$end;
        kill 'CONT', $pids[0];
        $t->wait_for(sub { $t->status_on($pids[0])->{requests} == 0 },
                     "$end: a POST that is too large for the bus");
        last if !same_workers("$end: nobody has crashed", @pids);
        $s = $t->polling($pids[3]) if !$s->lives;
    }
    $s->post('1');
    $t->stop;
};


# An old worker does not know a new location: it has none of its sockets.

subtest 'a question about what an old worker does not know' => sub {
    my @pids = start(location => location('reply', 'sio_app old;'), api => '');
    my $ws = $t->websocket($pids[0]);

    $t->hang_up;
    $t->{server} .= "location /new/ { sio; sio_app new; }"
                    . "location = /new-api { sio_api; sio_app new;
                                             allow 127.0.0.1; deny all; }";
    SioTest::write_file($t->dir . '/nginx.conf', $t->config);
    $t->reload;

    my ($new) = $t->worker_pids;

    $t->wait_for(sub {
        my %slot = $t->slots($new);
        return exists $slot{$pids[0]};
    }, 'a new worker knows the old one');

    my $partial = $t->status_on($new)->{questions_partial};

    is($t->request_on($new, POST => '/new-api', headers => [@SioCluster::JSON],
                      body => '[{"op":"count"}]')->body =~ /"partial"/, '',
       'its answer is whole');
    is($t->status_on($new)->{questions_partial}, $partial, 'and so counted');
    ok($ws->alive, 'although the old worker lives');
    $ws->close;
    $t->stop;
};


# A client that connects before the end and speaks after it.

subtest 'a handshake after the goodbye' => sub {
    my @pids = start(location => location('reply'));
    my $ws = $t->websocket($pids[0]);
    my @late = map { $t->connect_to($pids[0]) } 1, 2;

    $_->write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n")
        for @late;
    $t->status_on($pids[0]);
    $t->hang_up;
    $t->signal('QUIT');
    is($ws->close_code, 1005, 'a goodbye');
    $late[0]->write("Host: x\r\n\r\n");
    is($late[0]->response->status, 503, 'nobody new is taken');
    $late[1]->close;
    $t->await(sub { $t->reaped }, 3) or fail('nginx ends');
    is($t->{exit}, 0, 'exit status of nginx');
    $t->check_logs;
};


subtest 'quit of an idle server' => sub {
    for my $i (1 .. 10) {
        start(location => 'sio; sio_on * broadcast;');
        quits(2, "$i: takes less than 2 s");
        $t->clean;
    }
};

done_testing;
