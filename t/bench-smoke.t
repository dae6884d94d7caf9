# The benchmark runs, and neither it nor its load generator is fooled: no time
# is judged.

use lib 't/lib';
use SioTest;

use JSON::PP qw(decode_json encode_json);

my ($exit, @lines) = SioTest::run_command(
    ['t/bench/run', '--rounds', 1, '--scale', 0.02, '--no-node', '--time', 50]);

is($exit, 0, 'a small benchmark') or BAIL_OUT("@lines");

my ($json) = map { /^json (.*)/ } @lines;
my $result = decode_json($json);

for my $name (qw(broadcast echo1 echo8 connect polling)) {
    cmp_ok($result->{$name}{$_}{us}, '>', 0, "$name: CPU time of $_")
        for qw(bare nginx);

    ok($result->{$name}{nginx}{ratio}, "$name: a ratio");
}

cmp_ok($result->{workers}{$_}{us}, '>', 0, "workers: CPU time of $_")
    for qw(nginx nginx2);

ok($result->{workers}{nginx2}{ratio}, 'workers: a ratio');

is($result->{bus}{deliveries}, 300, 'two workers deliver');
is($result->{bus}{$_}, 3, "to 100 clients three times: $_")
    for qw(broadcasts ops_published bus_messages_out bus_messages_in);
ok(!$result->{bus}{missed}, 'that is what it is to be');

like($result->{idle}{nginx}{kib}, qr/^-?\d/, 'idle: memory of nginx');

# A server that answers something else, and one that answers twice.

my $t = SioTest->new(
    workers => 1,
    server  => q(
        location /wrong/ {
            sio;
            sio_on echo reply 'args=["wrong"]';
        }

        location /right/ {
            sio;
            sio_on echo reply;
        }

        location /twice/ {
            sio;
            sio_on echo reply;
            sio_on echo reply;
        }
    ),
)->start;

my $sleep = SioTest::start_command(['sleep', 60]);

my %message = (
    '/wrong/' => qr/expected '42\["echo","0000.*, got '42\["echo","wrong"\]'/,
    '/twice/' => qr/expected .*, got '42\["echo","0000/,
    '/status' => qr/expected HTTP.* 101 , got 'HTTP.* 200/,
);

for my $path (sort keys %message) {
    my ($exit, @lines) = SioTest::run_command(
        ['sh', '-c', 'exec "$@" 2>&1', 'sh', 'build/bench/load',
         '--clients', 2, '--count', 10, '--timeout', 5, 'echo',
         $t->url . $path]);

    is($exit >> 8, 1, "the load fails: $path");
    like("@lines", $message{$path}, 'it says why');
}

# All processes that are named are measured.

my ($worker) = $t->worker_pids;

is(cpu_of($sleep->{pid}), 0, 'CPU time of a process that sleeps');
cmp_ok(cpu_of($_), '>', 0, 'of that and a worker')
    for "$sleep->{pid},$worker", "$worker,$sleep->{pid}";

# Sockets that lie on one worker, and counters that stand still, by a status
# that is none.

my @counters = qw(deliveries ops_published bus_messages_out bus_messages_in);

($exit, @lines) = bench_with_sockets(100, 1);

is($exit >> 8, 1, 'the benchmark fails');
like("@lines", qr/nginx2: the sockets do not lie on 2 workers: 100 1/,
     'it says why');

($exit, @lines) = bench_with_sockets(50, 51);

is($exit >> 8, 1, 'the benchmark misses a target');
like("@lines", qr/\bbus +broadcast +nginx2 +0 messages .* 1\.00 MISSED/,
     'it says which');

$t->stop;

done_testing;


sub cpu_of {
    my ($pids) = @_;

    my ($exit, @lines) = SioTest::run_command(
        ['build/bench/load', '--pid', $pids, '--clients', 2, '--count', 200,
         'echo', $t->url . '/right/']);

    return "@lines" =~ /\bcpu_ns=(\d+)/ ? $1 : -1;
}


sub bench_with_sockets {
    my @sockets = @_;

    my $status = encode_json({
        links => 2, sockets => 101, (map { $_ => 7 } @counters),
        workers => [map { { sockets => $_ } } @sockets],
    });

    my $wrapper = $t->dir . '/nginx.pl';

    SioTest::write_file($wrapper, <<'    END');
#!/usr/bin/perl -i
@args = @ARGV;
@ARGV = $ARGV[-1];
s/sio_status;/return 200 '$ENV{BENCH_STATUS}';/, print while <>;
exec $ENV{BENCH_NGINX}, @args;
    END
    chmod 0755, $wrapper;

    local @ENV{qw(BENCH_STATUS BENCH_NGINX NGX_SIO_NGINX)}
        = ($status, SioTest::nginx(), $wrapper);

    return SioTest::run_command(
        ['sh', '-c', 'exec "$@" 2>&1', 'sh', 't/bench/run', '--rounds', 1,
         '--scale', 0.02, '--only', 'workers', '--check', '--time', 30]);
}
