package SioBackend;

# A backend that answers as it is told: in time or late, whole or cut, over
# HTTP, FastCGI, uwsgi or SCGI.  It is a process of its own, which ends with the
# test, and keeps a log of its requests, which the test reads.
#
#   my $b = SioBackend->new(answers => { news => { body => [...] } })->start;
#   my ($r) = $b->take(1);          the next request: $r->{json}{event}
#
# An answer is looked for by the event's name, by what the request is (connect,
# event, ack, disconnect), by its path, and as '*'.  A list of answers is used
# up, but for the last one.  Where there is none it is 204.  A client can say
# itself how it is to be answered: by the argument of an event "do", and in its
# auth payload, by {"do":...}.
#
#   status   200, or 204 without a body           reason    the text behind it
#   body     a text, or what becomes JSON         headers   [name => value, ...]
#   fill     so many blanks more                  chunked   bytes of a chunk
#   unsized  no Content-Length                    close     no other request
#   repeat   [text, n], behind the body           after     and behind that
#   cut      the end after so many bytes of the body
#   raw      these bytes, and the end             reset     the end is a reset
#   drip     seconds between its bytes            delay     seconds before it
#   hold     what ->release has to name first     never     no answer

use strict;
use warnings;

use Carp qw(croak);
use Fcntl qw(F_SETFD);
use File::Temp ();
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Socket;
use Test::More;

use SioTest;

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;
my $LINE = JSON::PP->new->ascii->canonical;


# new(answers => { ... }, over => 'http')

sub new {
    my ($class, %arg) = @_;

    my $self = bless { over => 'http', answers => {}, requests => [],
                       taken => 0, accepted => 0, by => {}, %arg,
                       owner => $$ }, $class;

    # The port stays ours while nobody listens.

    $self->{held} = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
                                          Proto => 'tcp')
        or croak "no free port: $!";
    $self->{port} = $self->{held}->sockport;
    setsockopt $self->{held}, SOL_SOCKET, SO_REUSEADDR, 1;

    $self->{file} = File::Temp->new(TEMPLATE => 'ngx_sio.XXXXXX', TMPDIR => 1);

    return $self;
}


sub port    { $_[0]{port} }
sub address { "127.0.0.1:$_[0]{port}" }
sub pid     { $_[0]{pid} }


sub start {
    my ($self) = @_;

    my $listening = IO::Socket::INET->new(LocalAddr => $self->address,
                                          ReuseAddr => 1, Listen => 1024)
        or croak "cannot listen on port $self->{port}: $!";

    socketpair my $here, my $there, AF_UNIX, SOCK_STREAM, PF_UNSPEC
        or croak "socketpair: $!";
    # A new Perl: nothing of the test lives on in it.

    defined($self->{pid} = fork) or croak "fork: $!";

    if ($self->{pid} == 0) {
        fcntl $_, F_SETFD, 0 for $listening, $there;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', '/dev/null';
        exec qw(setpriv --pdeathsig KILL), $^X, '-I', SioTest::root() . '/t/lib',
             qw(-MSioResponder -e SioResponder::main(@ARGV)),
             fileno $listening, fileno $there, $self->{over},
             $self->{file}->filename
            or POSIX::_exit(127);
    }

    $self->{control} = $here;
    $self->command(set => $self->{answers});

    return $self;
}


sub command {
    my ($self, %command) = @_;

    syswrite $self->{control}, $LINE->encode(\%command) . "\n";
    sysread $self->{control}, my $done, 1 or croak 'the backend has ended';
}


# Other answers from now on.

sub set {
    my ($self, %answers) = @_;

    @{$self->{answers}}{keys %answers} = values %answers;
    $self->command(set => \%answers) if $self->{pid};
}


sub release {
    my ($self, @names) = @_;

    $self->command(release => \@names);
}


# Listens no more and closes what is idle; it ends when it has answered.

sub closing {
    my ($self) = @_;

    $self->command(close => 1);
}


sub stop {
    my ($self) = @_;

    return if !$self->{pid};

    eval { $self->closing };
    SioTest->await(sub { $self->ended }, 3) or $self->kill;
}


sub ended {
    my ($self) = @_;

    return 1 if !$self->{pid};
    return 0 if waitpid($self->{pid}, POSIX::WNOHANG()) == 0;

    delete $self->{pid};
    return 1;
}


