# What a client sends before and after its move goes two ways to a third
# worker.  There the second does not overtake the first, unless that would
# take too long.

use lib 't/lib';
use SioCluster;
use Time::HiRes qw(time);

my $late = qr/waits no longer for what they sent from there/;
my ($t, $from, $to, $third, $listener, $witness);


# With the third worker stopped, a client that moved says 1 at the worker that
# it came from, behind megabytes of what nobody listens to, and 2 where it went.

sub moved {
    $t = SioCluster->new(
        location => 'sio; sio_on say broadcast; sio_on echo reply;',
        api      => '',
        http     => 'sio_bus_buffer 64m;',
        server   => 'location /blob/ { sio; sio_app blob; sio_on echo reply;
                                       sio_on blob broadcast; }',
        @_)->start;

    $t->wait_for(sub { $t->together }, 'the workers know each other');

    ($from, $to, $third) = $t->worker_pids;
    ($listener, $witness) = map { $t->websocket($_) } $third, $to;

    my $s = $t->polling($from);
    my $blob = $t->websocket($from, path => '/blob/');

    $s->join('/');

    my $ws = $t->probe($s, $to);

    $t->request_on($from, GET => '/pid');
    $t->stop_worker($third);

    $blob->text('42["blob","' . 'x' x 10_000 . '"]') for 1 .. 300;
    ok($blob->alive, 'much is sent to the third worker');

    $t->request_on($from, POST => $s->url, body => '42["say",1]');
    is($witness->message, '42["say",1]', 'a client says 1,');

    SioCluster::upgraded($ws);
    $ws->text('42["say",2]');
    is($witness->message, '42["say",2]', 'moves and says 2');

    return $ws, $blob, $listener, $witness;
}


sub ends {
    $_->close for @_;
    $t->hang_up;
    $t->stop;
}


subtest 'a third worker that is slow' => sub {
    my @ws = moved();

    $t->continue_worker($third);

    is($listener->message, '42["say",1]', 'its clients hear 1 first');
    is($listener->message, '42["say",2]', 'and then 2');
    unlike($t->log, $late, 'the log has nothing to tell');
    ends(@ws);
};


subtest 'one that waits in vain' => sub {
    my @ws = moved();

    $t->stop_worker($from);
    $t->continue_worker($third);

    is($listener->message, '42["say",2]', 'its clients hear 2');
    $t->wait_for(sub { $t->log =~ $late }, 'and the log tells why');

    $t->continue_worker($from);

    is($listener->message, '42["say",1]', '1 is not lost');
    ends(@ws);
};


subtest 'one that waits for a worker that dies' => sub {
    my @ws = moved(expect_log => [qr/exited on signal 9/]);

    $t->stop_worker($from);
    $t->kill_worker($from);
    $t->continue_worker($third);

    is($listener->message, '42["say",2]', 'its clients hear 2');
    unlike($t->log, $late, 'as soon as that is known');
    ends(@ws);
};


done_testing;
