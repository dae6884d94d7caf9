# Heartbeats, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
    sio;
    sio_ping_interval   300ms;
    sio_ping_timeout    1s;
    sio_connect_timeout 500ms;

    sio_on sync  ack;
    sio_on watch join observers;
    sio_on disconnect emit to=observers event=gone
                           args=[$sio_id,$sio_reason,$sio_args];
CONF

$t->client('heartbeat.js');

$t->stop;

done_testing;
