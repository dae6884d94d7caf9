package Foreground;

# Runs programs in the foreground, on a folder of their own that is removed when
# they have ended.  They end together: at a signal, or when one of them does.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use File::Copy qw(copy);
use File::Path qw(remove_tree);
use File::Temp ();
use POSIX qw(tcgetpgrp tcsetpgrp WNOHANG);
use Time::HiRes qw(sleep time);

my $ROOT = abs_path(dirname(__FILE__) . '/../..');

# As root nginx serves as another user; what is behind it, too.

my $USER = 'www-data';

my ($stop, @running);


sub new {
    my ($class, @folders) = @_;

    my $self = bless { dir => File::Temp::tempdir('ngx_sio.XXXXXX', TMPDIR => 1),
                       programs => [] }, $class;

    $SIG{$_} = sub { $stop = 1 } for qw(INT TERM HUP);
    $SIG{TTOU} = 'IGNORE';

    chmod 0755, $self->{dir};
    mkdir "$self->{dir}/$_" for @folders;

    my $tty;

    $self->{tty} = open($tty, '+<', '/dev/tty')
                   && tcgetpgrp(fileno $tty) == getpgrp && $tty;

    push @running, $self;

    return $self;
}


sub root { $ROOT }
sub dir  { $_[0]{dir} }


# A folder that belongs to the programs.

sub own_folder {
    my ($self, $name) = @_;

    mkdir "$self->{dir}/$name", 0700 or die "$name: $!\n";

    if ($> == 0) {
        chown +(getpwnam $USER)[2, 3], "$self->{dir}/$name"
            or die "$name: $!\n";
    }
}


# Copies a file into a folder, where everybody may read it.

sub put {
    my ($self, $from, $to) = @_;

    $to = "$self->{dir}/$to";
    $to .= basename($from) if $to =~ m{/$};

    copy($from, $to) or die "$from: $!\n";
    chmod 0644, $to;
}


# The same for a configuration of nginx, which gets a port.

sub put_config {
    my ($self, $from, $to, $port) = @_;

    open my $in, '<', $from or die "$from: $!\n";
    open my $out, '>', "$self->{dir}/$to" or die "$to: $!\n";

    while (<$in>) {
        s/^(\s*listen\s+127\.0\.0\.1:)8080\b/$1$port/;
        print $out $_;
    }

    close $out or die "$to: $!\n";
}


sub start_nginx {
    my ($self) = @_;

    $self->start(1, $ENV{NGX_SIO_NGINX} || 'nginx', '-p', "$self->{dir}/",
                 '-c', 'conf/nginx.conf', '-e', 'logs/error.log',
                 '-g', 'daemon off;' . ($> == 0 ? " user $USER;" : ''));
    $self->await(sub { -s "$self->{dir}/logs/nginx.pid" });
}


# Starts a program that ends in time if it exists as a socket.

sub start_backend {
    my ($self, $socket, @command) = @_;

    my @as = $> == 0 ? ('--reuid', $USER, '--regid', $USER, '--clear-groups')
                     : ();

    $self->start(0, @as, @command);
    $self->await(sub { -S "$self->{dir}/$socket" });
}


# On a terminal one program gets the keyboard's signals alone: make, which waits
# for this script, would call a Ctrl-C an error.

sub start {
    my ($self, $keyboard, @command) = @_;

    defined(my $pid = fork) or die "fork: $!\n";

    if ($pid == 0) {
        setpgrp;
        tcsetpgrp(fileno $self->{tty}, $$) if $keyboard && $self->{tty};
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP TTOU);

        chdir $self->{dir};
        open STDIN, '<', '/dev/null';
        $ENV{PATH} .= ':/usr/sbin';
        exec 'setpriv', '--pdeathsig', 'TERM', @command or POSIX::_exit(127);
    }

    unshift @{$self->{programs}}, { name => "@command", pid => $pid };
}


sub await {
    my ($self, $condition) = @_;

    $self->pause until $condition->();
}


# Waits for a moment (a signal interrupts the sleep) or, without end, for the
# end.  A program that nobody has told to end is missed, but for one that has
# ended in peace: it was told by the keyboard.

sub pause {
    my ($self) = @_;

    sleep 0.1;
    exit 0 if $stop;

    for my $program (@{$self->{programs}}) {
        next if waitpid($program->{pid}, WNOHANG) == 0;

        $program->{pid} = undef;
        exit 0 if $? == 0;
        die "$program->{name}: ended\n";
    }
}


sub run {
    my ($self) = @_;

    $self->pause while 1;
}


# The last one that was started is ended first.

END {
    local $?;

    stop($_) for @running;
}


sub stop {
    my ($self) = @_;

    for my $pid (map { $_->{pid} // () } @{$self->{programs}}) {
        my $end = time + 5;

        kill 'TERM', $pid;

        while (waitpid($pid, WNOHANG) == 0) {
            kill 'KILL', $pid if time > $end;
            sleep 0.02;
        }
    }

    tcsetpgrp(fileno $self->{tty}, getpgrp) if $self->{tty};
    remove_tree($self->{dir});
}

1;
