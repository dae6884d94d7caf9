# Reloads and a binary upgrade under load: no session ends, no event is lost.

use lib 't/lib';
use SioTest;
use SioSwarm;
use POSIX qw(WNOHANG);
use Time::HiRes qw(sleep);

my $slow = $ENV{NGX_SIO_ASAN} ? 1 : 0;
my $reloads = $ENV{NGX_SIO_RELOADS} || ($slow ? 5 : 20);

SioTest::descriptors(19_000);

my $t = SioTest->new(workers => 4, reuseport => 1, daemon => 1,
                     events => 'worker_connections 4096;',
                     http => "keepalive_timeout 0; access_log off;
                              sio_ping_interval 4s; sio_ping_timeout 4s;",
                     location => $SioSwarm::LOCATION,
                     server => SioSwarm::locations('a' .. 'j')
                               . "location /keep/ { sio_app keep;
                                  keepalive_timeout 75s;
                                  $SioSwarm::LOCATION }")->start;

sub descriptors {
    my ($pid) = @_;
    return scalar(() = glob "/proc/$pid/fd/*");
}

# Starts a new master beside the old one, which is told to end; from then on
# the test is about the new one.
sub binary_upgrade {
    my ($t) = @_;
    my $file = $t->dir . '/nginx.pid';
    my $old = $t->pid;
    my $new;

    $t->signal('USR2');
    $t->wait_for(sub {
        $new = SioTest::read_file($file) // '';
        chomp $new;
        return $new =~ /^\d+$/ && $new != $old
               && (my @workers = SioTest::children($new)) == 4;
    }, 'a new master with its workers', 10);
    sleep 0.2;
    kill 'WINCH', $old;
    kill 'QUIT', $old;
    $t->adopt($new);
    return $new;
}

# The resident memory of a process that is its own, in KiB.
sub memory {
    my ($pid) = @_;
    my $smaps = SioTest::read_file("/proc/$pid/smaps_rollup") // '';
    return ($smaps =~ /^Private_Dirty:\s+(\d+)/m)[0] // 0;
}

# All workers are linked both ways, and answer nobody.

$t->wait_for(sub {
    my %n = map { descriptors($_) => 1 } $t->worker_pids;
    return $t->status->{links} == 12 && keys %n == 1;
}, 'the workers are at rest');

my ($fds) = sort { $a <=> $b } map { descriptors($_) } $t->worker_pids;
my $memory = memory($t->pid);
my ($most) = sort { $b <=> $a } map { memory($_) } $t->worker_pids;
my $path = 'a';

sub swarm {
    my (%opt) = @_;
    my $s = SioSwarm->start($t, clients => 100, sources => 4, tick_rate => 5,
                            opening => 50, timeout => 300, duration => 300,
                            refresh_sources => 300, path => $path++, %opt);
    $s->awaits('ready');
    return $s;
}

my $n = $slow ? 100 : 400;
my %swarm = (
    websocket => swarm(mode => 'websocket', clients => 2 * $n),
    upgrade   => swarm(mode => 'upgrade', clients => 2 * $n),
    polling   => swarm(mode => 'polling', clients => $n,
                       tolerate_resets => ''),

    # nginx closes idle connections at a reload, whatever is on its way there.

    keepalive => swarm(mode => 'polling', keepalive => '', path => 'keep',
                       tolerate_resets => ''),
);
$swarm{upgrade}->awaits('upgraded');

for my $i (1 .. $reloads) {
    $t->reload;
    sleep 0.4;

    # later generations have sessions of their own

    $swarm{"late $i"} = swarm(mode => 'upgrade', clients => 20)
        if $i % 5 == 0;
}

# A new master takes over; the old one ends with its last session.

my $old = $t->pid;
my $new = binary_upgrade($t);

$swarm{last} = swarm(mode => 'upgrade', clients => 20);
$swarm{last}->awaits('upgraded');

my $result;
for my $name (sort keys %swarm) {
    $result = $swarm{$name}->stop("$name: nothing was lost");
    is($result->{dropped}, 0, "$name: no session was dropped");
    is($result->{reset_drops}, 0, "$name: nor reset")
        if $name ne 'keepalive';
    is($result->{resets_fresh}, 0, "$name: no new connection was reset");
    note explain $result;
}

my $state = $t->status;
is($state->{$_}, 0, $_)
    for grep { /^limit_|^moves_failed|^bus_(?:cuts|lags|errors)/ }
        sort keys %$state;
note join ' ', map { "$_=$state->{$_}" } grep { /move|relay|bus|link|ops|memory/ } sort keys %$state;

$t->wait_for(sub { waitpid($old, WNOHANG) != 0 }, 'the old master ends', 30);
$t->wait_for(sub { (my @all = SioTest::children($t->pid)) == 4 },
             "the old workers end", 30);
$t->wait_for(sub {
    return !grep { descriptors($_) != $fds } $t->worker_pids;
}, 'descriptors are as many as before', 10)
    or diag "$fds then, now @{[map { descriptors($_) } $t->worker_pids]}";
cmp_ok(memory($t->pid), '<', $memory + 1024, 'the master has not grown');
cmp_ok(memory($_), '<', $most + 4096, 'nor have the workers')
    for $slow ? () : $t->worker_pids;
unlike($t->log, qr/open socket/, 'no socket was left open');
$t->stop;
done_testing;
