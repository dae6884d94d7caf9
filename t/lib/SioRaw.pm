package SioRaw;

# Raw clients that can misbehave byte by byte.
#
#   SioRaw           a TCP or TLS connection: bytes out in any cut, bytes in
#                    with a deadline, HTTP requests and answers
#   SioRaw::Polling  an Engine.IO session over long-polling
#   SioRaw::WS       a WebSocket, its frames built by hand
#   SioRaw::Probe    a well-behaved client in a process of its own, that
#                    measures how long its echoes take meanwhile
#
# Every read has a deadline.  What could not be read in time is undef, never
# an endless wait; nothing here dies because a server misbehaves.

use strict;
use warnings;

use Digest::SHA ();
use Errno qw(EAGAIN EINTR EINPROGRESS);
use JSON::PP ();
use MIME::Base64 ();
use Socket qw(:DEFAULT SOL_SOCKET SO_LINGER SO_RCVBUF IPPROTO_TCP TCP_NODELAY
              SHUT_WR);
use IO::Socket::INET ();
use Time::HiRes ();

# The sanitizer build is several times slower.
our $SCALE = $ENV{NGX_SIO_SLOW} || ($ENV{NGX_SIO_ASAN} ? 4 : 1);
our $DEADLINE = 5 * $SCALE;

$SIG{PIPE} = 'IGNORE';

sub now { Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }


# --- the connection

# connect($port, tls => 0, rcvbuf => bytes)
sub connect {
    my ($class, $port, %opt) = @_;
    my $fh;

    require IO::Socket::SSL if $opt{tls};
    socket($fh, PF_INET, SOCK_STREAM, 0) or die "socket: $!";
    setsockopt($fh, SOL_SOCKET, SO_RCVBUF, $opt{rcvbuf}) if $opt{rcvbuf};
    CORE::connect($fh, pack_sockaddr_in($port, inet_aton('127.0.0.1')))
        or die "connect to port $port: $!";
    setsockopt($fh, IPPROTO_TCP, TCP_NODELAY, 1);

    my $self = bless { fh => $fh, in => '', eof => 0, port => $port }, $class;

    if ($opt{tls}) {
        bless $fh, 'IO::Socket::INET';
        IO::Socket::SSL->start_SSL($fh, SSL_verify_mode => 0,
                                   Timeout => $DEADLINE)
            or die 'TLS: ' . IO::Socket::SSL::errstr();
        $self->{tls} = 1;
    }

    $fh->blocking(0);
    return $self;
}

# Waits for the socket until the given moment; true if it is ready.
sub _ready {
    my ($self, $write, $until) = @_;

    return 1 if !$write && $self->{tls} && $self->{fh}->pending;

    for (;;) {
        my $left = $until - now();
        my $bits = '';
        vec($bits, fileno($self->{fh}), 1) = 1;
        my $n = $write ? select(undef, $bits, undef, $left < 0 ? 0 : $left)
                       : select($bits, undef, undef, $left < 0 ? 0 : $left);
        return 1 if $n > 0;
        return 0 if $left <= 0;
    }
}

