# Handlers under load: many events of one session, and many sessions.  Each
# event is acknowledged with its own argument, the backend sees those of each
# socket in their order, and of the memory nothing is lost.  NGX_SIO_FULL=1
# takes a million events each, in some minutes.

use lib 't/lib';
use SioApp;
use SioBackend;
use SioTest;

my $slow = $ENV{NGX_SIO_ASAN};
my $full = $ENV{NGX_SIO_FULL};

# clients, events in a write, writes of each to warm up and writes that count

my %size = (
    'one session'   => $full ? [1, 32, 1000, 31_250]
                     : $slow ? [1, 32, 20, 200] : [1, 32, 300, 3125],
    'many sessions' => $full ? [10_000, 4, 5, 25]
                     : $slow ? [200, 4, 1, 3] : [1000, 4, 20, 5],
);

my $percent = 5;        # what the memory may grow by

SioApp::build();

my $app = SioApp->new->start;
my $t = SioTest->new(
    workers   => $ENV{NGX_SIO_WORKERS} || 2,
    reuseport => 1,
    main      => 'worker_rlimit_nofile 20000;',
    events    => 'worker_connections 20000;',
    http      => <<"    CONF",
        access_log off;

        upstream app {
            server             ${\$app->address};
            keepalive          300;
            keepalive_requests 1000000000;
        }
    CONF
    location  => 'sio; sio_handler /app;',
    server    => <<'    CONF',
        location = /app {
            internal;
            proxy_pass         http://app;
            proxy_http_version 1.1;
            proxy_set_header   Connection "";
        }
    CONF
)->start;

my $before = SioBackend::rested($t);
my $events = 0;

for my $name ('one session', 'many sessions') {
    subtest $name => sub { put_to_test($name, @{$size{$name}}) };
}

my $status = $t->status;

is($status->{acks_sent}, $events, 'each event was acknowledged once');
is($status->{handler_requests}, $events + 2 * (1 + $size{'many sessions'}[0]),
   'and is one request');
is($status->{$_}, 0, $_)
    for qw(handler_retries handler_errors handler_lost memory_errors);

$app->stop;
SioBackend::ends($t, $before);

done_testing;


sub put_to_test {
    my ($name, $clients, $inflight, $warm, $count) = @_;

    my $limit = $full ? 900 : 100;
    my $load = $app->load('--pid', join(',', $t->worker_pids),
                          '--clients', $clients, '--count', $count,
                          '--inflight', $inflight, '--warm', $warm,
                          '--own', '--memory',
                          '--timeout', $limit * SioTest::slow(),
                          'ack', $t->url . '/socket.io/');
    my ($exit, @lines) = SioTest::finish_command($load, $limit + 10);

    is($exit, 0, 'the clients get each answer once and in order');
    note(join "\n", @lines);

    my ($units) = "@lines" =~ /\bunits=(\d+)/;

    is($units, $clients * $inflight * $count, 'as many as were to be');
    $events += $clients * $inflight * ($warm + $count);
    $app->judges($events, $name);

    $t->wait_for(sub {
        my $status = $t->status;
        return !grep { $status->{$_} } qw(handler_running handler_queued
                                          sessions sockets);
    }, 'nothing is left');

    # AddressSanitizer's quarantine is not the module's.

    return if $slow;

    for my $line (grep { /^memory / } @lines) {
        my ($pid, $from, $to) = $line =~ /=(\d+)/g;

        cmp_ok($to, '<=', $from * (1 + $percent / 100),
               "worker $pid: $from KiB, then $to");
    }
}
