# Handlers: what rarely meets.  A backlog waits, or a call is under way, when
# its session, its worker or its time comes to an end.

use lib 't/lib';
use SioCluster;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

my $app = q{internal; proxy_pass http://app; proxy_http_version 1.1;
            proxy_set_header Connection "";};


# A server with a backend, both to be rid of.

sub begins {
    my ($backend, %more) = @_;

    my $t = SioCluster->new(
        api  => '',
        http => "upstream app { server ${\$backend->address}; keepalive 16; }
                 log_format ev '\$sio_event \$sio_id';",
        server => "location = /app { log_subrequest on; access_log ev.log ev;
                                     $app }",
        %more)->start;

    return ($t, SioBackend::rested($t), $t->worker_pids);
}


# More than is kept of clients that have left waits for a server.

subtest 'clients that leave more than is kept' => sub {
    my $backend = SioBackend->new(answers => {});
    my ($t, $before, $pid) = begins($backend,
        workers  => 1,
        location => 'sio; sio_handler_retry 3s; sio_on say handler /app;');
    my $text = 'x' x 80_000;

    for my $n (1 .. 80) {
        my $ws = SioRaw::WS->socket($t->port);
        $ws->text(qq{42["say",$_,"$text"]}) for 1 .. 3;
        $ws->close;
    }

    $t->wait_for(sub { $t->status->{sessions} == 0 }, 'all have left');
    $t->wait_for(sub { $t->log =~ /events of a client that has left are lost/ },
                 'some of it is dropped');
    $t->wait_for(sub { $t->status->{handler_queued} == 0 },
                 'and the rest in its time', 20);
    is(join(' ', $t->worker_pids), $pid, 'the worker lives');
    is($t->status->{handler_lost}, 240, 'each is counted');

    SioBackend::ends($t, {}, $backend);
};


subtest 'two handlers, one of which cannot be reached' => sub {
    my $down = SioBackend->new(answers => {});
    my $up = SioBackend->new(answers => {})->start;
    my ($t, $before) = begins($up,
        workers  => 1,
        location => 'sio; sio_handler_retry 500ms; sio_on say handler /app;
                     sio_on down handler /down;',
        server   => "location = /app { $app }
                     location = /down { internal;
                         proxy_pass http://${\$down->address}; }");
    my ($first, $second) = map { SioRaw::WS->socket($t->port) } 1, 2;

    $first->text('42["down",1]');
    $t->wait_for(sub { $t->status->{handler_retries} }, 'it is tried');
    $second->text($_) for '42["down",2]', '42["say",2]';
    is($up->take(1)->{json}{event}, 'say',
       'what is behind it comes when it was given up');

    $down->start;
    $first->text('42["down",3]');
    is($down->take(1)->{json}{args}[0], 3, 'it is tried again,');
    $second->text('42["down",4]');
    is($down->take(1)->{json}{args}[0], 4, 'and again');

    $_->close for $first, $second;
    SioBackend::ends($t, $before, $up, $down);
};


# The event's name is asked for in the end, for the log.

subtest 'a session that moved, and the variables' => sub {
    my $backend = SioBackend->new(answers => {
        say => { hold => 'say', body => [{ op => 'ack' }] } })->start;
    my ($t, $before, $from, $to) = begins($backend, workers => 2,
                                          location => 'sio; sio_handler /app;');
    my $s = $t->polling($from);

    $s->join('/');
    $backend->take(1);
    $s->post('421["say",1]');
    my $id = $backend->take(1)->{json}{id};

    my $ws = $t->upgrade($s, $to);

    $t->wait_for(sub { $t->status->{moves} == 1 }, 'it moves');
    $backend->release('say');
    is($ws->message, '431[]', 'the answer');
    $t->wait_for(sub {
        SioTest::read_file($t->dir . '/ev.log') =~ /^say \Q$id\E$/m;
    }, 'the log');

    $ws->close;
    $backend->take(1);
    SioBackend::ends($t, $before, $backend);
};


subtest 'a POST that is answered late, and a reload' => sub {
    my $backend = SioBackend->new(answers => {
        more => { body => [{ op => 'ack' }] } })->start;
    my ($t, $before, $from, $to) = begins($backend, workers => 2,
        location => 'sio; sio_handler /app; sio_handler_queue 16k;');
    my $text = 'x' x 1000;
    my $s = $t->polling($from);

    $t->request_on($to, POST => $s->url, body => '40');
    $backend->take(1);
    $t->begin_on($to, POST => $s->url, body => join "\x1e",
        '42' . $json->encode(['do', { hold => 'it' }]),
        map { qq{42["more",$_,"$text"]} } 1 .. 60);
    $backend->take(1);
    $t->wait_for(sub { $t->status->{limit_handler_queue} }, 'it is held');

    kill 'HUP', $t->pid;
    $t->wait_for(sub { @{$t->status->{workers}} == 4 }, 'a reload');
    $backend->release('it');
    is(scalar(@{[$backend->take(60)]}), 60, 'all is told');

    my $r = $t->finish_on($to);
    is($r->status . ' ' . $r->body, '200 ok', 'the POST is answered');

    $s->post('1');
    $backend->take(1);
    SioBackend::ends($t, {}, $backend);
};


subtest 'what a client claims has its bound' => sub {
    my $backend = SioBackend->new(answers => {})->start;
    my ($t, $before) = begins($backend, workers => 1,
                              location => 'sio; sio_handler /app;');
    my $ws = SioRaw::WS->open($t->port);

    $ws->text('40' . $json->encode({ x => 'x' x 9000 }));
    is($ws->message, '44{"message":"Auth payload too large"}', 'refused');
    $ws->text('40{"x":1}');
    like($ws->message, qr/^40\{"sid"/, 'and another one is not');
    is(scalar(@{[$backend->take(1)]}), 1, 'the handler hears of that one');
    is(scalar $backend->rest, undef, 'alone');

    $ws->close;
    $backend->take(1);
    SioBackend::ends($t, $before, $backend);
};

done_testing;
