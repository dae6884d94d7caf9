# Messages up to the limit and above, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(http => 'client_max_body_size 2m;', location => <<'CONF');
    sio;
    sio_max_payload 1000000;

    sio_on sync  ack;
    sio_on echo  reply;
    sio_on ask   ack;
    sio_on watch join observers;
    sio_on disconnect emit to=observers event=gone
                           args=[$sio_id,$sio_reason,$sio_args];
CONF

$t->start;
$t->client('large.js');

$t->stop;

done_testing;
