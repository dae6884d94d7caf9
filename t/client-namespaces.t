# Namespaces and auth, with the JavaScript clients.

use lib 't/lib';
use SioTest;

sub rules {
    my ($word) = @_;

    return <<"    CONF";
        sio_on connection reply event=welcome
                          'args=[\$sio_id,\$sio_namespace,\$sio_auth]';
        sio_on sync  ack;
        sio_on where ack 'args=["$word",\$sio_namespace]';
        sio_on say   broadcast;
    CONF
}

my $t = SioTest->new(location => <<"CONF")->start;
    sio;

    @{[ rules('main') ]}

    sio_namespace ~^/room-\\d+\$ { @{[ rules('number') ]} }
    sio_namespace ~^/room-      { @{[ rules('room') ]} }
    sio_namespace ~^/auth-[ab]\$ { @{[ rules('auth') ]} }

    sio_namespace /chat     { @{[ rules('chat') ]} }
    sio_namespace /room-7   { @{[ rules('seven') ]} }
    sio_namespace "/чат ✓"  { @{[ rules('unicode') ]} }
CONF

$t->client('namespaces.js');

$t->stop;

done_testing;
