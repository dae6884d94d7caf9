# Any number of workers, one server: sessions that upgrade on whatever worker
# takes the connection, while numbered events flow from all of them.

use lib 't/lib';
use SioTest;
use SioSwarm;
use POSIX ();
use Time::HiRes qw(time sleep);

srand 5;

# Processes that keep the processors busy: a worker that sends to several others
# is then often interrupted between two of them.

my @busy;

sub busy {
    for (1 .. 4) {
        defined(my $pid = fork) or die "fork: $!";
        exec 'setpriv', '--pdeathsig', 'KILL', $^X, '-e',
             'alarm 120; 1 while 1' or POSIX::_exit(127) if $pid == 0;
        push @busy, $pid;
    }
}

sub idle {
    kill 'TERM', @busy;
    waitpid $_, 0 for splice @busy;
}

my $slow = $ENV{NGX_SIO_ASAN} ? 1 : 0;
my $clients = $slow ? 400 : 2000;

SioTest::descriptors(19_000);

for my $tls (0, 1) {
    subtest $tls ? 'upgrades, TLS' : 'upgrades' => sub {
        my $t = SioTest->new(workers => 4, reuseport => 1, tls => 1,
                             events => 'worker_connections 8192;',
                             http => 'keepalive_timeout 0; access_log off;',
                             location => $SioSwarm::LOCATION)->start;

        # Real clients are among them from the start.

        my $real = SioTest::start_command([SioTest::client_command(
            'swarm.js', $tls ? $t->tls_url : $t->url, 50)]);
        $t->wait_for(sub { $t->status->{sessions} >= 50 }, 'fifty are there');

        # Workers that stand still for a moment now and then are out of step
        # with the others, so that there is often an event on its way while a
        # session moves.

        my $swarm = SioSwarm->start($t, tls => $tls, clients => $clients,
                                    mode => 'upgrade', opening => 50,
                                    sources => 4, tick_rate => 5,
                                    direct_rate => 1000, timeout => 240,
                                    duration => 200);
        busy();

        my $upgraded;
        my $end = time + 120 * SioTest::slow();

        while (!$upgraded && time < $end) {
            my @workers = $t->worker_pids;
            my $pid = $workers[rand @workers];
            kill 'STOP', $pid;
            sleep 0.06;
            kill 'CONT', $pid;
            $upgraded = $swarm->event('upgraded', 0.05);
        }
        idle();
        ok($upgraded, 'the swarm: upgraded');
        kill 'USR2', $real->{pid};
        SioTest::report_tap('swarm.js', SioTest::finish_command($real));

        my $result = $swarm->stop;
        my $state = $t->status;

        is($result->{upgraded}, $clients, 'all have upgraded');
        cmp_ok($state->{moves}, '>=', $clients / 4, 'many sessions moved');
        note "$state->{moves} moves, $state->{moves_replayed} with an op in the log";
        cmp_ok($state->{moves_replayed}, '>=', $slow ? 1 : $clients / 20,
               'with an op in the log');
        is($state->{$_}, 0, $_)
            for grep { /^limit_|^moves_failed|^bus_(?:cuts|lags|errors)/ }
                sort keys %$state;
        $t->stop;
    };
}

done_testing;
