# Events and acknowledgements, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
    sio;

    sio_on sync  ack;
    sio_on echo  reply;
    sio_on ask   ack;
    sio_on first ack 'args=["got",$sio_arg1,{"all":$sio_args}]';

    sio_on both  reply event=one;
    sio_on both  ack;
    sio_on both  reply event=two;

    sio_on *     reply;
CONF

$t->client('events.js');
$t->client('verbatim.js');

$t->stop;

done_testing;
