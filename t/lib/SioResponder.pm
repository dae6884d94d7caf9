package SioResponder;

# The process of a SioBackend: it reads requests, writes each to the log and
# answers as that one has been told.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Socket::INET ();
use JSON::PP ();
use POSIX ();
use Socket qw(:DEFAULT SO_LINGER IPPROTO_TCP TCP_NODELAY);
use Time::HiRes ();

my $JSON = JSON::PP->new->utf8->canonical->allow_nonref;
my $LINE = JSON::PP->new->ascii->canonical;
my $BLANKS = ' ' x 65536;

my %READ = (http => \&read_http, fastcgi => \&read_fastcgi,
            uwsgi => \&read_uwsgi, scgi => \&read_scgi);

sub now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }


# What a process does: descriptors of a socket that listens and of one for
# commands, the protocol, the log.

sub main {
    my ($listening, $control, $over, $file) = @_;

    $SIG{PIPE} = 'IGNORE';

    open my $log, '>>', $file or die "log: $!";

    my $self = bless { n => 0, over => $over, answers => {}, open => {},
                       released => {}, commands => '', log => $log };

    $self->serve(IO::Socket::INET->new_from_fd($listening, 'r+'),
                 IO::Handle->new_from_fd($control, 'r+'));
}


sub serve {
    my ($self, $listening, $control) = @_;

    $_->blocking(0) for $listening, $control;

    while ($listening || %{$self->{open}}) {
        my ($reads, $writes, $wait) = ('', '');

        vec($reads, fileno $_, 1) = 1 for $control, $listening // ();

        for my $c (values %{$self->{open}}) {
            vec($reads, fileno $c->{fh}, 1) = 1;

            my $answer = $c->{answer} or next;

            next if $answer->{never} || defined $answer->{hold}
                                        && !$self->{released}{$answer->{hold}};

            my $left = $answer->{due} - now();

            if ($left > 0) {
                $wait = $left if !defined $wait || $left < $wait;

            } else {
                vec($writes, fileno $c->{fh}, 1) = 1;
            }
        }

        select($reads, $writes, undef, $wait) >= 0 or next;

        undef $listening
            if vec($reads, fileno $control, 1) && $self->obey($control);

        $self->accept($listening)
            if $listening && vec($reads, fileno $listening, 1);

        for my $c (values %{$self->{open}}) {
            my $fd = fileno $c->{fh};

            $self->receive($c) if vec($reads, $fd, 1);
            $self->send($c) if defined fileno $c->{fh}
                               && vec($writes, $fd, 1);
        }
    }

    POSIX::_exit(0);
}


# True if it shall listen no more.

