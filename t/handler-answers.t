# Handlers: what the operations of an answer do.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();
use MIME::Base64 ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my $true = JSON::PP::true;
my $backend = SioBackend->new->start;

my $t = SioTest->new(
    location => <<'EOC',
        sio;
        sio_data user $arg_user;
        sio_handler /app;
        sio_on values reply args=[$sio_data_user,$sio_data_score];
        sio_namespace /chat { sio_handler /app; }
EOC
    server => <<"EOC",
    location = /app {
        internal;
        proxy_pass       http://${\$backend->address};
        proxy_set_header X-User \$sio_data_user;
        proxy_set_header X-Score \$sio_data_score;
    }
EOC
);
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);

BEGIN { *did = \&SioBackend::did; *emit = \&SioBackend::emit }

sub joined {
    my $ws = SioRaw::WS->socket($port, @_);
    $backend->take(1);
    return $ws;
}

# Clients leave; what the backend has heard of them until then does not matter.
sub leave {
    my %left = map { $_->id => 1 } @_;
    $_->close for @_;
    while (%left) {
        my $r = $backend->take(1)->{json};
        delete $left{$r->{id}} if $r->{type} eq 'disconnect';
    }
}

# The next request's data, and what its headers have of it.
sub data {
    my ($ws) = @_;
    $backend->rest;
    $ws->text('42["data"]');
    my $r = $backend->take(1);
    return ($json->encode($r->{json}{data}),
            join '|', map { SioBackend::header($r, $_) } 'X-User', 'X-Score');
}


subtest 'whom an emit is for' => sub {
    my ($ann, $bob, $cy) = map { joined() } 1 .. 3;
    my ($a, $b, $c) = map { $_->id } $ann, $bob, $cy;
    my $n = 0;

    # What each of the three gets, until an event that ends it.
    my $got = sub {
        my $end = 'end' . ++$n;
        $ann->text('42' . SioBackend::answered_by(@_, emit($end, to => '*')));
        return join ' | ', map {
            my ($ws, @got) = $_;
            while (defined(my $m = $ws->message)) {
                last if $m eq "42[\"$end\"]";
                push @got, $m =~ s/^42//r;
            }
            join ' ', @got;
        } $ann, $bob, $cy;
    };

    is($got->(emit('x', args => [1, "\x{2713}"])),
       "[\"x\",1,\"✓\"] |  | ", 'the sender');
    is($got->(emit('x', to => [$b])), ' | ["x"] | ', 'a room: an id');
    is($got->(emit('x', sockets => [$b, $c])), ' | ["x"] | ["x"]', 'sockets');
    is($got->(emit('x', to => '*')), '["x"] | ["x"] | ["x"]', 'all');
    is($got->(emit('x', to => '*', except => [$a])), ' | ["x"] | ["x"]',
       'but for the sender');
    is($got->(emit('x', to => []), emit('x', sockets => [])), ' |  | ',
       'an empty list is nobody');
    is($got->({ op => 'join', rooms => ['r', 's'] },
              { op => 'join', rooms => 'r', sockets => [$b] },
              { op => 'join', rooms => ['q', 's'], to => [$c] },
              emit('x', to => 'r')), '["x"] | ["x"] | ', 'join, then a room');
    is($got->(emit('x', to => ['r', 's'])), '["x"] | ["x"] | ["x"]',
       'two rooms: once for each');
    is($got->(emit('x', to => ['r', 's'], except => ['q', $b])),
       '["x"] |  | ', 'except rooms and ids');
    is($got->(emit('x', sockets => [$a, $b], except => 'q'),
              emit('y', sockets => [$a, $c], except => 'q')),
       '["x"] ["y"] | ["x"] | ', 'except, of sockets');
    is($got->({ op => 'leave', rooms => ['s'], to => 's' },
              { op => 'leave', rooms => ['none'] },
              emit('x', to => 's'), emit('y', to => 'r')),
       '["y"] | ["y"] | ', 'leave, of a room');
    is($got->(emit('x', to => '*', volatile => $true)),
       '["x"] | ["x"] | ["x"]', 'volatile: those who listen');
    is($got->(emit("a\"\\\n\x{e9}", args => [{}, []])),
       '["a\"\\\\\né",{},[]] |  | ', 'a name with all kinds of characters');

    $bob->join('/chat');
    is($got->(emit('x', namespace => '/chat', to => '*'),
              emit('y', namespace => '/', to => 'r')),
       '["y"] | /chat,["x"] ["y"] | ', 'another namespace');
    is($got->({ op => 'join', namespace => '/chat', to => '*', rooms => 'z' },
              emit('x', to => 'z'), emit('y', to => 'z', namespace => '/chat')),
       ' | /chat,["y"] | ', 'whose rooms are its own');
    $bob->text('41/chat,');
    leave($ann, $bob, $cy);

    my $s = SioRaw::Polling->open($port);
    $s->join('/');
    my $ws = joined();
    did($ws, emit('lost', to => '*', volatile => $true),
        emit('kept', to => '*'));
    is(join(' ', $s->packets), '42["kept"]', 'volatile: not who is away');
    $s->post('1');
    leave($ws);
};


