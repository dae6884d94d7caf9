# A worker that is stopped for a while: nothing is lost while the others can
# keep what is for it; beyond that it is cut off, and none of its sessions goes
# on with a gap.

use lib 't/lib';
use SioTest;
use SioSwarm;
use SioRaw;
use Time::HiRes qw(time sleep);

my $slow = $ENV{NGX_SIO_ASAN} ? 1 : 0;

SioTest::descriptors(19_000);

my $t;

sub start {
    $t = SioTest->new(workers => 4, events => 'worker_connections 4096;',
                      http => 'keepalive_timeout 0; access_log off;
                               sio_bus_buffer 1m;',
                      location => $SioSwarm::LOCATION,
                      server => SioSwarm::locations('a')
                                . 'location /blob/ { sio; sio_app blob;
                                   sio_data pid $pid; sio_max_queue 64m;
                                   sio_on whoami ack
                                          \'args=["$sio_data_pid"]\';
                                   sio_on blob emit; sio_on echo reply; }',
                      @_)->start;
}

# A WebSocket on a worker for which the condition holds, and its pid.
sub socket_on {
    my ($condition) = @_;
    for (1 .. 200) {
        my $ws = SioRaw::WS->socket($t->port, path => '/blob/');
        $ws->text('420["whoami"]');
        my ($pid) = ($ws->message // '') =~ /^430\["(\d+)"\]$/;
        return ($ws, $pid) if $pid && $condition->($pid);
        $ws->close;
    }
    die 'no such worker';
}

sub state_of {
    my ($pid) = @_;
    return (SioTest::read_file("/proc/$pid/stat") // '') =~ /\) (\S)/ ? $1 : '';
}

sub pause {
    my ($pid) = @_;
    kill 'STOP', $pid;
    $t->await(sub { state_of($pid) eq 'T' });
}

# Milliseconds of so many echoes, sorted.
sub echoes {
    my ($ws, $n) = @_;
    my @ms;
    for my $i (1 .. $n) {
        my $start = time;
        $ws->text("42[\"echo\",$i]");
        is($ws->message, "42[\"echo\",$i]", "echo $i") or last;
        push @ms, 1000 * (time - $start);
    }
    return sort { $a <=> $b } @ms;
}


subtest 'for five seconds' => sub {
    start();

    my %opt = (sources => 3, tick_rate => 5, opening => 50, timeout => 120,
               duration => 120);
    my @swarm = (SioSwarm->start($t, mode => 'websocket', clients => 300, %opt),
                 SioSwarm->start($t, mode => 'polling', clients => 100,
                                 path => 'a', %opt));
    $_->awaits('ready') for @swarm;

    my ($victim) = $t->worker_pids;
    my ($ws) = socket_on(sub { $_[0] != $victim });
    my @before = echoes($ws, 200);

    pause($victim);

    my $end = time + 5;
    my @during = echoes($ws, 200);
    sleep 0.05 while time < $end;

    kill 'CONT', $victim;

    note sprintf 'echo: %.2f ms before, %.2f during, worst %.1f and %.1f',
         $before[100], $during[100], $before[-1], $during[-1];
    cmp_ok($during[100], '<', 2 * $before[100] + 2, 'others are as fast');

    for my $s (@swarm) {
        my $result = $s->stop;
        is($result->{dropped}, 0, 'no session ended');
    }

    my $state = $t->status;
    is($state->{$_}, 0, $_) for grep { /^bus_(?:cuts|lags|errors)/ }
                                     sort keys %$state;
    $ws->close;
    $t->stop;
};


subtest 'for too long' => sub {
    start();

    my $swarm = SioSwarm->start($t, mode => 'upgrade', clients => 300,
                                sources => 3, tick_rate => 5, opening => 50,
                                timeout => 120, duration => 120,
                                reconnect => '');
    $swarm->awaits('ready');
    $swarm->awaits('upgraded');

    my ($victim) = $t->worker_pids;
    my ($ws) = socket_on(sub { $_[0] != $victim });
    my ($lagging) = socket_on(sub { $_[0] == $victim });

    pause($victim);

    my $blob = 'x' x 100_000;
    for my $i (1 .. 40) {
        $ws->text("42[\"blob\",$i,\"$blob\"]");
        like($ws->message, qr/^42\["blob",$i,/, "blob $i");
    }

    my ($lost) = grep { $_->{pid} == $victim } @{$t->status->{workers}};
    cmp_ok($t->status->{bus_cuts}, '>=', 1, 'it was cut off');

    my @during = echoes($ws, 100);
    note sprintf 'echo: %.2f ms, worst %.1f', @during[50, -1];
    cmp_ok($during[50], '<', 20 * SioTest::slow(), 'the others work on');

    kill 'CONT', $victim;

    $t->wait_for(sub { $t->status->{bus_lags} >= 1 }, 'it knows that it was');
    $t->wait_for(sub {
        my $state = $t->status;
        return $state->{closed}{'transport error'} >= $lost->{sessions};
    }, 'its sessions are closed') or diag explain $t->status->{closed};

    my $seen = 0;
    $seen++ while ($lagging->message // '') =~ /^42\["blob",\d+,/;
    cmp_ok($seen, '<', 40, 'one of them missed some');
    ok($lagging->closes, 'and has ended');

    ok((socket_on(sub { $_[0] == $victim }))[0], 'it takes new ones');

    my $result = $swarm->stop('nobody goes on with a gap');
    cmp_ok($result->{dropped}, '>', 0, 'its clients came back');

    like($t->log, qr/\[warn\].* worker \d+ does not read: \d+ bytes wait /,
         'the log tells who did not read');
    like($t->log, qr/\[warn\].* was cut off: its \d+ sessions are closed/,
         'and what came of it');
    $ws->close;
    $t->wait_for(sub { $t->status->{sessions} == 0 }, 'all have left', 20);
    $t->stop;
};

done_testing;
