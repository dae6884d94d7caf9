# Handlers: a backend that cannot be reached, or that fails.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use IO::Socket::INET;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my %answers = (more => { body => [{ op => 'ack', args => ['done'] }] });
my $backend = SioBackend->new(answers => { %answers })->start;
my $second = SioBackend->new(answers => { %answers })->start;
my ($one, $two) = map { $_->address } $backend, $second;

# One that listens, but takes no connection.
my $deaf = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1);
my @waiting = map { IO::Socket::INET->new(PeerAddr => '127.0.0.1',
    PeerPort => $deaf->sockport, Blocking => 0) } 1 .. 3;

my $t = SioTest->new(
    http => <<"EOC",
    upstream app { server $one; keepalive 8; }
    upstream two { server $one max_fails=0; server $two max_fails=0; }
EOC
    location => 'sio; sio_handler /app;',
    server => <<"EOC",
    location /retry/ { sio; sio_handler /app; sio_handler_retry 2s; }
    location /deaf/  { sio; sio_on a handler /deaf; sio_handler_retry 500ms; }
    location /brief/ { sio; sio_handler /app; sio_handler_timeout 1s; }
    location /read/  { sio; sio_handler /read; }
    location /two/   { sio; sio_handler /two; }
    location /once/  { sio; sio_handler /once; }
    location = /app {
        internal;
        proxy_pass         http://app;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
    }
    location = /read {
        internal;
        proxy_pass         http://$one;
        proxy_read_timeout 300ms;
    }
    location = /deaf {
        internal;
        proxy_pass            http://127.0.0.1:${\$deaf->sockport};
        proxy_connect_timeout 200ms;
    }
    location = /two {
        internal;
        proxy_pass          http://two;
        proxy_next_upstream error timeout http_500 non_idempotent;
    }
    location = /once {
        internal;
        proxy_pass http://two;
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);
my $count = 0;

sub joined {
    my $ws = SioRaw::WS->socket($port, @_);
    $_->rest for $backend, $second;
    return $ws;
}

sub emits {
    my ($ws, $event, @args) = @_;
    $ws->text('42' . $json->encode([$event, @args]));
}

# The next acknowledgement is that of an event which the backend answers.
sub goes_on {
    my ($ws, $name) = @_;
    my $n = 5000 + $count++;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(($ws->ask("42$n\[\"more\"]"))[0], "43$n\[\"done\"]", $name);
}

sub refused {
    my $ws = SioRaw::WS->open($port, @_);
    my $start = SioRaw::now();
    my ($answer) = $ws->ask('40');
    my $took = SioRaw::now() - $start;
    $ws->close;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is($answer, '44{"message":"Server error"}', 'a connect is refused');
    cmp_ok($took, '<', 0.4 * $SioRaw::SCALE, 'at once');
}

# What the log says of handlers since the last time.
my $seen = 0;
sub logged {
    my $log = substr $t->log, $seen;
    $seen += length $log;
    return grep { / sio: / } split /\n/, $log;
}


subtest 'down, and back' => sub {
    my @ws = map { joined() } 1 .. 3;
    my $state = $t->status;

    $backend->stop;
    emits($ws[$_ % 3], 'tick', $_) for 0 .. 59;
    my $until = SioRaw::now() + 3;
    $t->wait_for(sub { $t->status->{handler_queued} == 60 }, 'events wait');
    refused();
    $t->await(sub { SioRaw::now() >= $until }, 3);
    is($t->status->{handler_queued}, 60, 'and wait');
    refused();

    $backend->start;
    my $start = SioRaw::now();
    my ($first, @r) = $backend->take(60);
    cmp_ok($first->{at} - $start, '<', 1.2 * $SioRaw::SCALE,
           'they go as soon as it is back');
    cmp_ok($r[-1]{at} - $first->{at}, '<', 2 * $SioRaw::SCALE, 'all of them');
    my %args;
    push @{$args{$_->{json}{id}}}, $_->{json}{args}[0] for $first, @r;
    is_deeply([map { $args{$_->id} } @ws],
              [map { my $i = $_; [map { 3 * $_ + $i } 0 .. 19] } 0 .. 2],
              'in their order, once');
    is_deeply([map { ($_ - 2) % 20 } map { $_->{json}{seq} }
                   grep { $_->{json}{id} eq $ws[0]->id } $first, @r],
              [0 .. 19], 'nothing is left out');
    my $now = $t->status;
    cmp_ok($now->{handler_retries}, '>=', 3, 'handler_retries');
    is($now->{$_}, $state->{$_} + ($_ eq 'handler_errors' ? 2 : 0), $_)
        for qw(handler_lost handler_errors handler_timeouts);
    ok(defined SioRaw::WS->socket($port)->id, 'connects are admitted again');
    is(join("\n", grep { !/\[info\]|could not be reached/ } logged()), '',
       'the log has nothing else');
    $_->close for @ws;
    is(scalar(() = $backend->take(5)), 5, 'a connect, and all leave');
};


subtest 'sio_handler_retry' => sub {
    my @ws = map { joined(path => '/retry/') } 1 .. 20;
    my $lost = $t->status->{handler_lost};
    my $start = SioRaw::now();

    $backend->stop;
    emits($_, 'lost') for @ws;
    $t->wait_for(sub { $t->status->{handler_lost} > $lost }, 'lost', 6);
    cmp_ok(SioRaw::now() - $start, '>', 1.9, 'not before its time');
    $t->wait_for(sub { $t->status->{handler_lost} == $lost + 20 },
                 'none waits for much longer', 4)
        or diag $t->status->{handler_lost} - $lost . ' of 20';
    my @log = logged();
    is(scalar(grep { /\[error\][^\n]*event lost: no server.*handler: "\/app"/ }
                   @log), $t->status->{handler_lost} - $lost, 'each is logged');
    is($t->status->{sessions}, 20, 'the clients stay');
    $backend->start;
    goes_on($_, 'and go on') for @ws[0, 19];
    $_->close for @ws;
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'all leave');
    is(scalar(grep { ($_->{json}{event} // '') eq 'lost' } $backend->rest),
       20 - ($t->status->{handler_lost} - $lost),
       'what was lost is not told any more');
};


subtest 'a server that takes no connection' => sub {
    my $lost = $t->status->{handler_lost};
    my $ws = joined(path => '/deaf/');
    emits($ws, 'a');
    $t->wait_for(sub { $t->status->{handler_lost} == $lost + 1 }, 'lost');
    like(join("\n", logged()), qr/event lost: no server could be reached/,
         'as one that is down');
    $ws->close;
};


subtest 'sent, and failed' => sub {
    for (['status 500', { status => 500, body => [] }],
         ['status 404', { status => 404 }],
         ['status 302', { status => 302, headers => [Location => '/'] }],
         ['status 304', { status => 304 }],
         ['status 502', { status => 502 }], ['status 504', { status => 504 }],
         ['status 502', { raw => '' }],
         ['status 502', { raw => '', reset => 1 }],
         ['status 0', { raw => "no HTTP\r\n\r\n" }],
         ['status 502', { raw => "HTTP/1.1 200 OK\r\nA: b\r\n" }],
         ['cut short', { body => '[ ]', cut => 0 }],
         ['cut short', { body => [SioBackend::emit('no')], cut => 20 }],
         ['cut short', { body => '[ ]', cut => 1, reset => 1 }],
         ['cut short', { body => '[ ]', chunked => 100, cut => 6 }],
         ['did not respond',
          { raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n[]" }],
         ['status 504', { never => 1 }, '/read/'],
         ['cut short', { body => '[     ]', drip => 0.6 }, '/read/', 504],
         ['in time, limited by "sio_handler_timeout"',
          { body => '[ ]', drip => 1 }, '/brief/'],
         ['in time, limited by "sio_handler_timeout"', { never => 1 },
          '/brief/']) {
        my ($why, $answer, $path, $or) = @$_;
        my $ws = joined($path ? (path => $path) : ());
        my $state = $t->status;
        my $name = $json->encode($answer) =~ s/[^ -~]/./gr;

        logged();
        $ws->text('4277' . $json->encode(['do', $answer]));
        goes_on($ws, "$name: the next event goes on, no acknowledgement");
        is(join(' ', map { $_->{json}{event} } $backend->take(2)), 'do more',
           'it is not repeated');
        my @log = grep { /\[error\]/ } logged();
        is(scalar @log, 1, 'logged once');
        like($log[0], qr/sio:\ the\ handler.*\Q$why\E.*handler:\ "\/\w+",
                         \ backend:\ \Q$one\E,\ client:\ 127\.0\.0\.1$/x,
             $why) if !$or;
        like($log[0], qr/(?:\Q$why\E|status $or), handler:/, $why) if $or;
        my $now = $t->status;
        is($now->{handler_errors}, $state->{handler_errors} + 1, 'counted');
        is($now->{handler_timeouts} - $state->{handler_timeouts},
           $why =~ /timeout/ ? 1 : 0, 'handler_timeouts') if $path;
        is($now->{handler_lost} + $now->{handler_retries},
           $state->{handler_lost} + $state->{handler_retries}, 'nor tried');
        $ws->close;
        is($backend->take(1)->{json}{type}, 'disconnect', 'it was connected');
    }
};


subtest 'several servers' => sub {
    my $errors = $t->status->{handler_errors};
    my ($ws, $once) = map { joined(path => $_) } '/two/', '/once/';
    my $do = sub { "42[\"do\",{\"status\":$_[0]}]" };
    my $told = sub { scalar grep { ($_->{json}{event} // '') eq 'x' }
                                 map { $_->rest } $backend, $second };

    # One is down: the other one has all.
    $backend->stop;
    for my $n (1 .. 6) {
        goes_on($_, 'one is down') for $ws, $once;
    }
    is(scalar(() = $second->rest), 12, 'all at the other one');
    is($t->status->{handler_errors}, $errors, 'no error');
    $backend->start;

    # One fails: the request is repeated if that is allowed.
    $backend->set(x => { status => 500 });
    $second->set(x => {});
    emits($ws, 'x', $_) for 1 .. 6;
    goes_on($ws, 'one fails');
    is($told->(), 9, 'half of the requests go to both');
    is($t->status->{handler_errors}, $errors, 'no error');

    $backend->set(x => { raw => '' });
    emits($once, 'x', $_) for 1 .. 6;
    goes_on($once, 'without non_idempotent');
    is($told->(), 6, 'none is repeated');
    is($t->status->{handler_errors}, $errors + 3, 'half of them fail');

    # One fails and the other is down: it may have been done.
    $second->stop;
    $errors = $t->status->{handler_errors};
    my $retries = $t->status->{handler_retries};
    emits($ws, 'x', $_) for 1 .. 4;
    goes_on($ws, 'one fails, one is down');
    is($told->(), 4, 'each was sent once');
    is($t->status->{handler_errors}, $errors + 4, 'and failed');
    is($t->status->{handler_retries}, $retries, 'none is tried again');

    # Both are down.
    $backend->stop;
    emits($_, 'more') for $ws, $once;
    $t->wait_for(sub { $t->status->{handler_retries} >= $retries + 2 },
                 'both are down');
    $second->start;
    is(scalar(() = $second->take(2)), 2, 'and one is back');
    $backend->start;
    $_->close for $ws, $once;
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'they leave');
    $_->rest for $backend, $second;
};


close $_ for $deaf, @waiting;
SioBackend::ends($t, $before, $backend, $second);
is(join("\n", map { $_->{body} } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
