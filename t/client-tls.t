# Over TLS, with the JavaScript clients; polling over HTTP/2.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(tls => 1, location => <<'CONF')->start;
    sio;

    sio_on watch join observers;
    sio_on disconnect emit to=observers event=gone
                           args=[$sio_id,$sio_reason,$sio_args];

    sio_on sync  ack;
    sio_on echo  reply;
    sio_on ask   ack;
    sio_on say   emit;
    sio_on tick  broadcast;
    sio_on id    ack args=[$sio_id];
    sio_on first ack 'args=["got",$sio_arg1,{"all":$sio_args}]';
    sio_on both  reply event=one;
    sio_on both  ack;
    sio_on both  reply event=two;
    sio_on *     reply;
CONF

my @tls = ('--tls', $t->tls_port);

$t->client('http2.js', @tls);
$t->client($_, @tls) for qw(events.js upgrade.js large.js);

$t->stop;

done_testing;
