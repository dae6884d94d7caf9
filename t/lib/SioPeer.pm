package SioPeer;

# A worker that is none: it takes a slot in the bus directory, greets and says
# what a test wants.  It is of the workers' user, as they are.

use strict;
use warnings;

use Carp qw(croak);
use Fcntl qw(:flock);
use IO::Select;
use IO::Socket::UNIX;
use MIME::Base64 qw(encode_base64url);
use Time::HiRes qw(time);

use SioTest;

our ($VERSION_OF_BUS) =
    SioTest::read_file('ngx_sio_module/cluster/ngx_sio_bus.c')
        =~ /#define NGX_SIO_BUS_VERSION +(\d+)/;


# The types of frames, by name.

our %TYPE;
{
    my ($enum) = SioTest::read_file('ngx_sio_module/cluster/ngx_sio_frame.h')
                     =~ /typedef enum \{(.*?)\}/s;
    my @names = $enum =~ /NGX_SIO_FRAME_(\w+)/g;

    @TYPE{@names} = 0 .. $#names;
    delete $TYPE{N};
}

my %NAME = reverse %TYPE;
my $slots = 500;


# new($t): in a slot of its own.

sub new {
    my ($class, $t) = @_;

    my $dir = $t->dir . '/nginx.pid.sio';
    my $self = bless { dir => $dir, slot => $slots++, epoch => 1 + int rand 1e9,
                       in => {}, out => [], heard => [] }, $class;

    open $self->{lock}, '>', "$dir/$self->{slot}.lock" or croak "lock: $!";
    flock $self->{lock}, LOCK_EX or croak "flock: $!";

    $self->{path} = sprintf '%s/%d.%08x', $dir, @$self{qw(slot epoch)};
    $self->{listening} = IO::Socket::UNIX->new(Local => $self->{path},
                                               Listen => 10)
        or croak "cannot listen on $self->{path}: $!";
    $self->{select} = IO::Select->new($self->{listening});

    return $self;
}


sub origin { $_[0]{slot} << 32 | $_[0]{epoch} }
sub sid { 'A' x 16 . encode_base64url(pack 'Q<C', $_[0]->origin, 0) }


# Frames, and what is in them.

sub frame {
    my ($type, $body) = @_;

    $type = $TYPE{$type} // croak "no frame $type" if $type =~ /\D/;

    return pack 'VCa*', 1 + length $body // '', $type, $body // '';
}

sub string { pack 'V/a*', shift }

# The body of an ACKED, and of a RESPONSE.

sub acked {
    my ($id, $socket, $args) = @_;

    return pack('Q<a20', $id, $socket) . string($args);
}

sub response {
    my ($socket, %arg) = @_;

    return pack('a20CvV', $socket, $arg{result} // 0, $arg{status} // 200,
                          $arg{at} // 0)
           . string($arg{peer} // '127.0.0.1:1') . string($arg{body} // '[]');
}

# What is in the body of an OP, but for its lists.

sub op {
    my ($body) = @_;

    my %op;
    my @members = qw(number type target flags id timeout app nsp json);

    @op{@members} = unpack 'Q<CCCQ<VV/aV/aV/a', $body // '';

    return \%op;
}

sub hello {
    my ($self, %arg) = @_;

    return frame(HELLO => pack 'VQ<Q<V', $arg{version} // $VERSION_OF_BUS,
                               $arg{origin} // $self->origin,
                               $arg{number} // 0, $arg{stream} // 1);
}


# A stream to the worker in a slot, to be written to; and one with a greeting.

sub open {
    my ($self, $slot) = @_;

    my ($path) = glob "$self->{dir}/$slot." . '?' x 8;
    my $stream = IO::Socket::UNIX->new(Peer => $path)
        // croak "no worker in $slot";

    push @{$self->{out}}, $stream;
    return $stream;
}

sub greet {
    my ($self, $slot, %arg) = @_;

    my $stream = $self->open($slot);

    syswrite $stream, $self->hello(%arg);
    return $stream;
}


# Whether the worker closes a stream.

sub closed {
    my ($stream, $seconds) = @_;

    return IO::Select->new($stream)->can_read($seconds
                                              // 5 * SioTest::slow())
           && !sysread $stream, my $nothing, 1;
}


# The next frame of that type from the worker in a slot: its body; undef if
# none comes.  Others are kept.

sub hear {
    my ($self, $type, $slot, $seconds) = @_;

    my $end = time + ($seconds // 5) * SioTest::slow();

    while (1) {
        my $heard = $self->{heard};

        for my $i (0 .. $#$heard) {
            return (splice @$heard, $i, 1)->{body}
                if $heard->[$i]{type} eq $type && $heard->[$i]{from} == $slot;
        }

        my $left = $end - time;

        return undef if $left < 0;
        $self->_read($_) for $self->{select}->can_read($left);
    }
}


sub _read {
    my ($self, $fh) = @_;

    if ($fh == $self->{listening}) {
        my $c = $fh->accept or return;

        $self->{select}->add($c);
        $self->{in}{$c} = { buf => '', slot => -1 };
        return;
    }

    my $in = $self->{in}{$fh};

    if (!sysread $fh, $in->{buf}, 65536, length $in->{buf}) {
        $self->{select}->remove($fh);
        delete $self->{in}{$fh};
        close $fh;
        return;
    }

    while (length $in->{buf} >= 5) {
        my ($n, $type) = unpack 'VC', $in->{buf};

        last if length $in->{buf} < 4 + $n;

        my $body = substr substr($in->{buf}, 0, 4 + $n, ''), 5;

        $in->{slot} = unpack('x4Q<', $body) >> 32 if $NAME{$type} eq 'HELLO';
        push @{$self->{heard}}, { type => $NAME{$type}, body => $body,
                                  from => $in->{slot} };
    }
}


# It is gone, as the dead are.

sub die {
    my ($self) = @_;

    return if !$self->{listening};

    close $_ for $self->{select}->handles, @{$self->{out}};
    unlink $self->{path}, "$self->{dir}/$self->{slot}.lock";
    close $self->{lock};
    delete $self->{listening};
}


sub DESTROY { $_[0]->die }

1;
