# The benchmark runs, and neither it nor its load generator is fooled: no time
# is judged.

use lib 't/lib';
use SioApp;
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

for my $name (qw(handler1 handler8)) {
    cmp_ok($result->{$name}{$_}{us}, '>', 0, "$name: CPU time of $_")
        for qw(proxy nginx);

    ok($result->{$name}{nginx}{ratio}, "$name: a ratio");
}

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

        location /other/ { sio; sio_on echo ack 'args=["other"]'; }
        location /more/  { sio; sio_on echo handler /app; }

        location = /app {
            internal;
            return 200 '[{"op":"ack","args":["ok"]},{"op":"emit","event":"x"}]';
        }
    ),
)->start;

my $sleep = SioTest::start_command(['sleep', 60]);

my %message = (
    'echo /wrong/' =>
        qr/expected '42\["echo","0000.*, got '42\["echo","wrong"\]'/,
    'echo /twice/' => qr/expected .*, got '42\["echo","0000/,
    'echo /status' => qr/expected HTTP.* 101 , got 'HTTP.* 200/,
    'ack /other/'  => qr/expected '431\["ok"\]', got '431\["other"\]'/,
    'ack /more/'   => qr/expected '432\["ok"\]', got '42\["x"\]'/,
    '--own ack /more/' => qr/expected '431\["0000.*, got '431\["ok"\]'/,
);

for my $case (sort keys %message) {
    my (@args) = split / /, $case;
    my $path = pop @args;
    my ($exit, @lines) = SioTest::run_command(
        ['sh', '-c', 'exec "$@" 2>&1', 'sh', 'build/bench/load',
         '--clients', 2, '--count', 10, '--timeout', 5, @args,
         $t->url . $path]);

    is($exit >> 8, 1, "the load fails: $case");
    like("@lines", $message{$case}, 'it says why');
}

# Nor is the backend: type, id, seq, and the number and the name of a client.

my $app = SioApp->new->start;
my @report = $app->report;

for my $case (
    ['connect a 1'],
    ['event a 2 1'],
    ['event a 3 2'],
    ['event a 3 3',   'twice'],
    ['event a 4 3',   'twice, as the client counts'],
    ['event a 6 4',   'a gap'],
    ['event a 7 6',   'a gap, as the client counts'],
    ['event a 8 7 8', 'of another client'],
    ['event a 9',     'of nobody'],
    ['event b 2 1',   'without a connect'],
    ['connect a 10',  'a second one'],
    ['ack a 11',      'not asked for'],
    ['disconnect a 12'],
    ['event a 13 7',  'after that'],
) {
    my ($request, $wrong) = @$case;

    says($request);
    unshift @report, $app->report;

    is($report[0]{violations} > $report[1]{violations} ? 'wrong' : 'right',
       $wrong ? 'wrong' : 'right', "$request: " . ($wrong // 'as it should be'));
}

like($report[0]{first}, qr/^a{20}: 3 after 3$/, 'it says what was wrong first');

$app->stop;
$app->start;
is_deeply($app->report, $report[0], 'another one knows what it has seen');
says('event b 3 2');
is($app->report->{violations}, $report[0]{violations}, 'and goes on from there');
$app->stop;

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


sub says {
    my ($type, $id, $seq, $n, $who) = split / /, $_[0];

    my $body = sprintf '{"type":"%s","namespace":"/","id":"%s","seq":%u',
                       $type, $id x 20, $seq;

    $body .= sprintf ',"event":"echo","args":["%010u %010u ..."]', $who // 7, $n
        if defined $n;

    return $app->post("$body}");
}


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
