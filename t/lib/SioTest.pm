package SioTest;

# Starts nginx with the module on a private prefix and port, and checks at the
# end that it behaved: no session left, a clean exit, no alert, no report of a
# sanitizer.

use strict;
use warnings;

use Carp qw(croak);
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(remove_tree);
use File::Temp ();
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use POSIX qw(WNOHANG);
use Test::More;
use Time::HiRes qw(time sleep);

my $ROOT = abs_path(dirname(__FILE__) . '/../..');

# A sanitizer makes everything slower, so that deadlines grow with it.

my $SLOW = $ENV{NGX_SIO_ASAN} ? 4 : 1;

# What must not be in a log.  UBSan writes to stderr, which is nginx's log.

my $ALERT = qr/\[(?:alert|crit|emerg)\]
               |open[ ]socket[ ].*[ ]left
               |exited[ ]with[ ]code[ ][1-9]
               |:[ ]runtime[ ]error:[ ]/x;

my $MAIN = $$;
my %running;


sub import {
    my $caller = caller;

    strict->import;
    warnings->import;

    no strict 'refs';

    for my $name (@Test::More::EXPORT) {
        my ($sigil, $word) = $name =~ /^([\$&]?)(\w+)$/ or next;
        *{"${caller}::$word"} = $sigil eq '$' ? \${"Test::More::$word"}
                                              : \&{"Test::More::$word"};
    }
}


sub new {
    my ($class, %arg) = @_;

    my $self = bless {
        workers    => $ENV{NGX_SIO_WORKERS} || 1,
        main       => '',
        events     => '',
        http       => '',
        server     => '',
        location   => 'sio; sio_on * broadcast;',
        tls        => 0,
        reuseport  => 0,    # each worker accepts for itself
        expect_log => [],
        module     => 1,    # load it
        bare       => 0,    # neither /socket.io/ nor /status is there
        daemon     => 0,    # as a daemon: a binary upgrade needs one
        %arg,
        owner      => $$,
    }, $class;

    # Workers may run as another user than the one who runs the test.

    $self->{dir} = abs_path(File::Temp::tempdir('ngx_sio.XXXXXX', TMPDIR => 1));
    chmod 0755, $self->{dir};

    mkdir "$self->{dir}/$_" for qw(html temp);
    make_cert($self->{dir}) if $self->{tls};

    return $self;
}


sub root     { $ROOT }
sub slow     { $SLOW }
sub nginx    { $ENV{NGX_SIO_NGINX} || find_nginx() }
sub module   { $ENV{NGX_SIO_MODULE} || "$ROOT/build/ngx_sio_module.so" }

sub port     { $_[0]{port} }
sub tls_port { $_[0]{tls_port} }
sub dir      { $_[0]{dir} }
sub pid      { $_[0]{pid} }
sub url      { "http://127.0.0.1:$_[0]{port}" }
sub tls_url  { "https://127.0.0.1:$_[0]{tls_port}" }


sub find_nginx {
    my ($path) = grep { -x } map { "$_/nginx" }
                     split(/:/, $ENV{PATH}), '/usr/sbin';

    return $path // BAIL_OUT('no nginx found');
}


# A port that was free a moment ago.

sub free_port {
    return listener()->sockport;
}


sub listener {
    return IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
           || croak "no free port: $!";
}


sub make_cert {
    my ($dir) = @_;

    my $output = qx{openssl req -x509 -newkey ec -nodes -days 2 \\
        -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost \\
        -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \\
        -keyout '$dir/key.pem' -out '$dir/cert.pem' 2>&1};

    BAIL_OUT("openssl: $output") if $?;
}


sub config {
    my ($self) = @_;

    my $load = $self->{module} ? 'load_module "' . module() . '";' : '';
    my $user = $> == 0 ? 'user root;' : '';
    my $level = $ENV{NGX_SIO_LOG} || 'info';
    my $env = $ENV{NGX_SIO_ASAN}    # for the binary that takes over
              ? 'env ASAN_OPTIONS; env UBSAN_OPTIONS; env LSAN_OPTIONS;' : '';
    my $reuseport = $self->{reuseport} ? ' reuseport' : '';
    my ($connections, $tls, $status, $sio) = ('') x 4;

    $connections = 'worker_connections 1024;'
        if $self->{events} !~ /\bworker_connections\b/;

    $tls = "listen 127.0.0.1:%%TLS_PORT%% ssl http2$reuseport; "
         . 'ssl_certificate cert.pem; ssl_certificate_key key.pem;'
        if $self->{tls};

    $status = 'location = /status { sio_status; }'
        if !$self->{bare};

    $sio = "location /socket.io/ { $self->{location}\n}"
        if !$self->{bare} && defined $self->{location};

    my $config = <<"    CONF";
        $load
        $user
        $env
        @{[$self->{daemon} ? 'daemon on;' : 'daemon off;']}
        pid nginx.pid;
        error_log error.log $level;
        worker_processes $self->{workers};
        $self->{main}

        events {
            $connections
            $self->{events}
        }

        http {
            access_log access.log;
            client_body_temp_path temp/body;
            proxy_temp_path temp/proxy;
            fastcgi_temp_path temp/fastcgi;
            uwsgi_temp_path temp/uwsgi;
            scgi_temp_path temp/scgi;

            $self->{http}

            server {
                listen 127.0.0.1:%%PORT%%$reuseport;
                $tls
                server_name localhost;
                root html;

                $status
                $sio

                $self->{server}
            }
        }
    CONF

    my %value = (PORT => $self->{port}, TLS_PORT => $self->{tls_port} // '',
                 DIR => $self->{dir});

    $config =~ s/%%(PORT|TLS_PORT|DIR)%%/$value{$1}/g;

    return $config;
}


