# The end of a worker, as a real client sees it.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(
    main => 'worker_shutdown_timeout 1s;',
    location => 'sio; sio_on * reply;',
)->start;

$t->client('shutdown.js', $t->pid);
$t->wait_for(sub { $t->log =~ /session ended: server shutting down, websocket/ },
             'its reason is "server shutting down"');
$t->stop;

done_testing;
