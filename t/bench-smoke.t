# The benchmark runs and its load generator is not fooled: no figure is judged.

use lib 't/lib';
use SioTest;

use JSON::PP qw(decode_json);

my ($exit, @lines) = SioTest::run_command(
    ['t/bench/run', '--rounds', 1, '--scale', 0.02, '--server', 'bare,nginx',
     '--time', 50]);

is($exit, 0, 'a small benchmark') or BAIL_OUT("@lines");

my ($json) = map { /^json (.*)/ } @lines;
my $result = decode_json($json);

for my $name (qw(broadcast echo1 echo8 connect polling)) {
    cmp_ok($result->{$name}{$_}{us}, '>', 0, "$name: CPU time of $_")
        for qw(bare nginx);

    ok($result->{$name}{nginx}{ratio}, "$name: a ratio");
}

like($result->{idle}{nginx}{kib}, qr/^-?\d/, 'idle: memory of nginx');

# A server that answers something else, and one that answers twice.

my $t = SioTest->new(
    server => q(
        location /wrong/ {
            sio;
            sio_on echo reply 'args=["wrong"]';
        }

        location /twice/ {
            sio;
            sio_on echo reply;
            sio_on echo reply;
        }
    ),
)->start;

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

$t->stop;

done_testing;
