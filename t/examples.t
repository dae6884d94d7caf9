# The examples of the documentation do what the pages say of them.

use lib 't/lib';
use SioTest;
use SioRaw;
use Time::HiRes qw(time);
use MIME::Base64 ();

my (%name, $port);


# The configurations under a heading of a page.

sub example {
    my ($page, $heading) = @_;

    my ($section) = SioTest::read_file($page)
                    =~ /^#+ +\Q$heading\E\s*\n(.*?)(?=^#+ |\z)/ms;
    my @config = ($section // '') =~ /^```nginx\n(.*?)^```/msg;

    ok(@config > 0, "$page: $heading");

    return wantarray ? @config : $config[0];
}


# Starts nginx with a server, or locations, or what a sio location has.

sub serve {
    my ($config, %more) = @_;

    my $files = delete $more{files} // {};

    $config = $2 if $config =~ /^( *)server \{(.*?)^\1\}/ms;
    $config =~ s/^ +listen [^;]*;$//mg;
    $config =~ s/^ +location = \/status \{.*?\}$//msg;

    my $t = SioTest->new(
        $config =~ /^ *location /m
        ? (location => undef, server => $config)
        : (location => "sio; $config"),
        %more);

    for my $path (keys %$files) {
        SioTest::write_file($t->dir . "/$path", $files->{$path});
    }

    $port = $t->start->port;
    %name = ();

    return $t;
}


# A client with a name, by which its id is called in what others get.

sub client {
    my ($name, %opt) = @_;

    my $ws = SioRaw::WS->socket($port, %opt);

    $name{$ws->id // 'none'} = $name;
    return $ws;
}


# Sends packets and returns what has come until a ping frame is answered.  As
# a client's packets are handled before its ping, others have theirs then, too;
# those of another worker a moment later.

sub got {
    my ($ws, @packets) = @_;

    my $end = time + (@packets || ($ENV{NGX_SIO_WORKERS} // 1) == 1 ? 0 : 1);
    my $got = got_now($ws, @packets);

    $got = got_now($ws) while $got eq '' && time < $end;

    return $got;
}


sub got_now {
    my ($ws, @packets) = @_;

    my @got;

    $ws->text("4$_") for @packets;
    $ws->send_frame(9, '');

    while (my $f = $ws->recv) {
        last if $f->{op} eq 10;
        push @got, $f->{op} eq 8 ? 'closed' : $f->{payload} =~ s/^4//r;
    }

    my $got = join ' ', @got;

    $got =~ s/\Q$_\E/$name{$_}/g for keys %name;

    return $got =~ s/([,:]) (?=["\d{\[])/$1/gr;
}


subtest 'README.md' => sub {
    my ($relay) = SioTest::read_file('README.md') =~ /^```nginx\n(.*?)^```/ms;
    my $t = serve($relay);
    my ($ann, $bob) = map { client($_) } qw(ANN BOB);

    is(got($ann, '2["hi",1]'), '', 'a relay: not the sender');
    is(got($bob), '2["hi",1]', 'the others');
    $_->close for $ann, $bob;
    $t->stop;

    $t = serve(example('README.md', 'A configuration')
                   =~ s{/var/www/}{%%DIR%%/}r,
               files => { 'socket.io.min.js' => 'the client' });

    is(SioRaw::http($port, GET => '/socket.io/socket.io.js')->body,
       'the client', 'the client');

    ($ann, $bob) = map { client($_, headers => [Cookie => "name=\L$_"]) }
                       qw(ANN BOB);

    my $hello = '2["chat message","ann","hello"]';

    is(got($ann, '2["chat message","hello"]'), $hello, 'chat message');
    is(got($bob), $hello, 'to all');
    is(got($ann, '2["typing"]'), '', 'typing');
    is(got($bob), '2["typing"]', 'to the others');
    is(got($ann, '2["whisper","' . $bob->id . '","psst"]'), '', 'whisper');
    is(got($bob), '2["whisper","ANN","psst"]', 'to one');
    is(got($ann, '2["else"]') . got($bob), '', 'an event without a rule');
    is(got($ann, '1'), '', 'a client leaves');
    is(got($bob), '2["gone","ANN"]', 'the others hear of it');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'actions' => sub {
    my $t = serve(join '', 'sio_on connection join lobby;',
                  'sio_on mute join muted;',
                  map { example('docs/rules.md', $_) }
                      'emit and broadcast', 'reply', 'ack');
    my ($ann, $bob, $cy) = map { client($_, headers => [Referer => 'x"y']) }
                               qw(ANN BOB CY);

    is(got($ann, '2["say",1.0]'), '2["say",1.0]', 'emit: the sender too');
    is(got($_), '2["say",1.0]', 'the others') for $bob, $cy;
    is(got($ann, '2["typing"]'), '', 'broadcast: not the sender');
    is(got($_), '2["typing"]', 'the others') for $bob, $cy;

    is(got($cy, '2["mute"]'), '', 'one is muted');

    my $tell = '2["tell","' . $bob->id . '","lobby"]';

    is(got($ann, $tell), '2["tell","BOB","lobby"]', 'two rooms: one copy');
    is(got($bob), '2["tell","BOB","lobby"]', 'for each');
    is(got($cy), '', 'but for the exception');
    is(got($ann, '2["tell",null,[]]') . got($bob), '', 'no name: nobody');

    is(got($ann, '2["shout","hey"]'), '2["shouted","ANN","hey"]',
       'event= and args=');
    is(got($_), '2["shouted","ANN","hey"]', 'for all') for $bob, $cy;

    is(got($ann, '2["where"]'), '2["where",{"id":"ANN","page":"x\"y"}]',
       'reply');
    is(got($bob), '', 'to the sender alone');

    is(got($ann, '21["save",[1]]', '22["ping",1,2]'),
       '31["saved",[1]] 32[1,2]', 'ack');
    is(got($ann, '2["save",[1]]'), '', 'where it was asked for');

    $_->close for $ann, $bob, $cy;
    $t->stop;
};


subtest 'rooms and leaving' => sub {
    my $t = serve(join '', 'sio_on all emit to=lobby;',
                  'sio_on some emit to=room:$sio_arg1;',
                  'sio_namespace /b { }',
                  map({ example('docs/rules.md', $_) }
                      'join and leave', 'disconnect'),
                  'sio_on bye emit event=after;');
    my ($ann, $bob) = map { client($_) } qw(ANN BOB);

    is(got($ann, '2["all"]'), '2["all"]', 'everybody is in the lobby');
    is(got($bob), '2["all"]', 'the other one, too');
    is(got($bob, '2["enter",7]'), '', 'enter');
    is(got($ann, '2["some","7"]'), '', 'a number and its text');
    is(got($bob), '2["some","7"]', 'are one name');
    is(got($bob, '2["exit",7]', '2["some",7]'), '', 'exit');

    is(got($ann, '2["bye"]'), '1', 'disconnect');
    is(got($bob), '2["after"]', 'rules behind it run');
    ok(defined $ann->join($_), "the session stays: $_") for '/', '/b';
    is(join(' ', sort split / /, got($ann, '2["quit"]')), '1 1/b, closed',
       'disconnect close');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'values' => sub {
    my $t = serve(join '', 'sio_on connection join lobby;',
                  map { example('docs/rules.md', $_) }
                      'args=', 'Binary arguments', 'Quotes');
    my ($ann, $bob) = map { client($_) } qw(ANN BOB);

    is(got($ann, '2["say",{"a":1},"B\"b"]'),
       '2["say",{"from":"ANN","text":{"a":1}},"to B\"b!"]', 'args=');
    got($bob);

    $ann->text('451-7["image",{"_placeholder":true,"num":0}]');
    $ann->binary("\1\2");
    is(got($ann), '37["passed on"]', 'a binary argument: acknowledged');
    is(got($bob), qq(51-["image","ANN",{"_placeholder":true,"num":0}] \1\2),
       'and passed on');

    is(got($ann, '2["hello"]'), '2["hello","good morning"] 2["good morning"] '
       . '2["hello","first line\nsecond line","say \"hi\""]', 'quotes');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'identity' => sub {
    my ($auth, @rooms) = example('docs/rules.md', 'Security');
    my $other = SioTest::free_port();

    my $t = serve($auth =~ s/127\.0\.0\.1:3000/127.0.0.1:$other/r,
                  http => <<"EOC");
        server {
            listen 127.0.0.1:$other;
            if (\$cookie_login = '') { return 401; }
            add_header X-User \$cookie_login;
            return 204;
        }
EOC

    is(SioRaw::WS->upgrade($port)->answered->status, 401, 'without a login');

    my ($ann, $bob) = map { client($_, headers => [Cookie => "login=\L$_"]) }
                          qw(ANN BOB);

    is(got($ann, '2["message","hi"]'), '2["message","ann","hi"]', 'message');
    is(got($bob), '2["message","ann","hi"]', 'who has sent it');
    is(got($ann, '2["private","bob","psst"]'), '', 'private');
    is(got($bob), '2["private","ann","psst"]', 'by name');
    $_->close for $ann, $bob;
    $t->stop;

    $t = serve(example('docs/directives.md', 'sio_data'),
               files => { users => "ann:{PLAIN}secret\n" });
    $ann = client('ANN', headers =>
        [Authorization => 'Basic ' . MIME::Base64::encode('ann:secret', '')]);

    is(got($ann, '2["message","hi"]'), '2["message",{"from":"ann","text":"hi"}]',
       'auth_basic');
    $ann->close;
    $t->stop;
};


subtest 'rooms of others' => sub {
    my (undef, $prefix, $member, $joined) = example('docs/rules.md', 'Security');

    my $t = serve("location /prefix/ { sio; $prefix"
                  . ' sio_on user emit to=user:$sio_arg1; }'
                  . "location /member/ { sio; $member }"
                  . "location /joined/ { sio; $joined }");
    my ($ann, $bob) = map { client($_, path => '/prefix/') } qw(ANN BOB);

    got($ann, '2["enter","user:bob"]', '2["enter","../user:bob"]');
    is(got($bob, '2["user","bob"]') . got($ann), '', 'behind a prefix');
    $_->close for $ann, $bob;

    ($ann, $bob) = map { client($_, path => '/member/') } qw(ANN BOB);
    got($bob, '2["enter","a"]');
    is(got($ann, '2["message","a","hi"]') . got($bob), '', 'no member');
    got($ann, '2["enter","a"]');
    is(got($ann, '2["message","a","hi"]'), '2["message","ANN","hi"]', 'a member');
    is(got($bob), '2["message","ANN","hi"]', 'reaches the others');
    $_->close for $ann, $bob;

    ($ann, $bob) = map { client($_, path => '/joined/') } qw(ANN BOB);
    got($bob, '2["enter","a"]');
    is(got($ann, '2["joined","BOB"]') . got($bob), '', 'joined, by a client');
    is(got($ann, '2["enter","a"]'), '2["joined","ANN"]', 'by a rule');
    is(got($bob), '2["joined","ANN"]', 'for the room');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'namespaces, plain messages, from one to another' => sub {
    my $t = serve(example('docs/rules.md', 'Namespaces')
                  . example('docs/rules.md', 'Plain Engine.IO'));
    my ($ann, $bob) = map { client($_) } qw(ANN BOB);

    is(got($ann, '2["message"]'), '2["message"]', 'a rule of /');
    is(got($bob), '2["message"]', 'for all in it');

    for my $nsp ('/quiz', '/team-7') {
        @name{map { $_->join($nsp) } $ann, $bob} = qw(ANN BOB);
    }

    is(got($ann, '2/quiz,["answer",42]'), '', 'a rule of /quiz');
    is(got($bob), '2/quiz,["answer","ANN",42]', 'for the players');
    is(got($ann, '2/team-7,["message",1]'), '', 'a rule of an expression');
    is(got($bob), '2/team-7,["message","/team-7",1]', 'for one of its kind');
    is(got($ann, '0/team-x'), '4/team-x,{"message":"Invalid namespace"}',
       'another one');
    $_->close for $ann, $bob;

    my @plain = map { SioRaw::WS->open($port, path => '/engine.io/', query =>
                          "EIO=4&transport=websocket&room=$_") } qw(a a b);

    is(got($plain[0], 'text'), '', 'plain: not the sender');
    is(got($plain[1]), 'text', 'who is in the room');
    is(got($plain[2]), '', 'nobody else');
    $_->close for @plain;
    $t->stop;

    $t = serve(example('docs/rules.md', 'From one to another'));
    ($ann, $bob) = map { client($_) } qw(ANN BOB);

    my ($a, $b) = map { $_->id } $ann, $bob;

    is(got($ann, qq(2["call","$b"])), '', 'call');
    is(got($bob, qq(2["accept","$a"])), '2["called","ANN",""]', 'called');
    is(got($ann, qq(2["signal","$b",{}])), '2["accepted","BOB"]', 'accepted');
    is(got($bob), '2["signal","ANN",{}]', 'signal');
    $ann->send_frame(8, '');
    $t->wait_for(sub { $t->status->{sessions} == 1 }, 'one hangs up');
    is(got($bob), '2["gone","ANN","transport close"]', 'gone');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'directives' => sub {
    my $t = serve(example('docs/directives.md', 'sio'));

    my ($ann, $bob) = (client('ANN'), client('BOB', path => '/socket.io'));

    is(got($ann, '2["hi"]') . got($bob), '2["hi"]', 'without the slash');
    $_->close for $ann, $bob;
    $t->stop;

    $t = serve(example('docs/directives.md', 'sio_app'));
    ($ann, $bob) = (client('ANN'), client('BOB', path => '/guests/'));
    is(got($ann, '2["message"]'), '2["message"]', 'sio_app: one location');
    is(got($bob, '2["message"]'), '2["message"]', 'reaches the other one');
    is(got($ann), '', 'but guests only read');
    $_->close for $ann, $bob;
    $t->stop;

    $t = serve(example('docs/directives.md', 'sio_on'));
    $ann = client('ANN');
    is(got($ann, '25["chat message","hi"]', '2["what"]'),
       '2["chat message","hi"] 35["sent"] 2["error","no such event","what"]',
       'sio_on');
    $ann->close;
    $t->stop;

    $t = serve(example('docs/directives.md', 'sio_allow_origin'));

    my %status = map {
        $_ => SioRaw::http($port, OPTIONS => '/socket.io/', headers =>
                           [Origin => "https://$_"])
                  ->header('access-control-allow-origin') // 'refused'
    } qw(example.com a.example.com example.com.evil.net evil-example.com);

    is_deeply(\%status, {
        'example.com' => 'https://example.com',
        'a.example.com' => 'https://a.example.com',
        'example.com.evil.net' => 'refused',
        'evil-example.com' => 'refused',
    }, 'sio_allow_origin');
    $t->stop;

    $t = serve(example('docs/directives.md', 'sio_cookie'));
    like(SioRaw::WS->upgrade($port)->answered->header('set-cookie'),
         qr{^io=[\w-]+; Path=/socket\.io/; HttpOnly; Secure; SameSite=Strict$},
         'sio_cookie');
    $t->stop;
};


# A backend that answers each request with an event of its path.

sub serve_backend {
    my ($config) = @_;

    my $backend = SioTest::free_port();

    return serve($config =~ s/127\.0\.0\.1:300\d/127.0.0.1:$backend/gr,
                 http => <<"EOC");
        server {
            listen 127.0.0.1:$backend;
            return 200 '[{"op":"emit","event":"from","args":["\$uri"]}]';
        }
EOC
}


# What comes for a request comes a moment later.

sub await {
    my ($ws, @packets) = @_;

    my ($got, $end) = ('', time + 5 * SioTest::slow());

    $ws->text("4$_") for @packets;
    $got = got_now($ws) while $got eq '' && time < $end;

    return $got;
}


subtest 'backends' => sub {
    for (['README.md', 'Backends'], ['docs/directives.md', 'sio_handler']) {
        my $t = serve_backend(scalar example(@$_));
        my $ann = client('ANN');

        is(await($ann), '2["from","/app"]', 'a connect');
        is(await($ann, '2["say","hello"]'), '2["from","/app"]', 'an event');
        $ann->close;
        $t->stop;
    }

    my $t = serve_backend(scalar example('docs/rules.md', 'handler'));
    my ($ann, $bob) = map { client($_) } qw(ANN BOB);

    is(await($_), '2["from","/app"]', 'a connect') for $ann, $bob;

    is(got($ann, '2["typing"]'), '', 'a rule of its own');
    is(await($bob), '2["typing"]', 'is all that happens');
    is(await($ann, '2["search"]'), '2["from","/search"]', 'another handler');
    is(await($ann, '2["buy"]'), '2["from","/app"]', 'a rule and a handler');
    is(await($bob), '2["bought","ANN"]', 'both happen');
    is(await($ann, '2["else"]'), '2["from","/app"]', 'any other event');
    $_->close for $ann, $bob;
    $t->stop;
};


subtest 'the log' => sub {
    my $page = example('docs/variables.md', '$sio_request');
    my ($format) = $page =~ /^(log_format .*?;)$/ms;
    my $t = serve($page =~ s{access_log logs/}{access_log }r, http => $format);
    my $s = SioRaw::Polling->open($port);

    $s->post('1');

    # nginx logs a request when its answer has left.
    my $log;
    $t->wait_for(sub {
        $log = SioTest::read_file($t->dir . '/sio.log');
        $log =~ /"POST /;
    }, 'the request is logged');

    like($log, qr{"POST /socket\.io/\?EIO=4&transport=polling&sid=\* HTTP/1\.1"},
         'without the session id');
    unlike($log, qr/\Q${\$s->sid}/, 'anywhere');
    $t->stop;
};

done_testing;
