# Socket.IO 5, by hand: what a packet may look like, what it does, what ends
# the connection and with which reason.

use lib 't/lib';
use SioTest;
use SioRaw;
use JSON::PP ();

my $t = SioTest->new(
    location => <<'EOC',
        sio;
        sio_on ack ack;
        sio_on bye disconnect;
        sio_on quit disconnect close;
        sio_on * reply;

        sio_namespace /chat { sio_on ack ack; sio_on * reply; }
        sio_namespace "~^/room-\d+$" { sio_on * reply; }
        sio_namespace /deaf { }
EOC
    server => <<'EOC',
    location /left/ {
        sio;
        sio_on disconnect broadcast event=left args=[$sio_reason];
        sio_on bye disconnect;
        sio_on quit disconnect close;
    }
    location /mortal/ {
        sio; sio_ping_interval 250ms; sio_ping_timeout 250ms;
        sio_on disconnect broadcast event=left args=[$sio_reason];
    }
    location /brief/ { sio; sio_connect_timeout 300ms; sio_on * reply; }
EOC
);
$t->start;

my $port = $t->port;
my $json = JSON::PP->new->utf8->allow_nonref;

sub frame { SioRaw::WS->frame(@_) }
sub opened { SioRaw::WS->open($port, @_) }
sub joined { SioRaw::WS->socket($port, @_) }

