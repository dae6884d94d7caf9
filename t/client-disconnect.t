# Every way in which a connection ends, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $rules = <<'CONF';
    sio_on watch join observers;
    sio_on disconnect emit to=observers event=gone
                           args=[$sio_id,$sio_reason,$sio_args];

    sio_on sync ack;
    sio_on echo reply;
    sio_on kick disconnect;
    sio_on kill disconnect close;

    sio_on last reply;
    sio_on last disconnect close;
    sio_on last reply event=never;
CONF

my $t = SioTest->new(location => <<"CONF")->start;
    sio;
    sio_ping_interval 60s;
    $rules
    sio_namespace /other {
        $rules
    }
    sio_namespace /closed {
        sio_on connection disconnect;
    }
CONF

$t->client('disconnect.js');

$t->stop;

done_testing;
