# Four workers are one server: what real clients see of one worker they see of
# four, wherever their requests land.  No connection is kept alive, so that
# each poll may land anywhere.

use lib 't/lib';
use SioTest;
use SioScenarios;
use Time::HiRes qw(time);

my $anywhere = <<'CONF';
    keepalive_timeout 0;
    log_format polls '$request_method $arg_sid $status "$request_body"';
    access_log polls.log polls;
CONF

# These ask on purpose for sessions that are not there any more.  One test of
# http.js is that a connection is kept alive.

my %asks = map { $_ => 1 } qw(disconnect http reconnect);
my %keeps = (http => 1);

# So many scenarios run at once; but one has short timeouts, and waits most of
# its time: it has the processor to itself, with and without reuseport at once.

my $at_once = 3;
my $timed = 'heartbeat';


for my $reuseport (1, 0) {
    my $how = $reuseport ? 'with reuseport' : 'without reuseport';

    subtest "the scenarios, $how" => sub {
        scenarios($at_once, map { [$_, $reuseport] }
                            grep { $_ ne $timed } SioScenarios::names());
    };
}

subtest "the scenario $timed, with and without reuseport" => sub {
    scenarios(2, [$timed, 1], [$timed, 0]);
};


# The numbers are those of crowd.js: a fifth of the sessions closes and opens
# again, a fifth is killed, and of each ten one is cut off, half of these while
# they poll.

for my $run (['with reuseport', 200, reuseport => 1],
             ['without reuseport', 200],
             ['over TLS', 60, reuseport => 1, tls => 1])
{
    my ($how, $sessions, %arg) = @$run;

    subtest "a crowd of $sessions, $how" => sub {
        crowd($sessions, %arg);
    };
}

done_testing;


sub scenarios {
    my ($at_once, @next) = @_;

    my @running;

    while (@next || @running) {
        push @running, begin(@{shift @next})
            while @next && @running < $at_once;
        end(shift @running);
    }
}


sub begin {
    my ($name, $reuseport) = @_;

    my %config = SioScenarios::config($name);

    $config{http} = join ' ', $config{http} // (), $anywhere if !$keeps{$name};

    my $t = SioTest->new(workers => 4, reuseport => $reuseport, %config)->start;
    my @clients = SioScenarios::clients($name);

    return { name => $name, t => $t, clients => \@clients,
             command => start($t, $clients[0]) };
}


sub start {
    my ($t, $client) = @_;

    return SioTest::start_command([
        SioTest::client_command($client, $t->url, '--workers')]);
}


sub end {
    my ($run) = @_;

    my ($t, $first, @more) = ($run->{t}, @{$run->{clients}});

    SioTest::report_tap($first, SioTest::finish_command($run->{command}));
    $t->client($_, '--workers') for @more;

    my $status = $t->status;

    is($status->{$_}, 0, "$run->{name}: $_")
        for qw(bus_errors bus_cuts bus_lags memory_errors);
    known($t) if !$asks{$run->{name}};
    stop($t);
}


sub crowd {
    my ($sessions, %arg) = @_;

    my $rules = <<'CONF';
        sio_on connection reply event=hello args=[$sio_id,$sio_auth];
        sio_on disconnect emit to=observers event=gone
                               args=[$sio_id,$sio_reason];

        sio_on sync   ack;
        sio_on watch  join observers;
        sio_on join   join $sio_arg1;
        sio_on join   ack;

        sio_on echo   reply args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on ask    ack args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on room   emit to=$sio_arg3 member
                           args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on others broadcast to=$sio_arg3 member
                           args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on one    emit to=$sio_arg3 args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on all    emit args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on last   emit to=$sio_arg3 args=[$sio_id,$sio_arg1,$sio_arg2];
        sio_on "last to all" emit args=[$sio_id,$sio_arg1,$sio_arg2];

        sio_on kick   disconnect;
        sio_on kill   disconnect close;
CONF

    my $t = SioTest->new(workers => 4, http => $anywhere, %arg,
                         location => <<"CONF")->start;
        sio;
        $rules
        sio_namespace /chat {
            $rules
        }
CONF

    $t->client('crowd.js', $arg{tls} ? ('--tls', $t->tls_port) : (),
               '--sessions', $sessions);

    $t->wait_for(sub { $t->status->{sessions} == 0 }, 'all have left');

    my $status = $t->status;
    my $killed = $sessions / 5;
    my $cut = $arg{tls} ? 0 : $sessions / 10;
    my $all = 2 + $sessions + $cut + 2 * $killed;

    # Each session has an end of the kind that was made for it: none was lost
    # and replaced by its client.

    is($status->{handshakes}, $all, 'handshakes');
    my %closed = map { $status->{closed}{$_} ? ($_ => $status->{closed}{$_}) : () }
                     keys %{$status->{closed}};

    cmp_ok($closed{'transport error'} // 0, '<=', $cut / 2,
           'connections that broke');
    $closed{'transport close'} += delete $closed{'transport error'} // 0;
    is_deeply(\%closed, { 'transport close' => $all - $killed,
                          'forced server close' => $killed },
              'why sessions were closed');

    is($status->{$_}, 0, $_)
        for qw(parse_errors connect_errors upgrades_abandoned
               upgrade_timeouts events_unhandled members_refused
               names_invalid moves_failed bus_errors bus_cuts bus_lags
               limit_queue memory_errors moves_pending relays_held);

    cmp_ok(known($t), '<=', $killed / 2 + $cut / 2,
           'late were those that were killed or cut off, and polled');

    my $polls = () = $t->access_log =~
        m{"(?:GET|POST) /socket\.io/\?EIO=4&transport=polling&\S*\bsid=}g;

    note("$status->{moves} moves, $status->{moves_replayed} of them replayed; "
         . "$status->{relays} of $polls polls relayed");

    cmp_ok($status->{moves}, '>', 0, 'sessions were moved');
    is($status->{relayed}, $status->{relays}, 'what is relayed arrives');
    cmp_ok($status->{relays}, '>=', $polls / 2, 'half of the polls are relayed')
        if $arg{reuseport};

    stop($t);
}


# A client that closes its session may have a GET under way; one that hears that
# the server has closed it closes it in its turn, too late.  Such a request, one
# for each session, is all that is told "Session ID unknown".  Returns how many
# were late: their body was not looked at, and is not in the log.

sub known {
    my ($t) = @_;

    my $log = SioTest::read_file($t->dir . '/polls.log');
    my %closed = map { $_ => 1 } $log =~ /^POST (\S+) \d+ "(?:.*\\x1E)?1"$/mg;
    my @unknown = $log =~ /^\w+ (\S+) 400 /mg;
    my %unread = map { $_ => 1 } $log =~ /^POST (\S+) 400 "-"$/mg;
    my %once = map { $_ => 1 } @unknown;

    is(join(' ', grep { !$closed{$_} && !$unread{$_} } @unknown), '',
       'no session was unknown but to a client that closed it');
    is(keys %once, @unknown, 'which asks once');

    # One that nobody waits for any more is logged as 499.

    my $left = () = $log =~ /^\w+ \S+ 499 /mg;

    cmp_ok($t->status->{request_errors}, '<=', @unknown + $left,
           'and there is no other error');

    return scalar grep { !$closed{$_} } @unknown;
}


# No worker waits for another one when all end.

sub stop {
    my ($t) = @_;

    my $began = time;

    $t->stop;
    cmp_ok(time - $began, '<', 4 * SioTest::slow(), 'all end at once');
}
