# python-socketio, with threads and with asyncio.

use lib 't/lib';
use SioTest;

my $rules = <<'CONF';
    sio_on connection reply event=welcome args=[$sio_id,$sio_auth];
    sio_on disconnect emit to=observers event=gone args=[$sio_id,$sio_reason];

    sio_on ask   ack;
    sio_on say   broadcast;
    sio_on join  join $sio_arg1;
    sio_on join  ack args=[];
    sio_on leave leave $sio_arg1;
    sio_on leave ack args=[];
    sio_on to    emit to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on watch join observers;
    sio_on watch ack args=[];
    sio_on kill  disconnect close;
    sio_on *     reply;
CONF

my $t = SioTest->new(location => <<"CONF")->start;
    sio;
    sio_ping_interval 300ms;
    sio_ping_timeout  2s;
    $rules
    sio_namespace /chat {
        $rules
    }
CONF

$t->client('python.py');

$t->stop;

done_testing;
