package SioSwarm;

# Runs t/load/swarm.c, many clients in one process, against a SioTest, and
# hears what it has to say.

use strict;
use warnings;

use Carp qw(croak);
use IO::Select;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(time sleep);

use SioTest;

my $PROGRAM = SioTest::root() . '/build/load/swarm';

# The location that its clients need.

our $LOCATION = <<'CONF';
    sio;
    sio_data pid $pid;
    sio_on whoami ack 'args=["$sio_data_pid"]';
    sio_on tick   emit;
    sio_on echo   reply;
    sio_on direct emit to=$sio_arg1;
CONF


# Locations of the same kind at other paths, each of an app of its own: swarms
# that run side by side name their sources alike.

sub locations {
    return join '', map { "location /$_/ { sio_app $_; $LOCATION }\n" } @_;
}


# start($t, tls => 1, path => name, option => value ...): options as the
# program's, with _ for -, flags with the value ''.

sub start {
    my ($class, $t, %opt) = @_;

    my $url = delete $opt{tls} ? $t->tls_url : $t->url;
    my $path = delete $opt{path} // 'socket.io';
    my @arg = map { (my $name = $_) =~ tr/_/-/;
                    ("--$name", length $opt{$_} ? $opt{$_} : ()) }
              sort keys %opt;

    pipe my $in_r, my $in_w or croak "pipe: $!";
    pipe my $out_r, my $out_w or croak "pipe: $!";
    defined(my $pid = fork) or croak "fork: $!";

    if ($pid == 0) {
        open STDIN, '<&', $in_r;
        open STDOUT, '>&', $out_w;
        close $_ for $in_w, $out_r;
        exec 'setpriv', '--pdeathsig', 'KILL', $PROGRAM,
             '--url', "$url/$path/", '--stdin', @arg
             or POSIX::_exit(127);
    }

    close $_ for $in_r, $out_w;
    $in_w->autoflush(1);

    return bless { pid => $pid, in => $in_w, out => $out_r, buffer => '',
                   events => [], t => $t }, $class;
}


# The next event of that name, as a hash; undef when the program has ended or
# after so many seconds.

sub event {
    my ($self, $name, $seconds) = @_;

    my $end = time + ($seconds // 60) * SioTest::slow();

    while (1) {
        for my $i (0 .. $#{$self->{events}}) {
            next if $self->{events}[$i]{event} ne $name;
            return splice @{$self->{events}}, $i, 1;
        }

        my $left = $end - time;
        return if $left <= 0 || !IO::Select->new($self->{out})->can_read($left);

        sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer}
            or return;

        while ($self->{buffer} =~ s/^(.*)\n//) {
            push @{$self->{events}}, JSON::PP->new->decode($1);
        }
    }
}


sub awaits {
    my ($self, $name, $seconds) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return ok($self->event($name, $seconds), "the swarm: $name");
}


sub report {
    my ($self) = @_;

    print {$self->{in}} "report\n";
    return $self->event('result');
}


sub running {
    my ($self) = @_;

    $self->{exit} = $? if !defined $self->{exit}
                          && waitpid($self->{pid}, WNOHANG) != 0;

    return !defined $self->{exit};
}


# Ends the traffic; all that is due has to arrive.  Returns the result.

sub stop {
    my ($self, $name) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    print {$self->{in}} "stop\n" if $self->running;

    my $result = $self->event('result', 60);

    $self->{t}->await(sub { !$self->running }, 20);

    is($self->{exit}, 0, $name // 'nothing was lost, doubled or out of order')
        or diag(explain($result));

    return $result // {};
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $!);

    if ($self->running) {
        kill 'KILL', $self->{pid};
        waitpid $self->{pid}, 0;
    }
}

1;
