# Handlers: answers that are too large, too slow or wrong.  Of such an answer
# nothing is carried out, the log has one line, and everybody lives on.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $backend = SioBackend->new(answers => {
    more => { body => [{ op => 'ack', args => ['done'] }] },
})->start;
my $address = $backend->address;

my $t = SioTest->new(
    location => 'sio; sio_handler /app; sio_on echo reply;',
    server => <<"EOC",
    location /old/   { sio; sio_handler /old; }
    location /small/ { sio; sio_handler /app; sio_handler_max_response 1k; }
    location /large/ { sio; sio_handler /app; sio_handler_max_response 30m; }
    location /brief/ { sio; sio_handler /app; sio_handler_timeout 1s; }
    location = /app {
        internal;
        proxy_pass         http://$address;
        proxy_http_version 1.1;
        proxy_set_header   Connection "";
    }
    location = /old { internal; proxy_pass http://$address; }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);
my @workers = $t->worker_pids;
my $bystander = SioRaw::WS->socket($port);
my $count = 0;

# AddressSanitizer keeps what was freed for a while.
my $quarantine = $ENV{NGX_SIO_ASAN} ? 256 * 1024 : 0;

$backend->rest;

# What a wrong answer begins with: nobody may see anything of it.
my @first = ({ op => 'emit', event => 'no', to => '*' },
             { op => 'join', rooms => 'no' },
             { op => 'data', set => { no => 1 } },
             { op => 'ack', args => ['no'] });
my $first = join ',', map { $json->encode($_) } @first;

# What the log says since the last time.  Each line begins with a date, and
# none has a character that a terminal would obey.
my $seen = 0;
sub logged {
    my @lines = split /\n/, substr($t->log, $seen), -1;
    local $Test::Builder::Level = $Test::Builder::Level + 2;
    pop @lines if @lines && $lines[-1] eq '';
    $seen = length $t->log;
    my @odd = grep { !m{^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[\w+\] \d+#\d+: }
                     || /[^ -~]/ } @lines;
    is(join("\n", map { s/([^ -~])/sprintf '\\x%02x', ord $1/ger } @odd), '',
       'the log has nothing but lines');
    return @lines;
}

sub emits {
    my ($ws, $answer) = @_;
    $ws->text('4277' . $json->encode(['do', $answer]));
}

# Whether the next thing that a client gets is the acknowledgement of its next
# event, which the backend sees unchanged by what was before.
sub goes_on {
    my ($ws, $name) = @_;
    my $n = 5000 + $count++;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(($ws->ask("42$n\[\"more\"]"))[0], "43$n\[\"done\"]",
       "$name: the next event is answered");
    my @r = $backend->take(2);
    is(join(' ', map { "$_->{json}{event} " . $json->encode(
                           [@{$_->{json}}{qw(rooms data)}]) } @r),
       'do [[],{}] more [[],{}]', 'nothing was carried out');
    return $r[0];
}

# fails($ws, $answer, $why): an answer is refused.
sub fails {
    my ($ws, $answer, $why, %opt) = @_;
    my $state = $t->status;
    my $name = substr $json->encode($answer) =~ s/[^ -~]/./gr, 0, 100;
    local $Test::Builder::Level = $Test::Builder::Level + 1;

    $name =~ s/\Q$first\E/.../;
    logged();
    emits($ws, $answer);
    my $r = goes_on($ws, $name);
    my @lines = logged();
    my @log = grep { !/\[info\]|while reading upstream/ } @lines;
    is(scalar @log, 1, 'the log has one line')
        or diag SioTest::first_lines(5, @log);
    my $where = qr/, handler: "\/(app|old)", backend: \Q$address\E, client: /;
    like($log[0] // 'none',
         qr/\[error\] \d+#\d+: sio: the handler'?s? $why${where}127\.0\.0\.1$/,
         'with the reason');
    is($t->status->{handler_errors}, $state->{handler_errors} + 1, 'counted');
    return $r;
}

sub invalid {
    my ($ws, $answer, $why) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    return fails($ws, $answer, 'response is not valid, nothing of it is '
                 . "carried out: $why");
}

sub leaves {
    my ($ws) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    $ws->close;
    is($backend->take(1)->{json}{type}, 'disconnect', 'it was connected');
}

sub joined {
    my $ws = SioRaw::WS->socket($port, @_);
    $backend->take(1);
    return $ws;
}

# The most that each worker has had in memory, in KiB; it starts anew.
sub peaks {
    my %peak;
    for my $pid (@workers) {
        ($peak{$pid}) = SioTest::read_file("/proc/$pid/status")
                        =~ /^VmHWM:\s+(\d+)/m;
        SioTest::write_file("/proc/$pid/clear_refs", "5\n");
    }
    return %peak;
}


subtest 'as large as it may be, and larger' => sub {
    my $large = 'response is too large, limited by "sio_handler_max_response"';
    my $ops = '[{"op":"emit","event":"fits"}]';

    for (['/socket.io/', 1 << 20], ['/old/', 1 << 20], ['/small/', 1024]) {
        my ($path, $max) = @$_;
        my $ws = joined(path => $path);

        for my $how ({}, { unsized => 1 }, { chunked => 1000 }) {
            next if $path eq '/old/' && $how->{chunked};
            my $fill = $max - length $ops;
            emits($ws, { body => $ops, fill => $fill, %$how });
            my $name = "$path " . (join('', keys %$how) || 'sized');
            is($ws->message, '42["fits"]', "$name: $max bytes");
            $backend->take(1);
            fails($ws, { body => $ops, fill => $fill + 1, %$how }, $large);
        }
        leaves($ws);
    }
};


subtest 'a gigabyte' => sub {
    my %peak;

    for (['/socket.io/', {}], ['/socket.io/', { unsized => 1 }],
         ['/socket.io/', { chunked => 1 }], ['/old/', {}],
         ['/old/', { unsized => 1 }]) {
        my ($path, $how) = @$_;
        my $ws = joined(path => $path);
        my %from = (peaks(), peaks());

        my $r = fails($ws, { body => "[$first", fill => 1 << 30, %$how },
                      'response is too large, limited by '
                      . '"sio_handler_max_response"');
        $t->wait_for(sub { $backend->requests; $r->{done} }, 'it ends');
        is($r->{done}, 'aborted', 'the connection is closed');
        cmp_ok($r->{until} - $r->{at}, '<', 1 * $SioRaw::SCALE, 'at once');
        cmp_ok($r->{sent}, '<', 64 << 20, 'before most of it was sent');
        my %to = peaks();
        cmp_ok($to{$_} - $from{$_}, '<', 8192 + $quarantine,
               "the memory of worker $_") for @workers;
        ok($bystander->alive, 'another client is served');
        leaves($ws);
    }
    is(join(' ', $t->worker_pids), "@workers", 'no worker was replaced');
};


subtest 'a byte now and then' => sub {
    my $ws = joined(path => '/brief/');
    my $timeouts = $t->status->{handler_timeouts};
    my $r = fails($ws, { body => "[$first]", drip => 0.3 },
                  'did not respond in time, limited by "sio_handler_timeout"');
    $t->wait_for(sub { $backend->requests; $r->{done} }, 'it ends');
    is($r->{done}, 'aborted', 'the connection is closed');
    my $took = $r->{until} - $r->{at};
    ok($took > 0.9 && $took < 1 + 1.5 * $SioRaw::SCALE, 'in time')
        or diag $took;
    is($t->status->{handler_timeouts}, $timeouts + 1, 'counted');
    leaves($ws);
};


subtest 'nothing in it' => sub {
    my $ws = joined();
    my $errors = $t->status->{handler_errors};

    for ({ status => 200 }, { status => 204 }, { status => 299 },
         { body => '' , status => 200, chunked => 10 }, { body => " \t\r\n" },
         { fill => 100_000 }, { fill => 100_000, chunked => 1 },
         { body => '[]' }, { body => "\n[\t]\r\n" },
         { body => '[ ]', unsized => 1 }) {
        emits($ws, $_);
        goes_on($ws, $json->encode($_));
    }
    is($t->status->{handler_errors}, $errors, 'is no error');
    leaves($ws);
};


subtest 'no array of operations' => sub {
    my $ws = joined();
    my $no = qr/the body is not a valid JSON array/;

    for ('no JSON', "[$first", "[$first]]", "[$first,]", "[$first] x",
         "[$first]\0", "[$first\0]", "\xef\xbb\xbf[$first]", "[$first]\x0c",
         "[$first,{\"op\":\"emit\",\"event\":\"a\nb\"}]", "[$first,01]",
         "[$first,NaN]", "[$first,{\"a\":1,}]", "[$first,'a']",
         "[$first,\"\\x41\"]", "[$first/**/]", "[$first]\n[$first]", '[', ']',
         "[$first,\"", "[$first,tru]", "[$first,-]", "[$first,1.]",
         "HTTP/1.1 200 OK\r\n\r\n[$first]", '<html></html>', "\0", '[[]',
         "[$first,{\"op\"}]", "[$first,{1:2}]", "[$first,\"\\ud8\"]") {
        invalid($ws, { body => $_ }, $no);
    }
    for ("[$first,\"\xff\"]", "[$first]\xff", "[$first,\"\xc0\xaf\"]",
         "[$first,\"\xed\xa0\x80\"]", "[$first,\"\xf4\x90\x80\x80\"]",
         "[$first,\"\xe2\x82", "\xfe\xff\0[\0]", "\x1f\x8b\x08\0") {
        invalid($ws, { body => $_ }, 'the body is not UTF-8');
    }
    invalid($ws, { body => $_ }, $no) for '"text"', '0', 'null', 'true';
    for ('{}', $json->encode($first[0]), "{\"ops\":[$first]}") {
        invalid($ws, { body => $_ }, 'the body must be an array of operations');
    }
    for ("[$first,1]", "[$first,[$first]]", "[$first,null]", '["a"]',
         "[$first,\"emit\"]") {
        invalid($ws, { body => $_ }, 'an operation must be an object');
    }
    # In pieces it is no other.
    invalid($ws, { body => "[$first", chunked => 1 }, $no);
    invalid($ws, { body => "[$first,\"\xe2\x82\xff\"]", chunked => 1 },
            'the body is not UTF-8');
    leaves($ws);
};


subtest 'nested' => sub {
    my $ws = joined();
    my $deep = sub {
        my ($open, $close, $n) = @_;
        return "[{\"op\":\"emit\",\"event\":\"deep\",\"args\":"
               . $open x $n . '1' . $close x $n . '}]';
    };

    # The array, the operation and 62 more.
    emits($ws, { body => $deep->('[', ']', 62) });
    is($ws->message, '42["deep",' . '[' x 61 . '1' . ']' x 61 . ']',
       '64 levels');
    $backend->take(1);
    emits($ws, { body => $deep->('[{"":', '}]', 31) });
    is($ws->message, '42["deep",' . '{"":' . '[{"":' x 30 . '1'
       . '}]' x 30 . '}]', 'of arrays and objects');
    $backend->take(1);

    my $levels = 'the JSON is nested too deep';
    invalid($ws, { body => $_ }, $levels)
        for "[$first," . substr($deep->('[', ']', 63), 1),
            "[$first," . '{"":' x 64 . '1' . '}' x 64 . ']',
            "[$first,{\"op\":\"ack\",\"args\":[" . '[{"":' x 31 . '1'
            . '}]' x 31 . ']}]';
    invalid($ws, { repeat => ['[', 1_000_000] }, $levels);
    invalid($ws, { body => "[$first,", repeat => ['{"":', 200_000] }, $levels);
    leaves($ws);
};


subtest 'wrong operations' => sub {
    my $ws = joined();
    my $all = '"op":"emit","event":"a"';

    for (['{}', '"op" is missing'], ['{"event":"a"}', '"op" is missing'],
         ['{"op":"emti"}', 'unknown "op": "emti"'],
         ['{"op":1}', 'unknown "op": 1'], ['{"op":null}', 'unknown "op": null'],
         ['{"op":["emit"]}', 'unknown "op": ["emit"]'],
         ['{"op":"Emit","event":"a"}', 'unknown "op": "Emit"'],
         ['{"op":"fetch"}', 'unknown "op": "fetch"'],
         ['{"op":"count","to":"*"}', 'unknown "op": "count"'],
         ["{$all,\"evnt\":1}", 'unknown member "evnt"'],
         ["{$all,\"room\":\"a\"}", 'unknown member "room"'],
         ["{$all,\"rooms\":[\"a\"]}", 'unknown member "rooms"'],
         ["{$all,\"\":1}", 'unknown member ""'],
         ["{$all,\"__proto__\":1}", 'unknown member "__proto__"'],
         ['{"op":"ack","event":"a"}', 'unknown member "event"'],
         ['{"op":"emit"}', '"event" is missing'],
         ['{"op":"emit","args":[1]}', '"event" is missing'],
         ['{"op":"emit","event":1}', 'not a string: 1'],
         ['{"op":"emit","event":null}', 'not a string: null'],
         (map { ["{\"op\":\"emit\",\"event\":\"$_\"}",
                 "reserved \"event\": \"$_\""] }
              qw(connect connect_error disconnect disconnecting newListener
                 removeListener)),
         ['{"op":"emit","event":"\u0063onnect"}',
          'reserved "event": "\u0063onnect"'],
         ["{$all,\"args\":1}", '"args" must be an array'],
         ["{$all,\"args\":{\"0\":1}}", '"args" must be an array'],
         ["{$all,\"args\":null}", '"args" must be an array'],
         ["{$all,\"except\":\"a\"}", '"except" needs "to" or "sockets"'],
         ["{$all,\"namespace\":\"/x\"}", '"to" or "sockets" is missing'],
         ["{$all,\"to\":1}", 'not a name or an array of names: 1'],
         ["{$all,\"to\":[1]}", 'not a name or an array of names: [1]'],
         ["{$all,\"to\":\"a\",\"sockets\":[]}",
          'only one of "to" and "sockets" may be there, once'],
         ["{$all,\"to\":\"a\",\"namespace\":\"x\"}",
          'invalid "namespace": "x"'],
         ["{$all,\"volatile\":1}", 'not true or false: 1'],
         ["{$all,\"timeout\":5}", '"timeout" needs "ack"'],
         ["{$all,\"ack\":1}", 'invalid "ack": 1'],
         ["{$all,\"ack\":\"t\",\"timeout\":600001}",
          '"timeout" must be a whole number from 1 to 600000, not 600001'],
         ['{"op":"join"}', '"rooms" is missing'],
         ['{"op":"ack","seq":1}', '"seq" is not of this request'],
         ['{"op":"ack","seq":-1}', '"seq" must be a whole number, not -1'],
         ["{$all,\"args\":[{\"_base64\":\"*\"}]}", 'not base64: "*"']) {
        my ($op, $why) = @$_;
        invalid($ws, { body => "[$first,$op]" }, quotemeta $why);
    }
    leaves($ws);
};


subtest 'many operations' => sub {
    my $ws = joined(path => '/large/');
    my $join = '{"op":"join","rooms":"r"},';
    my $emit = '{"op":"emit","event":"last"}]';

    emits($ws, { body => '[', repeat => [$join, 9999], after => $emit });
    is($ws->message(10 * $SioRaw::SCALE), '42["last"]', 'ten thousand');
    emits($ws, { body => '[{"op":"leave","rooms":"r"}]' });
    $backend->take(2);
    for (10_001 - @first, 1_000_000) {
        invalid($ws, { body => "[$first", repeat => [",$join" =~ s/,$//r, $_] ,
                       after => ']' }, 'more than 10000 operations');
        ok($bystander->alive, 'another client is served');
    }
    leaves($ws);
};


subtest 'what a line shows' => sub {
    my $ws = joined();
    my $forged = '2026/01/01 00:00:00 [forged] 1#1: ';
    my %name = (
        'a newline'     => '\n' . $forged,
        'CR LF'         => '\r\n' . $forged,
        'its escape'    => '\u000a' . $forged,
        'quotes'        => '\", handler: \"/admin\", client: 1.2.3.4',
        'a backslash'   => '\\\\',
        'NUL'           => 'a\u0000b',
        'ESC'           => '\u001b[2J\u001b]0;x\u0007',
        'CSI'           => '\u009b2J',
        'a raw CSI'     => "\xc2\x9b2J",
        'DEL'           => "\x7f",
        'U+2028'        => "\xe2\x80\xa8$forged",
        'U+2028, 2029'  => '\u2028\u2029' . $forged,
        'U+0085'        => "\xc2\x85$forged",
        'U+202E'        => "\xe2\x80\xaetxt",
        'a surrogate'   => '\ud800',
        'formats'       => '%s%n%V%*s%p%Z',
        'a long one'    => 'x' x 10_000,
        'long escapes'  => '\n' x 5000,
        'long, of many' => "\xf0\x9f\x98\x80" x 2500,
    );
    my %op = (
        'an op'      => ['unknown "op": ', '{"op":"%s"}'],
        'a member'   => ['unknown member ', '{"op":"ack","%s":1}'],
        'a room'     => ['not a name or an array of names: ',
                         '{"op":"join","rooms":{"%s":1}}'],
        'a name'     => ['invalid "namespace": ',
                         '{"op":"emit","event":"a","to":"a","namespace":"%s"}'],
        'a flag'     => ['not true or false: ',
                         '{"op":"disconnect","close":"%s"}'],
        'a number'   => ['"timeout" must be a whole number from 1 to 600000, '
                         . 'not ', '{"op":"emit","event":"a","ack":"a",'
                         . '"timeout":"%s"}'],
        'an event'   => ['not a string: ', '{"op":"emit","event":["%s"]}'],
        'base64'     => ['not base64: ', '{"op":"emit","event":"a",'
                         . '"args":[{"_base64":"?%s"}]}'],
    );

    for my $which (sort keys %op) {
        my ($why, $op) = @{$op{$which}};
        my @names = $which eq 'an op' ? sort keys %name
                    : ('a newline', 'quotes', 'a raw CSI', 'long, of many');
        for my $name (@names) {
            my $body = $op =~ s/%s/$name{$name}/r;
            note("$which: $name");
            invalid($ws, { body => "[$first,$body]" },
                    quotemeta($why) . '["[{][ -~]{0,100}?');
        }
    }
    unlike($t->log, qr/^\S+ \S+ \[forged\]/m, 'nothing was forged');
    leaves($ws);
};


is(join(' ', ($bystander->ask('42["echo"]'))[0]), '42["echo"]',
   'the other client has got nothing');
$bystander->close;
is($backend->take(1)->{json}{type}, 'disconnect', 'it leaves');
SioBackend::ends($t, $before, $backend);
is(join("\n", map { substr $_->{body}, 0, 100 } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
