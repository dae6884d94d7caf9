#!/usr/bin/perl

# The demo, started as `make run` starts it, in real browsers: a WebSocket, a
# client held to polling, a phone.

use lib 't/lib';
use SioTest;

use File::Temp;
use IO::Socket::INET;

my $port = SioTest::free_port();
my $url = "http://127.0.0.1:$port";

# The worker runs as another user.

my $reports = File::Temp->newdir(TMPDIR => 1);
chmod 01777, $reports;

my $pid = fork // BAIL_OUT("fork: $!");

if ($pid == 0) {
    SioTest::sanitizer_env($reports);
    open STDOUT, '>', '/dev/null';
    exec qw(setpriv --pdeathsig TERM tools/serve), $port
        or POSIX::_exit(127);
}

ok(SioTest->await(sub { IO::Socket::INET->new("127.0.0.1:$port") }, 15),
   'the demo listens') or BAIL_OUT('tools/serve does not start');

my ($nginx) = SioTest::children($pid);
my ($prefix) = SioTest::cmdline($nginx) =~ m{-p[ \0](\S+?)/?[ \0]};

open my $log, '<', "$prefix/logs/error.log" or BAIL_OUT("error.log: $!");

my $server = bless { port => $port, owner => 0 }, 'SioTest';

my ($code, $head, $body) = $server->get('/');
is($code, 200, 'the page');
like($head, qr{^Content-Type: text/html; charset=utf-8\r?$}m, 'is HTML');
like($head, qr{^Content-Security-Policy: default-src 'none';}m,
     'allows nothing but its own');

unlike($body, qr{https?://(?!www\.w3\.org/2000/svg)},
       'and refers to no other site');

($code, $head) = $server->get('/socket.io/socket.io.js');
is($code, 200, "the client's bundle");
like($head, qr{^Content-Type: application/javascript}m, 'is JavaScript');

SioTest::run_tap('two browsers and a phone',
                 [SioTest::client_command('demo.js', $url)], 150);

$server->wait_for(sub { ($server->status->{sessions} // '') eq '0' },
                  'no session is left');

kill 'TERM', $pid;

ok(SioTest->await(sub { waitpid($pid, POSIX::WNOHANG()) }, 10), 'it stops');
is($?, 0, 'exits with 0');
ok(!-e $prefix, 'and leaves nothing behind');
is(join('', SioTest::sanitizer_reports($reports)), '',
   'no report of a sanitizer');

# The log is removed by now, but it is still open here.

is(join('', grep { /\[(?:alert|crit|emerg|error)\]/ } <$log>), '',
   'nothing is wrong in the log');

done_testing;
