# A backend that is stopped under load and started again: its clients stay, they
# are slowed down meanwhile, and nothing is lost, by WebSocket and by polling.

use lib 't/lib';
use SioApp;
use SioBackend;
use SioTest;
use Time::HiRes qw(time sleep);

my $slow = $ENV{NGX_SIO_ASAN};
my $clients = 200;
my $away = $slow ? 3 : 10;                  # seconds

# One who is silent for so long is gone, before the backend is there again.

my $patience = $slow ? 'sio_ping_interval 1s; sio_ping_timeout 10s;'
                     : 'sio_ping_interval 2s; sio_ping_timeout 4s;';

SioApp::build();

my @ways = map { way($_) } ('websocket', 'polling');

goes_on($_, 0) for @ways;

my $until = time + $away;

$_->{app}->stop for @ways;
$_->{before} = rests($_) for @ways;
sleep $until - time if $until > time;

for my $w (@ways) {
    my ($name, $before, $status) = (@$w{qw(name before)}, $w->{t}->status);

    is($status->{sessions}, $clients, "$name: all clients are there");
    is($status->{acks_sent}, $before->{acks_sent}, 'none is answered');
    cmp_ok($status->{limit_handler_queue}, '>=', $clients,
           'they had to wait: limit_handler_queue');
    cmp_ok($status->{handler_queued}, '>=', $clients, 'something of each waits');
    is($status->{events}, $before->{events}, 'no more is read');
    cmp_ok($status->{handler_retries}, '>', $before->{handler_retries},
           'the backend is looked for');
}

$_->{app}->start for @ways;

goes_on($_, $_->{before}{acks_sent}) for @ways;

for my $w (@ways) {
    my ($name, $app, $t, $load) = @$w{qw(name app t load)};

    is($t->status->{$_}, $clients, "$name: $_") for qw(handshakes sessions);

    close $load->{in};

    my ($exit, @lines) = SioTest::finish_command($load, 30);
    my ($units) = "@lines" =~ /\bunits=(\d+)/;

    is($exit, 0, 'each client gets all its answers, in order')
        or diag(@lines);
    note("@lines");
    $app->judges($units, $name);

    my $status = $t->status;

    is($status->{acks_sent}, $units, 'each event was answered once');
    is($status->{connects}, $clients, 'no client came again');
    is($status->{$_}, 0, $_) for qw(handler_lost handler_errors request_errors);

    $app->stop;
    SioBackend::ends($t, $w->{rested});
}

done_testing;


# A server, its backend and its clients.

sub way {
    my ($name) = @_;

    my $app = SioApp->new->start;
    my $t = SioTest->new(
        http     => <<"        CONF",
            access_log off;
            keepalive_requests 1000000000;

            upstream app {
                server             ${\$app->address};
                keepalive          300;
                keepalive_requests 1000000000;
            }
        CONF
        location => <<"        CONF",
            sio;
            sio_handler       /app;
            sio_handler_queue 2k;
            $patience
        CONF
        server   => <<'        CONF',
            location = /app {
                internal;
                proxy_pass         http://app;
                proxy_http_version 1.1;
                proxy_set_header   Connection "";
            }
        CONF
    )->start;

    my $rested = SioBackend::rested($t);
    my $load = $app->load('--clients', $clients, '--inflight', 64, '--own',
                          '--timeout', ($away + 100) * SioTest::slow(),
                          ($name eq 'polling' ? '--polling' : ()), 'stream',
                          $t->url . '/socket.io/');

    return { name => $name, app => $app, t => $t, load => $load,
             rested => $rested };
}


# All have come, and for some time their events have been answered.

# As it is when no more events come; the status of then.

sub rests {
    my ($w) = @_;
    my ($status, $events, $since);

    $w->{t}->wait_for(sub {
        $status = $w->{t}->status;
        ($events, $since) = ($status->{events}, time)
            if $status->{events} != ($events // -1);
        return time - $since > 0.5;
    }, "$w->{name}: nothing is read any more");
    return $status;
}


sub goes_on {
    my ($w, $from) = @_;

    $w->{t}->wait_for(sub {
        my $status = $w->{t}->status;
        return $status->{sockets} == $clients
               && $status->{acks_sent} > $from + 50 * $clients;
    }, "$w->{name}: the clients are answered", 20);
}