sub write_config {
    my ($self) = @_;

    # Both sockets live until both ports are known, or these might be equal.

    my @held = (listener(), listener());

    $self->{port} = $held[0]->sockport;
    $self->{tls_port} = $held[1]->sockport if $self->{tls};

    write_file("$self->{dir}/nginx.conf", $self->config);
}


sub start {
    my ($self) = @_;

    # Another process may take a port first.

    for my $try (1 .. 5) {
        $self->write_config;
        $self->launch;

        return $self if $self->await_start;

        $self->kill_now;

        my $log = join '', $self->all_logs, sanitizer_reports($self->{dir});

        die "nginx does not start:\n$log"
            if $log !~ /bind\(\) to .* failed \(98/ || $try == 5;

        unlink map { "$self->{dir}/$_" } qw(error.log stderr.log);
    }
}


sub launch {
    my ($self) = @_;

    my $dir = $self->{dir};
    my @command = (nginx(), '-p', "$dir/", '-c', "$dir/nginx.conf",
                   '-e', "$dir/error.log");

    # nginx must not outlive a test that was killed; a daemon ends with the
    # objects of a test that was not.

    adopt_orphans() if $self->{daemon};

    unshift @command, 'setpriv', '--pdeathsig', 'TERM';

    defined(my $pid = fork) or croak "fork: $!";

    if ($pid == 0) {
        sanitizer_env($dir);
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$dir/stderr.log";
        open STDERR, '>&', \*STDOUT;
        setpgrp;
        exec { $command[0] } @command or POSIX::_exit(127);
    }

    if ($self->{daemon}) {
        waitpid $pid, 0;
        $self->await(sub { -s "$dir/nginx.pid" }, 10);
        ($pid) = (read_file("$dir/nginx.pid") // '') =~ /(\d+)/
            or die "nginx does not start:\n" . $self->all_logs;
    }

    $self->{pid} = $pid;
    delete $self->{exit};
    $running{$pid} = $self;
}


sub sanitizer_env {
    my ($dir, @more) = @_;

    for my $name (qw(ASAN UBSAN)) {
        $ENV{"${name}_OPTIONS"} = join ':', grep { length }
            $ENV{"${name}_OPTIONS"} // '', "log_path=$dir/" . lc $name, @more;
    }
}


sub await_start {
    my ($self) = @_;

    my $up = 0;

    $self->await(sub {
        return 1 if $self->reaped;

        return $up = -s "$self->{dir}/nginx.pid"
                     && $self->worker_pids == $self->{workers}
                     && IO::Socket::INET->new("127.0.0.1:$self->{port}");
    }, 10);

    return $up;
}


# Whether the master has ended; its wait status is kept.

sub reaped {
    my ($self) = @_;

    if (!defined $self->{exit} && waitpid($self->{pid}, WNOHANG) != 0) {
        $self->{exit} = $?;
        delete $running{$self->{pid}};
    }

    return defined $self->{exit};
}


# Processes whose parent ends become children of this one (PR_SET_CHILD_SUBREAPER),
# so that a master started by a binary upgrade can be waited for.

sub adopt_orphans {
    syscall(157, 36, 1, 0, 0, 0) == 0 or croak "prctl: $!";
}


# From here on another master is the one that runs; the former ends by itself.

sub adopt {
    my ($self, $pid) = @_;

    push @{$self->{former}}, $self->{pid};
    delete $running{$self->{pid}};
    $self->{pid} = $pid;
    $running{$pid} = $self;
}


sub kill_now {
    my ($self) = @_;

    return if !defined $self->{pid};

    if (!$self->reaped) {
        my @workers = children($self->{pid});

        kill 'TERM', $self->{pid};

        if (!$self->await(sub { $self->reaped }, 3)) {
            kill 'KILL', $self->{pid};
            kill 'KILL', grep { cmdline($_) =~ /^nginx: worker/ } @workers;
            $self->await(sub { $self->reaped }, 3);
        }
    }

    $self->{pid} = undef;
}


sub cmdline {
    my ($pid) = @_;

    return read_file("/proc/$pid/cmdline") // '';
}


sub children {
    my ($parent) = @_;

    return sort { $a <=> $b } grep {
        my $stat = read_file("/proc/$_/stat") // '';
        $stat =~ /^\d+ \(.*\) \S+ $parent /s;
    } map { m{(\d+)$} } glob '/proc/[0-9]*';
}


# The workers that accept connections, without those that are shutting down.

sub worker_pids {
    my ($self) = @_;

    my @pids = grep { cmdline($_) =~ /^nginx: worker process[\0 ]*$/ }
                    children($self->{pid});

    return @pids;
}


# A GET request by a connection of its own: (code, head, body).

sub get {
    my ($self, $path) = @_;

    my $s = IO::Socket::INET->new("127.0.0.1:$self->{port}") or return;
    my $select = IO::Select->new($s);
    my $end = time + 5 * $SLOW;
    my $answer = '';

    print $s "GET $path HTTP/1.0\r\nHost: localhost\r\n\r\n";

    do {
        $select->can_read(left($end)) or return;
    } while (sysread $s, $answer, 65536, length $answer);

    my ($head, $body) = split /\r\n\r\n/, $answer, 2;
    my ($code) = ($head // '') =~ m{^HTTP/1\.\d (\d{3})};

    return ($code, $head, $body);
}


sub left {
    my ($end) = @_;

    my $left = $end - time;

    return $left > 0 ? $left : 0;
}


sub status {
    my ($self) = @_;

    my ($code, undef, $body) = $self->get('/status');

    return if !defined $code || $code != 200;
    return JSON::PP->new->decode($body);
}


sub log        { read_file("$_[0]{dir}/error.log") // '' }
sub access_log { read_file("$_[0]{dir}/access.log") // '' }
sub all_logs   { (read_file("$_[0]{dir}/stderr.log") // '') . $_[0]->log }


sub read_file {
    my ($path) = @_;

    open my $file, '<', $path or return;
    local $/;
    return scalar <$file>;
}


sub write_file {
    my ($path, $text) = @_;

    open my $file, '>', $path or croak "$path: $!";
    print $file $text;
    close $file or croak "$path: $!";
}


# Whether a condition comes true within some seconds.

sub await {
    my ($self, $condition, $seconds) = @_;

    my $end = time + ($seconds // 5) * $SLOW;

    while (!$condition->()) {
        return 0 if time >= $end;
        sleep 0.02;
    }

    return 1;
}


# The same as an assertion.

sub wait_for {
    my ($self, $condition, $name, $seconds) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return ok($self->await($condition, $seconds), $name);
}


sub signal {
    my ($self, $name) = @_;

    kill $name, $self->{pid};
}


sub reload {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my %old = map { $_ => 1 } $self->worker_pids;

    $self->signal('HUP');

    return $self->wait_for(sub {
        my @now = $self->worker_pids;
        return @now == $self->{workers} && !grep { $old{$_} } @now;
    }, 'new workers after the reload', 10);
}


# Lets this process have so many descriptors.

sub descriptors {
    my ($n) = @_;

    for my $limit ("$n:", "$n:$n") {
        return if system("prlimit --pid $$ --nofile=$limit 2>/dev/null") == 0;
    }

    BAIL_OUT("cannot have $n descriptors");
}


# Runs t/clients/NAME with the server's URL; its TAP becomes a subtest.

sub client {
    my ($self, $name, @arg) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return run_tap("$name @arg", [client_command($name, $self->url, @arg)]);
}


sub client_command {
    my ($name, @arg) = @_;

    my $path = "$ROOT/t/clients/$name";

    return ('/usr/bin/python3', $path, @arg) if $name =~ /\.py$/;

    my $modules = join ':', grep { length }
                       $ENV{NODE_PATH} // '', "$ROOT/build/node/node_modules";

    return ('env', "NODE_PATH=$modules", 'node', $path, @arg);
}


# Runs a command that prints TAP, within a time limit, as a subtest.

sub run_tap {
    my ($name, $command, $seconds) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return report_tap($name, run_command($command, $seconds));
}


sub report_tap {
    my ($name, $exit, @lines) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return subtest($name => sub {
        my ($planned, $ran, $good) = ('none', 0, 1);

        for my $line (@lines) {
            if ($line =~ /^(not )?ok\b\s*\d*\s*(?:-\s*)?(.*)$/) {
                $good = ok(!$1, $2);
                $ran++;

            } elsif ($line =~ /^1\.\.(\d+)/) {
                $planned = $1;

            } elsif ($line =~ /\S/) {
                $good ? note($line) : diag($line);
            }
        }

        is($ran, $planned, 'ran as many tests as planned');
        is($exit, 0, 'exits with 0, in time');
    });
}


# Returns the exit status, or undef after the time limit, and the lines printed.

sub run_command {
    my ($command, $seconds) = @_;

    return finish_command(start_command($command), $seconds);
}


# The same in two halves, for what runs meanwhile.

sub start_command {
    my ($command) = @_;

    pipe my $read, my $write or croak "pipe: $!";
    defined(my $pid = fork) or croak "fork: $!";

    if ($pid == 0) {
        setpgrp;
        close $read;
        open STDOUT, '>&', $write;
        exec { $command->[0] } @$command or POSIX::_exit(127);
    }

    close $write;
    $running{$pid} = undef;

    return { pid => $pid, read => $read };
}


sub finish_command {
    my ($started, $seconds) = @_;

    my ($pid, $read) = @$started{qw(pid read)};
    my $end = time + ($seconds // 60) * $SLOW;
    my $select = IO::Select->new($read);
    my $text = '';
    my $exit;

    while ($select->can_read(left($end))) {
        sysread $read, $text, 65536, length $text or last;
    }

    # A process can close its output and live on.

    until (defined $exit || !left($end)) {
        waitpid($pid, WNOHANG) != 0 ? $exit = $? : sleep 0.02;
    }

    if (!defined $exit) {
        kill 'KILL', -$pid;
        waitpid $pid, 0;
    }

    delete $running{$pid};

    return ($exit, split /\r?\n/, $text);
}


# Ends nginx, in peace or with SIGTERM in the midst of its work, and checks what
# it leaves behind.

sub stop {
    my ($self, $signal) = @_;

    $signal //= 'QUIT';

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    if (!$self->{bare} && $signal eq 'QUIT') {
        my $sessions;

        ok($self->await(sub {
            $sessions = eval { $self->status->{sessions} } // 'unknown';
            return $sessions eq '0';
        }), 'no session is left') or diag("sessions: $sessions");
    }

    $self->signal($signal);

    ok($self->await(sub { $self->reaped }, 10), "nginx ends on SIG$signal")
        and is($self->{exit}, 0, 'exit status of nginx');

    $self->kill_now;
    $self->check_logs;
    $self->clean;
}


sub check_logs {
    my ($self) = @_;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    my @alerts = grep {
        my $line = $_;

        $line =~ /$ALERT/ && !grep { $line =~ $_ } @{$self->{expect_log}};
    } split /\n/, $self->all_logs;

    ok(!@alerts, 'no alert in the log') or diag(first_lines(10, @alerts));

    my @reports = sanitizer_reports($self->{dir});

    ok(!@reports, 'no report of a sanitizer')
        or diag(first_lines(100, map { split /\n/ } @reports));
}


sub first_lines {
    my ($max, @lines) = @_;

    return join "\n", splice @lines, 0, $max;
}


sub sanitizer_reports {
    my ($dir) = @_;

    return map { read_file($_) } glob "$dir/asan.* $dir/ubsan.*";
}


sub clean {
    my ($self) = @_;

    return diag("kept $self->{dir}") if $ENV{NGX_SIO_KEEP};

    remove_tree($self->{dir});
}


# nginx -t with the same arguments as new(): (exit status, output).

sub nginx_t {
    my $self = SioTest->new(@_);

    $self->write_config;
    return $self->test_config;
}


sub test_config {
    my ($self) = @_;

    my ($dir, $nginx) = ($self->{dir}, nginx());

    # nginx -t leaves the freeing to the system.

    local %ENV = %ENV;
    sanitizer_env($dir, 'detect_leaks=0');

    my $output = qx{'$nginx' -t -p '$dir/' -c '$dir/nginx.conf' \\
        -e '$dir/error.log' 2>&1 </dev/null};
    my $exit = $? & 127 || $? >> 8;

    $output .= join '', sanitizer_reports($dir);
    $self->clean;

    return ($exit, $output);
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner};

    local ($?, $@, $!);

    $self->kill_now;
    $self->clean if -d $self->{dir};
}


# A signal ends the test through END, so that nothing is left running.

$SIG{$_} ||= sub { exit 130 } for qw(INT TERM HUP);

END {
    if ($$ == $MAIN) {
        local $?;

        for my $pid (keys %running) {
            ref $running{$pid} ? $running{$pid}->DESTROY : kill 'KILL', -$pid;
        }
    }
}

1;
