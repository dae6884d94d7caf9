# From polling to a WebSocket, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
    sio;

    sio_on sync ack;
    sio_on echo reply;
    sio_on ask  ack;
    sio_on tick broadcast;
CONF

$t->client('upgrade.js');

$t->stop;

done_testing;
