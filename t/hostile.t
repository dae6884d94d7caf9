# Hostile clients.  Whatever one of them does: it is served or refused within
# two seconds of the worker's CPU time, no turn of the event loop takes more
# than 50 ms, the echoes of another client come within 100 ms meanwhile,
# memory stays bounded and nobody else is dropped.

use lib 't/lib';
use SioTest;
use SioRaw;

my $t = SioTest->new(
    location => <<'EOC',
        sio;
        sio_on all broadcast;
        sio_on join join $sio_arg1;
        sio_on * reply;
        sio_namespace ~^/n { sio_on all broadcast; sio_on * reply; }
EOC
    server => <<'EOC',
    location /brief/ { sio; sio_connect_timeout 500ms; }
EOC
);
$t->start;

my $port = $t->port;
my $scale = $SioRaw::SCALE;

# AddressSanitizer keeps what was freed for a while.
my $quarantine = $ENV{NGX_SIO_ASAN} ? 256 * 1024 : 0;
my @workers = $t->worker_pids;
my $worker = $workers[0];
my $bystander = SioRaw::WS->socket($port);

# The worker's share of the processor is not what is measured here.
setpriority 0, $worker, -10;

sub frame { SioRaw::WS->frame(@_) }
sub joined { SioRaw::WS->socket($port, @_) }

sub session {
    my $s = SioRaw::Polling->open($port, @_);
    $s->join('/');
    return $s;
}