# The next event, with its attachments in their places: an array.
sub event {
    my $ws = shift;
    my $packet = $ws->message // return 'nothing';
    my ($head, $n, $text) = $packet =~ m{^4(?:[23]|[56](\d+)-)}
        ? ($&, $1 // 0, $') : return $packet;
    my @parts = map { $ws->message } 1 .. $n;
    $text =~ s{^(?:/[^,]*,)?\d*}{};
    my $args = eval { $json->decode($text) } or return "bad JSON: $packet";
    my $fill;
    $fill = sub {
        my $v = shift;
        return [map { $fill->($_) } @$v] if ref $v eq 'ARRAY';
        return $v if ref $v ne 'HASH';
        return 'part ' . ($parts[$v->{num}] // 'missing')
            if ref $v->{_placeholder} && $v->{_placeholder};
        return {map { $_ => $fill->($v->{$_}) } keys %$v};
    };
    return $fill->($args);
}

# True if the server closes, and sends nothing before.
sub dead {
    my ($ws, $name) = @_;
    my $f = $ws->recv(3 * $SioRaw::SCALE);
    return is($f ? "op $f->{op} $f->{payload}" =~ s/^op 8 .*/closed/sr
                 : $ws->{eof} ? 'closed' : 'open', 'closed', $name);
}


subtest 'CONNECT' => sub {
    my $ws = opened();
    my @ids = map { my $nsp = $_ eq '/' ? '' : "$_,";
                    my ($answer) = $ws->ask($_ eq '/' ? '40' : "40$_,");
                    like($answer, qr/^40\Q$nsp\E\{"sid":"[\w-]{20}"\}$/, $_);
                    $answer =~ /"sid":"([^"]+)"/ } qw(/ /chat /room-1 /room-22);
    my %different = map { $_ => 1 } @ids, $ws->sid;
    is(keys %different, 5, 'an id for each, none is the secret one');

    is_deeply([$ws->ask('42["a",1]', '42/room-22,["b"]', '42/chat,["c"]')],
              ['42["a",1]', '42/room-22,["b"]', '42/chat,["c"]'],
              'events in each');

    for ('40', '40/', '40/,', '40{}', '40{"token":[1]}', '40/,{"a":{}}',
         '401', '401{}') {
        like((opened()->ask($_))[0], qr/^40\{"sid":/, "packet $_");
    }
    like((opened()->ask('40/chat'))[0], qr{^40/chat,\{"sid":},
         'no comma after the namespace');
    like((opened()->ask('40/chat,{"a":1}'))[0], qr{^40/chat,\{"sid":}, 'auth');

    $ws = joined();
    for my $nsp (qw(/nope /CHAT /chat/ /room-x /room-1x /chat?x=1), '/é',
                 '/"\\') {
        is(($ws->ask("40$nsp"))[0],
           "44$nsp,{\"message\":\"Invalid namespace\"}", "unknown: $nsp");
    }
    is(($ws->ask('40/nope,{"a":1}'))[0],
       '44/nope,{"message":"Invalid namespace"}', 'with auth');
    ok($ws->alive, 'the connection stays');

    for ('40[1]', '40"x"', '40null', '40true', '40{', '40{}x', '40{"a":1}{}',
         '40chat', '40/chat,x', '40/chat,[]') {
        $ws = opened();
        $ws->text($_);
        dead($ws, "packet $_");
    }
};


subtest 'what closes the connection' => sub {
    for ('42["a"]', '42/chat,["a"]', '43/chat,1[]', '431[]', '41', '41/chat',
         '44', '44"x"', '45', '451-["a",{"_placeholder":true,"num":0}]') {
        my $ws = opened();
        $ws->text($_);
        $ws->binary('x') if /^451/;
        dead($ws, "before CONNECT: $_");
    }

    my @bad = (
        '40', '40{}', '40/',                         # a second CONNECT
        '44', '44{"message":"x"}', '44"x"',          # only servers send these
        '42/chat,["a"]', '42/nope,["a"]', '43/chat,1[]', '41/chat',
        '42[]', '42[null]', '42[true]', '42[{}]', '42[["a"]]', '42{"a":1}',
        '42"a"', '42null', '42a', '42-1["a"]', '4212.5["a"]',
        (map { "42[\"$_\"]" } qw(connect connect_error disconnect
             disconnecting newListener removeListener)),
        '42["\u0063onnect",1]', '421["disconnect"]',
        '42["a"', '42["a"]x', '42["a"]]', '42["a"]["b"]', '42["a"],',
        '42["a",]', '42[,"a"]', "42['a']", '42[a]', '42["a" "b"]',
        '42["a",01]', '42["a",1.]', '42["a",.5]', '42["a",+1]', '42["a",1e]',
        '42["a",-]', '42["a",0x1]', '42["a",NaN]', '42["a",Infinity]',
        '42["a",True]', '42["a",nul]', '42["a",undefined]', '42["a",{a:1}]',
        '42["a",{"a"}]', '42["a",{"a":1,}]', '42["a",{"a":}]', '42["a",{1:1}]',
        '42["a","\q"]', '42["a","\u12g4"]', '42["a","\x41"]', '42["a","]',
        "42[\"a\",\"\n\"]", "42[\"a\",\"\x01\"]", "42[\"a\",\"\t\"]",
        "42[\"a\"]\0", "42[\"a\"]\x0b", "42[\"a\"\x0c]", "42[\"a\",\xc2\xa01]",
        '42["a",/* */1]', '42["a"]//',
        '41{}', '41[]', '41"x"', '41/chat,{}',
        '431{}', '431"x"', '431[', '43[1]x',
        '45["a"]', '45-["a"]', '450-["a"]', '45-1-["a"]', '451["a"]',
        '451', '451.5-["a"]', '45x-["a"]', '4511-["a"]', '45999999999999-["a"]',
        '461[]', '460-1[]', '4611-1[]',
        '47', '48', '49', '4a', '4', '4-', '4/', "4\0",
        '2', '2probe', '7', 'b', 'bAQID', 'x', '', ' ',
        '1',                                         # Engine.IO's close
    );
    for my $packet (@bad) {
        my $ws = joined();
        $ws->text($packet);
        dead($ws, "packet $packet" =~ s/([^ -~])/sprintf '\\x%02x', ord $1/ger);
    }

    my $ws = joined();
    $ws->binary('x');
    dead($ws, 'a binary message that is not due');
    $ws = joined();
    $ws->text('452-["a",{"_placeholder":true,"num":0}]');
    $ws->binary('x');
    $ws->text('42["a"]');
    dead($ws, 'text while an attachment is due');
    $ws = opened();
    $ws->ask('40', '40/chat');
    $ws->text('42/chat,{');
    dead($ws, 'all namespaces together');
};


subtest 'what does not' => sub {
    my $ws = joined();

    for ('0', '0{}', '3', '3probe', '5', '5x', '6', '6x',    # of Engine.IO
         '431[]', '43999[1,2]', '431', '43', '43[1]', '42', '421') {
        $ws->text($_);
        ok($ws->alive, "$_ does nothing");
    }
    $ws->text('461-5[{"_placeholder":true,"num":0}]');
    $ws->binary('x');
    ok($ws->alive, 'a binary acknowledgement nobody waits for');

    $ws->join('/chat');
    $ws->write(join '', map { frame(1, $_) }
                            '41', '42["a"]', '421["ack"]', '42/chat,["b"]');
    is($ws->message, '42/chat,["b"]', 'events that overtake a 41');
    like(($ws->ask('40'))[0], qr/^40\{/, 'and it can connect again');
};


subtest 'EVENT' => sub {
    my $ws = joined();
    my @same = ('42["a"]', '42["a",null,true,false,0,"x",[],{}]', '42[7]',
                '42[7,"x"]', '42[-1.5,1]', '42["",1]', '42["é ✓ 😀","✓"]',
                '42["connection",1]', '42["__proto__",{"__proto__":1}]',
                '42["constructor"]', '42["message","\\\\ \" / \b \n"]',
                '42["a",{"a":{"b":[[{"c":[]}]]}}]', '42["a","40{}"]',
                '42["' . 'n' x 5000 . '"]', '42["a","' . 'v' x 100_000 . '"]');
    for (@same) {
        my ($answer) = $ws->ask($_);
        ok(($answer // '') eq $_, length > 60 ? length($_) . ' bytes' : $_)
            or diag substr $answer // 'nothing', 0, 200;
    }

    for (['42[ "a" , 1 ]', '["a",1]'], ["42[\"a\"\t,\r\n1 ] ", '["a",1]'],
         ['42["a","\/\u00e9\ud83d\ude00"]', '["a","/é😀"]'],
         ['42["\u0061",1]', '["a",1]'],
         ['42["a",{"x":1,"x":2}]', '["a",{"x":2}]']) {
        my ($packet, $value) = @$_;
        $ws->text($packet);
        is_deeply(event($ws), $json->decode($value), $packet =~ s{\s+}{ }gr);
    }

    my $exact = '42["a",1.0,-0,1E+2,12345678901234567890,1e400,"\ud800"]';
    is(($ws->ask($exact))[0], $exact, 'bytes pass untouched');

    $ws = opened();
    $ws->ask('40', '40/deaf');
    $ws->text('42/deaf,["a",1]');
    $ws->text('42/deaf,5["a",1]');
    ok($ws->alive, 'no rule: nothing happens');
};


subtest 'ACK' => sub {
    my $ws = opened();
    $ws->ask('40', '40/chat');

    for (['421["ack",1]', '431[1]'], ['420["ack"]', '430[]'],
         ['42/chat,12["ack","x",{}]', '43/chat,12["x",{}]'],
         ['42/,3["ack"]', '433[]'], ['42007["ack"]', '437[]'],
         ['429007199254740991["ack"]', '439007199254740991[]']) {
        my ($packet, $answer) = @$_;
        is(($ws->ask($packet))[0], $answer, $packet);
    }
    $ws->text('42["ack",1]');
    ok($ws->alive, 'only where it is asked for');
    is(($ws->ask('425["a"]'))[0], '42["a"]', 'an answer has no id');
};


subtest 'binary' => sub {
    my $ws = opened();
    $ws->ask('40', '40/chat');
    my $part = sub { "{\"_placeholder\":true,\"num\":$_[0]}" };
    my $all = join '', map { chr } 0 .. 255;
    my $event = sub {
        my ($name, $expected, $packet, @parts) = @_;
        $ws->text($packet);
        $ws->binary($_) for @parts;
        is_deeply(event($ws), $expected, $name);
    };

    $event->('one', ['a', "part $all"], "451-[\"a\",${\$part->(0)}]", $all);
    $event->('empty', ['a', 'part '], "451-[\"a\",${\$part->(0)}]", '');
    $event->('in a namespace', ['a', 'part x'],
             "451-/chat,[\"a\",${\$part->(0)}]", 'x');
    $event->('nested', ['a', {b => [1, {c => 'part y'}], d => 'part x'}],
             "452-[\"a\",{\"b\":[1,{\"c\":${\$part->(1)}}],"
             . "\"d\":${\$part->(0)}}]", 'x', 'y');
    $event->('one named twice', ['a', 'part x', 'part x'],
             "451-[\"a\",${\$part->(0)},${\$part->(0)}]", 'x');
    $event->('one that nothing names', ['a', 'part y'],
             "452-[\"a\",${\$part->(1)}]", 'x', 'y');
    $event->('none named', ['a', 'b'], '451-["a","b"]', 'x');
    $event->('the number first', ['a', 'part x'],
             '451-["a",{"num":0,"_placeholder":true}]', 'x');
    $event->('more keys', ['a', 'part x'],
             '451-["a",{"_placeholder":true,"num":0,"x":{"num":5}}]', 'x');
    $event->('not a placeholder', ['a', {_placeholder => 1, num => 9}],
             '42["a",{"_placeholder":1,"num":9}]');
    $event->('ten', ['a', map { "part $_" } 0 .. 9],
             '4510-["a",' . join(',', map { $part->($_) } 0 .. 9) . ']',
             0 .. 9);
    $event->('acknowledged', ['part x', 1], "451-9[\"ack\",${\$part->(0)},1]",
             'x');
    is(($ws->ask('421["ack"]'))[0], '431[]', 'text afterwards');

    for my $num (1, -1, '"0"', 'null', 1e9, 0.5, '[]', '{}', 'true') {
        my $ws = joined();
        $ws->text("451-[\"a\",${\$part->($num)}]");
        $ws->binary('x');
        dead($ws, "a placeholder's number is $num");
    }
    for my $bad ('451-["a",{"_placeholder":true}]', "451-[${\$part->(0)}]",
                 "451-[\"connect\",${\$part->(0)}]", '451-[]',
                 "451-[\"a\",${\$part->(0)}") {
        my $ws = joined();
        $ws->text($bad);
        $ws->binary('x');
        dead($ws, $bad);
    }
};


subtest 'DISCONNECT' => sub {
    my $ws = opened();
    my $first = $ws->join('/');
    $ws->join('/chat');
    $ws->text('41');
    is(($ws->ask('42/chat,["a"]'))[0], '42/chat,["a"]', 'of one namespace');
    isnt($ws->join('/'), $first, 'connected again: a new id');
    $ws->text('41/chat,');
    ok($ws->alive, 'with a comma');

    is(($ws->ask('42["bye"]'))[0], '41', 'by the server');
    ok(defined $ws->join('/chat'), 'the connection stays');
    $ws->text('42["a"]');
    dead($ws, 'but the namespace is left');

    $ws = opened();
    $ws->ask('40', '40/chat');
    $ws->text('42["quit"]');
    is(join(' ', sort map { $ws->message // '' } 1 .. 2), '41 41/chat,',
       'by the server, with the session');
    dead($ws, 'which ends');
};


subtest 'reasons' => sub {
    my $witness = joined(path => '/left/');
    my $reason = sub { event($witness) };
    my @ws = (
        ['client namespace disconnect', '41', sub { $_[0]->text('41') }],
        ['server namespace disconnect', 'a rule',
         sub { $_[0]->text('42["bye"]') }],
        ['server namespace disconnect', 'a rule that closes',
         sub { $_[0]->text('42["quit"]') }],
        ['transport close', 'close frame', sub { $_[0]->send_frame(8, '');
                                               $_[0]->close }],
        ['transport close', 'end', sub { $_[0]->close }],
        ['transport close', 'reset', sub { $_[0]->reset }],
        ['transport error', 'bad frame', sub { $_[0]->send_frame(3, '') }],
        ['transport error', 'bad UTF-8', sub { $_[0]->text("4\xff") }],
        ['transport error', 'a ping', sub { $_[0]->text('2') }],
        ['parse error', 'no Engine.IO packet', sub { $_[0]->text('x') }],
        ['forced close', 'no Socket.IO packet', sub { $_[0]->text('42{') }],
        ['forced close', 'a second CONNECT', sub { $_[0]->text('40') }],
    );
    for (@ws) {
        my ($text, $name, $end) = @$_;
        my $ws = joined(path => '/left/');
        $end->($ws);
        is_deeply($reason->(), ['left', $text], "$name: $text");
    }

    my @polling = (
        ['client namespace disconnect', '41', sub { $_[0]->post('41') }],
        ['transport close', '1', sub { $_[0]->post('1') }],
        ['transport error', 'overlapping GETs', sub {
            my $get = $_[0]->start('GET');
            $get->quiet(0.1);
            $_[0]->get }],
        ['transport error', 'an aborted GET', sub {
            my $get = $_[0]->start('GET');
            $get->quiet(0.1);
            $get->close }],
        ['transport error', 'a ping', sub { $_[0]->post('2', deadline => 1) }],
        ['parse error', 'no Engine.IO packet',
         sub { $_[0]->post('x', deadline => 1) }],
    );
    for (@polling) {
        my ($text, $name, $end) = @$_;
        my $s = SioRaw::Polling->open($port, path => '/left/');
        $s->join('/');
        $end->($s);
        is_deeply($reason->(), ['left', $text], "polling, $name: $text");
    }

    my $ws = joined(path => '/left/');
    $ws->text('1');
    is_deeply($reason->(), ['left', 'transport close'], '1: transport close');

    $witness = joined(path => '/mortal/');
    my $mute = joined(path => '/mortal/');
    my $got;
    $witness->text('3') while ($got = event($witness)) eq '2';
    is_deeply($got, ['left', 'ping timeout'], 'ping timeout');
};


subtest 'connect timeout' => sub {
    my $ws = opened(path => '/brief/');
    dead($ws, 'no CONNECT');

    $ws = opened(path => '/brief/');
    like(($ws->ask('40/nope'))[0], qr/^44/, 'a failed CONNECT');
    dead($ws, 'is none');

    $ws = opened(path => '/brief/');
    $ws->join('/');
    ok($ws->quiet(0.6), 'a successful one lets it live');
    ok($ws->alive, 'for good');

    $ws = opened(path => '/brief/');
    $ws->join('/');
    $ws->text('41');
    ok($ws->quiet(0.6), 'even after it has left');
    ok(defined $ws->join('/'), 'and it may come back');
};

$t->stop;
done_testing;
