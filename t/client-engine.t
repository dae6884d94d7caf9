# Plain Engine.IO, with its JavaScript client.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(server => <<'CONF')->start;
    location /engine.io/ {
        sio;
        sio_parser none;
        sio_on message reply;
    }

    location /shared/ {
        sio;
        sio_parser none;
        sio_on message emit;
    }

    location /short/ {
        sio;
        sio_parser none;
        sio_ping_interval 200ms;
        sio_connect_timeout 100ms;
        sio_on message reply;
    }
CONF

$t->client('engine.js');

$t->stop;

done_testing;
