package SioCluster;

# A SioTest with several workers, of which a test can say who serves whom:
# clients on a worker of its choice, requests to a worker, a worker stopped,
# continued or killed.
#
# nginx keeps a connection with the worker that has accepted it.  So a client
# asks first who that is, at /pid, and becomes a WebSocket or opens its session
# on the same connection.

use strict;
use warnings;

use Carp qw(croak);
use JSON::PP ();
use Test::More;
use Time::HiRes qw(time sleep);

use SioRaw;
use SioTest;

our @ISA = ('SioTest');     # its import too

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;

# Connections kept for later, for each worker.

my $SPARE = 32;


# new(%arg): as SioTest, with /pid, and /api unless there is api => ''.

sub new {
    my ($class, %arg) = @_;

    my $api = delete $arg{api}
        // 'location = /api { sio_api; allow 127.0.0.1; deny all;
                             client_max_body_size 20m; }';

    return $class->SUPER::new(
        workers => 4,
        %arg,
        server => "location = /pid { return 200 \$pid; } $api "
                  . ($arg{server} // ''),
        spare  => {},
        asking => {},
        halted => {},
    );
}


# A connection that the worker has accepted, with nothing under way on it.

sub connect_to {
    my ($self, $pid) = @_;

    my $spare = $self->{spare}{$pid} //= [];
    my $end = time + 10 * SioTest::slow();

    while (1) {
        while (my $c = shift @$spare) {
            return $c if fresh($c);
        }

        for my $try (1 .. 4) {
            $self->accepted;
            last if @$spare;
        }

        next if @$spare;
        croak "worker $pid accepts nothing" if time > $end;

        # A socket that all listen to: one worker may be quicker each time.

        if (!$self->{reuseport}) {
            my @others = grep { $_ != $pid && !$self->{halted}{$_} }
                             $self->worker_pids;

            halt($_) for @others;
            $self->accepted;
            kill 'CONT', @others;
        }
    }
}


# Connects and adds the connection to the spare ones of whoever accepts it.

sub accepted {
    my ($self) = @_;

    my $c = SioRaw->connect($self->port);

    $c->send_request(GET => '/pid');

    # A stopped worker leaves it in the queue of its own socket.

    my $r = $c->response(%{$self->{halted}} ? (deadline => 0.3) : ());

    return $c->close if $r->status ne '200' || $r->body !~ /^\d+$/;

    my $spare = $self->{spare}{$r->body} //= [];

    @$spare < $SPARE ? push @$spare, $c : $c->close;
}


sub fresh {
    my ($c) = @_;

    return 1 if !length $c->{in} && !defined $c->fill(0);

    $c->close;
    return 0;
}


# A WebSocket with a worker: options of SioRaw::WS->socket.

sub websocket {
    my ($self, $pid, %opt) = @_;

    return SioRaw::WS->socket($self->port, %opt,
                              on => $self->connect_to($pid));
}


# One for each worker, in the order of worker_pids.

sub websockets {
    my ($self, %opt) = @_;

    return map { $self->websocket($_, %opt) } $self->worker_pids;
}


# A polling session that a worker opens: options of SioRaw::Polling->open.
# Its later requests go to anyone.

sub polling {
    my ($self, $pid, %opt) = @_;

    my $c = $self->connect_to($pid);
    my $path = $opt{path} // '/socket.io/';
    my $target = "$path?EIO=4&transport=polling"
                 . (defined $opt{query} ? "&$opt{query}" : '');

    $c->send_request(GET => $target, headers => $opt{headers});

    my $r = $c->response;

    $c->close;
    @$r{qw(port target)} = ($self->port, $target);

    my $s = SioRaw::Polling->of($r);

    $s->{headers} = $opt{headers} || [];
    return $s;
}


# The WebSocket of a polling session, with a worker; it has answered the probe
# and waits for upgraded(), after which the session is there.

