# What becomes of sessions when their worker goes: killed, replaced by a
# reload, told to end.

use lib 't/lib';
use SioTest;
use SioRaw;
use IO::Select;
use POSIX ();

my $t;

sub joined { SioRaw::WS->socket($t->port, @_) }

sub session {
    my $s = SioRaw::Polling->open($t->port, @_);
    $s->join('/');
    return $s;
}

# Clients in processes of their own: each sends echoes without a pause, and
# connects again when it is dropped.  Returns what ends them.
sub loyal {
    my ($n) = @_;
    pipe my $read, my $write or die "pipe: $!";
    my @pids;

    for (1 .. $n) {
        my $pid = fork // die "fork: $!";
        if ($pid == 0) {
            close $write;
            my $stop = IO::Select->new($read);
            until ($stop->can_read(0.01)) {
                my $ws = eval { joined() };
                1 while $ws && !$stop->can_read(0) && $ws->alive;
            }
            POSIX::_exit(0);
        }
        push @pids, $pid;
    }

    return sub {
        close $write;
        waitpid $_, 0 for @pids;
    };
}

sub sessions {
    my ($n, $name) = @_;
    $t->wait_for(sub { (eval { $t->status->{sessions} } // '') eq $n }, $name)
        or diag $t->status->{sessions};
}

# Clients in all the states that there are.
sub assembly {
    my @port = ($t->port, $t->tls_port);
    my %c;

    for my $tls (0, 1) {
        my @at = ($port[$tls], tls => $tls);
        my $name = $tls ? 'tls' : 'tcp';
        $c{"$name joined"} = SioRaw::WS->socket(@at);
        $c{"$name new"} = SioRaw::WS->open(@at);
        $c{"$name half a frame"} = SioRaw::WS->socket(@at);
        $c{"$name half a frame"}->write(substr
            SioRaw::WS->frame(1, '42["x"]'), 0, 9);

        $c{"$name closing"} = SioRaw::WS->socket(@at);
        $c{"$name closing"}->text('x');
        $c{"$name closing"}->close_code;
        $c{"$name deaf"} = SioRaw::WS->socket(@at, rcvbuf => 4096);
        $c{"$name deaf"}->text('42["all","' . 'x' x 600_000 . '"]') for 1, 2;

        my @s = map { SioRaw::Polling->open(@at) } 1 .. 4;
        $_->join('/') for @s;
        $c{"$name GET"} = $s[0]->start('GET');
        $c{"$name POST"} = $s[1]->start('POST', body => '4',
                                        headers => ['Content-Length' => 9]);
        $c{"$name probe"} = SioRaw::WS->upgrade(@at,
            query => "EIO=4&transport=websocket&sid=$s[2]{sid}");
        $c{"$name probe"}->ask('2probe');
        $_->{gone} = 1 for @s;
    }

    return %c;
}

my $location = 'sio; sio_max_queue 10m; sio_on all broadcast; sio_on * reply;';


subtest 'a killed worker' => sub {
    $t = SioTest->new(workers => 1, location => $location, expect_log => [
        qr/worker process \d+ exited on signal 9/])->start;
    my $release = loyal(8);

    for my $round (1 .. 3) {
        my ($old) = $t->worker_pids;
        sessions(8, "round $round: all are here");
        my $ws = joined();
        my $s = session();
        my $get = $s->start('GET');
        $t->wait_for(sub { $t->status->{requests} > 0 }, 'a GET waits');
        kill 'KILL', $old;
        ok($ws->closes, 'a WebSocket ends');
        ok($get->closes, 'and a GET');
        $t->wait_for(sub { my @now = $t->worker_pids;
                           @now == 1 && $now[0] != $old },
                     'there is a new worker');
        ok($s->gone, 'it does not know the sessions of the old one');
        ok(joined()->alive, 'it serves WebSockets');
        ok(session()->lives, 'and polling');
        my $state = $t->status;
        is($state->{memory_errors}, 0, 'it is sound');
    }

    sessions(8, 'all have come back');
    $release->();
    $t->stop;
};


subtest 'a reload' => sub {
    $t = SioTest->new(workers => 1, location => "$location sio_app one;",
                      server => "location /brief/ { $location sio_app one;
                                 sio_ping_interval 1s; sio_ping_timeout 1s; }"
                      )->start;
    my ($old) = $t->worker_pids;
    my ($ws, $other) = (joined(), joined());
    my ($s, $idle) = map { session(path => '/brief/') } 1, 2;
    my $get = $s->start('GET');
    $t->wait_for(sub { $t->status->{requests} == 1 }, 'a GET waits');
    my $events = 100;
    $ws->text("42[\"all\",$_]") for 1 .. $events;
    $t->reload;
    my $new = joined();

    is(scalar(grep { ($other->message // '') eq "42[\"all\",$_]" }
              1 .. $events), $events, 'what is under way arrives');
    ok($_->alive, 'a WebSocket stays') for $ws, $other;
    ok($new->alive, 'new ones have the new worker');
    is($t->status->{sessions}, 5, 'both workers count');
    is(($get->response->body =~ /42/g) + 0, 1, 'a waiting GET has its answer');
    like($_->get->body, qr/42/, 'polling goes on') for $s, $idle;
    ok($_->lives, 'both ways') for $s, $idle;

    $ws->text('42["all","still"]');
    is($_->message, '42["all","still"]', 'broadcasts reach both workers')
        for $other, $new;
    $new->text('42["all","back"]');
    is($_->message, '42["all","back"]', 'from both') for $ws, $other;
    ok(-e "/proc/$old", 'the old one is still there');
    $_->close for $ws, $other;
    $_->post('1') for $s, $idle;
    $t->wait_for(sub { !-e "/proc/$old" }, 'until its sessions have ended');
    $new->close;
    $t->stop;
};


subtest 'worker_shutdown_timeout' => sub {
    $t = SioTest->new(main => 'worker_shutdown_timeout 500ms;', tls => 1,
                      location => "$location sio_ping_interval 1s;
                                   sio_ping_timeout 1s;")->start;
    for my $way (qw(reload reload)) {
        my ($old) = $t->worker_pids;
        my %c = assembly();
        $t->$way;
        for my $name ('tcp joined', 'tls joined', 'tcp new', 'tls new') {
            is($c{$name}->close_code, 1005, "$name: a close frame");
        }
        for my $name (sort keys %c) {
            ok($c{$name}->closes, "$name: ends") if $name !~ /deaf/;
        }
        $t->wait_for(sub { !-e "/proc/$old" }, 'the old worker ends', 8);
    }
    $t->stop;
};


subtest 'SIGTERM' => sub {
    for my $workers (1, 2) {
        $t = SioTest->new(workers => $workers, tls => 1,
                          location => $location)->start;
        my $release = loyal(2);
        my %c = $workers == 1 ? assembly() : ();
        $t->wait_for(sub { $t->status->{packets_in} > 10 }, 'it is at work');
        $t->stop('TERM');
        ok($c{$_}->closes, "$_: ends") for grep { !/deaf/ } sort keys %c;
        $release->();
    }
};



subtest 'no directory for the bus' => sub {
    $t = SioTest->new(workers => 2, bare => 1,
                      expect_log => [qr/\[emerg\].* mkdir\(\) /])->start;

    # A reload brings the first "sio", which nginx must survive.

    $t->{bare} = 0;
    $t->{location} = 'sio; sio_on * reply;';
    $t->{http} = 'sio_bus_path no/such;';
    SioTest::write_file($t->dir . '/nginx.conf', $t->config);
    $t->reload;
    ok(joined()->alive, 'each worker serves by itself');
    like($t->log, qr/workers do not share their sessions/, 'the log says so');
    $t->stop;

    $t = SioTest->new(workers => 2, location => 'sio; sio_on * reply;')->start;
    my $ws = joined();

    # The former directory stays in use.

    $t->{http} = 'sio_bus_path no/such;';
    push @{$t->{expect_log}}, qr/\[emerg\].* mkdir\(\) /;
    SioTest::write_file($t->dir . '/nginx.conf', $t->config);
    $t->reload;
    ok($_->alive, 'alive') for $ws, joined();
    $t->wait_for(sub { $t->status->{links} == 6 },
                 'old and new workers know each other');
    $ws->close;
    $t->stop;
};


done_testing;
