# What an idle WebSocket session costs the worker, and that its memory is used
# again by the next one.

use lib 't/lib';
use SioTest;

my $slow = $ENV{NGX_SIO_ASAN};
my $clients = $slow ? 500 : 10_000;

my $t = SioTest->new(
    workers => 1,
    main   => 'worker_rlimit_nofile 20000;',
    events => 'worker_connections 20000;',
    http   => 'access_log off;',
)->start;

system('t/bench/run', '--build') == 0 or BAIL_OUT('no load generator');

# A worker that has answered has all the memory that it begins with.

is($t->status->{sessions}, 0, 'no session');

my ($worker) = $t->worker_pids;
my ($exit, @lines) = SioTest::run_command(
    ['build/bench/load', '--pid', $worker, '--clients', $clients,
     '--reopen', 1, 'idle', $t->url . '/socket.io/']);

is($exit, 0, "$clients sessions opened and closed, twice");
note(@lines);

my ($kib) = "@lines" =~ /scenario=idle .*?\bkib=(\S+)/;
my ($percent) = "@lines" =~ /scenario=reopened .*?\bpercent=(\S+)/;

$t->wait_for(sub { $t->status->{sessions} == 0 }, 'no session is left');

# AddressSanitizer's red zones and quarantine are not the module's.

if (!$slow) {
    cmp_ok($kib, '<=', 1.75, 'KiB of an idle session');
    cmp_ok($percent, '<=', 2, 'percent that as many new ones add');
}

$t->stop;

done_testing;