sub probe {
    my ($self, $s, $pid) = @_;

    my $ws = SioRaw::WS->upgrade($self->port, on => $self->connect_to($pid),
        query => "EIO=4&transport=websocket&sid=$s->{sid}");

    my ($answer) = $ws->switched ? $ws->ask('2probe') : ();

    croak 'no answer to a probe: ' . ($answer // $ws->answered->status)
        if ($answer // '') ne '3probe';

    $ws->{open} = $s->opened;
    $ws->{of} = $s;
    return $ws;
}


sub upgraded {
    my ($ws) = @_;

    $ws->{of}{gone} = 1;
    $ws->text('5');
    return $ws;
}


sub upgrade {
    my ($self, $s, $pid) = @_;

    return upgraded($self->probe($s, $pid));
}


# Who opened the session of a WebSocket: needs this in the location.

our $WHOAMI = q{sio_data pid $pid; sio_on whoami ack 'args=["$sio_data_pid"]';};

sub whoami {
    my ($ws) = @_;

    my ($answer) = $ws->ask('421["whoami"]');

    return ($answer // '') =~ /^431\["(\d+)"\]$/ ? $1 : undef;
}


# --- requests to a worker, on a connection that is kept for them

# Makes all connections that requests will need: with `listen ... reuseport` a
# new one might wait for a worker that is stopped.

sub ready {
    my ($self) = @_;

    for my $pid ($self->worker_pids) {
        $self->request_on($pid, GET => '/pid');
        $self->status_on($pid);
    }
}


sub request_on {
    my ($self, $pid, $method, $target, %opt) = @_;

    $self->begin_on($pid, $method, $target, %opt);
    return $self->finish_on($pid, head => $method eq 'HEAD');
}


# The same in two steps; requests that were begun are answered in their order.
# What is behind the number of a worker names another connection to it.

sub begin_on {
    my ($self, $pid, $method, $target, %opt) = @_;

    my $asking = \$self->{asking}{$pid};

    ($pid) = $pid =~ /^(\d+)/;

    undef $$asking if $$asking && !$$asking->{begun} && !fresh($$asking);

    $$asking //= $self->connect_to($pid);
    $$asking->{begun}++;
    $$asking->send_request($method, $target, %opt);
}


sub finish_on {
    my ($self, $pid, %opt) = @_;

    my $c = $self->{asking}{$pid};
    my $r = $c->response(%opt);

    $c->{begun}--;

    if ($r->status eq 'none' || ($r->header('connection') // '') eq 'close') {
        $c->close;
        delete $self->{asking}{$pid};
    }

    return $r;
}


# Closes these connections.

sub hang_up {
    my ($self) = @_;

    $_->close for grep { defined } values %{$self->{asking}};
    $_->close for map { @$_ } values %{$self->{spare}};

    @$self{qw(asking spare)} = ({}, {});
}


sub status_on {
    my ($self, $pid) = @_;

    my $r = $self->request_on("$pid status", GET => '/status');

    return $r->status eq '200' ? $JSON->decode($r->body) : undef;
}


# From a worker that is not stopped, and of all: none has news of it later.

sub status {
    my ($self) = @_;

    my ($pid) = grep { !$self->{halted}{$_} } $self->worker_pids;

    return defined $pid ? eval { $self->status_on($pid) } : undef;
}


# The slots of workers by their pids, as a worker knows them.

sub slots {
    my ($self, $pid) = @_;

    my $status = defined $pid ? $self->status_on($pid) : $self->status;

    return map { $_->{pid} => $_->{slot} } @{$status->{workers}};
}


# --- the API

# The header that its requests need.

our @JSON = ('Content-Type' => 'application/json');


# The results of operations, as many as these; workers take turns.

sub api {
    my ($self, @ops) = @_;

    my @pids = grep { !$self->{halted}{$_} } $self->worker_pids;

    return $self->api_on($pids[$self->{turn}++ % @pids], @ops);
}


sub api_on {
    my ($self, $pid, @ops) = @_;

    $self->begin_api($pid, @ops);
    return $self->finish_api($pid);
}


sub begin_api {
    my ($self, $pid, @ops) = @_;

    $self->begin_on($pid, POST => '/api', headers => [@JSON],
                    body => $JSON->encode(\@ops));
}


sub finish_api {
    my ($self, $pid) = @_;

    my $r = $self->finish_on($pid);
    my $results = eval { $JSON->decode($r->body) };

    return { status => $r->status, body => $r->body }
        if $r->status ne '200' || ref $results ne 'ARRAY';

    return wantarray ? @$results : $results->[0];
}


# --- what happens to workers

# Stops a process, and waits until it is.

sub halt {
    my ($pid) = @_;

    my $end = time + 5;

    kill 'STOP', $pid;

    while ((SioTest::read_file("/proc/$pid/stat") // '') !~ /\) [TtZX] /) {
        croak "process $pid does not stop" if time > $end;
        sleep 0.001;
    }
}


sub stop_worker {
    my ($self, $pid) = @_;

    $self->{halted}{$pid} = 1;
    halt($pid);
}


sub continue_worker {
    my ($self, $pid) = @_;

    delete $self->{halted}{$pid};
    kill 'CONT', $pid;
}


# Kills a worker; it is gone when this returns.  The log will tell: expect
# qr/exited on signal 9/.

sub kill_worker {
    my ($self, $pid) = @_;

    kill 'KILL', $pid;

    my $gone = $self->await(sub { !-e "/proc/$pid" });

    $_->close for @{delete $self->{spare}{$pid} // []},
                  grep { defined } delete @{$self->{asking}}{$pid,
                                                             "$pid status"};

    delete $self->{halted}{$pid};
    return $gone;
}


sub DESTROY {
    my ($self) = @_;

    if ($$ == $self->{owner}) {
        kill 'CONT', keys %{$self->{halted}};
    }

    $self->SUPER::DESTROY;
}


# Whether all workers know each other.

sub together {
    my ($self) = @_;

    my @pids = $self->worker_pids;
    my $n = @pids;

    return $n == $self->{workers} && !grep {
        my %slot = eval { $self->slots($_) };
        join(' ', sort keys %slot) ne join ' ', sort @pids;
    } @pids;
}

1;
