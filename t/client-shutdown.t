# The end of a worker and of all workers, as real clients see it.

use lib 't/lib';
use SioTest;
use Time::HiRes qw(time);

subtest 'worker_shutdown_timeout' => sub {
    my $t = SioTest->new(
        main => 'worker_shutdown_timeout 1s;',
        location => 'sio; sio_on * reply;',
    )->start;

    $t->client('shutdown.js', $t->pid);
    $t->wait_for(sub {
        $t->log =~ /session ended: server shutting down, websocket/
    }, 'its reason is "server shutting down"');
    $t->stop;
};

for my $workers (1, 4) {
subtest "quit with $workers" => sub {
    my $n = $ENV{NGX_SIO_ASAN} || $workers == 1 ? 200 : 1000;
    my $t = SioTest->new(
        workers => $workers,
        events => 'worker_connections 4096;',
        location => 'sio; sio_on disconnect emit event=gone;',
    )->start;

    SioTest::descriptors(4096);
    $t->client('quit.js', $t->pid, $n);

    # The client measures its own part.

    my $start = time;
    $t->wait_for(sub { $t->reaped }, 'nginx is gone', 5);
    cmp_ok(time - $start, '<', 1 * SioTest::slow(), 'within a second');

    my $ends = () = $t->log =~ /session ended: server shutting down/g;
    is($ends, $n, 'the reason of all is "server shutting down"');
    $t->check_logs;
};
}

done_testing;