sub obey {
    my ($self, $control) = @_;

    my $closing;

    sysread $control, $self->{commands}, 65536, length $self->{commands}
        or POSIX::_exit(0);

    while ($self->{commands} =~ s/^(.*)\n//) {
        my $command = $LINE->decode($1);
        my $answers = $command->{set} // {};

        @{$self->{answers}}{keys %$answers} = values %$answers;
        $self->{released}{$_} = 1 for @{$command->{release} // []};

        if ($command->{close}) {
            $closing = $self->{closing} = 1;
            $self->end($_) for grep { !$_->{answer} } values %{$self->{open}};
        }

        syswrite $control, '.';
    }

    return $closing;
}


sub accept {
    my ($self, $listening) = @_;

    while (my $fh = $listening->accept) {
        $fh->blocking(0);
        setsockopt $fh, IPPROTO_TCP, TCP_NODELAY, 1;

        $self->{open}{fileno $fh} = { fh => $fh, in => '' };
        $self->write_log(what => 'accepted', at => now());
    }
}


sub write_log {
    my ($self, %note) = @_;

    my $line = $LINE->encode(\%note) . "\n";

    syswrite($self->{log}, $line) == length $line or die "log: $!";
}


sub receive {
    my ($self, $c) = @_;

    my $n = sysread $c->{fh}, $c->{in}, 65536, length $c->{in};

    return if !defined $n && ($!{EAGAIN} || $!{EINTR});
    return $self->end($c, 'aborted') if !$n;

    $self->next_request($c) if !$c->{answer};
}


sub next_request {
    my ($self, $c) = @_;

    my $r = $READ{$self->{over}}->($c) or return;
    my $json = eval { $JSON->decode($r->{body}) };
    my @messages = grep { ref eq 'HASH' } ref $json eq 'ARRAY' ? @$json : $json;
    my $answer = $self->choose($r, @messages) // {};

    $c->{id} = @messages ? $messages[0]{id} // '' : '';
    $c->{n} = "$$." . ++$self->{n};
    $c->{answer} = { due => now() + ($answer->{delay} // 0),
                     map { $_ => $answer->{$_} } qw(never hold drip reset) };
    $self->compose($c, $r, $answer);

    my @running = grep { $_->{answer} } values %{$self->{open}};

    $self->write_log(what => 'request', %$r, n => $c->{n}, at => now(),
                     running => scalar @running,
                     together => scalar(grep { ($_->{id} // '') eq $c->{id} }
                                             @running));
}


sub choose {
    my ($self, $r, @messages) = @_;

    for my $m (@messages) {
        my $answer = ($m->{type} // '') eq 'connect' && ref $m->{auth} eq 'HASH'
                     ? $m->{auth}{do}
                     : ($m->{event} // '') eq 'do' ? $m->{args}[0] : undef;

        return $answer if $answer;
    }

    my ($path) = ($r->{target} // '') =~ /^([^?]*)/;

    for my $name ((map { @$_{qw(event type)} } @messages[0 .. 0]), $path, '*') {
        my $answer = $self->{answers}{$name // ''} // next;

        $answer = @$answer > 1 ? shift @$answer : $answer->[0]
            if ref $answer eq 'ARRAY';

        return $answer;
    }

    return {};
}


# The bytes of an answer, and whether the connection ends with them.

sub compose {
    my ($self, $c, $r, $a) = @_;

    my $body = ref $a->{body} ? $JSON->encode($a->{body}) : $a->{body} // '';

    $body .= $a->{repeat}[0] x $a->{repeat}[1] if $a->{repeat};
    $body .= $a->{after} // '';

    my $length = length($body) + ($a->{fill} // 0);
    my $status = $a->{status} // ($length ? 200 : 204);
    my $head = "$status " . ($a->{reason} // 'Done') . "\r\n";
    my @headers = ('Content-Type' => 'application/json',
                   @{$a->{headers} // []});
    my $answer = $c->{answer};

    $c->{ends} = $a->{close} || $self->{closing} || $a->{reset} || $a->{unsized}
                 || $self->{over} ne 'http' || $r->{version} eq 'HTTP/1.0'
                 || $r->{head} =~ /^connection:[ \t]*close\r?$/mi;

    if ($a->{chunked}) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                             unpack("(a$a->{chunked})*", $body),
                             $a->{fill} ? () : '';

    } elsif (!$a->{unsized} && $status != 204) {
        push @headers, 'Content-Length' => $length;
    }

    push @headers, Connection => 'close' if $c->{ends};

    while (my ($name, $value) = splice @headers, 0, 2) {
        $head .= "$name: $value\r\n";
    }

    if (defined $a->{cut}) {
        $body = substr $body, 0, $a->{cut};
        $c->{ends} = 1;

    } else {
        $answer->{fill} = $a->{fill} // 0;
        $answer->{chunked} = $a->{chunked};
    }

    $answer->{out} = ($self->{over} eq 'http' ? 'HTTP/1.1 ' : 'Status: ')
                     . "$head\r\n$body";
    $answer->{out} = fastcgi_answer($c, $answer->{out})
        if $self->{over} eq 'fastcgi';

    if (defined $a->{raw}) {
        $answer->{out} = $a->{raw};
        $c->{ends} = 1;
    }

    $answer->{at} = $c->{sent} = 0;
}


sub send {
    my ($self, $c) = @_;

    my $answer = $c->{answer};
    my $left = length($answer->{out}) - $answer->{at};

    if ($left == 0 && $answer->{fill}) {
        $left = $answer->{fill} > 65536 ? 65536 : $answer->{fill};
        $answer->{fill} -= $left;
        @$answer{qw(out at)} = (substr($BLANKS, 0, $left), 0);

        if ($answer->{chunked}) {
            $answer->{out} = sprintf "%x\r\n%s\r\n", $left, $answer->{out};
            $answer->{out} .= "0\r\n\r\n" if !$answer->{fill};
            $left = length $answer->{out};
        }
    }

    if ($left) {
        my $n = syswrite $c->{fh}, $answer->{out},
                         $answer->{drip} ? 1 : $left, $answer->{at};

        return if !defined $n && ($!{EAGAIN} || $!{EINTR});
        return $self->end($c, 'aborted') if !$n;

        $answer->{at} += $n;
        $c->{sent} += $n;
        $answer->{due} = now() + $answer->{drip} if $answer->{drip};
    }

    return if $answer->{at} < length $answer->{out} || $answer->{fill};
    return $self->end($c, 'answered') if $c->{ends} || $self->{closing};

    delete $c->{answer};
    $self->write_log(what => 'answered', n => $c->{n}, at => now(),
                     sent => $c->{sent});
    $self->next_request($c);
}


sub end {
    my ($self, $c, $how) = @_;

    delete $self->{open}{fileno $c->{fh}};

    setsockopt $c->{fh}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0
        if $c->{answer} && $c->{answer}{reset};
    CORE::close $c->{fh};

    $self->write_log(what => $how, n => $c->{n}, at => now(),
                     sent => $c->{sent}) if $how && $c->{answer};
}


# --- what is spoken: each returns the request that is there as a whole

sub read_http {
    my ($c) = @_;

    my $end = index $c->{in}, "\r\n\r\n";

    return if $end < 0;

    my $head = substr $c->{in}, 0, $end;
    my ($length) = $head =~ /^content-length:[ \t]*(\d+)/mi;

    $end += 4 + ($length // 0);
    return if length $c->{in} < $end;

    my ($line, @lines) = split /\r\n/, $head, -1;
    my ($method, $target, $version) = split / /, $line;

    return {
        body => substr(substr($c->{in}, 0, $end, ''), 4 + length $head),
        method => $method, target => $target, version => $version,
        head => $head,
        headers => [map { /^([^:]*):[ \t]*(.*)$/s ? [lc $1, $2] : [$_, ''] }
                        @lines],
    };
}


sub read_fastcgi {
    my ($c) = @_;

    while (length $c->{in} >= 8) {
        my ($type, $id, $length, $padding) = unpack 'xCnnC', $c->{in};

        last if length $c->{in} < 8 + $length + $padding;

        my $content = substr substr($c->{in}, 0, 8 + $length + $padding, ''), 8,
                             $length;

        if ($type == 1) {
            @$c{qw(request params stdin)} = ($id, '', '');

        } elsif ($type == 4) {
            $c->{params} .= $content;

        } elsif ($type == 5 && $length) {
            $c->{stdin} .= $content;

        } elsif ($type == 5) {
            my $params = $c->{params};
            my %params;

            while (length $params) {
                my @n = map { unpack('C', $params) & 0x80
                              ? unpack('N', substr $params, 0, 4, '')
                                & 0x7fffffff
                              : unpack 'C', substr $params, 0, 1, '' } 1, 2;
                my $name = substr $params, 0, $n[0], '';

                $params{$name} = substr $params, 0, $n[1], '';
            }

            return of_params(\%params, $c->{stdin});
        }
    }

    return;
}


sub fastcgi_answer {
    my ($c, $out) = @_;

    my $record = sub { pack('CCnnxx', 1, $_[0], $c->{request}, length $_[1])
                       . $_[1] };

    return join '', (map { $record->(6, $_) } unpack('(a16384)*', $out), ''),
                    $record->(3, "\0" x 8);
}


sub read_uwsgi {
    my ($c) = @_;

    return if length $c->{in} < 4;

    my $n = unpack 'xv', $c->{in};

    return if length $c->{in} < 4 + $n;

    my %params = unpack '(v/a)*', substr $c->{in}, 4, $n;

    return whole($c, \%params, 4 + $n);
}


sub read_scgi {
    my ($c) = @_;

    my ($n) = $c->{in} =~ /^(\d+):/;
    my $from = defined $n ? 1 + length $n : 0;

    return if !$from || length $c->{in} < $from + $n + 1;

    my %params = split /\0/, substr($c->{in}, $from, $n - 1), -1;

    return whole($c, \%params, $from + $n + 1);
}


sub whole {
    my ($c, $params, $from) = @_;

    my $length = $params->{CONTENT_LENGTH} || 0;

    return if length $c->{in} < $from + $length;

    return of_params($params,
                     substr substr($c->{in}, 0, $from + $length, ''), $from);
}


sub of_params {
    my ($params, $body) = @_;

    return { params => $params, body => $body, headers => [],
             method => $params->{REQUEST_METHOD},
             target => $params->{REQUEST_URI} // '',
             version => $params->{SERVER_PROTOCOL} // '' };
}

1;
