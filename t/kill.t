# Workers that are killed under load: their own sessions and requests go, and
# nothing else.

use lib 't/lib';
use SioTest;
use SioSwarm;
use Time::HiRes qw(sleep);

my $slow = $ENV{NGX_SIO_ASAN} ? 1 : 0;
my $seconds = $ENV{NGX_SIO_KILLS} || ($slow ? 10 : 30);

SioTest::descriptors(19_000);
srand 3;

my $t = SioTest->new(workers => 4, reuseport => 1,
                     events => 'worker_connections 4096;',
                     http => 'keepalive_timeout 0; access_log off;
                              sio_ping_interval 3s; sio_ping_timeout 3s;',
                     location => $SioSwarm::LOCATION,
                     server => SioSwarm::locations('a', 'b'),
                     expect_log => [qr/exited on signal 9/])->start;

my %opt = (sources => 4, tick_rate => 5, opening => 50, timeout => 240,
           duration => 240, reconnect => '', refresh_sources => 200);
my %swarm = (
    websocket => SioSwarm->start($t, path => 'a', mode => 'websocket',
                                 clients => 300, %opt),
    polling   => SioSwarm->start($t, path => 'b', mode => 'polling',
                                 clients => 100, %opt),
    upgrade   => SioSwarm->start($t, mode => 'upgrade', clients => 200, %opt),
);

$_->awaits('ready') for values %swarm;

for my $i (1 .. $seconds) {
    my @workers = $t->worker_pids;
    my $victim = $workers[rand @workers];
    kill 'KILL', $victim;
    $t->await(sub {
        my @now = $t->worker_pids;
        return @now == 4 && !grep { $_ == $victim } @now;
    }) or fail("no new worker after $i");
    sleep 1;
}

for my $name (sort keys %swarm) {
    my $result = $swarm{$name}->stop("$name: nobody else lost anything");
    cmp_ok($result->{dropped}, '>', 0, 'some were dropped');
    is($result->{ready}, $result->{clients}, 'all are back');
    note explain $result;
}

my $state = $t->status;
is($state->{$_}, 0, $_)
    for grep { /^limit_|^bus_(?:cuts|lags|errors)/ } sort keys %$state;
is(join(' ', sort { $a <=> $b } map { $_->{slot} } @{$state->{workers}}),
   '0 1 2 3', 'no slot is lost');

# What happened to requests of a dead worker is told to their clients.

my @lines = grep { /\[(?:error|warn)\]/ } split /\n/, $t->log;
ok(!@lines, 'nothing to warn of') or diag join "\n", splice @lines, 0, 10;

# A poll that met a dying worker's accept queue never came: its session ends
# with its heartbeat.

$t->wait_for(sub { $t->status->{sessions} == 0 }, 'no session is left', 15);
$t->stop;

done_testing;
