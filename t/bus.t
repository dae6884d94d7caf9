# What comes to a worker from another one: of another version, not valid, too
# late, or from one that is not what it should be.

use lib 't/lib';
use SioCluster;
use SioPeer;
use Time::HiRes qw(time);

my $slow = SioTest::slow();
my ($t, @slots);


# Two workers, and the slots that they are in.

sub start {
    $t = SioCluster->new(workers => 2, location =>
        "sio; $SioCluster::WHOAMI sio_on say broadcast; sio_on echo reply;
         sio_upgrade_timeout 500ms;", @_)->start;
    $t->wait_for(sub { $t->together }, 'the workers know each other');

    my %slot = $t->slots;

    @slots = @slot{$t->worker_pids};
}


# Whether each worker knows nobody but the other.

sub alone {
    my ($name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $t->wait_for(sub { $t->status->{links} == 2 }, $name)
        or diag 'links: ' . $t->status->{links};
}


sub stopped {
    $_->close for @_;
    $t->hang_up;

    my $start = time;

    $t->signal('QUIT');
    $t->await(sub { $t->reaped }, 10);
    cmp_ok(time - $start, '<', 2 * $slow, 'quit is quick');
    $t->check_logs;
}


subtest 'a worker of another version' => sub {
    start();

    my ($a, $b) = $t->websockets;
    my $peer = SioPeer->new($t);
    my @streams = map { $peer->greet($_, version => 9) } @slots;

    $t->wait_for(sub {
        2 == (() = $t->log =~ /worker $peer->{slot} has version 9 of the bus/g);
    }, 'the log tells');

    syswrite $_, SioPeer::frame(OP => 'of another form') for @streams;
    ok($_->alive, 'sessions live on') for $a, $b;
    $a->text('42["say",1]');
    is($b->message, '42["say",1]', 'and share what they say');
    ok(!defined $peer->hear(OP => $slots[0], 0.1), 'with each other only');

    # It neither waits for that one nor is it held up by it.

    stopped($a, $b);
    $peer->die;
};


# A request for a session of one that has not greeted waits for that.

subtest 'a session with a worker of another version' => sub {
    start();

    my $peer = SioPeer->new($t);

    $t->reload;
    $t->wait_for(sub {
        2 == (() = $t->log =~ /worker $peer->{slot} did not answer/g);
    }, 'there is a worker that has not greeted');

    my ($pid) = $t->worker_pids;
    my %slot = $t->slots;

    $t->begin_on($pid, GET => '/socket.io/?EIO=4&transport=polling&sid='
                              . $peer->sid);
    is($t->status_on($pid)->{requests}, 0, 'a request of its session waits');

    my $start = time;

    $peer->greet($slot{$pid}, version => 9);
    like($t->finish_on($pid)->body, qr/Session ID unknown/, 'in vain');
    cmp_ok(time - $start, '<', 5, 'but not for long');

    $peer->die;
    stopped();
};


my @hello_and = (
    ['a frame of no length', pack 'Vx', 0],
    ['one of 4 GB', pack 'Vx', 0xffffffff],
    ['a type that there is not', SioPeer::frame(200 => 'x')],
    ['an operation that is none', SioPeer::frame(OP => pack 'Q<a*', 1, 'x')],
    ['an operation too early', SioPeer::frame(OP => pack 'Q<', 2)],
    ['AFTER of nobody', SioPeer::frame(AFTER => pack 'Q<Q<', 0, 1)],
    ['an ACKED cut in its arguments',
     SioPeer::frame(ACKED => substr SioPeer::acked(1, 'A' x 20, '[1]'), 0, -1)],
    ['one of 4 GB of them',
     SioPeer::frame(ACKED => pack 'Q<a20V', 1, 'A' x 20, 0xffffffff)],
    ['a RESPONSE cut in its body',
     SioPeer::frame(RESPONSE => substr SioPeer::response('A' x 20), 0, -1)],
    ['one with a peer of 4 GB',
     SioPeer::frame(RESPONSE => pack 'a20CvVV', 'A' x 20, 0, 200, 0,
                                     0xffffffff)],
    ['one with a result that there is not',
     SioPeer::frame(RESPONSE => SioPeer::response('A' x 20, result => 200))],
    map { ["a short $_", SioPeer::frame($_ => '')] }
        qw(GREETED AGAIN OP AFTER EXITING PROBE PROBED ABANDON TAKE CONSENT STATE GONE ENDED
           REQUEST BODY FINISHED RELEASE ANSWER REPLY ACKED RESPONSE),
);

subtest 'streams that are not valid' => sub {
    start();

    my $peer = SioPeer->new($t);
    my %hello = (
        'no greeting'         => SioPeer::frame(OP => pack 'Q<', 1),
        'a short greeting'    => SioPeer::frame(HELLO => 'x' x 11),
        "nobody's greeting"   => $peer->hello(origin => 0),
    );

    $hello{'a greeting that goes on'} = SioPeer::frame(
        HELLO => pack 'VQ<Q<VC', $SioPeer::VERSION_OF_BUS, $peer->origin, 0, 1, 0);
    $hello{'a greeting cut short'} = SioPeer::frame(
        HELLO => pack 'VQ<Q<', $SioPeer::VERSION_OF_BUS, $peer->origin, 0);

    for my $name (sort keys %hello) {
        my $stream = $peer->open($slots[0]);

        syswrite $stream, $hello{$name};
        ok(SioPeer::closed($stream), $name);
    }

    $peer->die;
    alone('nobody is known for that');

    my $errors = $t->status->{bus_errors};

    is($errors, keys %hello, 'bus_errors');

    for my $case (['a second greeting', undef], @hello_and) {
        my ($name, $frame) = @$case;
        my $ws = $t->websocket(($t->worker_pids)[0]);
        my $peer = SioPeer->new($t);
        my $stream = $peer->greet($slots[0], stream => 7);

        is($peer->hear(GREETED => $slots[0]), pack('V', 7), "$name: greeted");
        syswrite $stream, $frame // $peer->hello;
        ok(SioPeer::closed($stream), $name);
        is($t->status->{bus_errors}, ++$errors, "$name: bus_errors");

        # That worker lives, and what it said is not known any more.

        is($peer->hear(AGAIN => $slots[0]), pack('V', 7),
           "$name: another stream is asked for");
        $peer->greet($slots[0]) if defined $frame;
        ok($ws->closes, "$name: sessions are closed");
    }

    alone('they are forgotten');
    stopped();
};


# One may be asked for another stream when it has opened that already.

subtest 'a late AGAIN' => sub {
    start();

    my $peer = SioPeer->new($t);
    my $stream = $peer->greet($slots[0]);
    my $first = unpack 'x20V', $peer->hear(HELLO => $slots[0]) // '';

    ok($first, 'a stream');
    syswrite $stream, SioPeer::frame(GREETED => pack 'V', $first)
                      . SioPeer::frame(AGAIN => pack 'V', $first);

    my $second = unpack 'x20V', $peer->hear(HELLO => $slots[0]) // '';

    is($second, $first + 1, 'another one');
    syswrite $stream, SioPeer::frame(AGAIN => pack 'V', $first);
    ok(!defined $peer->hear(HELLO => $slots[0], 0.1), 'that one is kept');
    syswrite $stream, SioPeer::frame(AGAIN => pack 'V', $second);
    is(unpack('x20V', $peer->hear(HELLO => $slots[0]) // ''), $second + 1,
       'until it is lost too');

    $peer->die;
    alone('and all are forgotten');
    stopped();
};


# A worker that is there, but takes nothing: it is cut off, and when it is gone,
# forgotten.

subtest 'a worker that never greets' => sub {
    start(http => 'sio_bus_buffer 1m;');

    my $peer = SioPeer->new($t);

    $t->reload;
    $t->wait_for(sub {
        2 == (() = $t->log =~ /worker $peer->{slot} did not answer/g);
    }, 'new workers wait for it, not for ever');

    my ($ws) = $t->websockets;

    $ws->text('42["say","' . 'x' x 100_000 . '"]') for 1 .. 40;
    ok($ws->alive, 'they serve all the same');
    like($t->log, qr/worker $peer->{slot} does not read/, 'it is cut off');

    $peer->die;
    alone('and forgotten when it is gone');
    $ws->close;
    stopped();
};


# The owner answers when the WebSocket has been given up for twice the upgrade
# timeout.

subtest 'a session that comes too late' => sub {
    start(location => 'sio; sio_on * reply; sio_upgrade_timeout 300ms;');

    my $peer = SioPeer->new($t);
    my ($slot, $other) = @slots;
    my @streams = map { $peer->greet($_) } $slot, $other;

    ok(defined $peer->hear(GREETED => $_), 'it is known') for $slot, $other;

    my ($pid) = $t->worker_pids;
    my $ws = SioRaw::WS->upgrade($t->port, on => $t->connect_to($pid),
        query => 'EIO=4&transport=websocket&sid=' . $peer->sid, unread => 1);
    my $id = unpack 'Q<', $peer->hear(PROBE => $slot) // '';

    syswrite $streams[0], SioPeer::frame(CONSENT => pack 'Q<CC', $id, 0, 0);
    is($ws->response->status, 101, 'an upgrade');
    is(($ws->ask('2probe'))[0], '3probe', 'is probed');
    $ws->text('5');
    ok(defined $peer->hear(TAKE => $slot), 'the session is asked for');

    # A question waits for the session with the worker, but no longer.

    my $partial = $t->status->{questions_partial};

    $t->begin_api($pid, { op => 'count' });
    my $op = SioPeer::op($peer->hear(OP => $slot));
    is($op->{type}, 8, 'a question');
    syswrite $streams[0], SioPeer::frame(REPLY => pack 'Q<CQ<', $op->{id}, 0,
                                                       0);
    is($t->finish_api($pid)->{count}, 0, 'is answered in time');
    is($t->status->{questions_partial}, $partial, 'as a whole,');
    ok(defined $peer->hear(ABANDON => $slot), 'when it is waited for no more');

    syswrite $streams[0], SioPeer::frame(STATE => pack 'Q<Va*', $id, 0,
                              SioPeer::string('somewhere') . $peer->sid);
    is($peer->hear(ENDED => $slot), $peer->sid, 'the owner can forget it');
    like($t->log, qr/a session from another worker is lost: it came when/,
         'the log tells');

    $ws->close;
    $peer->die;
    alone('the owner is gone');
    stopped();
};


# An emit that asks, of whom only the asker knows when all have answered.

subtest 'acknowledgements' => sub {
    start();

    my @pids = $t->worker_pids;
    my $peer = SioPeer->new($t);
    my %to = map { $_ => $peer->greet($_) } @slots;

    ok(defined $peer->hear(GREETED => $_), 'it is known') for @slots;

    my $say = sub {
        my ($slot, $type, $body) = @_;
        syswrite $to{$slot}, SioPeer::frame($type, $body);
    };
    my $asks = sub {
        my ($worker, %aim) = @_;
        $t->begin_api($pids[$worker], { op => 'emit', event => 'q',
                                        ack => JSON::PP::true, %aim });
        return SioPeer::op($peer->hear(OP => $slots[$worker]));
    };

    my $ws = $t->websocket($pids[1]);

    for my $worker (0, 1) {
        my ($slot, $other) = @slots[$worker, 1 - $worker];
        my $op = $asks->($worker, to => '*', timeout => 5000 + $worker);

        is_deeply([@$op{qw(type target timeout app nsp json)}],
                  [9, 1, 5000 + $worker, 'localhost/socket.io/', '/', '["q"]'],
                  'what asks is an operation with its timeout');
        is($ws->message, "42$op->{id}" . '["q"]', 'a client is asked');

        # The worker counts what is acknowledged before it knows of how many.

        $say->($slot, ACKED => SioPeer::acked($op->{id}, 'B' x 20, '["b"]'));
        $say->($slot, REPLY => pack 'Q<CQ<', $op->{id}, 0, 2);
        $say->($slot, ACKED => SioPeer::acked($op->{id}, 'C' x 20, '[1,2]'));
        $ws->text("43$op->{id}" . '["a"]');

        my $result = $t->finish_api($pids[$worker]);

        is($result->{missing}, 0, 'all have acknowledged');
        is_deeply({ map { ($_->{id} => $_->{args}) } @{$result->{answers}} },
                  { 'B' x 20 => ['b'], 'C' x 20 => [1, 2],
                    $ws->id => ['a'] }, 'each with its own');

        # A frame of it that is late, or that another worker gets.

        $say->($slot, ACKED => SioPeer::acked($op->{id}, 'C' x 20, '[3]'));
        $say->($other, ACKED => SioPeer::acked($op->{id}, 'C' x 20, '[3]'));
    }

    # Those that nobody waits for.

    for my $slot (@slots) {
        for my $id (0, 1, 1 << 52, ~0) {
            $say->($slot, ACKED => SioPeer::acked($id, $ws->id, '["x"]'));
            $say->($slot, ACKED => SioPeer::acked($id, $ws->id, ''));
        }

        for my $id ($ws->id, 'A' x 20, "\0" x 20) {
            $say->($slot, RESPONSE => SioPeer::response($id, result => $_))
                for 0 .. 6;
        }
    }

    # These streams are good still: the next one is answered.

    my $op = $asks->(0, sockets => 'nobody', timeout => 600_000);

    is_deeply([@$op{qw(target timeout)}], [2, 600_000], 'the longest timeout');
    $say->($slots[0], REPLY => pack 'Q<CQ<', $op->{id}, 0, 1);
    $say->($slots[0], ACKED => SioPeer::acked($op->{id}, 'D' x 20, '[]'));
    is_deeply($t->finish_api($pids[0]),
              { ok => JSON::PP::true, missing => 0,
                answers => [{ id => 'D' x 20, args => [] }] },
              'nothing that was not asked for counts');

    my $status = $t->status;

    is(join(' ', @$status{qw(bus_errors bus_cuts handler_lost acks_unknown
                             acks_asked acks_received acks_missing)}),
       '0 0 0 0 3 2 0', 'and none of it is an error');
    is(join(' ', $t->worker_pids), "@pids", 'the workers live on');
    ok($ws->alive, 'as does the client');

    $peer->die;
    alone('it is gone');
    stopped($ws);
};


# Frames of any kind with anything in them: an error of ours could send them,
# or another build.

subtest 'nonsense' => sub {
    start(location => 'sio; sio_on * reply; sio_ping_interval 1s;
                       sio_ping_timeout 1s;');

    my $seed = $ENV{NGX_SIO_SEED} // int rand 1e9;

    srand $seed;

    my @pids = $t->worker_pids;
    my @types = grep { $_ ne 'HELLO' } sort keys %SioPeer::TYPE;
    my ($peer, $stream, $closed);
    my $s = $t->polling($pids[0]);

    my @pieces = (
        sub { pack 'Q<', int rand 4 },
        sub { pack 'Q<', $peer->origin },
        sub { pack 'V', int rand 20 },
        sub { pack 'v', 200 },
        sub { chr int rand 4 },
        sub { SioPeer::string('') },
        sub { SioPeer::string($s->sid) },
        sub { SioPeer::string($peer->sid) },
        sub { SioPeer::string(join '', map { chr rand 256 } 1 .. rand 30) },
        sub { "\xff" x rand 9 },
    );

    for my $i (1 .. 1000) {
        if (!$stream) {
            $peer->die if $peer;
            $peer = SioPeer->new($t);
            $stream = $peer->greet($slots[0]);
            $s = $t->polling($pids[0]);
            $s->{gone} = 1;
        }

        my $body = join '', map { $pieces[rand @pieces]->() } 0 .. rand 6;

        local $SIG{PIPE} = 'IGNORE';

        syswrite $stream, SioPeer::frame($types[rand @types], $body);

        if ($i % 10 == 0 && SioPeer::closed($stream, 0.01)) {
            undef $stream;
            $closed++;
        }
    }

    note "seed $seed: $closed streams were closed";
    cmp_ok($closed, '>', 10, 'some of it is not valid');
    $peer->die;
    alone('all are forgotten');
    is(join(' ', $t->worker_pids), "@pids", 'nobody has crashed')
        or diag "seed $seed";

    my $state;
    my @gauges = qw(sessions requests relays_held moves_pending bus_unsent);

    $t->wait_for(sub {
        $state = $t->status;
        return !grep { $state->{$_} } @gauges;
    }, "@gauges: 0") or diag explain { map { $_ => $state->{$_} } @gauges };

    stopped();
};


done_testing;
