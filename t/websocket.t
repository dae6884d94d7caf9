# RFC 6455, by hand: the handshake, every cut of the bytes, fragments,
# masks, lengths, UTF-8, control frames, closing, and the same over TLS.

use lib 't/lib';
use SioTest;
use SioRaw;

my $t = SioTest->new(
    tls => 1,
    location => 'sio; sio_on echo reply; sio_on bye disconnect close;',
    server => <<'EOC',
    location /plain/ {
        sio; sio_parser none; sio_max_payload 70000; sio_on message reply;
    }
EOC
);
$t->start;

my $port = $t->port;

# a WebSocket whose messages come back as they are; text begins with 4
sub ws { SioRaw::WS->open($port, path => '/plain/', @_) }
sub frame { SioRaw::WS->frame(@_) }

sub same {
    my ($ws, $payload, $name) = @_;
    my $got = $ws->message // 'nothing';
    ok($got eq $payload, $name)
        or diag substr($got, 0, 80) . ' instead of ' . substr $payload, 0, 80;
}

# what a fresh connection answers to bytes: the code of its close frame
sub closed_by {
    my ($bytes, $code, $name) = @_;
    my $ws = ws();
    $ws->write($bytes);
    is($ws->close_code(2 * $SioRaw::SCALE), $code, $name);
    ok($ws->closes(2 * $SioRaw::SCALE), 'and ends');
}


subtest 'handshake' => sub {
    my $ws = ws(headers => ['Sec-WebSocket-Extensions' =>
                            'permessage-deflate; client_max_window_bits']);
    my $r = $ws->answered;

    is($r->line, 'HTTP/1.1 101 Switching Protocols', 'status');
    is(lc $r->header('upgrade'), 'websocket', 'Upgrade');
    is(lc $r->header('connection'), 'upgrade', 'Connection');
    is($r->header('sec-websocket-accept'), $ws->accept, 'accept');
    is($r->header('sec-websocket-extensions'), undef, 'no extension');
    is($r->header('sec-websocket-protocol'), undef, 'no subprotocol');
    is_deeply([sort keys %{$ws->opened}],
              [qw(maxPayload pingInterval pingTimeout sid upgrades)],
              'the open packet');
    is_deeply($ws->opened->{upgrades}, [], 'nothing to upgrade to');

    for (['chat', 'chat'], ['one, two', 'one'], ['a,b,c', 'a']) {
        my ($offer, $answer) = @$_;
        is(ws(headers => ['Sec-WebSocket-Protocol' => $offer])
           ->answered->header('sec-websocket-protocol'), $answer,
           "subprotocol: the first of '$offer'");
    }

    for (['Upgrade' => 'WebSocket'], ['Connection' => 'keep-alive, Upgrade'],
         ['Connection' => 'upgrade']) {
        my ($name, $value) = @$_;
        ok(ws(without => [$name], headers => [$name => $value])->switched,
           "$name: $value");
    }

    for my $key ('', 'c2hvcnQ=', 'x' x 24, 'c29tZSByYW5kb20gYnl0ZQ=',
                 'c29tZSByYW5kb20gYnl0ZXM=', '*29tZSByYW5kb20gYnl0ZQ==') {
        my $c = ws(key => $key);
        is($c->answered->status, 400, "key '$key'");
        ok($c->closes, 'closed');
    }
    is(ws(without => ['Sec-WebSocket-Key'])->answered->status, 400, 'no key');

    for my $version (0, 7, 12, 14, '', '13x', '1 3') {
        $r = ws(version => $version)->answered;
        like($r->status, qr/^(400|426)$/, "version '$version'");
        like($r->header('sec-websocket-version') // '', qr/\b13\b/,
             'says which one it speaks');
    }
    like(ws(without => ['Sec-WebSocket-Version'])->answered->status,
         qr/^(400|426)$/, 'no version');
    like(ws(http => '1.0')->answered->status, qr/^4/, 'HTTP/1.0');
};


