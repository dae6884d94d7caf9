# Handlers: a backend admits a client, or does not.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $backend = SioBackend->new->start;

my $t = SioTest->new(
    location => <<'EOC',
        sio;
        sio_data user $arg_user;
        sio_handler /app;
        sio_namespace ~^/n { sio_handler /app; }
EOC
    server => <<"EOC",
    location /rules/ {
        sio;
        sio_handler /app;
        sio_on connection reply event=hello args=[\$sio_data_name,\$sio_auth];
        sio_on connection emit to=r event=came;
        sio_on disconnect broadcast event=left;
    }
    location /brief/ {
        sio; sio_connect_timeout 200ms; sio_handler /app;
    }
    location /few/ {
        sio; sio_max_namespaces 2; sio_handler /app;
        sio_namespace ~^/n { sio_handler /app; }
    }
    location = /app {
        internal;
        proxy_pass http://${\$backend->address};
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);

BEGIN { *did = \&SioBackend::did; *emit = \&SioBackend::emit }

sub opened { SioRaw::WS->open($port, @_) }

# An auth payload that says how the backend shall answer.
sub auth { return $json->encode({ do => { @_ } }) }

# The answer to a CONNECT, and the requests that came of it.
sub connects {
    my ($ws, %answer) = @_;
    my ($packet) = $ws->ask('40' . auth(%answer));
    return ($packet // 'none') =~ s/"sid":"[\w-]{20}"/"sid":"ID"/r;
}

# A client leaves: nothing was told of it, or a disconnect is.
sub leaves {
    my ($ws, $told) = @_;
    $ws->close;
    return if !$told;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $r = $backend->take(1)->{json};
    return is($r->{type}, 'disconnect', 'which is told that it leaves');
}


subtest 'admitted' => sub {
    for ([], [status => 204], [status => 200], [status => 200, body => '[]'],
         [status => 201, body => " [\n ]\t"], [status => 200, body => "\r\n "],
         [body => '[]', chunked => 1], [body => '[]', unsized => 1],
         [status => 299, body => [], drip => 0.001]) {
        my $ws = opened();
        is(connects($ws, @$_), '40{"sid":"ID"}', $json->encode({ @$_ }));
        is(($backend->take(1))->{json}{seq}, 1, 'by the backend,');
        leaves($ws, 1);
    }
};


subtest 'with operations' => sub {
    my $other = opened(path => '/rules/');
    connects($other, body => [{ op => 'join', rooms => 'r' }]);
    is(join(' ', map { $other->message } 1, 2),
       '42["hello",null,' . auth(body => [{ op => 'join', rooms => 'r' }])
       . '] 42["came"]', 'rules come after them');

    my $ws = opened(path => '/rules/');
    my $ops = [{ op => 'join', rooms => ['r', 's'] },
               { op => 'data', set => { name => 'ann' } },
               emit('first', args => [1]), emit('x', to => 's')];
    is(connects($ws, body => $ops), '40{"sid":"ID"}',
       'CONNECT is answered first');
    is(join(' ', map { $ws->message } 1 .. 4),
       '42["first",1] 42["x"] 42["hello","ann",' . auth(body => $ops)
       . '] 42["came"]', 'then come operations, then rules');
    is($other->message, '42["came"]', 'for all in the room');

    $backend->rest;
    $ws->text('42["a"]');
    my $r = $backend->take(1)->{json};
    is_deeply([$r->{seq}, $r->{data}, sort @{$r->{rooms}}],
              [2, { name => 'ann' }, 'r', 's'], 'the backend sees what it did');
    leaves($ws, 1);
    is($other->message, '42["left","transport close"]',
       'a rule of disconnect');
    leaves($other, 1);

    # What ends it at once.
    for my $op ({ op => 'disconnect' },
                { op => 'disconnect', close => JSON::PP::true }) {
        $ws = opened(path => '/rules/');
        is(connects($ws, body => [$op, emit('x')]), '40{"sid":"ID"}',
           'admitted and sent away');
        my ($next) = $op->{close} ? $ws->closes : $ws->message;
        is($next, $op->{close} ? 1 : '41', 'before any rule');
        is(join(' ', map { $_->{json}{type} } $backend->take(2)),
           'connect disconnect', 'as the backend hears');
        $ws->close;
    }
    $ws = opened();
    is(connects($ws, body => [{ op => 'ack', args => [1] }, emit('x')]),
       '40{"sid":"ID"}', 'an acknowledgement nobody waits for');
    is($ws->message, '42["x"]', 'is none');
    $backend->take(1);
    leaves($ws, 1);
};


subtest 'refused' => sub {
    my $ws = opened();
    my $n = 0;

    for ([[status => 403, body => { message => 'no', data => { a => [1] } }],
          '{"message":"no","data":{"a":[1]}}'],
         [[status => 400, body => { message => "\"\x{e9}\n" }],
          '{"message":"\"é\n"}'],
         [[status => 499, body => '{"data":1.50,"message":"\u00e9","x":{}}'],
          '{"message":"\u00e9","data":1.50}'],
         [[status => 402, body => { message => '', data => JSON::PP::null }],
          '{"message":"","data":null}'],
         [[status => 404, body => { data => 5 }],
          '{"message":"Not Found","data":5}'],
         [[status => 401], '{"message":"Unauthorized"}'],
         [[status => 403, body => 'go away'], '{"message":"Forbidden"}'],
         [[status => 403, body => { message => 5 }],
          '{"message":"Forbidden"}'],
         [[status => 403, body => [{ message => 'no' }]],
          '{"message":"Forbidden"}'],
         [[status => 403, body => '{"message":"no"} x'],
          '{"message":"Forbidden"}'],
         [[status => 403, body => '{"message":"no"', chunked => 3],
          '{"message":"Forbidden"}'],
         [[status => 403, body => '{"message":"no"}', headers =>
           ['Content-Type' => 'text/plain'], chunked => 3],
          '{"message":"no"}'],
         [[status => 429, body => { message => 'x' x 5_000 }],
          '{"message":"' . 'x' x 5_000 . '"}']) {
        my ($answer, $object) = @$_;
        ok(connects($ws, @$answer) eq "44$object",
           'answered ' . substr $json->encode({ @$answer }), 0, 70)
            or diag substr $backend->{requests}[-1]{body}, 0, 200;
        $n++;
    }
    my @r = $backend->take($n);
    is(join(' ', map { "$_->{json}{type} $_->{json}{seq}" } @r),
       join(' ', ('connect 1') x $n), 'each is a socket of its own');
    is(scalar(keys %{{ map { $_->{json}{id} => 1 } @r }}), $n,
       'with its own id');
    is($t->status->{connect_errors}, $n, 'counted');
    unlike($t->log, qr/\[error\]/, 'no error of the backend');

    is(connects($ws), '40{"sid":"ID"}', 'it may come with something better');
    $backend->take(1);
    leaves($ws, 1);
};


subtest 'the backend fails' => sub {
    my $ws = opened();
    my $errors = $t->status->{handler_errors};
    my $n = 0;

    for ([status => 500], [status => 503, body => { message => 'busy' }],
         [status => 302, headers => [Location => 'http://localhost/']],
         [status => 304], [body => 'no JSON'], [body => '{}'], [body => '[1]'],
         [body => '[{"op":"emit"}]'], [body => '"message"'],
         [body => '[{"op":"nothing"}]'], [body => "[\"\xff\"]"],
         [body => '[{"op":"emit","event":"x"}]', cut => 10],
         [drop => 1, raw => ''], [raw => '', reset => 1],
         [raw => "no HTTP\r\n\r\n"],
         [raw => "HTTP/1.1 200 OK\r\nContent-Le"]) {
        is(connects($ws, @$_), '44{"message":"Server error"}',
           $json->encode({ @$_ }) =~ s/[^ -~]/./gr);
        $n++;
    }
    is(join(' ', map { $_->{json}{type} } $backend->take($n)),
       join(' ', ('connect') x $n), 'each was asked once');
    is($t->status->{handler_errors}, $errors + $n, 'each counts');
    is(scalar(() = $t->log =~
       /\[error\][^\n]* sio: the handler[^\n]*"\/app", backend: 127\./g), $n,
       'and is logged, with its address');

    is(connects($ws), '40{"sid":"ID"}', 'the client may try again');
    $backend->take(1);
    leaves($ws, 1);
};


subtest 'while it is asked' => sub {
    my $hold = 0;

    # CONNECTs of several namespaces are under way at once.
    my $ws = opened();
    my @name = map { ++$hold } 1 .. 3;
    $ws->text($_) for '40' . auth(hold => $name[0]),
        '40/n1,' . auth(hold => $name[1], status => 403),
        '40/n2,' . auth(hold => $name[2], body => [emit('x')]);
    my @r = $backend->take(3);
    is(join(' ', sort map { $_->{json}{namespace} } @r), '/ /n1 /n2',
       'three namespaces at once');
    is($t->status->{handler_running}, 3, 'under way');
    ok($ws->quiet(0.05), 'none is answered');
    $backend->release($name[1]);
    is($ws->message, '44/n1,{"message":"Forbidden"}', 'the second one');
    $backend->release($name[2]);
    like($ws->message, qr/^40\/n2,\{/, 'the third');
    is($ws->message, '42/n2,["x"]', 'with its operations');
    $ws->text('42/n2,["a"]');
    is($backend->take(1)->{json}{event}, 'a', 'does not wait for the first');
    $backend->release($name[0]);
    like($ws->message, qr/^40\{/, 'the first');
    $ws->close;
    is(join(' ', sort map { "$_->{json}{type} $_->{json}{namespace}" }
                          $backend->take(2)),
       'disconnect / disconnect /n2', 'who was admitted leaves');

    # What a client may not do meanwhile; and that it can be gone.
    for my $how ('a second CONNECT', 'an event', 'leaves', 'is gone') {
        for my $status (204, 403, 500) {
            $ws = opened();
            $hold++;
            my $auth = auth(hold => $hold, status => $status);
            $ws->text("40$auth");
            my $r = $backend->take(1);
            $ws->text($how =~ /CONNECT/ ? "40$auth" : $how =~ /event/
                      ? '42["a"]' : '41') if $how ne 'is gone';
            if ($how eq 'is gone') {
                $ws->send_frame(8, '');
            }
            ok($ws->closes, "$how: closes the session");
            is($t->status->{handler_running}, 1, 'the request goes on');
            $backend->release($hold);
            $t->wait_for(sub { $t->status->{handler_queued} == 0 },
                         "it is answered with $status");
            my @r = $backend->rest;
            is(join(' ', map { "$_->{json}{type} $_->{json}{seq}" } @r),
               $status == 204 ? 'disconnect 2' : '',
               $status == 204 ? 'admitted: it hears that the client is gone'
                              : 'refused: it was never there');
            is($r[0]{json}{id}, $r->{json}{id}, 'the same') if @r;
        }
    }

    # Who waits has joined nothing yet, as with Node.js.
    my $timeouts = $t->status->{connect_timeouts};
    $ws = opened(path => '/brief/');
    $hold++;
    $ws->text('40' . auth(hold => $hold));
    $backend->take(1);
    ok($ws->closes, 'sio_connect_timeout');
    is($t->status->{connect_timeouts}, $timeouts + 1, 'counts');
    $backend->release($hold);
    is($backend->take(1)->{json}{reason}, 'forced server close',
       'for who is admitted too late');

    # Those that wait count, and what is sent meanwhile does not get to them.
    $ws = opened(path => '/few/');
    $hold++;
    $ws->text($_) for map { "40/n$_," . auth(hold => $hold) } 1, 2;
    is(($ws->ask('40/n3,'))[0], '44/n3,{"message":"Too many namespaces"}',
       'sio_max_namespaces');
    my $other = opened(path => '/few/');
    $other->join('/n1');
    is(did($other, '/n1', emit('x', to => '*', namespace => '/n1')),
       '42/n1,["x"]', 'an emit to all');
    $backend->release($hold);
    like(join(' ', map { $ws->message } 1, 2),
         qr/^40\/n.,\{"sid":"[^"]*"} 40\/n.,\{"sid":"[^"]*"}$/,
         'goes to those that were there');
    $backend->take(4);
    $_->close for $ws, $other;
    is(scalar(() = $backend->take(3)), 3, 'they leave');
};


SioBackend::ends($t, $before, $backend);
is(join("\n", map { $_->{body} } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
