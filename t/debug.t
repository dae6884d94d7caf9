# With "error_log ... debug" all goes on as without: nginx logs more of each
# timer and each event then.

BEGIN { $ENV{NGX_SIO_LOG} = 'debug' }

use lib 't/lib';
use SioTest;
use SioRaw;

my $t = SioTest->new(
    workers  => 2,
    location => 'sio; sio_on echo reply; sio_handler /app;',
    server   => q{location = /app { return 200 '[{"op":"ack"}]'; }},
)->start;

my $ws = SioRaw::WS->socket($t->port);

is(join(' ', $ws->ask('421["any"]')), '431[]', 'a handler');
ok($ws->alive, 'a rule');

my @workers = sort { $a <=> $b } $t->worker_pids;

kill 'HUP', $t->pid;

$t->wait_for(sub { grep { $_ > $workers[-1] } $t->worker_pids }, 'a reload');
ok($ws->alive, 'the session lives');
is(join(' ', $ws->ask('422["any"]')), '432[]', 'and has its handler');

$ws->close;
$t->wait_for(sub { $t->worker_pids == 2 }, 'the old workers go');

like($t->log, qr/\[debug\].*sio session .* state: 0 -> 1/, 'it is all logged');

$t->stop;

done_testing;