subtest 'every cut of the bytes' => sub {
    my $stream = frame(1, '4one') . frame(9, 'p') . frame(2, "\0\xff")
        . frame(1, '4', fin => 0) . frame(9, '') . frame(0, 'two')
        . frame(1, '4' . 'x' x 200);
    my $answers = join '|', '4one', "\0\xff", '4two', '4' . 'x' x 200, 'p', '';

    # the answers to the stream: the messages, then the pongs
    my $answered = sub {
        my $ws = shift;
        my (@messages, @pongs);
        while (@messages < 4 || @pongs < 2) {
            my $f = $ws->recv // return 'nothing after '
                                        . join '|', @messages, @pongs;
            push @{$f->{op} == 10 ? \@pongs : \@messages}, $f->{payload};
        }
        return join '|', @messages, @pongs;
    };
    my $ws = ws();
    my $other = ws();

    $ws->write($stream);
    is($answered->($ws), $answers, 'in one piece');
    $ws->drip($stream);
    is($answered->($ws), $answers, 'one byte per write');

    # The worker has read the first part once it has answered another client.
    my @failed;
    for my $cut (1 .. 80) {
        $ws->write(substr $stream, 0, $cut);
        $other->ask('4');
        $ws->write(substr $stream, $cut);
        push @failed, $cut if $answered->($ws) ne $answers;
    }
    is("@failed", '', 'cut once, anywhere');

    for my $size (1, 7, 50) {
        my $rest = $stream;
        while (length $rest) {
            $ws->write(substr $rest, 0, $size, '');
            $other->ask('4');
        }
        is($answered->($ws), $answers, "in pieces of $size, read one by one");
    }

    $ws->write(join '', map { $stream . frame(9, $_) . frame(1, "4$_") }
                            1 .. 500);
    my (@pongs, @messages);
    for (1 .. 500 * 8) {
        my $f = $ws->recv // last;
        push @{$f->{op} == 10 ? \@pongs : \@messages}, $f->{payload};
    }
    is_deeply(\@messages, [map { ('4one', "\0\xff", '4two', '4' . 'x' x 200,
                                  "4$_") } 1 .. 500], '4,500 frames at once');
    is_deeply(\@pongs, [map { ('p', '', $_) } 1 .. 500], 'and their pongs');

    $ws = ws(early => $stream);
    is($answered->($ws), $answers, 'together with the upgrade request');
    $ws->write($stream);
    is($answered->($ws), $answers, 'and later');
    $ws = ws(early => frame(1, '4' . 'y' x 30_000) . $stream);
    same($ws, '4' . 'y' x 30_000, '30 KB together with the upgrade request');
    is($answered->($ws), $answers, 'and more');
    $ws = ws(early => $stream, drip => 1);
    is($answered->($ws), $answers, 'the request too byte by byte');
    for my $cut (1, 3, 6, 9, 40) {
        $ws = ws(early => substr $stream, 0, $cut);
        $other->ask('4');
        $ws->write(substr $stream, $cut);
        is($answered->($ws), $answers, "$cut bytes with the request");
    }
    $ws = SioRaw::WS->upgrade($port, path => '/plain/', unread => 1,
                              early => frame(8, pack 'n', 1001));
    ok($ws->closes, 'a close frame together with the request');
};