subtest 'acknowledgements' => sub {
    my $ws = joined();
    my $ask = sub { my $id = shift;
                    $ws->text("42$id" . SioBackend::answered_by(@_)) };

    $ask->(5, { op => 'ack', args => ['a', { b => 1 }] });
    is($ws->message, '435["a",{"b":1}]', 'with arguments');
    $ask->(0, { op => 'ack' });
    is($ws->message, '430[]', 'without');
    $ask->('9007199254740991', { op => 'ack' });
    is($ws->message, '439007199254740991[]', 'of the largest number');
    $ask->(6, { op => 'ack', args => [1] }, { op => 'ack', args => [2] },
           emit('end'));
    is(join(' ', map { $ws->message } 1, 2), '436[1] 42["end"]',
       'twice: the first one');
    $ask->('', { op => 'ack', args => [1] }, emit('end'));
    is($ws->message, '42["end"]', 'nobody has asked: ignored');
    $ask->(7, emit('end'));
    is($ws->message, '42["end"]', 'it need not be there');
    $ask->(8, { op => 'ack', seq => 8, args => [1] });
    is($ws->message, '438[1]', 'with the right number');
    $ask->(9, emit('x'), { op => 'ack', seq => 8, args => [1] });
    is(did($ws), '', 'with a wrong one: nothing of it');
    like($t->log, qr/nothing of it is carried out: "seq" is not of this/,
         'the log says why');
    leave($ws);
};


subtest 'data' => sub {
    my $ws = joined(query => 'EIO=4&transport=websocket&user=ann');
    my $other = joined();
    my $set = sub { { op => 'data', set => @_ } };

    is(join(' ', data($ws)), '{"user":"ann"} ann', 'of the handshake');
    is(did($ws, $set->({ score => 3, list => [1, { a => JSON::PP::null }],
                         text => "\"\x{e9}\n" }), emit('x')), '42["x"]',
       'is set');
    is(join(' ', data($ws)), '{"list":[1,{"a":null}],"score":3,'
       . '"text":"\"é\n","user":"ann"} ann|3', 'and seen afterwards');
    is(($ws->ask('42["values"]'))[0], '42["values","ann","3"]', 'by rules');

    did($ws, $set->({ score => "a\r\nX-Evil: 1", text => JSON::PP::null }),
        $set->({ list => JSON::PP::null, none => JSON::PP::null,
                 user => 'bob' }));
    is(join(' ', data($ws)), '{"score":"a\r\nX-Evil: 1","user":"bob"} '
       . 'bob|a%0D%0AX-Evil: 1', 'null removes, and values are hidden');
    is(($ws->ask('42["values"]'))[0],
       '42["values","bob","a\r\nX-Evil: 1"]', 'for rules, too');
    did($ws, $set->({ user => JSON::PP::null, score => JSON::PP::null }));
    is(join(' ', data($ws)), '{"user":"ann"} ann', 'removed: as before');

    did($ws, $set->({ score => 1 }, sockets => [$other->id]),
        $set->({ score => 2 }, to => '*', except => [$other->id]));
    is((data($other))[0], '{"score":1,"user":""}', 'of another socket');
    is((data($ws))[0], '{"score":2,"user":"ann"}', 'of all but one');

    my $large = 'x' x 4050;
    did($ws, $set->({ large => $large }));
    is((data($ws))[0], "{\"large\":\"$large\",\"score\":2,\"user\":\"ann\"}",
       'as much as there may be');
    did($ws, $set->({ more => $large, score => 3 }));
    is((data($ws))[0], "{\"large\":\"$large\",\"score\":2,\"user\":\"ann\"}",
       'more is not set');
    like($t->log, qr/\[warn\].*data not set/, 'but logged');
    is($t->status->{limit_data}, 1, 'and counted');

    $ws->join('/chat');
    $backend->rest;
    $ws->text('42/chat,["data"]');
    is_deeply($backend->take(1)->{json}{data}, { user => 'ann' },
              'each namespace has its own');
    $ws->text('41/chat,');
    $backend->take(1);
    leave($ws, $other);
};