sub kill {
    my ($self) = @_;

    CORE::kill('KILL', $self->{pid});
    waitpid delete $self->{pid}, 0;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $!);

    $self->kill if $self->{pid} && $$ == $self->{owner};
}


# --- its log

# All requests so far.  {json} is the body, if it is valid, {done} how it
# ended, {until} when, {sent} after how many bytes.

sub requests {
    my ($self) = @_;

    open $self->{reading}, '<', $self->{file}->filename or croak "log: $!"
        if !$self->{reading};

    seek $self->{reading}, $self->{read} // 0, 0;

    while (defined(my $line = readline $self->{reading})) {
        last if $line !~ /\n\z/;

        $self->{read} = tell $self->{reading};
        $self->noted($LINE->decode($line));
    }

    return @{$self->{requests}};
}


sub noted {
    my ($self, $note) = @_;

    if ($note->{what} eq 'accepted') {
        $self->{accepted}++;

    } elsif ($note->{what} eq 'request') {
        $note->{json} = eval { $JSON->decode($note->{body}) };
        push @{$self->{requests}}, $self->{by}{$note->{n}} = $note;

    } else {
        @{$self->{by}{$note->{n}}}{qw(done until sent)}
            = @$note{qw(what at sent)};
    }
}


# The next ones, as soon as they are there; fewer if they do not come.

sub take {
    my ($self, $n, $seconds) = @_;

    my $all;

    SioTest->await(sub {
        return ($all = $self->requests) >= $self->{taken} + $n;
    }, $seconds);

    $n = $all - $self->{taken} if $n > $all - $self->{taken};

    my @taken = @{$self->{requests}}[$self->{taken} .. $self->{taken} + $n - 1];

    $self->{taken} += $n;
    return wantarray ? @taken : $taken[0];
}


# Those that have come and were not taken.

sub rest {
    my ($self) = @_;

    my $n = $self->requests - $self->{taken};

    return $n ? $self->take($n) : ();
}


sub header {
    my ($r, $name) = @_;

    return map { $_->[1] } grep { $_->[0] eq lc $name } @{$r->{headers}};
}


# --- a client of its

our $ENCODE = $JSON;
my $acks = 1000;

# Emits "do" with operations as the answer: did($ws, [namespace,] op, ...)
# returns what the client gets before its acknowledgement.

sub did {
    my ($ws, @ops) = @_;

    my $nsp = @ops && !ref $ops[0] ? shift(@ops) . ',' : '';
    my $n = $acks++;
    my @got;

    $ws->text("42$nsp$n" . answered_by(@ops, { op => 'ack', args => [] }));

    while (defined(my $m = $ws->message)) {
        return join ' ', @got if $m eq "43$nsp$n\[]";
        push @got, $m;
    }

    return join ' ', @got, 'and no answer';
}


# The arguments of such an event.

sub answered_by {
    my (@ops) = @_;

    return $JSON->encode(['do', { body => \@ops }]);
}


sub emit { return { op => 'emit', event => @_ } }


# --- the end of a test

# The descriptors of each worker, when all workers know each other.

sub rested {
    my ($t) = @_;

    my $links = $t->{workers} * ($t->{workers} - 1);

    $t->await(sub { SioTest::status($t)->{links} == $links })
        or croak 'the workers are not linked';

    return descriptors($t);
}


sub descriptors {
    my ($t) = @_;

    return { map { $_ => scalar(() = glob "/proc/$_/fd/*") } $t->worker_pids };
}


# Nothing may be left in a server, but what was there before.

sub ends {
    my ($t, $before, @backends) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my @gauges = qw(sessions sockets handler_running handler_queued);
    my ($state, $now) = ({}, {});

    $_->stop for @backends;
    $t->hang_up if $t->can('hang_up');

    $t->wait_for(sub {
        $state = SioTest::status($t) // {};
        return !grep { ($state->{$_} // 'none') ne '0' } @gauges;
    }, 'nothing is left')
        or diag explain { map { $_ => $state->{$_} } @gauges };

    $t->wait_for(sub {
        $now = descriptors($t);
        return !grep { ($now->{$_} // 1e9) > $before->{$_} } keys %$before;
    }, 'no more descriptors than before')
        or diag explain { before => $before, now => $now };

    $t->stop;
}

1;