# Writes all, or until the deadline or the peer's reset; returns how much.
sub write {
    my ($self, $bytes, $deadline) = @_;
    my $until = now() + ($deadline // $DEADLINE);
    my $at = 0;

    while ($at < length $bytes) {
        my $n = syswrite($self->{fh}, $bytes, length($bytes) - $at, $at);
        if (defined $n) {
            $at += $n;
            next;
        }
        last unless $!{EAGAIN} || $!{EINTR};
        last unless $self->_ready(1, $until);
    }

    return $at;
}

# The same, one byte per segment.
sub drip {
    my ($self, $bytes) = @_;

    for my $byte (split //, $bytes) {
        $self->write($byte) or return 0;
    }
    return 1;
}

# Reads what is there; 1 if something came, 0 at the end, undef at the
# deadline.
sub fill {
    my ($self, $deadline) = @_;
    my $until = now() + ($deadline // $DEADLINE);

    return 0 if $self->{eof};

    for (;;) {
        return undef unless $self->_ready(0, $until);
        my $n = sysread($self->{fh}, $self->{in}, 65536, length $self->{in});
        return 1 if $n;
        if (defined $n) {
            $self->{eof} = 'end';
            return 0;
        }
        next if $!{EAGAIN} || $!{EINTR};
        $self->{eof} = 'reset';
        return 0;
    }
}

sub take {
    my ($self, $n, $deadline) = @_;
    my $until = now() + ($deadline // $DEADLINE);

    while (length $self->{in} < $n) {
        $self->fill($until - now()) or return undef;
    }
    return substr($self->{in}, 0, $n, '');
}

sub take_until {
    my ($self, $mark, $deadline) = @_;
    my $until = now() + ($deadline // $DEADLINE);
    my $i;

    while (($i = index($self->{in}, $mark)) < 0) {
        $self->fill($until - now()) or return undef;
    }
    return substr($self->{in}, 0, $i + length $mark, '');
}

# True if the server closes within the deadline, whatever it says before.
# The bytes stay readable.
sub closes {
    my ($self, $deadline) = @_;
    my $until = now() + ($deadline // $DEADLINE);

    while (!$self->{eof}) {
        defined $self->fill($until - now()) or return 0;
    }
    return 1;
}

# True if nothing comes, not even the end, for so many seconds.
sub quiet {
    my ($self, $seconds) = @_;

    return 0 if length $self->{in};
    return !defined $self->fill($seconds);
}

sub finish { shutdown($_[0]{fh}, SHUT_WR) }

sub close { CORE::close($_[0]{fh}) }

# Closes with a reset instead of an orderly end.
sub reset {
    my $self = shift;
    setsockopt($self->{fh}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
    CORE::close($self->{fh});
}


# --- HTTP

# request(METHOD, target, headers => [k => v ...], body => bytes,
#         chunks => [bytes ...], version => '1.1', host => name)
# Returns the bytes; ->send_request writes them.
sub request {
    my (undef, $method, $target, %opt) = @_;
    my $version = $opt{version} // '1.1';
    my @headers = @{$opt{headers} || []};
    my %given = map { lc $headers[2 * $_] => 1 } 0 .. @headers / 2 - 1;
    my $body = $opt{body} // '';

    unshift @headers, Host => $opt{host} // 'localhost'
        unless $given{host} || $version eq '1.0';

    if ($opt{chunks}) {
        push @headers, 'Transfer-Encoding' => 'chunked';
        $body = join '', map { sprintf "%x\r\n%s\r\n", length $_, $_ }
                             @{$opt{chunks}}, '';
    } elsif (defined $opt{body} && !$given{'content-length'}) {
        push @headers, 'Content-Length' => length $body;
    }

    my $head = "$method $target HTTP/$version\r\n";
    while (my ($k, $v) = splice @headers, 0, 2) {
        $head .= "$k: $v\r\n";
    }
    return "$head\r\n$body";
}

sub send_request { my $self = shift; $self->write($self->request(@_)) }

# Reads an answer; its status is 'none' if none came.
sub response {
    my ($self, %opt) = @_;
    return $self->_response(%opt) // SioRaw::Response->none;
}

sub _response {
    my ($self, %opt) = @_;
    my $deadline = $opt{deadline};
    my $head = $self->take_until("\r\n\r\n", $deadline) // return undef;
    my ($line, @lines) = split /\r\n/, $head;
    my ($status) = $line =~ m{^HTTP/1\.[01] (\d{3})} or return undef;
    my %headers;

    for (@lines) {
        push @{$headers{lc $1}}, $2 if /^([^:]+):[ \t]*(.*)$/;
    }

    my $r = bless { line => $line, status => $status, headers => \%headers,
                    body => '' }, 'SioRaw::Response';
    return $r if $status < 200 || $status == 204 || $status == 304
                 || $opt{head};

    if (($r->header('transfer-encoding') // '') eq 'chunked') {
        for (;;) {
            my $size = $self->take_until("\r\n", $deadline) // return undef;
            my $n = hex substr $size, 0, -2;
            my $chunk = $self->take($n + 2, $deadline) // return undef;
            last if length $chunk == 2;
            $r->{body} .= substr $chunk, 0, -2;
        }
    } elsif (defined(my $n = $r->header('content-length'))) {
        $r->{body} = $self->take($n, $deadline) // return undef;
    } else {
        $self->closes($deadline) or return undef;
        $r->{body} = $self->take(length $self->{in});
    }

    return $r;
}

# One request on a connection of its own: http($port, METHOD, target, ...)
sub http {
    my ($port, $method, $target, %opt) = @_;
    my $c = SioRaw->connect($port, tls => $opt{tls});

    $c->send_request($method, $target, %opt);
    my $r = $c->response(head => $method eq 'HEAD');
    @$r{qw(port tls target)} = ($port, $opt{tls}, $target);
    $r->{closed} = $opt{see_close} ? $c->closes : undef;
    $c->close;
    return $r;
}


package SioRaw::Response;

# What stands in for an answer that never came, so that a test can go on.
sub none { bless { status => 'none', headers => {}, body => '', line => '' },
                 $_[0] }
sub status { $_[0]{status} }
sub body { $_[0]{body} }
sub line { $_[0]{line} }
sub closed { $_[0]{closed} }
sub header { my $h = $_[0]{headers}{lc $_[1]}; $h && $h->[0] }
sub headers { @{ $_[0]{headers}{lc $_[1]} || [] } }


package SioRaw::Polling;

# open($port, path => '/socket.io/', query => 'a=b', headers => [...])
sub open {
    my ($class, $port, %opt) = @_;
    my $path = $opt{path} // '/socket.io/';
    my $query = 'EIO=4&transport=polling';

    $query .= "&$opt{query}" if defined $opt{query};
    my $self = $class->of(SioRaw::http($port, 'GET', "$path?$query",
                                       headers => $opt{headers},
                                       tls => $opt{tls}));
    $self->{headers} = $opt{headers} || [];
    return $self;
}

# The session that an answer has opened.
sub of {
    my ($class, $r) = @_;
    my ($open) = $r->body =~ /^0(\{[^\x1e]*\})/;
    my $self = bless { port => $r->{port}, tls => $r->{tls}, headers => [],
                       opening => $r }, $class;

    $self->{open} = eval { JSON::PP::decode_json($open // '') } || {};
    $self->{sid} = $self->{open}{sid} // 'none';
    ($self->{path}) = $r->{target} =~ /^([^?]*)/;
    $self->{query} = "EIO=4&transport=polling&sid=$self->{sid}";
    $self->{url} = "$self->{path}?$self->{query}";
    return $self;
}

# Leaves nothing behind that would live until its heartbeat fails.
sub DESTROY {
    my $self = shift;
    local $@;
    eval { $self->post('1', deadline => 1) } unless $self->{gone};
}

sub sid { $_[0]{sid} }
sub url { $_[0]{url} }
sub opened { $_[0]{open} }
sub opening { $_[0]{opening} }

# Starts a GET and leaves it waiting; ->response on the result reads it.
sub start {
    my ($self, $method, %opt) = @_;
    my $c = SioRaw->connect($self->{port}, tls => $self->{tls});

    $c->send_request($method, $opt{url} // $self->{url},
                     headers => $self->{headers}, %opt);
    return $c;
}

sub get {
    my ($self, %opt) = @_;
    my $c = $self->start('GET', %opt);
    my $r = $c->response(%opt);
    $c->close;
    return $r;
}

sub post {
    my ($self, $body, %opt) = @_;
    my $c = $self->start('POST', body => $body, %opt);
    my $r = $c->response(%opt);
    $c->close;
    return $r;
}

# The packets of the next GET.
sub packets {
    my $r = shift->get(@_);
    return $r->status eq '200' ? split(/\x1e/, $r->body, -1)
                               : ('status ' . $r->status);
}

# Socket.IO: joins a namespace; the answer's packet.
sub join {
    my ($self, $nsp, $auth) = @_;
    $nsp = defined $nsp && $nsp ne '/' ? "$nsp," : '';
    $self->post("40$nsp" . ($auth // ''));
    return ($self->packets)[0];
}

# Whether its sid is unknown, and whether it still takes a packet.
sub gone {
    my $self = shift;
    my $r = $self->post('6');
    return $self->{gone} = $r->status eq '400' && $r->body =~ /"code":1,/;
}

sub lives { $_[0]->post('6')->body eq 'ok' }


package SioRaw::WS;

our @ISA = ('SioRaw');

use constant { CONT => 0, TEXT => 1, BIN => 2, CLOSE => 8, PING => 9,
               PONG => 10 };

my $GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

# upgrade($port, path =>, query =>, headers => [...], without => [names],
#         key =>, version =>, early => bytes that follow in the same write,
#         drip => 1, method => 'GET', on => a connection that is there)
# The answer is in ->answered.
sub upgrade {
    my ($class, $port, %opt) = @_;
    my $self = $opt{on} ? bless $opt{on}, $class
                        : $class->connect($port, %opt);
    my $key = $opt{key} // 'c29tZSByYW5kb20gYnl0ZQ==';
    my $target = ($opt{path} // '/socket.io/') . '?'
                 . ($opt{query} // 'EIO=4&transport=websocket');
    my @headers = (Upgrade => 'websocket', Connection => 'Upgrade',
                   'Sec-WebSocket-Key' => $key,
                   'Sec-WebSocket-Version' => $opt{version} // 13);

    for my $name (@{$opt{without} || []}) {
        for (my $i = 0; $i < @headers; $i += 2) {
            splice(@headers, $i, 2), last if lc $headers[$i] eq lc $name;
        }
    }
    push @headers, @{$opt{headers} || []};

    my $bytes = $self->request($opt{method} // 'GET', $target,
                               headers => \@headers,
                               version => $opt{http} // '1.1')
                . ($opt{early} // '');
    $opt{drip} ? $self->drip($bytes) : $self->write($bytes);
    return $self if $opt{unread};

    $self->{answered} = $self->response;
    $self->{accept} = MIME::Base64::encode_base64(
                          Digest::SHA::sha1("$key$GUID"), '');
    return $self;
}

sub answered { $_[0]{answered} }
sub switched { $_[0]{answered}->status eq '101' }

# The accept value that belongs to the key that was sent.
sub accept { $_[0]{accept} }

# Opens and reads the open packet.
sub open {
    my ($class, $port, %opt) = @_;
    my $self = $class->upgrade($port, %opt);
    return $self unless $self->switched;

    # Answers to what came with the request may be earlier.
    my ($f, @before);
    push @before, $f while ($f = $self->recv) && $f->{op} ne TEXT;
    $self->{frames} = \@before;
    $self->{open} = eval { JSON::PP::decode_json(substr $f->{payload}, 1) };
    return $self;
}

sub opened { $_[0]{open} || {} }
sub sid { $_[0]->opened->{sid} // 'none' }

# Opens and joins a namespace; ->id is the socket's.
sub socket {
    my ($class, $port, %opt) = @_;
    my $self = $class->open($port, %opt);

    $self->{id} = $self->join($opt{nsp}, $opt{auth});
    return $self;
}

sub id { $_[0]{id} }

sub join {
    my ($self, $nsp, $auth) = @_;

    $nsp = defined $nsp && $nsp ne '/' ? "$nsp," : '';
    $self->text("40$nsp" . ($auth // ''));
    my $answer = $self->message // '';
    return $answer =~ /^40\Q$nsp\E\{"sid":"([^"]+)"\}$/ ? $1 : undef;
}

# A client's frame: fin, rsv (0 to 7), mask (4 bytes, '' for none), form
# (7, 16 or 64 bits for the length), length (as declared).
sub frame {
    my (undef, $opcode, $payload, %opt) = @_;
    my $n = $opt{length} // length $payload;
    my $form = $opt{form} // ($n < 126 ? 7 : $n < 65536 ? 16 : 64);
    my $mask = $opt{mask} // 'k9~@';
    my $bit = length $mask ? 0x80 : 0;
    my $head = chr((($opt{fin} // 1) ? 0x80 : 0) | ($opt{rsv} // 0) << 4
                   | $opcode);

    $head .= $form == 7 ? chr($bit | $n)
           : $form == 16 ? pack('Cn', $bit | 126, $n)
           : pack('CQ>', $bit | 127, $n);
    if (length $mask) {
        my $stream = $mask x (1 + length($payload) / 4);
        $payload = "$payload" ^ substr $stream, 0, length $payload;
    }
    return "$head$mask$payload";
}

sub send_frame { my $self = shift; $self->write($self->frame(@_)) }
sub text { $_[0]->send_frame(TEXT, $_[1]) }
sub binary { $_[0]->send_frame(BIN, $_[1]) }

# Reads a frame: { op, payload }; one that no server may send has op 'bad'.
sub recv {
    my ($self, $deadline) = @_;
    return shift @{$self->{frames}} if @{$self->{frames} || []};

    my $until = SioRaw::now() + ($deadline // $SioRaw::DEADLINE);
    my $left = sub { $until - SioRaw::now() };
    my ($b0, $b1) = unpack 'CC', $self->take(2, $left->()) // return undef;
    my $n = $b1;

    $n = unpack 'n', $self->take(2, $left->()) // return undef if $b1 == 126;
    $n = unpack 'Q>', $self->take(8, $left->()) // return undef if $b1 == 127;
    return { op => 'bad', payload => sprintf '%02x%02x', $b0, $b1 }
        if ($b0 & 0xf0) != 0x80 || $b1 & 0x80
           || $b1 == 126 && $n < 126 || $b1 == 127 && $n < 65536;

    my $payload = $self->take($n, $left->()) // return undef;
    return { op => $b0 & 15, payload => $payload };
}

# The payload of the next text or binary message; 'op N' for another frame.
sub message {
    my $f = shift->recv(@_) // return undef;
    return $f->{op} eq TEXT || $f->{op} eq BIN ? $f->{payload} : "op $f->{op}";
}

# Sends text packets and reads as many messages.
sub ask {
    my ($self, @packets) = @_;
    $self->write(CORE::join '', map { $self->frame(TEXT, $_) } @packets);
    return map { $self->message } @packets;
}

# The code of the server's close frame, 1005 for an empty one; 'none' if the
# connection ends without one, undef if nothing ends it.  Messages before it
# are passed over.
sub close_code {
    my ($self, $deadline) = @_;
    my $until = SioRaw::now() + ($deadline // $SioRaw::DEADLINE);

    for (;;) {
        my $f = $self->recv($until - SioRaw::now())
            // return $self->{eof} ? 'none' : undef;
        next unless $f->{op} eq CLOSE;
        return 1005 if $f->{payload} eq '';
        return 'short' if length $f->{payload} == 1;
        $self->{reason} = substr $f->{payload}, 2;
        return unpack 'n', $f->{payload};
    }
}

# True if an echo comes back: the session is alive and in step.  A ping of the
# server may come between.
my $echoes = 0;

sub alive {
    my $self = shift;
    my $packet = '42["echo",' . ++$echoes . ']';
    my ($answer) = $self->ask($packet);
    ($answer) = $self->text('3') && $self->message if ($answer // '') eq '2';
    return ($answer // '') eq $packet;
}


package SioRaw::Probe;

# A well-behaved client in a process of its own.  It sends an echo every two
# milliseconds until ->stop and notes
#
#   slowest  the slowest echo, without the time that the worker or this
#            process was ready to run while others had the processor
#   turn     the most CPU time that the worker spent during one echo: each
#            turn of its event loop lies within an echo, so no turn was longer
#   peak     the growth of the worker's private memory, in KiB

sub start {
    my ($class, $port, $worker) = @_;

    pipe(my $stop_r, my $stop_w) or die "pipe: $!";
    pipe(my $out_r, my $out_w) or die "pipe: $!";
    my $pid = fork() // die "fork: $!";

    if ($pid == 0) {
        CORE::close $_ for $stop_w, $out_r;
        setpriority 0, 0, -10;
        my $seen = eval { _run($port, $worker, $stop_r, $out_w) };
        syswrite $out_w, JSON::PP::encode_json($seen || { lost => "$@" });
        require POSIX;
        POSIX::_exit(0);
    }

    CORE::close $_ for $stop_r, $out_w;
    sysread $out_r, my $ready, 1;
    return bless { pid => $pid, stop => $stop_w, out => $out_r }, $class;
}

# Returns what was seen, in milliseconds; { lost => why } if the connection
# was dropped or hung.
sub stop {
    my $self = shift;

    CORE::close $self->{stop};
    my $out = do { local $/; readline $self->{out} };
    waitpid $self->{pid}, 0;
    return eval { JSON::PP::decode_json($out) } || { lost => 'no report' };
}

# What a process has had of the processor and has waited for it, in ms.
sub cpu_and_wait {
    my $pid = shift;
    CORE::open my $fh, '<', "/proc/$pid/schedstat" or return (0, 0);
    return map { $_ / 1e6 } (split ' ', readline $fh)[0, 1];
}

# The private memory of a process, in KiB.
sub memory {
    my $pid = shift;
    CORE::open my $fh, '<', "/proc/$pid/smaps_rollup" or return 0;
    my ($kib) = CORE::join('', readline $fh) =~ /^Private_Dirty:\s+(\d+)/m;
    return $kib;
}

sub _run {
    my ($port, $worker, $stop, $out) = @_;
    my $ws = SioRaw::WS->socket($port);
    my %seen = (echoes => 0, slowest => 0, turn => 0, peak => 0);
    my $memory = memory($worker);

    die "could not connect\n" unless defined $ws->id;
    syswrite $out, '.';

    for (;;) {
        my $bits = '';
        vec($bits, fileno $stop, 1) = 1;
        last if select $bits, undef, undef, 0.002;

        if ($seen{echoes} % 16 == 0) {
            my $growth = memory($worker) - $memory;
            $seen{peak} = $growth if $growth > $seen{peak};
        }

        my $packet = '42["echo",' . $seen{echoes}++ . ']';
        my @before = (cpu_and_wait($worker), cpu_and_wait($$));
        my $start = SioRaw::now();
        $ws->text($packet);
        my $answer = $ws->message(30);
        if (defined $answer && $answer eq '2') {
            $ws->text('3');
            $answer = $ws->message(30);
        }
        die 'the echo came back as ' . ($answer // 'nothing') . "\n"
            unless defined $answer && $answer eq $packet;

        my $took = (SioRaw::now() - $start) * 1000;
        my @after = (cpu_and_wait($worker), cpu_and_wait($$));
        my ($turn, $worker_waited, undef, $waited)
            = map { $after[$_] - $before[$_] } 0 .. 3;
        $took -= $worker_waited + $waited;
        $seen{slowest} = $took if $took > $seen{slowest};
        $seen{turn} = $turn if $turn > $seen{turn};
    }

    return \%seen;
}

1;
