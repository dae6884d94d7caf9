# The HTTP side of the protocol, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $t = SioTest->new(location => <<'CONF')->start;
    sio;
    sio_cookie io path=/ samesite=lax;
    sio_allow_origin https://example.com ~^https://\w+\.example\.org$;

    gzip on;
    gzip_types text/plain;
    gzip_min_length 1000;

    sio_on sync ack;
    sio_on ask  ack;
CONF

$t->client('http.js');

$t->stop;

done_testing;