subtest 'binary values' => sub {
    my $ws = joined();
    my $bytes = join '', map chr, 0 .. 255;
    my $base64 = MIME::Base64::encode_base64($bytes, '');
    my $part = sub { "{\"_placeholder\":true,\"num\":$_[0]}" };

    $ws->text('452-7["pic",{"a":[' . $part->(1) . ']},' . $part->(0) . ','
              . $part->(1) . ']');
    $ws->binary($_) for $bytes, '';
    my $r = $backend->take(1);
    is($json->encode($r->{json}{args}), '[{"a":[{"_base64":""}]},'
       . "{\"_base64\":\"$base64\"},{\"_base64\":\"\"}]", 'to the backend');
    is($r->{json}{ack}, 7, 'with an acknowledgement');

    # PHP's json_encode writes "\/".
    my $php = $base64 =~ s{/}{\\/}gr;
    like($php, qr{\\/}, 'base64 with escapes');

    my $both = "[\"x\",{\"_base64\":\"$php\"},[1,{ \"_base64\" : \"QQ==\" }]]";
    my $does = sub {
        my ($ack, $body) = @_;
        $ws->text("42$ack" . $json->encode(['do', { body => $body }]));
    };

    $does->('', '[{"op":"emit","event":"pic","args":' . $both . '}]');
    is(join('|', map { $ws->message } 0 .. 2),
       '452-["pic","x",' . $part->(0) . ',[1,' . $part->(1) . "]]|$bytes|A",
       'and back');
    $does->(8, '[{"op":"ack","args":' . $both . '}]');
    is(join('|', map { $ws->message } 0 .. 2),
       '462-8["x",' . $part->(0) . ',[1,' . $part->(1) . "]]|$bytes|A",
       'in an acknowledgement');

    # What only looks like one is passed on as it is.
    my $mere = '{"_base64":"AA==","a":1},{"_base64":1},{"_base64":["AA=="]},'
               . '"{\"_base64\":\"AA==\"}",{"a":"_base64"}';
    $does->('', "[{\"op\":\"emit\",\"event\":\"x\",\"args\":[$mere]}]");
    is($ws->message, "42[\"x\",$mere]", 'nothing else');

    for my $wrong ('{"_base64":"A"}', '{"_base64":"?"}', '{"_base64":"A==="}',
                   '{"_base64":"QQ=="},' . $part->(0),
                   join ',', ('{"_base64":""}') x 256) {
        $does->('', '[{"op":"emit","event":"no"},'
                . "{\"op\":\"emit\",\"event\":\"x\",\"args\":[$wrong]}]");
        is(did($ws, emit('end')), '42["end"]',
           'refused: ' . substr $wrong, 0, 40);
    }
    is(scalar(() = $t->log =~ /nothing of it is carried out: (?:not base64|"_pl|too many binary)/g),
       5, 'and logged');
    leave($ws);
};


subtest 'questions to clients' => sub {
    my ($ann, $bob, $cy) = my @all = map { joined() } 1 .. 3;
    my $ask = sub {
        my ($token, %more) = @_;
        $ann->text('42' . SioBackend::answered_by(
            emit('ask', ack => $token, %more)));
        $backend->take(1);
    };
    # The number of the acknowledgement that an event wants.
    my $asked = sub {
        my ($id) = ($_[0]->message // '') =~ /^42(\d+)\["ask"/;
        return $id // 'nothing';
    };

    did($bob, { op => 'join', rooms => 'r' });
    did($bob, { op => 'data', set => { a => 1 } });
    $backend->take(2);

    $ask->("poll \"1\"\n", to => '*', timeout => 60_000, args => [1]);
    my ($a, $b, $c) = map { $asked->($_) } @all;
    $bob->text("43$b\[\"yes\",{\"x\":1.0}]");
    my $r = $backend->take(1);
    is(canonical($r->{body}), canonical(<<"EOJ"), 'an answer');
{"type": "ack", "namespace": "/", "id": "${\$bob->id}", "seq": 4,
 "token": "poll \\"1\\"\\n", "args": ["yes", {"x": 1.0}], "rooms": ["r"],
 "data": {"a": 1, "user": ""}}
EOJ
    $bob->text("43$b\[\"again\"]");
    $bob->text('4399999["forged"]');
    $bob->text('42["end"]');
    is($backend->take(1)->{json}{event}, 'end',
       'each can answer once, and only what it was asked');

    $backend->set(ack => { body => [emit('thanks', to => '*')] });
    $ann->text("451-$a\[{\"_placeholder\":true,\"num\":0}]" =~ s/^45/46/r);
    $ann->binary("\0");
    is_deeply($backend->take(1)->{json}{args}, [{ _base64 => 'AA==' }],
              'a binary answer');
    is(join(' ', map { $_->message } @all), join(' ', ('42["thanks"]') x 3),
       'and it is answered');
    $backend->set(ack => {});
    $cy->text("43$c\[]");
    is_deeply($backend->take(1)->{json}{args}, [], 'an empty one');

    # If all have answered nothing follows; what does is of the next question.
    $ask->('all', to => '*', timeout => 300);
    $_->text('43' . $asked->($_) . '[]') for @all;
    is(scalar(() = $backend->take(3)), 3, 'all answer');
    $backend->set(ack => { body => [emit('lost'),
                                    emit('late', sockets => [$ann->id])] });
    $ask->('some', to => '*', timeout => 500);
    my @late = map { $asked->($_) } @all;
    $bob->text("43$late[1]\[]");
    $r = $backend->take(1);
    is("$r->{json}{token} $r->{json}{id}", 'some ' . $bob->id,
       'one of three does');
    $_->message for $bob, $ann;
    $r = $backend->take(1);
    is(canonical($r->{body}), '{"missing":2,"namespace":"/","token":"some",'
       . '"type":"ack"}', 'in time');
    is($ann->message, '42["late"]', 'its answer has no sender');
    $backend->set(ack => {});

    $cy->text("43$late[2]\[\"too late\"]");
    $cy->text('42["end"]');
    is($backend->take(1)->{json}{event}, 'end', 'too late is not told');

    $ask->('self', timeout => 200);
    isnt($asked->($ann), 'nothing', 'the sender alone');
    is_deeply($backend->take(1)->{json}, { type => 'ack', namespace => '/',
              token => 'self', missing => 1 }, 'does not answer');

    $ask->('gone', sockets => [$cy->id], timeout => 400);
    isnt($asked->($cy), 'nothing', 'one is asked');
    $cy->close;
    my %told = map { $_->{json}{type} => $_->{json} } $backend->take(2);
    is($told{disconnect}{id}, $cy->id, 'and leaves');
    is($told{ack}{missing}, 1, 'missing');
    leave($ann, $bob);
};

sub canonical { return $json->encode($json->decode(shift)) }


SioBackend::ends($t, $before, $backend);
is(join("\n", map { $_->{body} } $backend->rest), '',
   'the backend has heard of nothing else');
done_testing;
