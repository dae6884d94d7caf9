# Handlers and hostile clients.  Whatever a client says, the backend gets
# valid JSON of it, in a request without a header of the client's, and the log
# no line; and however much it says, what waits is bounded.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $backend = SioBackend->new->start;
my $address = $backend->address;
my $proxy = <<"EOC";
        internal;
        proxy_pass         http://app;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
EOC

my $t = SioTest->new(
    http => "upstream app { server $address; keepalive 8; }
             sio_ping_interval 10m;",
    location => 'sio; sio_handler /app; sio_namespace ~ { sio_handler /app; }',
    server => <<"EOC",
    location ~ (?s)^/said/(.*)/\$ {
        sio; sio_data x \$1; sio_handler /app;
    }
    location /batch/ {
        sio; sio_handler /app; sio_handler_batch 1000;
    }
    location /down/ { sio; sio_handler /app; sio_handler_retry 60s; }
    location = /app {
$proxy
        proxy_set_header X-Event \$sio_event;
        proxy_set_header X-Nsp   \$sio_namespace;
        proxy_set_header X-Data  \$sio_data_x;
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);
my @workers = $t->worker_pids;
my $bystander = SioRaw::WS->socket($port);

# AddressSanitizer keeps what was freed for a while.
my $quarantine = $ENV{NGX_SIO_ASAN} ? 256 * 1024 : 0;

BEGIN { *did = \&SioBackend::did; *emit = \&SioBackend::emit }

sub joined {
    my $ws = SioRaw::WS->socket($port, @_);
    $backend->take(1);
    return $ws;
}

sub leaves {
    my ($ws) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $ws->close;
    return is($backend->take(1)->{json}{type}, 'disconnect', 'it leaves');
}

sub printable { return $_[0] =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger }

# Each line of the log begins with a date, and a terminal would obey none.
sub logged {
    my ($name) = @_;
    my @odd = grep { !m{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: }
                     || /[\0-\x1f\x7f]/ || /\[forged\]/ } split /\n/, $t->log;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is(join("\n", map { printable($_) } @odd), '', $name);
}

# The names of a request's headers, as raw lines.
sub names {
    my ($r) = @_;
    my (undef, @lines) = split /\n/, $r->{head}, -1;
    return join ' ', sort map { /^([\w-]+): [^\0-\x1f\x7f]*\r?\z/
                                ? $1 : 'odd: ' . printable($_) } @lines;
}

my $names = 'Content-Length Content-Type Host X-Event X-Nsp';

# A value as it is in a header.
sub escaped { return $_[0] =~ s/([\0-\x1f\x7f])/sprintf '%%%02X', ord $1/ger }

sub header { return join '|', SioBackend::header(@_) }

# Private memory of all workers, in KiB.
sub memory {
    my $sum = 0;
    $sum += SioRaw::Probe::memory($_) for @workers;
    return $sum;
}

sub bounded {
    my ($from, $most, $name) = @_;
    my $now = memory();
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    note('memory ' . ($now - $from) . ' KiB more');
    return cmp_ok($now - $from, '<', $most * $SioRaw::SCALE
                  + $quarantine * @workers, $name // 'memory is bounded');
}

$backend->rest;


# What a client can put in a string, as JSON without its quotes.
my $forged = '2026/01/01 00:00:00 [forged] 1#1: ';
my %string = (
    'CR LF'          => 'a\r\nX-Evil: 1\r\n\r\nGET / HTTP/1.1\r\n\r\n',
    'LF'             => 'a\nX-Evil: 1',
    'CR'             => 'a\rX-Evil: 1',
    'escapes'        => 'a\u000d\u000aX-Evil: 1',
    'a line'         => '\n' . $forged,
    'quotes'         => '\",\"type\":\"connect\",\"x\":\"',
    'backslashes'    => '\\\\\" \\\\\\\\',
    'NUL'            => '\u0000a\u0000',
    'an object'      => '{\"id\":\"x\",\"seq\":1}',
    'fragments'      => '\"]},[{\"op\":\"disconnect\"}]//',
    'a script'       => '</script><!--',
    'a prototype'    => '__proto__',
    'ESC'            => '\u001b[2J',
    'controls'       => join('', map { sprintf '\u%04x', $_ } 0 .. 31, 127),
    'DEL'            => "\x7f",
    'U+0080 to 9F'   => "\xc2\x80\xc2\x85\xc2\x9b",
    'U+2028'         => "\xe2\x80\xa8$forged\xe2\x80\xa9",
    'U+FFFF'         => "\xef\xbf\xbf\xef\xbf\xbe",
    'U+10FFFF'       => "\xf4\x8f\xbf\xbf" . '\udbff\udfff',
    'a BOM'          => "\xef\xbb\xbf",
    'blanks'         => '  \t ',
    'nothing'        => '',
    'percents'       => '%00%0d%0a%s%n',
    'dollars'        => '$sio_id ${sio_data_x} $',
    'slashes'        => '/../..//\/',
    'long'           => 'x' x 2000,
);

# The same with the quotes; only JSON's own escapes change the text.
sub text { return $json->decode("\"$_[0]\"") }


subtest 'events and arguments' => sub {
    my $ws = joined();
    my $seq = 1;

    for my $name (sort keys %string) {
        my $s = $string{$name};
        my $args = "[\"$s\",{\"$s\":[\"$s\",\"$s\"]},[[{\"\":\"$s\"}]]]";
        $ws->text("42[\"$s\"," . substr $args, 1);
        my $r = $backend->take(1);
        my $m = $r->{json} // {};
        is_deeply([sort keys %$m],
                  [qw(args data event id namespace rooms seq type)],
                  "$name: an object with its members") or diag $r->{body};
        is(($m->{type} // '') . ' ' . ($m->{seq} // ''),
           'event ' . ++$seq, 'is one event');
        ok(($m->{event} // '') eq text($s), 'the event\'s name');
        ok($json->encode($m->{args}) eq $json->encode($json->decode($args)),
           'its arguments');
        my $bytes = text($s);
        utf8::encode($bytes);
        is(names($r), $bytes eq '' ? $names =~ s/X-Event //r : $names,
           'no header but ours');
        is(header($r, 'X-Event'), escaped($bytes) =~ s/^ +//r, '$sio_event');
    }
    is(did($ws, emit('x')), '42["x"]', 'the client is served');
    $backend->take(1);
    logged('the log has no line of it');
    leaves($ws);
};


subtest 'what looks like something else' => sub {
    my $ws = joined();

    # Passed on byte by byte.
    for my $arg ('{"_base64":"AAAA"}', '{"_base64":"*"}', '{"_base64":1}',
                 '{"_placeholder":true,"num":0}',
                 '{"_placeholder":true,"num":-1}', '{"__proto__":{"a":1}}',
                 '{"constructor":{"prototype":{}}}', '{"a":1,"a":2,"":3,"":4}',
                 '1e999', '-1e-999', '123456789012345678901234567890.5',
                 '-0', '0.0000', '"\ud800"', '"\udc00\ud800"', '"\ud83d"',
                 '"\/"', '{"\ud800":1}', '{"type":"connect","seq":1}') {
        my $n = $arg =~ /^"?\{"_placeholder/ ? 'a literal' : 'it';
        $ws->text("42[\"a\",$arg]");
        my $r = $backend->take(1);
        like($r->{body}, qr/"event":"a","args":\[\Q$arg\E\]/,
             "$n passes: $arg");
        is(names($r), $names, 'in one request');
    }

    # As names.
    for my $event ('"\ud800"', '"\udc00x"', '1e999', '-0') {
        $ws->text("42[$event]");
        my $r = $backend->take(1);
        my $text = $event =~ s/^"|"$//gr;
        like($r->{body}, qr/"event":"\Q$text\E","args":\[\]/,
             "a name: $event");
        is(names($r), $names, 'in one request');
    }

    # 64 levels, of which the event is one; and more.
    my $deep = sub { '[' x $_[0] . ']' x $_[0] };
    $ws->text('42["a",' . $deep->(63) . ']');
    my $r = $backend->take(1);
    is($json->encode($r->{json}{args}), '[' . $deep->(63) . ']', '64 levels');
    $ws->text('42["a",' . $deep->(64) . ']');
    ok($ws->closes, 'and 65 end the session');
    is($backend->take(1)->{json}{reason}, 'forced close', 'as it is told');
    $ws->close;

    # Names of any length.
    $ws = joined();
    for my $n (10_000, 100_000) {
        $ws->text('42["' . 'x' x $n . '","' . 'y' x 1000 . '"]');
        $r = $backend->take(1);
        my ($event) = $r->{body} =~ /"event":"(x+)"/;
        is(length($event // ''), $n, "a name of $n bytes");
        is(length header($r, 'X-Event'), $n, 'in the header, too');
    }
    $ws->text('42[' . '"\u0001' . '\u000a' x 10_000 . '"]');
    $r = $backend->take(1);
    ok(header($r, 'X-Event') eq '%01' . '%0A' x 10_000, 'of long escapes');
    is(names($r), $names, 'in one request');
    logged('the log has no line of it');
    leaves($ws);
};


subtest 'namespaces and auth' => sub {
    my $ws = SioRaw::WS->open($port);
    my $n = 0;

    for my $name (sort keys %string) {
        my $s = $string{$name};

        # A namespace is raw: no escapes, and it ends with a comma.
        my $nsp = '/' . ($s =~ s/\\u(....)/chr hex $1/ger
                            =~ s/\\r/\r/gr =~ s/\\n/\n/gr =~ s/,/;/gr
                            =~ s/[^\0-\xff]/?/gr =~ s/\?.*//sr);
        my $auth = "{\"$s\":\"$s\",\"a\":[{\"$s\":\"$s\"}]}";
        $ws->text("40$nsp,$auth");
        my $answer = $ws->message // '';
        if ($answer eq '' || $answer =~ /^(?:op|44)/) {
            pass("$name: refused as a namespace");
            like($answer, qr/^44/, 'with an error, or the end')
                or do { $ws->close; $ws = SioRaw::WS->open($port) };
            $ws->text("40/ok$n,$auth");
            $nsp = "/ok$n";
            $answer = $ws->message // '';
        }
        my $r = $backend->take(1);
        my $m = $r->{json} // {};
        my $of = $nsp eq '/' ? '' : "$nsp,";
        like($answer, qr/^40\Q$of\E\{"sid":"/, "$name: is answered");
        ok($json->encode($m->{auth}) eq $json->encode($json->decode($auth)),
           'auth') or diag printable($r->{body});
        my $text = $nsp;
        utf8::decode($text);
        ok(($m->{namespace} // '') eq $text, 'the namespace')
            or diag printable($r->{body});
        is(names($r), $names, 'no header but ours');
        is(header($r, 'X-Nsp'), escaped($nsp), '$sio_namespace');
        $ws->text("42$nsp,[\"$s\"]");
        $r = $backend->take(1);
        is($json->encode([@{$r->{json}}{qw(namespace event)}]),
           $json->encode([$text, text($s)]), 'an event of it');
        is(names($r), $s eq '' ? $names =~ s/X-Event //r : $names,
           'no header but ours');
        $ws->text("41$nsp,");
        is($backend->take(1)->{json}{type}, 'disconnect', 'it leaves');
        $n++;
    }

    # What is no object is no auth.
    for my $auth ('[1]', '"a"', '1', 'null', 'true', '{"a":1}x', '{', '{]',
                  "{\"\xff\":1}", '{"a":' . '[' x 64 . ']' x 64 . '}') {
        my $other = SioRaw::WS->open($port);
        $other->text("40$auth");
        my $answer = $other->message // 'the end';
        if ($answer =~ /^40/) {
            my $r = $backend->take(1);
            is_deeply($r->{json}{auth}, {}, "no auth: $auth");
            leaves($other);
        } else {
            unlike($answer, qr/^40/, 'refused: ' . printable($auth));
            $other->close;
        }
    }
    $ws->close;
    logged('the log has no line of it');
    is(join(' ', map { printable($_->{body}) } $backend->rest), '',
       'the backend has heard of nothing else');
};


subtest 'data' => sub {
    my $with = join ' ', sort split(/ /, $names), 'X-Data';
    my $set = sub { { op => 'data', set => { x => shift } } };

    # What is decoded from the path has any bytes.
    for my $bytes ("a\r\nX-Evil: 1", "\"\\,{\"a\":1}", "\x1b[2J\x7f",
                   "\xe2\x80\xa8", "\xc2\x9b", "\xff\xfe", "%0d%0a", "\$x",
                   "a\xc3", "\n$forged", 'x' x 3000) {
        my $path = $bytes =~ s/([^A-Za-z0-9])/sprintf '%%%02x', ord $1/ger;
        my $ws = SioRaw::WS->open($port, path => "/said/$path/");
        my $name = 'a path: ' . substr printable($bytes), 0, 40;
        is($ws->answered->status, 101, $name);
        $ws->text('40');
        $ws->message;
        my $r = $backend->take(1) // {};
        my ($valid, $text) = (1, $bytes);
        $valid = utf8::decode($text);
        ok($r->{json}, 'is valid JSON') or diag printable($r->{body});
        is($r->{json}{data}{x}, $text, 'of the same text') if $valid;
        is(names($r), $with, 'no header but ours');
        is(header($r, 'X-Data'), escaped($bytes), '$sio_data_x') if $valid;
        leaves($ws);
    }

    my $ws = joined();
    for my $name (sort keys %string) {
        my $s = text($string{$name});
        did($ws, $set->($s));
        did($ws);
        my @r = $backend->take(2);
        ok($r[1]{json}{data}{x} eq $s, "by an operation: $name")
            or diag printable($r[1]{body});
        my $bytes = $s;
        utf8::encode($bytes);
        next if $bytes !~ /[^ ]/;
        is(names($r[1]), $with, 'no header but ours');
        is(header($r[1], 'X-Data'), escaped($bytes) =~ s/^ +//r,
           '$sio_data_x');
    }
    for ([1, 2, { a => "\r\n" }], { "\r\nX-Evil" => "\n" }, 1.5,
         JSON::PP::true) {
        did($ws, $set->($_));
        did($ws);
        my @r = $backend->take(2);
        is($json->encode($r[1]{json}{data}{x}), $json->encode($_),
           'a value of another kind');
        is(names($r[1]), $with, 'no header but ours');
        is(header($r[1], 'X-Data'), $json->encode($_), 'as JSON');
    }
    logged('the log has no line of it');
    leaves($ws);
};


subtest 'a flood of events' => sub {
    my $total = 4000;
    my $ws = joined(path => '/batch/');
    my $memory = memory();
    my $limit = $t->status->{limit_handler_queue};

    $backend->set(first => { hold => 'flood' });
    $ws->text('42["first"]');
    $backend->take(1);
    my $flood = join '', map { SioRaw::WS->frame(1, sprintf '42["n",%d,"%s"]',
                                                 $_, 'x' x 80) } 1 .. $total;
    my $sent = $ws->write($flood, 1);
    $t->wait_for(sub { $t->status->{limit_handler_queue} == $limit + 1 },
                 'it is not read any more');
    my $queued = $t->status->{handler_queued};
    cmp_ok($queued, '<', 2000, 'what waits is bounded');
    cmp_ok($queued, '>', 100, 'but waits');
    bounded($memory, 2048);
    ok(defined(joined()->close), 'others may connect');
    is($backend->take(1)->{json}{type}, 'disconnect', 'and leave');

    # Then all come, in their order.
    $backend->release('flood');
    my @n;
    $sent += $ws->write(substr $flood, $sent);
    is($sent, length $flood, 'it is read again');
    while (@n < $total) {
        my $r = $backend->take(1) // last;
        push @n, map { $_->{args}[0] } @{$r->{json}};
    }
    is(scalar @n, $total, 'none is lost');
    is(scalar(grep { $n[$_] != $_ + 1 } 0 .. $#n), 0, 'all in their order');
    leave_batch($ws);
    bounded($memory, 2048, 'memory is bounded afterwards');
};

sub leave_batch {
    my ($ws) = @_;
    $ws->close;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return is($backend->take(1)->{json}[0]{type}, 'disconnect', 'it leaves');
}


subtest 'a flood of CONNECTs' => sub {
    my $memory = memory();
    my ($sessions, $each) = (40, 16);

    $backend->set(connect => { hold => 'connects' });
    my @ws = map { SioRaw::WS->open($port) } 1 .. $sessions;
    for my $ws (@ws) {
        $ws->write(join '', map { SioRaw::WS->frame(1, "40/n$_,{\"a\":\""
                                                    . 'x' x 100 . '"}') }
                                1 .. 100);
    }
    my %answers;
    for my $ws (@ws) {
        $answers{($ws->message // '') =~ s/^44\/n\d+,//r}++ for 1 .. 84;
    }
    is_deeply(\%answers, { '{"message":"Too many namespaces"}'
                           => $sessions * 84 }, 'most are refused');
    my $all = $sessions * $each;
    my $state = $t->status;
    is($state->{handler_queued}, $all, 'the others wait');
    cmp_ok($state->{handler_running}, '<=', 256 * @workers, 'or run');
    bounded($memory, 20 * 1024);
    $backend->release('connects');
    my $joined = 0;
    for my $ws (@ws) {
        $joined += ($ws->message // '') =~ /^40\/n\d+,\{"sid"/ for 1 .. $each;
    }
    is($joined, $all, 'they are answered');
    $backend->set(connect => {});
    $_->close for @ws;
    my @r = $backend->take(2 * $all, 20);
    my %types;
    $types{$_->{json}{type}}++ for @r;
    is_deeply(\%types, { connect => $all, disconnect => $all }, 'and told');

    # Who leaves while it is asked hears of it.
    $backend->set(connect => { hold => 'gone' });
    @ws = map { SioRaw::WS->open($port) } 1 .. 15;
    for my $ws (@ws) {
        $ws->write(join '', map { SioRaw::WS->frame(1, "40/n$_,") } 1 .. 16);
    }
    @r = $backend->take(240, 20);
    is(scalar @r, 240, 'all are asked');
    $_->reset for @ws;
    $t->wait_for(sub { $t->status->{sessions} == 1 }, 'all are gone');
    $backend->release('gone');
    @r = $backend->take(240, 20);
    is(scalar(grep { $_->{json}{type} eq 'disconnect' } @r), 240,
       'each admitted one is told that it has left');
    $backend->set(connect => {});
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'nothing waits');
    bounded($memory, 20 * 1024, 'memory is bounded afterwards');
};


subtest 'while the backend is down' => sub {
    my $memory = memory();
    my $lost = $t->status->{handler_lost};
    my @ws = map { SioRaw::WS->socket($port, path => '/down/') } 1 .. 100;
    is(scalar(() = $backend->take(100)), 100, '100 are connected');

    $backend->stop;
    for my $ws (@ws[0 .. 49]) {
        $ws->text("42[\"a\",$_]") for 1 .. 5;
        $ws->close;
    }
    $t->wait_for(sub { $t->status->{handler_queued} == 50 * 6 },
                 '50 emit and leave: that waits');
    my %answer;
    for (1 .. 300) {
        my $other = SioRaw::WS->open($port, path => '/down/');
        my ($got) = $other->ask('40{"a":"' . 'x' x 1000 . '"}');
        $answer{$got // 'none'}++;
        $_ % 2 ? $other->close : $other->reset;
    }
    is_deeply(\%answer, { '44{"message":"Server error"}' => 300 },
              '300 come and are refused');
    $t->wait_for(sub { $t->status->{sessions} == 51 }, 'and go');
    is($t->status->{handler_queued}, 300, 'nothing waits of them');
    bounded($memory, 2048);

    $backend->start;
    my @r = $backend->take(300, 20);
    my %events;
    push @{$events{$_->{json}{id}}},
        $_->{json}{type} eq 'event' ? $_->{json}{args}[0] : $_->{json}{type}
        for @r;
    is(scalar(grep { $json->encode($_) eq '[1,2,3,4,5,"disconnect"]' }
                   values %events), 50, 'each is told, in order, once');
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'nothing waits');
    is($t->status->{handler_lost}, $lost, 'nothing is lost');
    $_->close for @ws[50 .. 99];
    is(scalar(grep { $_->{json}{type} eq 'disconnect' } $backend->take(50)),
       50, 'the others leave');
    bounded($memory, 2048, 'memory is bounded afterwards');
};


subtest 'acknowledgements' => sub {
    my ($ann, $bob) = map { joined() } 1, 2;
    my $ask = sub {
        my ($token, $to) = @_;
        $to->text('42' . SioBackend::answered_by(
            emit('ask', ack => $token, timeout => 3000 * $SioRaw::SCALE)));
        $backend->take(1);
        my ($id) = ($to->message // '') =~ /^42(\d+)\["ask"\]$/;
        return $id // 'none';
    };
    my $end = sub {
        my ($ws, $name) = @_;
        $ws->text('42["end"]');
        my $r = $backend->take(1)->{json};
        is($json->encode([@$r{qw(type event)}]), '["event","end"]', $name);
    };

    my $of_ann = $ask->('for ann', $ann);
    my $unknown = '18446744073709551615';

    for my $id ($of_ann, 0, $of_ann + 1, $of_ann + 1000, 9007199254740991) {
        $bob->text("43$id\[\"mine\"]");
    }
    $end->($bob, 'with another\'s id, or any: nobody is told');

    my $of_bob = $ask->('for bob', $bob);
    $bob->text("43$of_bob\[\"1\"]");
    my $r = $backend->take(1)->{json};
    is($json->encode([@$r{qw(token id args)}]),
       $json->encode(['for bob', $bob->id, ['1']]), 'with its own');
    $bob->text("43$of_bob\[\"2\"]") for 1 .. 1000;
    $bob->text("43$of_ann\[\"3\"]") if $of_ann ne $of_bob;
    $end->($bob, 'a thousand times more: once is told');

    $ann->text("43$of_ann\[\"token\",\"for bob\",{\"token\":\"for bob\"}]");
    $r = $backend->take(1)->{json};
    is($json->encode([@$r{qw(token id args)}]),
       $json->encode(['for ann', $ann->id,
                      ['token', 'for bob', { token => 'for bob' }]]),
       'a token is not the client\'s to say');

    # No acknowledgements at all.
    my @odd = ("43$unknown\[]", '43-1[]', '43[]', '431{}', "431[\xff]",
                    '431["a"', '43/n,1[]', '431.5[]', '461-1[]');
    for my $packet (@odd) {
        my $ws = joined();
        $ask->('odd', $ws);
        $ws->text($packet);
        $ws->text('42["end"]');
        my $r = $backend->take(1)->{json};
        my $lives = $r->{type} eq 'event';
        is($json->encode([@$r{qw(type event reason)}]), $lives
           ? '["event","end",null]' : '["disconnect",null,"'
             . ($r->{reason} // '') . '"]',
           'odd: ' . printable($packet) . ($lives ? '' : ": $r->{reason}"));
        $lives ? leaves($ws) : $ws->close;
    }
    leaves($_) for $ann, $bob;
    is(join(' ', map { "$_->{json}{token} $_->{json}{missing}" }
                     $backend->take(scalar @odd)),
       join(' ', ('odd 1') x @odd), 'is no answer');
    logged('the log has no line of it');

    # What nobody answers.
    my $memory = memory();
    my $ws = joined();
    my @ops = map { emit('ask', ack => "token $_", timeout => 500) }
                  1 .. 1000;
    $ws->text('42' . SioBackend::answered_by(@ops));
    my @ids;
    push @ids, $1 while @ids < 1000
                        && ($ws->message // '') =~ /^42(\d+)\["ask"\]$/;
    is(scalar @ids, 1000, 'a thousand are asked');
    my @r = $backend->take(1001, 20);
    shift @r;
    is_deeply([sort map { "$_->{json}{token} $_->{json}{missing}" } @r],
              [sort map { "token $_ 1" } 1 .. 1000],
              'and never answered: each is told, once');
    $ws->text("43$_\[\"late\"]") for @ids;
    $end->($ws, 'too late is not told');
    my $again = did($ws, emit('x'));
    is($again, '42["x"]', 'the client is served');
    $backend->take(1);
    leaves($ws);
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'nothing waits');
    bounded($memory, 8192);
};


is(join(' ', $t->worker_pids), "@workers", 'no worker was replaced');
is(did($bystander, emit('x')), '42["x"]', 'another client was not dropped');
$backend->take(1);
leaves($bystander);
SioBackend::ends($t, $before, $backend);
is(join("\n", map { substr $_->{body}, 0, 100 } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
