# The chats of conf/backends, each started by its one command: nginx with four
# workers and a backend in PHP, Python, Node.js.

use lib 't/lib';
use SioTest;

use File::Temp;
use IO::Socket::INET;

for my $language (qw(php python node)) {
    subtest $language => sub { chat($language) };
}

is(system('tools/backend cobol 2>/dev/null') >> 8, 255,
   'no backend in another language');

done_testing;


sub chat {
    my ($language) = @_;

    # Workers run as another user.

    my $reports = File::Temp->newdir(TMPDIR => 1);
    chmod 01777, $reports;

    my $port = SioTest::free_port();
    my $pid = fork // BAIL_OUT("fork: $!");

    if ($pid == 0) {
        SioTest::sanitizer_env($reports);
        open STDOUT, '>', "$reports/stdout";
        open STDERR, '>', "$reports/stderr";
        exec qw(setpriv --pdeathsig TERM tools/backend), $language, $port
            or POSIX::_exit(127);
    }

    my $said = sub { SioTest::read_file("$reports/$_[0]") // '' };

    SioTest->await(sub { $said->('stdout') ne ''
                         || waitpid($pid, POSIX::WNOHANG()) }, 15);
    is($said->('stdout'),
       "The chat in $language: http://127.0.0.1:$port/ (Ctrl-C stops it)\n",
       'it starts') or BAIL_OUT($said->('stderr'));

    my @programs = SioTest::children($pid);
    my @all = map { ($_, SioTest::children($_)) } @programs;
    my ($prefix) = map { SioTest::cmdline($_) =~ m{-p[ \0](\S+?)/?[ \0]} }
                   grep { SioTest::cmdline($_) =~ /nginx: master/ } @programs;

    is(@programs, 2, 'nginx and a backend');
    cmp_ok(@all, '>=', 6, 'with four workers');

    open my $log, '<', "$prefix/logs/error.log" or BAIL_OUT("error.log: $!");

    my $server = bless { port => $port, owner => 0 }, 'SioTest';

    for my $page ('', 'page.js', 'socket.io/socket.io.js') {
        my ($code, undef, $body) = $server->get("/$page");

        is($code, 200, "/$page");
        cmp_ok(length $body // '', '>', 500, 'is there');
    }

    SioTest::run_tap('clients', [SioTest::client_command(
        'backends.js', "http://127.0.0.1:$port", '--workers')], 180);

    $server->wait_for(sub { ($server->status->{sessions} // '') eq '0' },
                      'no session is left');

    kill 'TERM', $pid;

    ok(SioTest->await(sub { waitpid $pid, POSIX::WNOHANG() }, 10), 'it stops');
    is($?, 0, 'exits with 0');
    ok(!-e $prefix, 'and leaves nothing behind');
    is(join(' ', grep { -e "/proc/$_" } @all), '', 'nor does anything run on');
    is(join('', SioTest::sanitizer_reports($reports)), '',
       'no report of a sanitizer');
    is(join('', grep { /Traceback|Error|WARNING/ }
                     split /^/, $said->('stderr')), '',
       'nothing is wrong with the backend');

    # The log is removed by now, but it is still open here.

    is(join('', grep { /\[(?:alert|crit|emerg|error)\]/ } <$log>), '',
       'nothing is wrong in the log');
}
