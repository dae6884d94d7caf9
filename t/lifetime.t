# Who owns a connection or a request, and until when: what nginx left on it
# before, who else lets go of it, how its end is noticed, and how much of all
# that one turn of the event loop does.

use lib 't/lib';
use SioTest;
use SioRaw;
use JSON::PP ();

# nginx's own times are short: none may reach what is a session's.
my $t = SioTest->new(
    tls => 1,
    http => 'lingering_timeout 200ms; lingering_time 400ms;
             client_header_timeout 800ms; client_body_timeout 800ms;
             keepalive_timeout 800ms; send_timeout 800ms;',
    location => 'sio; sio_on * reply;',
    server => <<'EOC',
    location /mirror/ { mirror /socket.io/; }
    location /auth/ { auth_request /socket.io/; }
    location /ssi/ { ssi on; }
    location /limited/ { client_max_body_size 1k; sio; sio_max_payload 1k; }
EOC
);
$t->start;

my $port = $t->port;
my @workers = $t->worker_pids;
my $worker = $workers[0];
my %page = (mirror => 'a page', auth => 'a page', ssi =>
            '<!--# include virtual="/socket.io/?EIO=4&transport=polling" -->');

for my $name (keys %page) {
    mkdir $t->dir . "/html/$name";
    SioTest::write_file($t->dir . "/html/$name/index.html", $page{$name});
}

sub joined { SioRaw::WS->socket($port, @_) }

sub session {
    my $s = SioRaw::Polling->open($port, @_);
    $s->join('/');
    return $s;
}

