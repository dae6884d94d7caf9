# A session that becomes a WebSocket with another worker while its handler is
# at work: order is kept, and answers follow it.

use lib 't/lib';
use SioCluster;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($t, $backend, $before, $from, $to, $third);


sub begins {
    my (%more) = @_;

    my $options = delete $more{options} // '';

    $backend = SioBackend->new(answers => {
        say => { body => [{ op => 'ack', args => ['heard'] }] },
    })->start;

    $t = SioCluster->new(
        api => 'location = /api { sio_api; allow 127.0.0.1; deny all; }',
        http => "upstream app { server ${\$backend->address}; keepalive 16; }",
        location => "sio; sio_handler /app; sio_data place here; $options
                     sio_on connection reply event=hello
                            'args=[\$sio_data_place]';",
        server => 'location = /app { internal; proxy_pass http://app;
                                     proxy_http_version 1.1;
                                     proxy_set_header Connection ""; }',
        %more)->start;

    $before = SioBackend::rested($t);
    ($from, $to, $third) = $t->worker_pids;
}


# A polling session of a worker, joined.

sub joined {
    my ($pid) = @_;

    my $s = $t->polling($pid);
    $s->join('/');
    $backend->take(1);
    return $s;
}


sub said {
    return join ' ', map {
        my $j = $_->{json};
        $j->{type} eq 'event' ? "$j->{seq}:" . ($j->{args}[0] // $j->{event})
                              : "$j->{seq}:$j->{type}"
    } @_;
}


# The WebSocket of a session, elsewhere.

sub moved {
    my ($s) = @_;

    my $moves = $t->status->{moves} + 1;
    my $ws = $t->upgrade($s, $to);

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $t->wait_for(sub { $t->status->{moves} == $moves }, 'the session moves');
    return $ws;
}


# "do" with an answer that is held, then what is said behind it.

sub held {
    my ($name, %answer) = @_;

    return '427' . $json->encode(['do', { hold => $name, %answer }]);
}


sub says {
    return join "\x1e", map { qq{42$_\["say","$_"]} } @_;
}


begins();


subtest 'a response that comes late, and what waits behind it' => sub {
    my $s = joined($from);

    my $body = [SioBackend::emit('news', args => ['sender']),
                { op => 'ack', args => ['late'] },
                { op => 'join', rooms => ['a'] },
                { op => 'data', set => { n => 5 } }];

    $s->post(held('one', body => $body) . "\x1e" . says(1 .. 3));
    is(scalar $backend->take(1)->{json}{event}, 'do', 'one is under way');

    my $ws = moved($s);
    $ws->text($_) for split /\x1e/, says(4, 5);

    $t->wait_for(sub { $t->status->{events} == 6 }, 'and says more');
    is(scalar $backend->rest, undef, 'and nothing overtakes');

    $backend->release('one');

    my @r = $backend->take(5);
    is(said(@r), '3:1 4:2 5:3 6:4 7:5', 'what waited goes on in its order');
    is($json->encode($r[0]{json}{rooms}), '["a"]',
       'the operations were carried out before');
    is($r[0]{json}{data}{n}, 5, 'and the data set');

    is(join(' ', map { $ws->message } 1 .. 7),
       '42["news","sender"] 437["late"] '
       . join(' ', map { qq{43$_\["heard"]} } 1 .. 5),
       'the client gets the answers, in order');

    $ws->close;
    is(said($backend->take(1)), '8:disconnect', 'and its end is told');
};


subtest 'a connect under way' => sub {
    my $s = $t->polling($from);

    $s->post('40' . $json->encode({ do => {
        hold => 'two', body => [SioBackend::emit('history', args => [1]),
                                { op => 'data', set => { place => 'there' } },
                                { op => 'join', rooms => ['b'] }] } }));
    $backend->take(1);

    my $ws = moved($s);
    $backend->release('two');

    like($ws->message, qr/^40\{"sid":"[\w-]{20}"\}$/, 'it is admitted');
    is($ws->message, '42["history",1]', 'then come the operations');
    is($ws->message, '42["hello","there"]', 'then the rules');
    is($t->api({ op => 'count', to => 'b' })->{count}, 1,
       'and it is in its room');

    $ws->close;
    is(said($backend->take(1)), '2:disconnect', 'its end is told');

    $s = $t->polling($from);
    $s->post('40' . $json->encode({ do => {
        hold => 'three', status => 403, body => { message => 'no' } } }));
    $backend->take(1);
    $ws = moved($s);
    $backend->release('three');
    is($ws->message, '44{"message":"no"}', 'and is refused');
    $ws->close;
};


subtest 'a client that goes after it has moved' => sub {
    my $s = joined($from);
    my $listener = $t->websocket($third);
    $backend->take(1);
    is($listener->message, '42["hello","here"]', 'another one listens');

    $s->post(held('four', body => [
        SioBackend::emit('all', args => [], to => '*')]) . "\x1e" . says(1));
    $backend->take(1);

    my $ws = moved($s);
    $ws->close;
    $t->wait_for(sub { $t->status->{sockets} == 1 }, 'it is gone');
    $backend->release('four');

    is($listener->message, '42["all"]', 'what is for others is carried out');
    is(said($backend->take(2)), '3:1 4:disconnect',
       'what was accepted is told, then the end');
    $listener->close;
    $backend->take(1);
};


subtest 'a response that fails' => sub {
    my $s = joined($from);

    $s->post(held('five', status => 500) . "\x1e" . says(1));
    $backend->take(1);

    my $ws = moved($s);
    $backend->release('five');
    is($ws->message, '431["heard"]', 'the next one is told');
    like($t->log, qr{status 500, handler: "/app", backend: 127}, 'the log has why');
    $ws->close;
    $backend->take(2);
};


subtest 'an acknowledgement that is awaited' => sub {
    my $s = joined($from);

    my $ask = { body => [SioBackend::emit('q', args => [], ack => 'T')] };
    $s->post('42' . $json->encode(['do', $ask]));
    $backend->take(1);

    my $q;
    $t->wait_for(sub {
        ($q) = grep { /^42\d+\["q"\]$/ } $s->packets; $q
    }, 'it is asked while it polls');
    my ($id) = $q =~ /^42(\d+)/;

    my $ws = moved($s);
    $ws->text(qq{43$id\["yes"]});
    my ($r) = $backend->take(1);
    is($json->encode([@{$r->{json}}{qw(type token args)}]),
       '["ack","T",["yes"]]', 'it answers as a WebSocket elsewhere');
    $ws->text(qq{43$id\["twice"]});
    $t->wait_for(sub { $t->status->{acks_unknown} }, 'a second time');
    is(scalar $backend->rest, undef, 'means nothing');
    is($t->status->{acks_missing}, 0, 'nobody is missing');
    $ws->close;
    $backend->take(1);
};


SioBackend::ends($t, $before, $backend);


# Without retries to be made elsewhere there would be nothing to see here.

begins(options => 'sio_handler_queue 2k;');


subtest 'a backend that cannot be reached' => sub {
    my $s = joined($from);
    $backend->stop;

    $s->post(says(1, 2));
    $t->wait_for(sub { $t->status->{handler_retries} > 1 }, 'it is tried');

    my $ws = moved($s);
    $ws->text($_) for split /\x1e/, says(3 .. 40);
    $t->wait_for(sub { $t->status->{limit_handler_queue} },
                 'and is not read any more');

    $backend->start;
    my @r = $backend->take(40);
    is(said(@r), join(' ', map { $_ + 1 . ":$_" } 1 .. 40),
       'all is told, in order, when it is back');
    is(join(' ', map { $ws->message } 1 .. 40),
       join(' ', map { qq{43$_\["heard"]} } 1 .. 40), 'and acknowledged');
    $ws->close;
    $backend->take(1);
};


SioBackend::ends($t, $before, $backend);


begins(options => 'sio_handler_timeout 1s;');


subtest 'a response that does not come' => sub {
    my $s = joined($from);

    $s->post(held('seven', body => [{ op => 'ack', args => ['late'] }])
             . "\x1e" . says(1, 2));
    $backend->take(1);

    my $ws = moved($s);
    $t->hang_up;
    kill 'STOP', $from;
    is(said($backend->take(2, 12)), '3:1 4:2', 'what waited goes on in the end');
    is(join(' ', map { $ws->message } 1, 2), '431["heard"] 432["heard"]',
       'and the client has its answers');
    like($t->log, qr/has not passed on its response/, 'the log has why');

    $backend->release('seven');
    kill 'CONT', $from;
    $ws->text($_) for says(3);
    is($ws->message, '433["heard"]', 'one that comes then is not carried out');
    $ws->close;
    $backend->take(2);
};


SioBackend::ends($t, $before, $backend);


begins();


subtest 'a reload meanwhile' => sub {
    my $s = joined($from);

    $s->post(held('eight') . "\x1e" . says(1, 2));
    $backend->take(1);

    my $ws = moved($s);
    $t->reload;
    $ws->close;
    ok(!$t->await(sub { !-e "/proc/$to" }, 2),
       'the worker without its last client stays');
    $backend->release('eight');
    is(said($backend->take(3)), '3:1 4:2 5:disconnect',
       'all that was accepted is told');
    $t->wait_for(sub { !grep { -e "/proc/$_" } $from, $to },
                 'then they do');
};


SioBackend::ends($t, {}, $backend);


begins(expect_log => [qr/exited on signal 9/]);


subtest 'the worker with the request dies' => sub {
    my $s = joined($from);

    $s->post(held('six') . "\x1e" . says(1, 2));
    $backend->take(1);

    my $ws = moved($s);
    $t->hang_up;
    $t->kill_worker($from);

    is(said($backend->take(2)), '3:1 4:2', 'what waited goes on');
    is(join(' ', map { $ws->message } 1, 2), '431["heard"] 432["heard"]',
       'the one that was under way is not acknowledged');
    like($t->log, qr/has not passed on its response/,
         'the log has why');
    $backend->release('six');
    $ws->close;
    $backend->take(1);
};


SioBackend::ends($t, {}, $backend);

done_testing;
