package SioApp;

# Runs t/bench/app.c, a backend that judges whatever comes from the clients of
# t/bench/load.c, and hears its report.

use strict;
use warnings;

use Carp qw(croak);
use File::Temp ();
use IO::Socket::INET;
use JSON::PP ();
use Socket;
use Test::More;

use SioTest;

my $BUILD = SioTest::root() . '/build/bench';


sub build {
    system(SioTest::root() . '/t/bench/run', '--build') == 0
        or BAIL_OUT('no load generator, or no backend');
}


# The port stays ours while nobody listens.  What one has seen is known to the
# next one that is started, by a file in this directory.

sub new {
    my ($class, $dir) = @_;

    my $held = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp')
               or croak "no free port: $!";

    setsockopt $held, SOL_SOCKET, SO_REUSEADDR, 1;

    return bless { held => $held, address => '127.0.0.1:' . $held->sockport,
                   state => File::Temp->newdir('ngx_sio.XXXXXX', TMPDIR => 1) },
                 $class;
}


sub address { $_[0]{address} }


sub start {
    my ($self) = @_;

    my ($port) = $self->{address} =~ /(\d+)$/;

    $self->{command} = SioTest::start_command(
        ['setpriv', '--pdeathsig', 'KILL', "$BUILD/app", '--check',
         '--state', "$self->{state}/state", $port]);

    SioTest->await(sub { IO::Socket::INET->new($self->{address}) }, 10)
        or croak 'the backend does not listen';

    return $self;
}


# It answers what it has got, and ends.

sub stop {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $command = delete $self->{command} or return;

    kill 'TERM', $command->{pid};

    my ($exit) = SioTest::finish_command($command, 10);

    return is($exit, 0, 'the backend has ended');
}


sub report {
    my ($self) = @_;

    my $body = $self->asked("GET /report HTTP/1.1\r\n\r\n") // return;

    return JSON::PP::decode_json($body);
}


# A request of its own; the body of the answer.

sub post {
    my ($self, $body) = @_;

    return $self->asked("POST / HTTP/1.1\r\nContent-Length: " . length($body)
                        . "\r\n\r\n$body");
}


sub asked {
    my ($self, $request) = @_;

    my $socket = IO::Socket::INET->new($self->{address}) or return;
    my $answer = '';

    print $socket $request;
    shutdown $socket, 1;
    $answer .= $_ while <$socket>;

    return $answer =~ /\r\n\r\n(.*)/s ? $1 : undef;
}


# Whether it got so many events in their order, and nobody is left.

sub judges {
    my ($self, $events, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my $r = {};

    SioTest->await(sub { ($r = $self->report // {}); ($r->{sockets} // 1) == 0 },
                   20);

    is($r->{events}, $events, "$name: the backend got each event");
    is($r->{violations}, 0, 'each once and in order') or diag($r->{first});
    is($r->{sockets}, 0, 'and a disconnect of each socket');
}


# Starts the load: finish_command() has its output.  Its standard input ends
# with {in}.

sub load {
    my ($self, @arg) = @_;

    pipe my $read, my $in or croak "pipe: $!";
    open my $own, '<&', \*STDIN or croak "STDIN: $!";
    open STDIN, '<&', $read or croak "STDIN: $!";

    my $load = SioTest::start_command(
        ['setpriv', '--pdeathsig', 'KILL', 'sh', '-c', 'exec "$@" 2>&1', 'sh',
         "$BUILD/load", @arg]);

    open STDIN, '<&', $own or croak "STDIN: $!";

    return { %$load, in => $in };
}

1;