# Waits until the status shows these values.
sub shows {
    my ($name, %value) = @_;
    my $seen;
    $t->wait_for(sub {
        my $status = $t->status // {};
        $seen = { map { $_ => $status->{$_} // 'none' } keys %value };
        return !grep { $seen->{$_} ne $value{$_} } keys %value;
    }, $name, 3) or diag explain $seen;
}

# Stops the worker while the code runs: it sees all that happens at once.
sub at_once {
    my ($pid, $code) = @_;
    kill 'STOP', $pid;
    $t->await(sub { (SioTest::read_file("/proc/$pid/stat") // '')
                    =~ /\) T / }) or fail('the worker stops');
    $code->();
    kill 'CONT', $pid;
}


subtest 'an upgrade with a body' => sub {
    my $before = $t->status->{handshakes};
    for my $header (['Content-Length' => 100],
                    ['Transfer-Encoding' => 'chunked']) {
        my $bystander = joined();
        my $ws = SioRaw::WS->upgrade($port, headers => $header);
        is($ws->answered->status, 400, "@$header: refused");
        ok($ws->closes, 'and closed, as it never comes');
        my $late = SioRaw::WS->upgrade($port, headers => $header);
        $late->text('40');
        ok($late->closes, 'one that comes is not read as frames');
        ok($bystander->alive, 'a client beside it is served');
        $bystander->close;
    }
    is($t->status->{handshakes}, $before + 2, 'none has a session');
    my $ws = joined(headers => ['Content-Length' => 0]);
    ok($ws->alive, 'an empty one is none');
};


subtest 'timers of nginx end with the request' => sub {
    my %kept = map { $_ => SioRaw->connect($_ eq 'tls' ? $t->tls_port : $port,
                                           tls => $_ eq 'tls') } qw(tcp tls);
    my %ws;
    for my $name (sort keys %kept) {
        $kept{$name}->send_request(GET => '/auth');
        is($kept{$name}->response->status, 301, "$name: a request");
        $ws{$name} = joined(on => $kept{$name});
        ok($ws{$name}->alive, 'and an upgrade on its connection');
    }
    my $c = SioRaw->connect($port);
    $c->write("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n");
    $c->quiet(0.1);
    $c->write("Host: localhost\r\n\r\n");
    my $s = SioRaw::Polling->of(bless { %{$c->response}, port => $port,
                                        target => '/socket.io/' },
                                'SioRaw::Response');
    $s->join('/');
    my $get = $s->start('GET');
    ok($get->quiet(1.2), 'no GET is ended by one');
    ok($ws{$_}->alive, "nor a session, $_") for sort keys %ws;
    $s->post('42["end"]');
    is($get->response->body, '42["end"]', 'and the GET is answered');
    $_->close for values %ws;
};


subtest 'subrequests' => sub {
    shows('nobody is here', sessions => 0, requests => 0, connections => 0);
    my $before = $t->status->{handshakes};
    my %expected = (mirror => 200, auth => 500, ssi => 200);
    for my $name (sort keys %expected) {
        my $ws = SioRaw::WS->upgrade($port, path => "/$name/");
        is($ws->answered->status, $expected{$name}, "$name: an upgrade");
        $ws->close;
        for my $method (qw(GET POST)) {
            my $r = SioRaw::http($port, $method,
                                 "/$name/?EIO=4&transport=polling",
                                 $method eq 'POST' ? (body => '40') : ());
            like($r->status, qr/^(?:$expected{$name}|405)$/, "a $method");
            unlike($r->body, qr/"sid"/, 'opens nothing');
        }
    }
    shows('no session is opened', sessions => 0, requests => 0,
          connections => 0, handshakes => $before);

    my $s = session();
    SioRaw::http($port, GET => '/mirror/?' . $s->{query}) for 1, 2;
    ok($s->lives, 'one that is there cannot be had by one');
};


subtest 'a 413 whose body never comes' => sub {
    my %long = ('declared' => ['Content-Length' => 1_040_000],
                'after a 100' => ['Content-Length' => 1_040_000,
                                  Expect => '100-continue'],
                'too long for nginx' => ['Content-Length' => 9_000_000]);
    for my $name (sort keys %long) {
        for my $end (qw(close reset finish closes)) {
            my $s = session();
            my $c = $s->start('POST', headers => $long{$name},
                              body => '4' x 1000);
            my $r = $c->response;
            $r = $c->response if $r->status eq '100';
            is($r->status, 413, "$name: refused");
            ok($s->lives, 'the session lives');
            $c->$end;
            shows('its request is over', requests => 0);
            my $get = $s->start('GET');
            $s->post('42["on"]');
            is($get->response->body, '42["on"]', "also after its $end");
        }
    }
    my $s = session(path => '/limited/');
    my $c = $s->start('POST', body => '4' x 1025);
    is($c->response->status, 413, 'all of it comes');
    ok($s->lives, 'the session lives');

    $s = session();
    $c = $s->start('POST', headers => ['Content-Length' => 100], body => '6');
    $c->close;
    shows('a POST that is cut off ends it', sessions => 0, requests => 0);
    ok($s->gone, 'its sid is unknown');
};


subtest 'the end comes with the request' => sub {
    shows('nobody is here', sessions => 0, requests => 0);
    my %way = (
        'a new connection' => sub { SioRaw->connect($port) },
        'a kept one' => sub {
            my $c = SioRaw->connect($port);
            $c->send_request(GET => '/status');
            $c->response;
            return $c;
        },
        'a TLS connection' => sub {
            my $c = SioRaw->connect($t->tls_port, tls => 1);
            $c->send_request(GET => '/status');
            $c->response;
            return $c;
        },
    );
    for my $name (sort keys %way) {
        for my $end (qw(close reset finish)) {
            my $s = session();
            my $c = $way{$name}->();
            my $errors = $t->status->{closed}{'transport error'};
            at_once($worker, sub {
                $c->send_request(GET => $s->url);
                $c->$end;
            });
            shows("$name, $end: noticed", sessions => 0, requests => 0);
            is($t->status->{closed}{'transport error'}, $errors + 1, 'counted');
            $s->{gone} = 1;
        }
    }

    # one of several workers that is not stopped may be done before the end
    my $noticed;
    for (1 .. (@workers == 1 ? 1 : 5)) {
        my $s = session();
        my $c = SioRaw->connect($port);
        at_once($worker, sub {
            $c->send_request(POST => $s->url, body => join "\x1e", (6) x 50_000);
            $c->close;
        });
        $noticed = $t->await(sub { $t->status->{sessions} == 0 }, 1);
        last if $s->{gone} = $noticed;
    }
    ok($noticed, 'a POST that takes several turns');
    shows('its request is over', sessions => 0, requests => 0);
};


subtest 'bodies in pieces' => sub {
    my $event = '42["echo","' . 'x' x 20_000 . '"]';
    my @cut = ([1], [1, 5000], [3, 3, 3, 9000], [length $event]);
    for my $cut (@cut) {
        my $s = session();
        my $c = $s->start('POST', headers => ['Transfer-Encoding'
                                              => 'chunked']);
        my $rest = $event;
        for my $n (@$cut, length $event) {
            my $piece = substr $rest, 0, $n, '';
            $c->write(sprintf "%x\r\n%s\r\n", length $piece, $piece)
                if length $piece;
            ok($c->quiet(0.02), 'it waits') if length $rest;
        }
        $c->write("0\r\n\r\n");
        is($c->response->body, 'ok', "chunks of @$cut and the rest");
        ok($s->get->body eq $event, 'arrive as one');
    }
    my $s = session();
    is($s->start('POST', chunks => [])->response->status,
       session()->post('')->status, 'no chunk at all: as an empty body');
};


subtest 'two Connection lines' => sub {
    my @both = (Connection => 'keep-alive', Connection => 'Upgrade');
    for my $headers (\@both, [@both[2, 3, 0, 1]]) {
        my $ws = joined(without => ['Connection'], headers => $headers);
        ok($ws->alive, join ', ', @$headers[1, 3]);
        $ws->close;
    }
};


is(join(' ', $t->worker_pids), "@workers", 'the workers are still the first');
$t->stop;


subtest 'a thousand clients of 1,900 leave at once' => sub {
    my ($all, $leaving) = $ENV{NGX_SIO_ASAN} ? (500, 300) : (1900, 1000);
    SioTest::descriptors($all + 100);
    $t = SioTest->new(
        main => 'worker_rlimit_nofile 4096;',
        events => 'worker_connections 4096;',
        location => <<'EOC',
            sio; sio_max_queue 100m;
            sio_on * reply;
            sio_namespace /crowd {
                sio_on disconnect broadcast event=left args=[];
                sio_on * reply;
            }
EOC
    )->start;
    my ($pid) = $t->worker_pids;
    my @crowd = map { SioRaw::WS->socket($t->port, nsp => '/crowd') }
                    1 .. $all;
    is($t->status->{sockets}, $all, 'all are here');

    # Two of these requests lie at most one turn apart.
    my $watch = SioRaw->connect($t->port);
    my ($slowest, $late, $status) = (0, 0);
    my @gone = splice @crowd, 0, $leaving;
    at_once($pid, sub { $_->close for @gone });
    do {
        my ($before) = SioRaw::Probe::cpu_and_wait($pid);
        $watch->send_request(GET => '/status');
        $status = eval { JSON::PP::decode_json($watch->response->body) };
        my ($after) = SioRaw::Probe::cpu_and_wait($pid);
        $slowest = $after - $before if $after - $before > $slowest;
    } while $status && ($status->{sessions} > $all - $leaving
                        || $status->{queued} > 0);
    is($status->{sessions}, $all - $leaving, 'those who left are not');
    cmp_ok($slowest, '<', 50 * $SioRaw::SCALE, 'no turn is too long');
    note(sprintf 'turn %.1f ms', $slowest);
    my $left = '42/crowd,["left"]';
    my $told = "\x81" . chr(length $left) . $left;
    for my $ws (@crowd) {
        $late++ if ($ws->take($leaving * length $told) // '')
                   ne $told x $leaving;
    }
    is($late, 0, 'each is told of each');
    $_->close for @crowd;
    $t->stop;
};


# poll() reports what is ready again and again: nobody may ask for an event
# that he does not wait for.
for my $use (qw(epoll poll)) {
    my ($missing) = SioTest::nginx_t(events => "use $use;");
    next if $missing;

    subtest "idle with $use" => sub {
        $t = SioTest->new(events => "use $use;",
                          location => 'sio; sio_max_queue 20m; '
                                      . 'sio_on * reply;')->start;
        my ($pid) = $t->worker_pids;
        my $ws = SioRaw::WS->socket($t->port, rcvbuf => 4096);
        my $event = '42["echo","' . 'x' x 500_000 . '"]';
        $ws->text($event) for 1 .. 10;
        is(scalar(grep { ($ws->message // '') eq $event } 1 .. 10), 10,
           'what was held back is read');
        my $mute = SioRaw::WS->socket($t->port);
        $mute->text('3bad' . 'x' x 1_000_001);
        $mute->close_code;
        my $s = SioRaw::Polling->open($t->port);
        $s->join('/');
        my $get = $s->start('GET');
        my ($before) = SioRaw::Probe::cpu_and_wait($pid);
        ok($get->quiet(1), 'nothing happens');
        my ($after) = SioRaw::Probe::cpu_and_wait($pid);
        cmp_ok($after - $before, '<', 100, 'and costs nothing');
        ok($ws->alive, 'the session lives');
        $_->close for $ws, $mute;
        $get->close;
        $s->{gone} = 1;
        $t->stop;
    };
}


done_testing;
