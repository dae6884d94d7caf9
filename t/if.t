# "if" and "limit_except" blocks, which nginx makes configurations of their
# own: the location they stand in serves their requests too.

use lib 't/lib';
use SioTest;
use SioRaw;

my $t = SioTest->new(location => <<'EOC')->start;
    sio;
    sio_max_payload 1000;
    sio_on echo reply 'args=[$sio_auth]';
    sio_namespace /chat { sio_on * reply; }

    if ($arg_tag) { add_header X-Tag $arg_tag; }
    if ($arg_away) { return 403; }

    limit_except GET { allow all; }
EOC

my $port = $t->port;

for my $query ('x=1', 'tag=a') {
    my $s = SioRaw::Polling->open($port, query => $query);
    my $tag = $query =~ /^tag=(.*)/ ? $1 : undef;

    is($s->opening->header('x-tag'), $tag, "$query: the block itself");
    is($s->opened->{maxPayload}, 1000, 'settings');
    like($s->join('/', '{"a":1}') // '', qr/^40\{/, 'a session');
    like($s->join('/chat') // '', qr{^40/chat,}, 'namespaces');
    is($s->post('42["echo"]', url => $s->url . "&$query")->body, 'ok', 'POST');
    is(join(' ', $s->packets), '42["echo",{"a":1}]', 'rules');

    my $ws = SioRaw::WS->socket($port,
                 query => "EIO=4&transport=websocket&$query");

    like($ws->id // '', qr{^[\w-]{20}$}, 'WebSocket');
    $ws->close;
}

is(SioRaw::http($port, GET => '/socket.io/?EIO=4&transport=polling&away=1')
   ->status, 403, 'a block that refuses');

$t->stop;
done_testing;
