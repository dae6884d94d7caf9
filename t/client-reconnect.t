# Clients that lose the connection and come back.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
    sio;
    sio_ping_interval 1s;
    sio_ping_timeout  2s;

    sio_on connection reply event=welcome args=[$sio_id,$sio_auth];

    sio_on sync ack;
    sio_on echo reply;
    sio_on join join $sio_arg1;
    sio_on to   emit to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on kill disconnect close;
CONF

$t->client('reconnect.js');

$t->stop;

done_testing;