# attack(name, code, memory => KiB that it may take)
sub attack {
    my ($name, $code, %opt) = @_;

    subtest $name => sub {
        my $probe = SioRaw::Probe->start($port, $worker);
        my ($before) = SioRaw::Probe::cpu_and_wait($worker);
        my $memory = SioRaw::Probe::memory($worker);
        $code->();
        my ($after) = SioRaw::Probe::cpu_and_wait($worker);
        my $grown = SioRaw::Probe::memory($worker) - $memory;
        my $seen = $probe->stop;

        is($seen->{lost}, undef, 'a client beside it is served');
        return if defined $seen->{lost};
        note(sprintf 'CPU %.0f ms, turn %.1f ms, echo %.1f ms of %d, '
             . 'memory %+d KiB, at most %+d', $after - $before, $seen->{turn},
             $seen->{slowest}, $seen->{echoes}, $grown, $seen->{peak});
        cmp_ok($after - $before, '<', 2000 * $scale, 'CPU time');
        cmp_ok($seen->{turn}, '<', 50 * $scale, 'no turn is too long');
        cmp_ok($seen->{slowest}, '<', 100 * $scale, 'no echo is too slow');
        cmp_ok($seen->{peak}, '<',
               ($opt{memory} // 8192) * $scale + $quarantine,
               'memory is bounded');
        ok($bystander->alive, 'an idle client was not dropped');
        is(join(' ', $t->worker_pids), "@workers", 'nor a worker');
    };
}


attack('byte by byte', sub {
    my $event = '42["echo","' . 'x' x 3000 . '"]';
    my $ws = SioRaw::WS->upgrade($port, drip => 1);
    like($ws->message, qr/^0\{/, 'handshake');
    $ws->drip(frame(1, '40'));
    like($ws->message, qr/^40\{/, 'CONNECT');
    $ws->drip(frame(1, $event));
    ok($ws->message eq $event, 'an event');

    my $s = session();
    my $c = SioRaw->connect($port);
    $c->drip($c->request(POST => $s->url, body => $event));
    is($c->response->body, 'ok', 'a POST');
    $c->drip($c->request(GET => $s->url));
    ok($c->response->body eq $event, 'a GET');
});


attack('never reads', sub {
    my $deaf = joined(rcvbuf => 4096);
    my $ask = frame(1, '42["echo","' . 'x' x 1000 . '"]') x 20;
    my $n = 0;
    $n++ while $n < 2000 && $deaf->write($ask, 2) == length $ask;
    cmp_ok($n, '<', 2000, "asks for more and more: closed after $n x 20");

    my $sender = joined(nsp => '/n');
    $deaf = joined(nsp => '/n', rcvbuf => 4096);
    my $before = $t->status->{limit_queue};
    my $event = frame(1, '42/n,["all","' . 'x' x 30_000 . '"]');
    for $n (1 .. 1000) {
        $sender->write($event);
        last if $n % 20 == 0 && $t->status->{limit_queue} > $before;
    }
    is($t->status->{limit_queue}, $before + 1, 'is sent more and more: closed');
    ok($deaf->closes, 'and ended');

    my $s = session();
    $before = $t->status->{limit_queue};
    $s->post(join("\x1e", map { '42["echo","' . 'x' x 1000 . '"]' } 1 .. 900),
             deadline => 2) for 1, 2;
    ok($s->gone, 'polling: never GETs');
    is($t->status->{limit_queue}, $before + 1, 'closed');
});


attack('stops after the 101', sub {
    my $before = $t->status;
    my @mute = map { SioRaw::WS->upgrade($port, path => '/brief/') } 1 .. 200;
    is(scalar(grep { $_->switched } @mute), 200, '200 WebSockets');
    push @mute, map { SioRaw::WS->upgrade($port, path => '/brief/',
                                          early => "\x81", unread => 1) }
                    1 .. 50;
    $t->wait_for(sub { $t->status->{connect_timeouts}
                       == $before->{connect_timeouts} + 250 },
                 'all sessions end', 5);
    $t->wait_for(sub { $t->status->{connections}
                       == $before->{connections} }, 'and their connections',
                 10);
});


attack('tiny packets', sub {
    my $event = sub { join "\x1e", ($_[0]) x (1_000_000 / (1 + length $_[0])) };
    my $s = session();
    is($s->post(join("\x1e", ('6') x 500_000), deadline => 10 * $scale)->body,
       'ok', '500,000 in a POST');
    is($s->post($event->('431[]'), deadline => 10 * $scale)->body, 'ok',
       'acknowledgements nobody waits for');
    is($s->post($event->('42["join","x"]'), deadline => 10 * $scale)->body,
       'ok', 'events with a rule');
    ok($s->lives, 'the session lives');
    $s->post($event->('42["x"]'), deadline => 10 * $scale);
    ok($s->gone, '125,000 echoes are too many to wait for a GET');

    my $sender = session();
    $sender->join('/n');
    my $reader = joined(nsp => '/n');
    $sender->post($event->('42/n,["all"]'), deadline => 10 * $scale);
    my $got = 0;
    $got++ while $got < 76_923 && defined $reader->message;
    is($got, 76_923, 'as many broadcasts arrive');

    my $ws = joined();
    $ws->write(frame(1, '6', mask => "\0\0\0\0") x 500_000, 10 * $scale);
    ok($ws->alive, '500,000 in frames');

    $ws->write(frame(9, '', mask => "\0\0\0\0") x 100_000, 10 * $scale);
    $ws->text('42["end"]');
    my $f;
    1 while ($f = $ws->recv) && $f->{op} == 10;
    ok($ws->{eof} || $f, '100,000 pings: served or refused');
});


attack('one-byte fragments', sub {
    my $text = '42["echo","' . 'x' x 999_987 . '"]';
    my $byte = sub { frame($_[0], $_[1], fin => 0, mask => "\0\0\0\0") };
    my %frame = map { $_ => $byte->(0, $_) } '4', '2', '[', '"', 'e', 'c',
                    'h', 'o', ',', 'x', ']';
    my $frames = join '', map { $frame{$_} } split //, substr $text, 1, -1;

    my $ws = joined();
    $ws->write($byte->(1, '4') . $frames . frame(0, ']'), 20 * $scale);
    ok(($ws->message(20 * $scale) // '') eq $text, 'a million of them');
    ok($ws->alive, 'the session lives');

    $ws->write($byte->(1, '') . $byte->(0, '') x 1_000_000, 20 * $scale);
    $ws->write(frame(0, '6'), 1);
    ok($ws->alive || $ws->closes, 'a million empty ones: served or refused');
}, memory => 12_288);


attack('attachments that never come', sub {
    my $head = '452-["a",{"_placeholder":true,"num":0},'
               . '{"_placeholder":true,"num":1}]';
    my @waiting = map { joined() } 1 .. 20;
    for my $ws (@waiting) {
        $ws->text($head);
        $ws->binary('x' x 500_000);
    }
    is(scalar(grep { $_->quiet(0) } @waiting), 20, '20 clients stop halfway');
    my @s = map { session() } 1 .. 10;
    $_->post("$head\x1eb" . 'QUFB' x 100_000) for @s;
    is(scalar(grep { $_->lives } @s), 10, 'and ten by polling');
    my @announced = map { joined() } 1 .. 100;
    for my $ws (@announced) {
        $ws->text($head);
        $ws->write(substr frame(2, '', length => 900_000), 0, 8);
    }
    ok($bystander->alive, '100 announce much and send nothing');
    $_->close for @waiting, @announced;
    @s = ();
    $t->wait_for(sub { $t->status->{sessions} <= 4 }, 'all leave', 5);
}, memory => 30 * 1024);


attack('placeholders out of range', sub {
    my $one = sub { "{\"_placeholder\":true,\"num\":$_[0]}" };
    for my $num (1, -1, 10, 4_294_967_296, '1e99', '18446744073709551616',
                 '-0.5', '"0"', 'null', '1' x 1000) {
        for (1 .. 10) {
            my $ws = joined();
            $ws->text('451-["all",' . $one->($num) . ']');
            $ws->binary('x');
            $ws->close_code // fail("num $num is refused");
        }
    }
    my $ws = joined();
    $ws->text('451-["echo"' . ",${\$one->(0)}" x 30_000 . ']');
    $ws->binary('x');
    my $answer = $ws->message // '';
    like($answer, qr/^(45\d+-\["echo"|op 8)/, '30,000 of one attachment');
});


attack('nested JSON', sub {
    my %deep = (
        'a million arrays' => '42["a",' . '[' x 999_000,
        'half of them, closed' => '42["a",' . '[' x 499_000 . ']' x 499_000
                                  . ']',
        'objects' => '42["a",' . '{"":' x 240_000,
        'both' => '42["a",' . '[{"":' x 190_000,
        'in the CONNECT' => '40/n,{"a":' . '[' x 900_000,
        'in an acknowledgement' => '431[' . '[' x 999_000,
    );
    for (sort keys %deep) {
        my $ws = joined();
        $ws->text($deep{$_});
        ok(defined $ws->close_code, "$_: refused");
        my $s = session();
        $s->post($deep{$_}, deadline => 2);
        ok($s->gone || join(' ', $s->packets) =~ /1$/, 'by polling, too');
    }

    my %flat = (
        '330,000 arrays' => '42["a"' . ',[]' x 330_000 . ']',
        '499,000 numbers' => '42["a"' . ',1' x 499_000 . ']',
        'a name of a million' => '42["' . 'x' x 999_000 . '"]',
        '160,000 escapes' => '42["a","' . '\u0041' x 160_000 . '"]',
        'a number of a million' => '42["a",' . '1' x 999_000 . ']',
        '200,000 keys' => '42["a",{' . join(',', ('"":1') x 190_000) . '}]',
        'a million blanks' => '42["a",' . ' ' x 999_000 . '1]',
    );
    for (sort keys %flat) {
        my $ws = joined();
        $ws->text($flat{$_});
        ok(($ws->message(10 * $scale) // '') eq $flat{$_}, "$_: served");
    }
});


attack('100,000 namespaces', sub {
    my $namespaces = $t->status->{namespaces};
    my $drain = sub {
        my ($ws, $n) = @_;
        my $seen = 0;
        while ($seen < $n) {
            $ws->fill or last;
            my $i = rindex $ws->{in}, '}';
            $seen += () = substr($ws->{in}, 0, $i + 1, '') =~ /4[04]\/n/g;
        }
        return $seen;
    };

    my $ws = SioRaw::WS->open($port);
    my $answers = 0;
    for my $k (0 .. 99) {
        $ws->write(join '', map { frame(1, "40/n$k.$_,",
                                        mask => "\0\0\0\0") } 1 .. 1000);
        $answers += $drain->($ws, 1000);
    }
    is($answers, 100_000, 'each is answered');
    cmp_ok($t->status->{namespaces}, '<=', $namespaces + 16, '16 exist');
    $ws->close;

    $ws = SioRaw::WS->open($port);
    $answers = 0;
    my $leave = '';
    for my $k (1 .. 12_500) {
        my @names = map { "/n$k.$_," } 1 .. 8;
        $ws->write($leave . join '', map { frame(1, "40$_") } @names);
        $leave = join '', map { frame(1, "41$_") } @names;
        my $n = $drain->($ws, 8);
        $answers += $n;
        last if $n < 8;
    }
    is($answers, 100_000, 'joined and left one after the other');
    $ws->close;
    $t->wait_for(sub { $t->status->{namespaces} == $namespaces },
                 'none is left', 2)
        or diag "$namespaces, now " . $t->status->{namespaces};

    $ws = SioRaw::WS->open($port);
    $ws->text('40/n' . 'x' x 900_000 . ',');
    ok(defined $ws->message, 'a name of 900,000 bytes is answered');
});


attack('broken packets for others', sub {
    my @others = map { joined(nsp => '/n') } 1 .. 3;
    my $polling = SioRaw::Polling->open($port);
    $polling->join('/n');
    my @bad = (
        map({ "42/n,[\"all\",\"$_\"]" }
            "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
            "\xe2\x9c", "\x80", "\0", "\n", "\x1f", '\u12', '\x'),
        map({ "42/n,[\"all\",1]$_" }
            'x', ']', "\0", "\xff", "\xef\xbb\xbf", '[]', "\x0c", ',', '1'),
        '42/n,["all"', '42/n,["all",]', '42/n,["all",01]', '42/n,["connect"]',
        '42/n,["\u0064isconnect"]', "42/n,[\"all\xff\"]", "42/n\xff,[\"all\"]",
        '451-/n,["all",{"_placeholder":true,"num":1}]' . "\x1ebQUFB",
        '451-/n,["all",{"_placeholder":true}]' . "\x1ebQUFB",
        '451-/n,["all",{"_placeholder":true,"num":0}]' . "\x1eb\xff",
        '451-/n,["all",{"_placeholder":true,"num":0}]' . "\x1e42/n,[\"all\"]",
    );
    for my $body (@bad) {
        my $s = SioRaw::Polling->open($port);
        $s->join('/n');
        $s->post($body, deadline => 1);
        ok($s->gone || join(' ', $s->packets) =~ /1$/,
           "refused: $body" =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger);
    }
    my $good = '42/n,["all","good \u2028 ✓"]';
    my $sender = SioRaw::Polling->open($port);
    $sender->join('/n');
    $sender->post($good);
    is($_->message, $good, 'the others got nothing but a good one') for @others;
    is(join('|', $polling->packets), $good, 'by polling, too');
});


$bystander->close;
$t->stop;
done_testing;