subtest 'fragments' => sub {
    my $ws = ws();

    $ws->write(frame(1, '4', fin => 0) . frame(0, '', fin => 0)
               . frame(0, 'ab', fin => 0) . frame(0, '', fin => 0)
               . frame(0, 'c'));
    same($ws, '4abc', 'five, some empty');
    $ws->write(frame(1, '', fin => 0) . frame(0, '4x'));
    same($ws, '4x', 'the first one empty');
    $ws->write(frame(1, '4x', fin => 0) . frame(0, ''));
    same($ws, '4x', 'the last one empty');
    $ws->write(frame(2, "\xff", fin => 0) . frame(0, "\0"));
    same($ws, "\xff\0", 'binary');
    $ws->write(frame(2, '', fin => 0) . frame(0, ''));
    same($ws, '', 'binary and empty');

    my $text = '4' . join '', map { "\xe2\x9c\x93$_" } 1 .. 100;
    my @bytes = split //, $text;
    $ws->write(join '', frame(1, '', fin => 0),
               (map { frame(0, $_, fin => 0) } @bytes), frame(0, ''));
    same($ws, $text, 'one byte each');
    $ws->write(join '', frame(1, '', fin => 0),
               (map { frame(0, $_, fin => 0) . frame(9, $_) } @bytes),
               frame(0, ''));
    my @pongs = map { ($ws->recv // {})->{payload} // '' } @bytes;
    is(join('', @pongs), $text, 'with pings between: answered at once');
    same($ws, $text, 'and the message afterwards');
    $ws->write(frame(1, '4a', fin => 0) . frame(10, 'b') . frame(0, 'c'));
    same($ws, '4ac', 'with a pong between');

    my $big = '4' . 'y' x 69_999;
    $ws->write(join '', frame(1, '', fin => 0),
               (map { frame(0, $_, fin => 0) } $big =~ /(.{1,1000})/g),
               frame(0, ''));
    same($ws, $big, 'up to the largest message');

    closed_by(frame(0, 'x'), 1002, 'a continuation of nothing');
    closed_by(frame(0, 'x', fin => 0), 1002, 'and not the last');
    closed_by(frame(1, '4', fin => 0) . frame(1, '4'), 1002,
              'a message within another');
    closed_by(frame(2, '4', fin => 0) . frame(1, '4', fin => 0), 1002,
              'and not the last');
    closed_by(frame(1, '4x') . frame(0, ''), 1002,
              'a continuation of what is complete');
    closed_by(frame(1, '4', fin => 0) . frame(8, pack 'n', 1000), 1000,
              'a close frame within a message');
};


subtest 'masks and lengths' => sub {
    my $ws = ws();
    my $bytes = join '', map { chr $_ * 7 % 256 } 0 .. 400;
    my @failed;

    for my $n (0 .. 400) {
        my $payload = substr $bytes, 0, $n;
        $ws->write(frame(2, $payload, mask => pack 'N', $n * 0x9e3779b1));
        push @failed, $n unless ($ws->message // 'none') eq $payload;
    }
    is("@failed", '', 'lengths 0 to 400, each with a mask of its own');
    for my $n (125, 126, 127, 65535, 65536, 69_999, 70_000) {
        my $payload = '4' . 'z' x ($n - 1);
        $ws->text($payload);
        same($ws, $payload, "$n bytes");
    }
    $ws->write(frame(1, '4x', mask => "\0\0\0\0"));
    same($ws, '4x', 'a mask of zeros');
    $ws->write(frame(1, '4x', mask => "\xff\xff\xff\xff"));
    same($ws, '4x', 'a mask of ones');

    closed_by(frame(1, '4x', mask => ''), 1002, 'no mask');
    closed_by(frame(9, '', mask => ''), 1002, 'a ping without mask');
    closed_by(frame(8, '', mask => ''), 1002, 'a close frame without mask');

    closed_by(frame(1, '4x', form => 16), 1002, '2 bytes, length of 16 bits');
    closed_by(frame(1, '4' x 125, form => 16), 1002, '125, of 16 bits');
    closed_by(frame(1, '4x', form => 64), 1002, '2 bytes, length of 64 bits');
    closed_by(frame(1, '4' x 126, form => 64), 1002, '126, of 64 bits');
    closed_by(frame(1, '4' x 65535, form => 64), 1002, '65,535, of 64 bits');
    closed_by(frame(1, '', form => 64, length => 1 << 63), 1002,
              'the top bit set');
    closed_by(frame(1, '', form => 64, length => ~0), 1002, 'all bits set');
};


subtest 'the largest message' => sub {
    my $huge = sub { frame($_[0], '', form => 64, length => $_[1]) };

    closed_by(frame(1, '4' . 'x' x 70_000), 1009, 'one byte more');
    closed_by(frame(2, 'x' x 70_001), 1009, 'binary');
    closed_by($huge->(1, 70_001), 1009, 'announced');
    closed_by($huge->(1, 4_294_967_297), 1009, 'over 32 bits');
    closed_by($huge->(2, (1 << 63) - 1), 1009, 'the longest of all');
    closed_by(frame(1, '4' . 'x' x 69_999, fin => 0) . frame(0, 'x'), 1009,
              'by fragments');
    closed_by(frame(1, '4' . 'x' x 69_999, fin => 0) . $huge->(0, 1 << 62),
              1009, 'by the announcement of a fragment');
};


subtest 'reserved' => sub {
    closed_by(frame(1, '4x', rsv => $_), 1002, "bits $_") for 1 .. 7;
    closed_by(frame(9, '', rsv => 4), 1002, 'of a ping');
    closed_by(frame(1, '4', fin => 0) . frame(0, 'x', rsv => 4), 1002,
              'of a fragment');
    closed_by(frame($_, ''), 1002, "opcode $_") for 3 .. 7, 11 .. 15;
    closed_by(frame(1, '4', fin => 0) . frame(3, ''), 1002,
              'within a message');
};


subtest 'UTF-8' => sub {
    my $ws = ws();
    my @good = ("\0", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80",
                "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf",
                "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf");
    my @bad = ("\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80",
               "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf",
               "\xf0\x80\x80\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
               "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80", "\xfe", "\xff",
               "\xc2", "\xe2\x9c", "\xf0\x9f\x98", "\xe2\x9cx", "\xc2\xc2");

    $ws->text("4@good");
    same($ws, "4@good", 'the ends of all ranges');
    my $text = "4\xe2\x9c\x93 \xf0\x9f\x98\x80 \xc3\xa9";
    for my $cut (0 .. length $text) {
        $ws->write(frame(1, substr($text, 0, $cut), fin => 0)
                   . frame(0, substr $text, $cut));
        same($ws, $text, "across fragments, cut at $cut");
    }
    for my $bad (@bad) {
        my $hex = unpack 'H*', $bad;
        closed_by(frame(1, "4$bad"), 1007, "bytes $hex");
        closed_by(frame(1, "4$bad" . 'x' x 40), 1007, "$hex in the middle");
    }
    closed_by(frame(1, "4\xe2", fin => 0) . frame(0, "\x9c"), 1007,
              'cut off at the end of the last fragment');
    closed_by(frame(1, "4\xed", fin => 0) . frame(0, "\xa0\x80"), 1007,
              'a surrogate across fragments');
    closed_by(frame(1, "4\xf4", fin => 0) . frame(9, '')
              . frame(0, "\x90\x80\x80"), 1007, 'with a ping between');
    $ws->binary("\xff\xc0\x80");
    same($ws, "\xff\xc0\x80", 'binary is free');
};


subtest 'ping and pong' => sub {
    my $ws = ws();
    my $pong = sub {
        my $f = $ws->recv // { op => 'nothing', payload => '' };
        return "$$f{op} $$f{payload}";
    };

    for my $payload ('', 'x', "\0\xff\xfe", 'y' x 125) {
        $ws->send_frame(9, $payload);
        is($pong->(), "10 $payload",
           'a ping of ' . length($payload) . ' is answered with the same');
    }
    $ws->write(join '', map { frame(9, $_) } 1 .. 1000);
    is(join(',', map { $pong->() } 1 .. 1000),
       join(',', map { "10 $_" } 1 .. 1000), '1000 at once, in order');
    $ws->write(frame(10, '') . frame(10, 'x' x 125) . frame(1, '4x'));
    same($ws, '4x', 'pongs nobody asked for do nothing');

    closed_by(frame(9, 'x' x 126), 1002, 'a ping of 126');
    closed_by(frame(9, 'x', form => 16), 1002, 'a ping with a long length');
    closed_by(frame(10, 'x' x 126), 1002, 'a pong of 126');
    closed_by(frame(9, '', fin => 0), 1002, 'a ping in fragments');
    closed_by(frame(10, '', fin => 0), 1002, 'a pong in fragments');
};


subtest 'closing' => sub {
    closed_by(frame(8, ''), 1005, 'no code: answered without one');
    closed_by(frame(8, pack 'n', $_), $_, "$_ is answered")
        for 1000, 1001, 1002, 1003, 1007 .. 1014, 3000, 3999, 4000, 4999;
    closed_by(frame(8, pack('n', 1000) . 'x' x 123), 1000, 'a long reason');
    closed_by(frame(8, pack('n', 1000) . "\xe2\x9c\x93"), 1000, 'in UTF-8');
    closed_by(frame(8, pack 'n', $_), 1002, "$_ must not be sent")
        for 0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000,
            65535;
    closed_by(frame(8, 'x'), 1002, 'a code of one byte');
    closed_by(frame(8, pack('n', 1000) . "\xff"), 1007, 'a broken reason');
    closed_by(frame(8, pack('n', 1000) . 'x' x 124), 1002, '126 bytes');
    closed_by(frame(8, '', fin => 0), 1002, 'in fragments');

    my $ws = ws();
    $ws->write(frame(8, pack 'n', 4000) . frame(1, '4x') . frame(9, 'x'));
    my $f = $ws->recv // {};
    is($f->{op}, 8, 'what follows a close frame is not read');
    ok($ws->closes && $ws->{in} eq '', 'nor answered');

    $ws = SioRaw::WS->socket($port);
    $ws->text('42["bye"]');
    is($ws->message, '41', 'the server disconnects');
    is($ws->close_code, 1005, 'closes');
    ok($ws->closes, 'and ends, though the client does not answer');

    for my $how (qw(close reset finish)) {
        my $ws = ws();
        my $sid = $ws->sid;
        $ws->write(substr frame(1, '4xxx'), 0, 7);
        $ws->$how;
        $t->wait_for(sub {
            SioRaw::http($port, GET => '/plain/?EIO=4&transport=polling&sid='
                                       . $sid)->body =~ /"code":1/;
        }, "$how in the middle of a frame: gone", 2);
    }
};


subtest 'TLS' => sub {
    my $port = $t->tls_port;
    my $ws = SioRaw::WS->open($port, tls => 1, path => '/plain/',
                              early => frame(1, '4early'));

    ok($ws->switched, 'switched');
    same($ws, '4early', 'a frame together with the request');
    $ws->drip(frame(1, '4slow'));
    same($ws, '4slow', 'byte by byte');
    my $big = '4' . 'x' x 69_999;
    $ws->write(frame(1, $big) x 20);
    same($ws, $big, "large message $_") for 1 .. 20;
    $ws->write(join '', map { frame(1, "4$_") } 1 .. 1000);
    is(join(' ', map { $ws->message // 'none' } 1 .. 1000),
       join(' ', map { "4$_" } 1 .. 1000), '1000 messages at once');
    $ws->send_frame(8, pack 'n', 1000);
    is($ws->close_code, 1000, 'closed');
    ok($ws->closes, 'and ended');

    my $s = SioRaw::Polling->open($port, tls => 1);
    $s->join('/');
    $ws = SioRaw::WS->upgrade($port, tls => 1, query =>
              'EIO=4&transport=websocket&sid=' . $s->sid);
    $ws->ask('2probe');
    $ws->text('5');
    ok($ws->alive, 'upgraded from polling over TLS');
};

$t->stop;
done_testing;
