# The HTTP API with four workers: what it sends reaches every socket once,
# whichever worker has it, what it asks is answered exactly, and what is wrong
# is refused in so many words.

use lib 't/lib';
use SioCluster;
use SioRaw;
use JSON::PP ();
use List::Util qw(shuffle);
use MIME::Base64 qw(encode_base64);
use Time::HiRes qw(sleep time);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;
my ($yes, $no) = (JSON::PP::true, JSON::PP::false);
my $ok = { ok => $yes };
my @type = (headers => [@SioCluster::JSON]);
my @namespaces = ('/', '/x');

# No heartbeat comes between what the tests count.

my $location = <<'CONF';
    sio;
    sio_ping_interval 10m;
    sio_max_queue 12m;
    sio_data pid $pid;
    sio_data name $http_x_name;
    sio_data none $arg_none;
    sio_on whoami ack 'args=["$sio_data_pid"]';
    sio_on enter  join $sio_arg1;
    sio_on enter  ack;
    sio_on exit   leave $sio_arg1;
    sio_on exit   ack;
    sio_on mine   ack 'args=[$sio_data_score,"<$sio_data_name>"]';
    sio_on *      reply;
    sio_namespace /x { sio_on * reply; }
    sio_namespace /left {
        sio_on connection join hall;
        sio_on disconnect broadcast to=hall event=left
                          'args=[$sio_id,$sio_reason]';
        sio_on * reply;
    }
CONF

my ($t, @pids);

sub begin {
    my (%arg) = @_;
    $t = SioCluster->new(location => $location, %arg)->start;
    ok($t->await(sub { $t->together }, 10), 'the workers know each other');
    @pids = $t->worker_pids;
}

sub finish {
    $t->wait_for(sub {
        my $s = $t->status // return 0;
        return !grep { $s->{$_} } qw(sessions sockets namespaces rooms
                                     requests messages queued bus_unsent
                                     relays_held moves_pending);
    }, 'all gauges are at 0') or diag explain $t->status;
    my $s = $t->status;
    is(join(' ', map { "$_=$s->{$_}" } qw(bus_errors bus_cuts memory_errors
                                          moves_failed)),
       'bus_errors=0 bus_cuts=0 memory_errors=0 moves_failed=0',
       'nothing went wrong between the workers');
    $t->hang_up;
    $t->stop;
}


# --- clients

# A client is { name, ws or polling, id => { namespace => id }, data, own }:
# own has by namespace what the API has set, which hides data.  Its
# name is the number of the worker that opened it and how it is connected:
# w, a WebSocket; p, polling; m, moved by an upgrade to the next worker.

sub client {
    my ($name, @nsps) = @_;
    my ($i, $kind) = $name =~ /^(\d)(\w)/;
    my $value = qq{"$name" \\ <\x{e9}>};
    my $c = { name => $name, pid => $pids[$i],
              data => { pid => "$pids[$i]", none => '', name => "$value" } };
    utf8::encode($value);
    my @headers = (headers => ['X-Name' => $value]);
    if ($kind eq 'w') {
        $c->{ws} = SioRaw::WS->open($t->port, @headers,
                                    on => $t->connect_to($pids[$i]));
    } else {
        $c->{polling} = $t->polling($pids[$i], @headers);
    }
    if ($kind eq 'm') {
        $c->{pid} = $pids[($i + 1) % @pids];
        $c->{ws} = $t->upgrade(delete $c->{polling}, $c->{pid});
    }
    for my $nsp (@nsps) {
        my $packet = $nsp eq '/' ? '' : "$nsp,";
        my $id = $c->{ws} ? $c->{ws}->join($nsp) : $c->{polling}->join($nsp);
        ($id) = ($id // '') =~ /^40\Q$packet\E\{"sid":"([^"]+)"\}$/
            if $c->{polling};
        $c->{id}{$nsp} = $id // die "$name cannot join $nsp\n";
        $c->{rooms}{$nsp} = {};
    }
    return $c;
}

# Three for each worker.
sub crowd {
    return map { my $i = $_; (client("${i}w", @namespaces),
                              client("${i}p", @namespaces),
                              client("${i}m", '/')) } 0 .. $#pids;
}

sub leave {
    for my $c (@_) {
        $c->{ws} ? $c->{ws}->close : $c->{polling}->post('1');
        $c->{polling}{gone} = 1 if $c->{polling};
    }
}

# The packets that a client gets before the fence of each of its namespaces.
my $fences = 0;

sub fence {
    $fences++;
    return map { { op => 'emit', to => '*', namespace => $_, event => 'fence',
                   args => [$fences] } } @namespaces;
}

sub got {
    my ($c) = @_;
    my %open = map { ('42' . ($_ eq '/' ? '' : "$_,") . qq{["fence",$fences]}
                      => 1) } grep { $_ ne '/left' } keys %{$c->{id}};
    my @got;
    while (%open) {
        my @packets = $c->{ws} ? $c->{ws}->message // 'nothing'
                               : $c->{polling}->packets;
        for my $packet (@packets) {
            push @got, $packet if !delete $open{$packet};
            return @got if $packet =~ /^(?:nothing|status|op)/;
        }
    }
    return @got;
}

# The first message that comes instead of one of these; none if all come.
sub instead {
    my ($ws, @expected) = @_;
    for my $expected (@expected) {
        my $m = $ws->message // 'nothing';
        return substr("$m, not $expected", 0, 200) if $m ne $expected;
    }
    return;
}

# Applies operations; each client gets what the others say that it should.
sub sends {
    my ($name, $ops, $expected, @clients) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @results = $t->api(@$ops, fence());
    my %got = map { my @p = got($_); @p ? ($_->{name} => \@p) : () } @clients;
    is_deeply([splice @results, 0, scalar @$ops], [($ok) x @$ops],
              "$name: done");
    is_deeply(\%got, $expected, "$name: for whom it is, once")
        or diag explain \%got;
}

# What fetch should show, and what it shows, in the order of ids.
sub seen {
    my ($nsp, $clients, $rooms) = @_;
    return [map { $_->[1] } sort { $a->[0] cmp $b->[0] } map {
        my $c = $_;
        my $id = $c->{id}{$nsp};
        my %in = %{$c->{rooms}{$nsp} // {}};
        defined $id && (!$rooms || grep { $in{$_} || $_ eq $id } @$rooms)
            ? [$id, { id => $id, rooms => [$id, sort keys %in],
                      data => { %{$c->{data}},
                                %{$c->{own}{$nsp} // {}} } }]
            : ()
    } @$clients];
}

sub fetched {
    my ($result) = @_;
    my $sockets = $result->{sockets} // return $result;
    for my $s (@$sockets) {
        my ($id, @rooms) = @{$s->{rooms}};
        $s->{rooms} = [$id, sort @rooms];
    }
    return [sort { $a->{id} cmp $b->{id} } @$sockets];
}

sub named {
    my ($pattern, @clients) = @_;
    return grep { $_->{name} =~ $pattern } @clients;
}


# --- the tests that run with both kinds of listeners

sub emits {
    my @c = crowd();
    my %c = map { $_->{name} => $_ } @c;
    my @x = grep { $_->{id}{'/x'} } @c;
    my $to = sub { my ($packet, @who) = @_;
                   return { map { $_->{name} => [$packet] } @who } };
    my @even = named(qr/^[02]/, @c);
    my @moved = named(qr/m/, @c);
    my %in;

    $t->api({ op => 'join', sockets => [map { $_->{id}{'/'} } @even],
              rooms => ['even', 'both'] },
            { op => 'join', sockets => [map { $_->{id}{'/'} } @moved],
              rooms => ['moved', 'both'] },
            { op => 'count' });
    $in{$_}++ for map { $_->{name} } @even, @moved;
    my @both = grep { $in{$_->{name}} } @c;

    # Each from each worker in turn.
    for my $round (1 .. 4) {
        my $emit = sub { my %op = @_;
                         [{ op => 'emit', event => 'e', %op }] };
        sends('to a room', $emit->(to => 'even', args => [$round]),
              $to->("42[\"e\",$round]", @even), @c);
        sends('to several', $emit->(to => ['even', 'moved', 'none', 'both'],
                                    args => ['x', {}]),
              $to->('42["e","x",{}]', @both), @c);
        sends('to all', $emit->(to => '*'), $to->('42["e"]', @c), @c);
        sends('to a room that is called *', $emit->(to => ['*']), {}, @c);
        sends('to no room', $emit->(to => []), {}, @c);
        my ($one, $two, $three) = map { $_->{id}{'/'} } @c{'0p', '1m', '3w'};
        sends('to sockets', $emit->(sockets => [$one, $two, $three, $one]),
              $to->('42["e"]', @c{'0p', '1m', '3w'}), @c);
        sends('to one', $emit->(sockets => $two), $to->('42["e"]', $c{'1m'}),
              @c);
        sends('to an id as a room', $emit->(to => $three),
              $to->('42["e"]', $c{'3w'}), @c);
        sends('to rooms as sockets',
              $emit->(sockets => ['even', 'both', '*', $two]),
              $to->('42["e"]', $c{'1m'}), @c);
        sends('to nobody', $emit->(sockets => []), {}, @c);
        sends('with exceptions',
              $emit->(to => '*', except => ['even', $one, $three]),
              $to->('42["e"]', grep { $_->{name} !~ /^[02]|3w/ } @c), @c);
        sends('a room with an exception',
              $emit->(to => 'even', except => 'moved'),
              $to->('42["e"]', grep { $_->{name} !~ /m/ } @even), @c);
        sends('to another namespace',
              $emit->(to => '*', namespace => '/x', local => $yes),
              $to->('42/x,["e"]', @x), @c);
        sends('a socket of another namespace',
              $emit->(sockets => $c{'2p'}{id}{'/'}, namespace => '/x'), {},
              @c);
        sends('to a namespace without anybody',
              $emit->(to => '*', namespace => '/left'), {}, @c);
        sends('to one that does not exist',
              $emit->(to => '*', namespace => '/none'), {}, @c);
        sends('without arguments', $emit->(to => '*', args => []),
              $to->('42["e"]', @c), @c);
    }

    # Polling clients whose GET waits get what is volatile, others do not.
    my %get = map { my $g = $_->{polling}->start('GET'); ($_->{name} => $g) }
              named(qr/[02]p/, @c);
    $t->wait_for(sub { $t->status->{requests} == 2 }, 'two GETs wait');
    my $drops = $t->status->{volatile_dropped};
    my @result = $t->api({ op => 'emit', to => '*', event => 'v',
                           volatile => $yes }, { op => 'count' });
    is($result[1]{count}, scalar @c, 'volatile: all have it');
    is_deeply({ map { ($_ => $get{$_}->response->body) } keys %get },
              { '0p' => '42["v"]', '2p' => '42["v"]' },
              'who waits gets what is volatile');
    is_deeply({ map { ($_->{name} => $_->{ws}->message) } named(qr/w|m/, @c) },
              { map { ($_->{name} => '42["v"]') } named(qr/w|m/, @c) },
              'and WebSockets');
    is($t->status->{volatile_dropped} - $drops, 2, 'others are counted');
    sends('nothing is left of it', [], {}, @c);

    # In the order of the request, for everyone.
    my @list = map { { op => 'emit', to => '*', event => 'n', args => [$_] } }
                   1 .. 1000;
    my @order = map { "42[\"n\",$_]" } 1 .. 1000;
    sends('1,000 in their order', \@list,
          { map { $_->{name} => \@order } @c }, @c);

    # From all workers at the same time: each one's in their order.
    my $n = 250;
    for my $i (0 .. $#pids) {
        $t->begin_api($pids[$i],
            (map { { op => 'emit', to => '*', event => 'o',
                     args => [$i, $_] } } 1 .. $n), { op => 'count' });
    }
    my @last = map { ($t->finish_api($_))[-1] } @pids;
    is_deeply(\@last, [({ count => scalar @c }) x @pids], 'four requests');
    $t->api(fence());
    my @wrong;
    for my $c (@c) {
        my %next;
        my @got = got($c);
        for (@got) {
            my ($i, $k) = /^42\["o",(\d),(\d+)\]$/ or last;
            push @wrong, "$c->{name}: $_" if $k != ++$next{$i};
        }
        push @wrong, "$c->{name}: " . @got if @got != $n * @pids;
    }
    is("@wrong", '', 'from four workers: all, once, each in its order');

    for my $wait (0, 1) {
        # One that waits for its turn, and one that comes between.
        my $where = $wait ? $pids[3] : $pids[2];
        $t->begin_api($where, map { { op => 'emit', to => '*', event => 'b',
                                      args => [$_] } } 1 .. 500);
        my @mine = $t->api_on($pids[0], { op => 'join', to => '*',
                                          rooms => "late$wait" },
                              { op => 'count', to => "late$wait" });
        is($mine[1]{count}, scalar @c, 'another request is served meanwhile');
        $t->finish_api($where);
        $t->api_on($where, { op => 'leave', to => '*', rooms => "late$wait" },
                   { op => 'count' });
        $t->api_on($where, fence());
        is(join(' ', grep { $_ != 500 } map { scalar got($_) } @c), '',
           'nothing is lost by it');
    }

    leave(@c);
}

# Operations at random against a model of what they should do.
sub random {
    my @c = crowd();
    my @rooms = map { "r$_" } 1 .. 6;
    my @ids = map { [$_, $_->{id}{'/'}] } @c;
    my (%expected, @wrong);
    my $seed = $ENV{NGX_SIO_SEED} // int(rand 1e9);
    srand $seed;
    note("NGX_SIO_SEED=$seed");

    my $some = sub {
        my ($max, @from) = @_;
        return [map { $from[rand @from] } 1 .. int rand($max + 1)];
    };
    my $chosen = sub {
        my ($op) = @_;
        my $nsp = $op->{namespace};
        my $has = sub {
            my ($c, $names) = @_;
            return scalar grep { $c->{rooms}{$nsp}{$_}
                                 || $_ eq $c->{id}{$nsp} }
                               ref $names ? @$names : $names // ();
        };
        return grep {
            $_->{id}{$nsp} && !$has->($_, $op->{except})
            && (($op->{to} // '') eq '*'
                || $has->($_, $op->{to} // $op->{sockets}))
        } @c;
    };

    for my $request (1 .. 120) {
        my (@ops, @answers);
        for (1 .. 1 + rand 4) {
            my $nsp = $namespaces[rand() < 0.3];
            my @names = map { $_->{id}{$nsp} // () } @c;
            my %op = (namespace => $nsp);
            my $kind = rand;
            $kind < 0.25 ? ($op{to} = '*')
            : $kind < 0.6 ? ($op{to} = $some->(3, @rooms, @names))
            : ($op{sockets} = $some->(4, @names, 'nobody'));
            $op{except} = $some->(2, @rooms, @names) if rand() < 0.4;
            my $what = rand;
            if ($what < 0.5) {
                my $n = ++$expected{n};
                %op = (%op, op => 'emit', event => 'r', args => [$n]);
                push @{$expected{$_->{name}}},
                     '42' . ($nsp eq '/' ? '' : "$nsp,") . "[\"r\",$n]"
                    for $chosen->(\%op);
                push @answers, $ok;
            } elsif ($what < 0.85) {
                my $join = rand() < 0.6;
                %op = (%op, op => $join ? 'join' : 'leave',
                       rooms => $rooms[rand @rooms]);
                $join ? ($_->{rooms}{$nsp}{$op{rooms}} = 1)
                      : delete $_->{rooms}{$nsp}{$op{rooms}}
                    for $chosen->(\%op);
                push @answers, $ok;
            } elsif ($what < 0.88) {
                my ($key, $value) = ("k" . int rand 3,
                                     rand() < 0.3 ? undef : ++$expected{n});
                %op = (%op, op => 'data', set => { $key => $value });
                defined $value ? ($_->{own}{$nsp}{$key} = $value)
                               : delete $_->{own}{$nsp}{$key}
                    for $chosen->(\%op);
                push @answers, $ok;
            } elsif ($what < 0.92) {
                $op{op} = 'fetch';
                my %in = map { $_->{name} => 1 } $chosen->(\%op);
                push @answers, seen($nsp, [grep { $in{$_->{name}} } @c]);
            } elsif ($what < 0.96) {
                $op{op} = 'rooms';
                my %sum;
                $sum{$_}++ for map { keys %{$_->{rooms}{$nsp}} }
                               $chosen->(\%op);
                push @answers, { rooms => \%sum };
            } else {
                $op{op} = 'count';
                push @answers, { count => scalar $chosen->(\%op) };
            }
            push @ops, \%op;
        }
        # What is asked last is answered when all have done the rest.
        my @results = map { ref $_ && $_->{sockets} ? fetched($_) : $_ }
                          $t->api(@ops, { op => 'count' });
        push @answers, { count => scalar @c };
        push @wrong, { ops => \@ops, results => \@results,
                       expected => \@answers }
            if $json->encode(\@results) ne $json->encode(\@answers);
    }

    is(scalar @wrong, 0, 'questions are answered right')
        or diag explain $wrong[0];
    my %all = map { ($_->{name} => $expected{$_->{name}} // []) } @c;
    $t->api(fence());
    is_deeply({ map { ($_->{name} => [got($_)]) } @c }, \%all,
              'each socket has what it should, in order');
    leave(@c);
}

sub disconnects {
    my $watch = client('0w', '/left');
    my $lost = sub { $watch->{ws}->message // 'nothing' };

    for my $by ('id', 'room') {
        for my $close (0, 1) {
            for my $name (map { ("${_}w", "${_}p", "${_}m") } 0 .. $#pids) {
                my $c = client($name, '/left', '/x');
                my $id = $c->{id}{'/left'};
                my @to = $by eq 'id' ? (sockets => $id) : (to => 'one');
                my @left = (namespace => '/left');
                my @r = $t->api(
                    { op => 'join', @left, sockets => $id, rooms => 'one' },
                    { op => 'rooms', @left, to => 'one' },
                    { op => 'disconnect', @left, @to,
                      $close ? (close => $yes) : () },
                    { op => 'fetch', @left },
                    { op => 'rooms', @left },
                    { op => 'count', @left, to => ['one', $id] });
                my $here = "$name by $by" . ($close ? ', close' : '');
                is_deeply([@r[0 .. 2, 4, 5],
                           map { $_->{id} } @{$r[3]{sockets} // []}],
                          [$ok, { rooms => { hall => 1, one => 1 } }, $ok,
                           { rooms => { hall => 1 } }, { count => 0 },
                           $watch->{id}{'/left'}], "$here: is gone at once");
                is($lost->(), qq{42/left,["left","$id",}
                              . '"server namespace disconnect"]',
                   'its rules run');
                my @said = $c->{ws} ? $c->{ws}->message
                                    : $c->{polling}->packets;
                is($said[0], '41/left,', 'it is told');
                if ($close && $c->{ws}) {
                    ok($c->{ws}->closes, 'and its connection ends');
                } elsif ($close) {
                    push @said, $c->{polling}->packets if $said[-1] ne '1';
                    is("@said", '41/left, 41/x, 6 1', 'as is its session');
                    ok($c->{polling}->gone, 'which is gone');
                } else {
                    my $echo = '42/x,["echo"]';
                    is($c->{ws} ? ($c->{ws}->ask($echo))[0]
                       : $c->{polling}->post($echo)->body eq 'ok'
                         && ($c->{polling}->packets)[0],
                       $echo, 'and no more');
                    my ($x) = $t->api({ op => 'count', namespace => '/x' });
                    is_deeply($x, { count => 1 }, 'the other one stays');
                    leave($c);
                }
                $c->{ws}->close if $close && $c->{ws};
            }
        }
    }

    # All at once, but for one.
    my @c = map { (client("${_}w", '/left'), client("${_}p", '/left'),
                   client("${_}m", '/left')) } 0 .. $#pids;
    my @r = $t->api({ op => 'disconnect', namespace => '/left', to => '*',
                      except => $watch->{id}{'/left'}, close => $yes },
                    { op => 'fetch', namespace => '/left' });
    is_deeply([map { $_->{id} } @{$r[1]{sockets}}], [$watch->{id}{'/left'}],
              'a whole namespace but one');
    is_deeply([sort map { $lost->() } @c],
              [sort map { qq{42/left,["left","$_->{id}{'/left'}",}
                          . '"server namespace disconnect"]' } @c],
              'each is told of once');
    ok($_->{ws}->closes, "$_->{name} ends") for grep { $_->{ws} } @c;
    for my $s (map { $_->{polling} // () } @c) {
        my @said = $s->packets;
        push @said, $s->packets if $said[-1] ne '1';

        # One may have heard of others who were told earlier.
        is(join(' ', grep { !/^42/ } @said), '41/left, 6 1',
           'each that polls is told');
        ok($s->gone, 'and gone');
    }
    leave($watch);
}

sub questions {
    my @c = crowd();
    my %c = map { $_->{name} => $_ } @c;
    my $rooms = sub {
        my ($nsp, @some) = @_;
        my %sum;
        $sum{$_}++ for map { keys %{$_->{rooms}{$nsp}} }
                       grep { $_->{id}{$nsp} } @some;
        return \%sum;
    };

    # Names that JSON has to escape, and the longest.
    my @odd = ("caf\x{e9}", "\x{1f600}", qq{"q"}, "\\", "\n\x00\x1f", '*',
               ' ', "\x{2028}", 'x' x 256, "\x{e9}" x 128);
    my @ops;
    for my $i (0 .. $#c) {
        my @names = ("w$c[$i]{name}", $i % 2 ? 'odd' : 'even',
                     $odd[$i % @odd]);
        push @ops, { op => 'join', sockets => $c[$i]{id}{'/'},
                     rooms => \@names };
        $c[$i]{rooms}{'/'}{$_} = 1 for @names;
        next if !$c[$i]{id}{'/x'};
        push @ops, { op => 'join', sockets => $c[$i]{id}{'/x'},
                     namespace => '/x', rooms => 'odd' };
        $c[$i]{rooms}{'/x'}{odd} = 1;
    }
    my @done = $t->api(@ops, { op => 'count' });
    is_deeply(\@done, [($ok) x @ops, { count => 12 }], 'rooms to ask for');

    for my $pid (@pids) {
        my @r = $t->api_on($pid,
            (map { ({ op => 'fetch', namespace => $_ },
                    { op => 'rooms', namespace => $_ },
                    { op => 'count', namespace => $_ }) } @namespaces),
            { op => 'fetch', to => 'odd' },
            { op => 'fetch', to => ['odd', 'even'], except => 'even' },
            { op => 'rooms', to => 'even', except => $c{'0w'}{id}{'/'} },
            { op => 'count', to => ["caf\x{e9}", '*'] },
            { op => 'count', to => '*' },
            { op => 'count', sockets => [map { $_->{id}{'/'} }
                                         @c{'0m', '1p', '2w'}] },
            { op => 'count', except => ['even', 'odd'] },
            { op => 'fetch', sockets => [] },
            { op => 'count', namespace => '/none' },
            { op => 'fetch', namespace => '/none' },
            { op => 'rooms', namespace => '/none' });
        my @even = grep { $_->{rooms}{'/'}{even} } @c;
        is_deeply(
            [map { $_->{sockets} ? fetched($_) : $_ } @r],
            [seen('/', \@c), { rooms => $rooms->('/', @c) }, { count => 12 },
             seen('/x', \@c), { rooms => { odd => 8 } }, { count => 8 },
             (seen('/', \@c, ['odd'])) x 2,
             { rooms => $rooms->('/', grep { $_ != $c{'0w'} } @even) },
             { count => scalar grep { $_->{rooms}{'/'}{"caf\x{e9}"}
                                      || $_->{rooms}{'/'}{'*'} } @c },
             { count => 12 }, { count => 3 }, { count => 0 }, [],
             { count => 0 }, [], { rooms => {} }],
            'all is answered right');

        # Behind what was done in the same request.
        @r = $t->api_on($pid,
            { op => 'join', to => 'even', rooms => ['new', 'newer'] },
            { op => 'count', to => 'new' }, { op => 'rooms', to => 'new' },
            { op => 'leave', to => 'even', rooms => ['new', 'odd'] },
            { op => 'count', to => 'new' }, { op => 'count', to => 'newer' },
            { op => 'leave', to => 'newer', rooms => 'newer' },
            { op => 'rooms' });
        is_deeply([@r[1, 4, 5, 7]],
                  [{ count => 6 }, { count => 0 }, { count => 6 },
                   { rooms => $rooms->('/', @c) }], 'a join is seen');
        is($r[2]{rooms}{newer}, 6, 'by rooms too');
    }

    # Its own room is always a socket's.
    my $id = $c{'2p'}{id}{'/'};
    my @r = $t->api({ op => 'join', sockets => $id, rooms => $id },
                    { op => 'fetch', sockets => $id },
                    { op => 'leave', to => '*', rooms => $id },
                    { op => 'fetch', sockets => $id },
                    { op => 'rooms' });
    is_deeply([map { fetched($r[$_]) } 1, 3], [(seen('/', [$c{'2p'}])) x 2],
              'its own id can be neither joined nor left');
    is_deeply($r[4], { rooms => $rooms->('/', @c) }, 'nor is it a room');

    # What a client said when it came need not be UTF-8.
    my $bytes = SioRaw::WS->socket($t->port, on => $t->connect_to($pids[2]),
                                   headers => ['X-Name' => "a\xff\xc3(\x01"]);
    my ($said) = $t->api_on($pids[1], { op => 'fetch',
                                        sockets => $bytes->id });
    is_deeply($said->{sockets}[0]{data},
              { name => "a\x{fffd}\x{fffd}(\x01", none => '',
                pid => "$pids[2]" }, 'an answer is UTF-8');
    $bytes->close;
    $t->wait_for(sub { ($t->api({ op => 'count' }))[0]{count} == @c },
                 'it has left');

    # A hundred sockets of one worker, more than one buffer of an answer.
    my @many = map { $t->websocket($pids[1]) } 1 .. 100;
    $t->api({ op => 'join', to => '*', rooms => [map { "room $_ " . 'y' x 200 }
                                                 1 .. 20] },
            { op => 'count' });
    my ($fetch) = $t->api({ op => 'fetch' });
    is_deeply([sort map { $_->{id} } @{$fetch->{sockets}}],
              [sort map { $_->id // 'none' } @many,
                    map { bless { id => $_->{id}{'/'} }, 'SioRaw::WS' } @c],
              'an answer of half a megabyte');
    is(scalar(grep { @{$_->{rooms}} < 21 } @{$fetch->{sockets}}), 0,
       'with all rooms');
    $_->close for @many;
    $t->wait_for(sub { my ($r) = $t->api({ op => 'count' });
                       ($r->{count} // -1) == @c },
                 'who has left is not there');
    leave(@c);
}

# Sessions change their workers while questions are under way.  Processes that
# stop for a moment bring about what chance would seldom do:
#
#   owner    the new worker has applied what the old one has not read yet when
#            it lets go of the session
#   taker    the old worker has applied what the new one has not read yet when
#            the session comes
sub moving {
    my ($all, $step) = (120, 10);
    $t->ready;
    my (%sessions, %here, @ws, @wrong, %want, %from);
    my $n = 0;
    for my $i (0 .. $all - 1) {
        my $s = $t->polling($pids[$i % @pids]);
        ($s->{id}) = $s->join('/') =~ /"sid":"([^"]+)"/;
        push @{$sessions{$pids[$i % @pids]}}, $s;
        $here{$s->{id}} = 1;
    }
    my $ids = join ' ', sort keys %here;
    my @ids = keys %here;
    my $before = $t->status;

    my $count = { count => $all };
    my $ask = sub {
        my ($pid) = @_;
        my ($first, $last) = ($n + 1, $n += 4);
        my $room = "room $n";
        my @but = @ids[rand @ids, rand @ids];
        my @emit = map { { op => 'emit', event => 'n', args => [$_] } }
                   $first .. $last;
        @{$emit[0]}{qw(to)} = ('*');
        @{$emit[1]}{qw(to except)} = ('*', \@but);
        @{$emit[2]}{qw(to)} = ($room);
        @{$emit[3]}{qw(sockets)} = ([@but, $room]);
        for my $id (@ids) {
            my $is = grep { $_ eq $id } @but;
            push @{$want{$id}{$pid}}, $first, $is ? () : $first + 1,
                                      $first + 2, $is ? $first + 3 : ();
        }
        @from{$first .. $last} = ($pid) x 4;
        $t->begin_api($pid, @emit[0, 1],
            { op => 'count' },
            { op => 'join', to => '*', rooms => $room },
            { op => 'fetch' },
            { op => 'count', to => $room, except => \@but },
            { op => 'rooms', to => $room },
            @emit[2, 3],
            { op => 'leave', to => '*', rooms => $room },
            { op => 'count', to => $room },
            { op => 'count', sockets => [$room, @but] });
        my %but = map { $_ => 1 } @but;
        return [$room, scalar keys %but];
    };
    my $check = sub {
        my ($pid, $room, $but) = @_;
        my @r = $t->finish_api($pid);
        my $form = $json->encode([@r[2, 5], $r[6]{rooms}{$room}, @r[10, 11]]);
        push @wrong, [$pid, $form] if $form ne $json->encode(
            [$count, { count => $all - $but }, $all, { count => 0 },
             { count => $but }]);
        my @seen = sort map { $_->{id} } @{$r[4]{sockets} // []};
        push @wrong, 'fetch: ' . @seen . ($r[4]{partial} ? ' partial' : '')
            if "@seen" ne $ids || $r[4]{partial};
    };

    # So much that it takes several turns to read it, for nobody.
    my @noise = ({ op => 'emit', to => 'nobody', event => 'x',
                   args => ['x' x 200_000] }) x 12;
    my $sum = sub {
        my ($counter, @of) = @_;
        my $sum = 0;
        for my $w (@{$t->status_on($of[0])->{workers}}) {
            $sum += $w->{$counter} if grep { $_ == $w->{pid} } @of;
        }
        return $sum;
    };

    for my $round (0 .. $all / $step - 1) {
        my $how = (qw(chance owner taker))[$round % 3];
        my ($owner) = sort { @{$sessions{$b}} <=> @{$sessions{$a}} } @pids;
        my @others = grep { $_ != $owner } @pids;
        my ($loud, @quiet) = shuffle(@others);
        my @takers = $how eq 'chance' ? @others
                   : $how eq 'owner' ? @quiet : $quiet[0];
        my @probing = map {
            my $ws = $t->probe($_, $takers[rand @takers]);
            $ws->{id} = $_->{id};
            $ws;
        } splice @{$sessions{$owner}}, 0, $step;
        my @asked;
        my @questions = map { my $pid = $_; sub {
            push @asked, [$pid, @{$ask->($pid)}];
        } } @others;

        if ($how eq 'chance') {
            push @questions, sub { push @asked, [$owner, @{$ask->($owner)}] };
            $_->() for shuffle(@questions, @questions, map { my $ws = $_; sub {
                SioCluster::upgraded($ws);
            } } @probing);

        } elsif ($how eq 'owner') {
            $t->stop_worker($owner);
            my $start = $sum->('bus_messages_out', @others);
            SioCluster::upgraded($_) for @probing;
            $t->await(sub {
                $sum->('bus_messages_out', @others) - $start >= @probing;
            }) or push @wrong, 'no take was sent';
            $start = $sum->('bus_messages_in', @quiet);
            $t->begin_api($loud, @noise);
            $_->() for @questions;
            $t->await(sub {
                $sum->('bus_messages_in', @quiet) - $start
                    >= 2 * @noise + 4 * 12;
            }) or push @wrong, 'no question was sent';
            $t->continue_worker($owner);

        } else {
            $t->stop_worker($takers[0]);
            my $start = $sum->('bus_messages_in', $owner);
            SioCluster::upgraded($_) for @probing;
            $t->begin_api($loud, @noise);
            push @asked, [$loud, @{$ask->($loud)}];
            $t->await(sub {
                $sum->('bus_messages_in', $owner) - $start >= @noise + 12;
            }) or push @wrong, 'the owner has not applied them';
            $t->continue_worker($takers[0]);
        }

        $t->finish_api($loud) if $how ne 'chance';
        $check->(@$_) for @asked;
        push @ws, @probing;
    }

    is(scalar @wrong, 0, 'each question is answered exactly')
        or diag explain [splice @wrong, 0, 5];
    $t->wait_for(sub { $t->status->{websockets} == $all }, 'all have moved');
    my $after = $t->status;
    is($after->{moves} - $before->{moves}, $all, 'to other workers');
    cmp_ok($after->{moves_replayed} - $before->{moves_replayed}, '>', 0,
           'some had to be told what they had missed');
    is($after->{questions_partial}, $before->{questions_partial},
       'no answer was partial');
    $t->api_on($_, { op => 'count' }, { op => 'emit', to => '*',
                                        event => 'end' }) for @pids;
    my @lost;
    for my $ws (@ws) {
        last if @lost;
        my (%got, $m);
        for (my $ends = 0; $ends < @pids; ) {
            $m = $ws->message // last;
            if ($m eq '42["end"]') {
                $ends++;
            } else {
                my ($k) = $m =~ /^42\["n",(\d+)\]$/ or last;
                push @{$got{$from{$k}}}, $k + 0;
            }
        }
        my ($was, $is) = map { $json->encode($_) } $want{$ws->id}, \%got;
        push @lost, "wanted $was\n   got $is, " . ($m // 'nothing')
            if $was ne $is;
    }
    is(scalar @lost, 0, "$n emits reach whom they should, once, in order")
        or diag $lost[0];
    my ($r) = $t->api({ op => 'fetch' });
    is(join(' ', sort map { $_->{id} } @{$r->{sockets}}), $ids,
       'they are what they were');
    is(scalar(grep { @{$_->{rooms}} != 1 } @{$r->{sockets}}), 0,
       'in no room');
    $_->close for @ws;
    $t->wait_for(sub { ($t->api({ op => 'count' }))[0]{count} == 0 },
                 'none is left');
}

sub stopped {
    my @c = crowd();
    $t->api({ op => 'join', to => '*', rooms => 'all' }, { op => 'count' });
    $_->{rooms}{$_->{id} && '/'}{all} = 1 for @c;
    my %slot = $t->slots;
    is(join(' ', map { defined $slot{$_} ? 1 : 0 } @pids), '1 1 1 1',
       'each worker has a slot');

    # A connection to each is there already: a new one may meet who is stopped.
    $t->ready;

    for my $stop ([0], [3], [1, 2]) {
        my %stopped = map { ($pids[$_] => 1) } @$stop;
        my ($asker) = grep { !$stopped{$_} } @pids;
        my @rest = grep { !$stopped{$_->{pid}} } @c;
        my $before = $t->status_on($asker);
        $t->stop_worker($_) for keys %stopped;
        my $start = time;
        my @r = $t->api_on($asker,
            { op => 'count' }, { op => 'emit', to => '*', event => 'late' },
            { op => 'fetch' }, { op => 'rooms' },
            { op => 'count', namespace => '/x' });
        my $took = time - $start;
        for my $r (@r[0, 2, 3, 4]) {
            $r->{missing} = [sort { $a <=> $b } @{$r->{missing} // []}];
        }
        my %partial = (partial => $yes, missing => [sort { $a <=> $b }
                                                    @slot{keys %stopped}]);
        my $sockets = { %{$r[2]} };
        is_deeply([@r[0, 1, 3, 4]],
                  [{ count => scalar @rest, %partial }, $ok,
                   { rooms => { all => scalar @rest }, %partial },
                   { count => scalar(grep { $_->{id}{'/x'} } @rest),
                     %partial }],
                  "stopped: @$stop: partial") or diag explain \@r;
        is_deeply({ %$sockets, sockets => fetched($sockets) },
                  { sockets => seen('/', \@rest), %partial },
                  'fetch as well');
        cmp_ok($took, '>', 0.9, 'they were waited for');
        cmp_ok($took, '<', 1 + 1.5 * SioTest::slow(), 'all at once');
        my $status = $t->status_on($asker);
        is($status->{questions_partial} - $before->{questions_partial}, 4,
           'counted');
        $t->continue_worker($_) for keys %stopped;
        @r = $t->api_on($asker, { op => 'count' }, { op => 'fetch' },
                        { op => 'rooms' }, fence());
        is_deeply([$r[0], fetched($r[1]), $r[2]],
                  [{ count => scalar @c }, seen('/', \@c),
                   { rooms => { all => scalar @c } }],
                  'exact when they go on');
        is_deeply({ map { ($_->{name} => [got($_)]) } @c },
                  { map { ($_->{name} => ['42["late"]']) } @c },
                  'and what was sent meanwhile has come, once');
    }

    leave(@c);
}

# Packets from a client; the next one for it; and the two together.
sub says {
    my ($c, @packets) = @_;
    return $c->{polling}->post(join "\x1e", @packets) if !$c->{ws};
    $c->{ws}->text($_) for @packets;
}

sub hears {
    my ($c) = @_;
    my $heard = $c->{heard} //= [];
    return shift @$heard if @$heard;
    return $c->{ws}->message // 'nothing' if $c->{ws};
    push @$heard, $c->{polling}->packets;
    return shift @$heard;
}

sub answer {
    my ($c, $packet) = @_;
    says($c, $packet);
    return hears($c);
}

sub data {
    my @c = crowd();

    # Sets members for some; all workers have the same to tell then.
    my $sets = sub {
        my ($name, $from, $set, $aim, @who) = @_;
        my $nsp = $aim->{namespace} // '/';
        for my $own (map { $_->{own}{$nsp} //= {} } @who) {
            defined $set->{$_} ? ($own->{$_} = $set->{$_}) : delete $own->{$_}
                for keys %$set;
        }
        my @r = $t->api_on($pids[$from % @pids],
                           { op => 'data', set => $set, %$aim },
                           { op => 'count' });
        is_deeply($r[0], $ok, "$name: done");
        my $want = $json->encode([map { seen($_, \@c) } @namespaces]);
        my @other = grep { $_ ne $want } map {
            $json->encode([map { fetched($_) } $t->api_on($_,
                map { { op => 'fetch', namespace => $_ } } @namespaces)])
        } @pids;
        is($other[0], undef, "$name: seen by all workers");
    };
    my $ids = sub { [map { $_->{id}{'/'} } @_] };

    my %value = (text => qq{"\\\x{e9}\x{1f600}\n\x00}, bool => $yes,
                 list => [1, { a => [undef, $no] }], "\x{e9}\"\\" => {});
    for my $i (0 .. $#c) {
        $sets->($c[$i]{name}, $i, { %value, score => 0 + $i },
                { sockets => $c[$i]{id}{'/'} }, $c[$i]);
    }
    $sets->('another namespace', 1, { score => 'x' },
            { to => '*', namespace => '/x' }, grep { $_->{id}{'/x'} } @c);
    $sets->('a socket of another one', 2, { score => 0 },
            { sockets => $c[0]{id}{'/'}, namespace => '/x' });
    $sets->('what hides what the client said', 3, { name => 'n', none => 1 },
            { to => '*', except => $ids->(@c[0, 5]) },
            @c[1 .. 4, 6 .. $#c]);
    $sets->('nothing', 0, {}, { to => '*' }, @c);
    $sets->('null', 1, { text => undef, never => undef, list => [] },
            { to => '*' }, @c);
    $sets->('and what was hidden', 2, { name => undef, none => undef },
            { sockets => $ids->(@c[1 .. 7]) }, @c[1 .. 7]);

    # Rules have it as text.
    for my $case ([7, '"7"'], ["a\"\x{e9}", "\"a\\\"\x{e9}\""],
                  [{ a => [1] }, '"{\"a\":[1]}"'], [$yes, '"true"'],
                  [undef, 'null']) {
        my ($value, $shown) = @$case;
        utf8::encode($shown);
        $sets->("what a rule has as $shown", 3, { score => $value },
                { to => '*' }, @c);
        my @wrong;
        for my $c (@c) {
            my $name = $json->encode('<' . ($c->{own}{'/'}{name}
                                            // $c->{data}{name}) . '>');
            my $got = answer($c, '421["mine"]');
            push @wrong, "$c->{name}: $got" if $got ne "431[$shown,$name]";
        }
        is("@wrong", '', "all rules have $shown");
    }

    # The last of several, and names that only look alike.
    my $raw = sub {
        my ($members) = @_;
        return results("[{\"op\":\"data\",\"to\":\"*\",\"set\":{$members}},"
                       . '{"op":"fetch","sockets":"' . $c[3]{id}{'/'}
                       . '"}]')->[1]{sockets}[0]{data};
    };
    my %rest = (%{$c[3]{data}}, %{$c[3]{own}{'/'}});
    is_deeply($raw->('"a":1,"a":2,"b":1,"b":null,"c":null,"c":3,"\\u0064":4,'
                     . '"\\\\n":5,"\\n":6'),
              { %rest, a => 2, c => 3, d => 4, '\\n' => 5, "\n" => 6 },
              'the last one of a name');
    is_deeply($raw->('"\\u0061":null,"d":null,"\\u000a":null,"c":{"a":1}'),
              { %rest, c => { a => 1 }, '\\n' => 5 },
              'whatever way it is written');
    is_deeply($raw->('"c":null,"\\\\n":null'), \%rest, 'and none of them');

    # As much as there may be of it: 4096 bytes of JSON.
    my $most = 4096 - length '{"big":""}';
    my $before = $t->status->{limit_data};
    my %all = map { ($_ => undef) } map { keys %{$_->{own}{'/'}} } @c;
    $sets->('nothing is left', 0, \%all, { to => '*' }, @c);
    $sets->('the most', 1, { big => 'b' x $most }, { to => '*' }, @c);
    is($t->status->{limit_data}, $before, 'is no more than what may be');
    my @one = (sockets => $c[7]{id}{'/'});
    my @more = ({ big => 'c' x ($most + 1) }, { a => 1 },
                { big => undef, more => 'd' x $most },
                { big => 'x' x 100_000 });
    for my $set (@more) {
        my @r = $t->api({ op => 'data', set => $set, @one },
                        { op => 'fetch' });
        is_deeply([$r[0], fetched($r[1])], [$ok, seen('/', \@c)],
                  'more is not set, nor a part of it');
    }
    is($t->status->{limit_data} - $before, @more, 'but counted');
    is(() = $t->log =~ /data not set: it would take more than 4096 bytes/g,
       @more, 'and the log tells');
    $sets->('less in place of it', 3, { big => undef, a => 'b' x 4000 },
            { @one }, $c[7]);

    # It goes where its session goes.
    for my $i (0 .. $#pids) {
        my $c = client("${i}p", '/');
        my @aim = ({ sockets => $c->{id}{'/'} }, $c);
        push @c, $c;
        $sets->("$i, before its move", $i, { from => 'here' }, @aim);
        my $ws = $t->probe($c->{polling}, $pids[($i + 1) % @pids]);
        $sets->("$i, on its way", $i + 2, { on => 'the way' }, @aim);
        $c->{ws} = SioCluster::upgraded($ws);
        delete $c->{polling};
        is(answer($c, '42["there"]'), '42["there"]', "$i, it has moved");
        $sets->("$i, after its move", $i + 3, { from => undef, score => 8 },
                @aim);
        like(answer($c, '421["mine"]'), qr/^431\["8",/, "$i, as its rules");
    }

    leave(@c);
}

# What a client is asked: the number that its answer needs, and the rest with
# its attachments in base64.
sub asked {
    my ($c, $nsp) = @_;
    my $packet = hears($c);
    $nsp = defined $nsp ? "$nsp," : '';
    my ($binary, $number, $rest)
        = $packet =~ /^4(?:2|5(\d+)-)\Q$nsp\E(\d+)(\[.*\])$/s
        or return ('none', $packet);
    return ($number, join ' ', $rest,
            map { my $b = hears($c);
                  $c->{ws} ? encode_base64($b, '') : $b =~ s/^b//r }
            1 .. $binary // 0);
}

# The result when so many are missing and these have acknowledged, each with
# its arguments.
sub acked {
    my ($missing, %args) = @_;
    return { ok => $yes, missing => $missing, answers => [
        map { { id => $_, args => $args{$_} } } sort keys %args] };
}

sub answers {
    return map { ref $_ eq 'HASH' && $_->{answers}
                 ? { %$_, answers => [sort { $a->{id} cmp $b->{id} }
                                           @{$_->{answers}}] } : $_ } @_;
}

sub asks {
    return { op => 'emit', event => 'q', ack => $yes, timeout => 60_000, @_ };
}

sub acknowledgements {
    my @c = crowd();
    my %c = map { $_->{name} => $_ } @c;
    my $slow = SioTest::slow();
    my $ms = 1000 * $slow;
    my $ids = sub { map { $_->{id}{'/'} } @_ };
    my @counters = qw(acks_asked acks_received acks_missing acks_unknown);
    my $counts = $t->status;
    my $counted = sub {
        my ($name, @values) = @_;
        my $now = $t->status;
        is(join(' ', map { $now->{$_} - $counts->{$_} } @counters),
           "@values", "$name: @counters");
        $counts = $now;
    };

    # All workers ask all clients, and each answer goes to who asked for it.
    my %other = (w => 'text', p => "caf\x{e9} \x{1f600}\n\x00", m => undef);
    my (%args, %number, @wrong);
    $t->begin_api($pids[$_], asks(to => '*', args => [0 + $_, {}]))
        for 0 .. $#pids;
    for my $c (shuffle(@c)) {
        for (@pids) {
            my ($n, $rest) = asked($c);
            my ($i) = $rest =~ /^\["q",(\d),\{\}\]$/;
            push @wrong, "$c->{name}: $rest" if !defined $i;
            $i //= 'none';
            $number{$n}{$i} = 1;
            my $args = [$c->{name}, "to $i", $other{substr $c->{name}, 1},
                        { a => [1.5, {}] }];
            $args{$i}{$c->{id}{'/'}} = $args;
            says($c, "43$n" . $json->encode($args));
        }
    }
    is("@wrong", '', 'each is asked by each worker');
    is_deeply([answers($t->finish_api($pids[$_]))], [acked(0, %{$args{$_}})],
              'and has answered') for 0 .. $#pids;
    is(join(' ', sort map { keys %$_ } values %number), '0 1 2 3',
       'each question has a number of its own');
    is(scalar(grep { $_ > 2 ** 53 - 1 } keys %number), 0,
       'that any client can have');
    $counted->('all', 4, 48, 0, 0);

    # Binary values, both ways.
    my $bytes = join '', map { chr } 0 .. 255;
    my $b64 = encode_base64($bytes, '');
    %args = ();
    $t->begin_api($pids[1], asks(to => '*', args => [
        { _base64 => $b64 }, { a => [1, { _base64 => '' }] }]));
    for my $c (@c) {
        my ($n, $rest) = asked($c);
        is($rest, '["q",{"_placeholder":true,"num":0},'
                  . '{"a":[1,{"_placeholder":true,"num":1}]}]' . " $b64 ",
           "$c->{name} is asked with binary values");
        my $packet = "462-$n" . '[{"b":{"num":1,"_placeholder":true}},"t",'
                     . '{"_placeholder":true,"num":0}]';
        if ($c->{ws}) {
            $c->{ws}->text($packet);
            $c->{ws}->binary($_) for '', $bytes;
        } else {
            says($c, $packet, 'b', "b$b64");
        }
        $args{$c->{id}{'/'}} = [{ b => { _base64 => $b64 } }, 't',
                                { _base64 => '' }];
    }
    is_deeply([answers($t->finish_api($pids[1]))], [acked(0, %args)],
              'and answers with such');
    $counted->('binary', 1, 12, 0, 0);

    # Who has not answered when the time is over is missing.
    my @soon = named(qr/^[02]/, @c);
    my @late = named(qr/^[13]/, @c);
    my $began = time;
    my $n;
    $t->begin_api($pids[2], asks(to => '*', timeout => $ms));
    ($n) = asked($_) for @c;
    says($_, "43$n" . '[]') for @soon;
    is_deeply([answers($t->finish_api($pids[2]))],
              [acked(6, map { ($_ => []) } $ids->(@soon))],
              'six of twelve are missing');
    my $took = time - $began;
    cmp_ok($took, '>=', $ms / 1000, 'when their time is over');
    cmp_ok($took, '<', $ms / 1000 + 2 * $slow, 'and soon then');
    for my $c (@late) {
        says($c, "43$n" . '["late"]');
        is(answer($c, '42["still"]'), '42["still"]',
           "$c->{name}: to be late is no error");
    }
    $counted->('late', 1, 6, 6, 6);

    # Nobody but who was asked, and once.
    my @three = @c{qw(0p 1w 2m)};
    my @others = @c{qw(3w 3p 0w)};
    $t->begin_api($pids[3], asks(sockets => [$ids->(@three)]));
    ($n) = asked($_) for @three;
    for my $c (@others) {
        says($c, "43$n" . '["of another"]', "43/x,$n" . '["of it"]',
             '43' . ($n + 1) . '["the next"]', '430["zero"]',
             '43' . ($n - 1024) . '["the one before"]', "43$n");
    }
    says($c{'1w'}, "43/x,$n" . '["elsewhere"]', '431["one"]', "43$n",
         "43$n" . '["first"]', "43$n" . '["second"]');
    for my $c (@others, $c{'1w'}) {
        is(answer($c, '42["still"]'), '42["still"]', "$c->{name} lives");
    }
    says($c{'2m'}, "43$n" . '["m"]');
    says($c{'0p'}, "43$n" . '["p"]', "43$n" . '["p again"]');
    is_deeply([answers($t->finish_api($pids[3]))],
              [acked(0, $c{'1w'}{id}{'/'} => ['first'],
                     $c{'2m'}{id}{'/'} => ['m'], $c{'0p'}{id}{'/'} => ['p'])],
              'no one answers for another, nor twice, nor with nothing');
    is(answer($c{'0p'}, '42["still"]'), '42["still"]', 'nor ends by that');
    $counted->('others', 1, 3, 0, 3 * 5 + 2 + 1 + 1);

    # Who leaves will not answer.
    my %gone;
    for my $how ('ends', 'leaves', 'is sent away') {
        my @gone = map { client($_, '/', '/x') } qw(0w 1w 2w);
        $t->begin_api("$pids[0] $how",
                      asks(sockets => [$ids->(@gone, $c{'3p'})],
                           timeout => $ms));
        ($n) = asked($_) for @gone, $c{'3p'};
        if ($how eq 'is sent away') {
            $t->api({ op => 'disconnect', sockets => [$ids->(@gone)] });
        } else {
            $how eq 'ends' ? $_->{ws}->close : says($_, '41') for @gone;
        }
        $t->wait_for(sub { ($t->api({ op => 'count' }))[0]{count} == @c },
                     "who $how is not there");
        says($c{'3p'}, "43$n" . '[1]');
        $gone{$how} = \@gone;
    }
    for my $how (sort keys %gone) {
        is_deeply([$t->finish_api("$pids[0] $how")],
                  [acked(3, $c{'3p'}{id}{'/'} => [1])],
                  "who $how does not answer");
        $_->{ws}->close for @{$gone{$how}};
    }
    $t->wait_for(sub {
        ($t->api({ op => 'count', namespace => '/x' }))[0]{count} == 8;
    }, 'they have gone');
    $counted->('gone', 3, 3, 9, 0);

    # Whom it is for, as of other operations; from nobody there is no answer.
    my @r = $t->api(asks(to => 'nobody'), asks(sockets => []),
                    asks(to => '*', except => [$ids->(@c)]),
                    asks(to => '*', namespace => '/none'),
                    asks(sockets => $c{'0w'}{id}{'/'}, namespace => '/x'));
    is_deeply(\@r, [(acked(0)) x 5], 'nobody is waited for');
    %args = ();
    $t->begin_api($pids[2], asks(namespace => '/x', to => '*', event => 'x',
        except => $c{'0w'}{id}{'/x'}, volatile => $no, ack => 'a text'));
    for my $c (named(qr/[123]w|p/, @c)) {
        my ($n, $rest) = asked($c, '/x');
        is($rest, '["x"]', "$c->{name} is asked in a namespace");
        says($c, "43$n" . '["here"]') if $c->{ws};
        says($c, "43/x,$n" . '["there"]');
        $args{$c->{id}{'/x'}} = ['there'];
    }
    is_deeply([answers($t->finish_api($pids[2]))], [acked(0, %args)],
              'where it answers');
    $counted->('aims', 6, 7, 0, 3);

    # The results have the order of their operations, whatever that of answers.
    $t->begin_api($pids[0], { op => 'emit', to => '*', event => 'a' },
        asks(to => '*', args => [1]), { op => 'count' },
        asks(sockets => $c{'2w'}{id}{'/'}, args => [2]),
        { op => 'nothing' }, { op => 'emit', to => '*', event => 'b' });
    my %first;
    for my $c (@c) {
        my (@got, @numbers);
        do { push @got, hears($c) } until $got[-1] !~ /"a"|"q"/;
        s/^42(\d+)/42/ && push @numbers, $1 for @got;
        is("@got", '42["a"] 42["q",1] ' . ($c == $c{'2w'} ? '42["q",2] ' : '')
           . '42["b"]', "$c->{name}: all in order");
        says($c, "43$numbers[1]" . '[2]') if $c == $c{'2w'};
        $first{$c->{name}} = $numbers[0];
    }
    says($_, "43$first{$_->{name}}" . '[1]') for reverse @c;
    is_deeply([answers($t->finish_api($pids[0]))],
              [$ok, acked(0, map { ($_ => [1]) } $ids->(@c)), { count => 12 },
               acked(0, $c{'2w'}{id}{'/'} => [2]),
               { error => 'unknown "op": "nothing"' }, $ok],
              'as are the results');

    # More than are under way at a time: others follow when some are answered.
    my $many = 40;
    my @order;
    $t->begin_api($pids[1], map { asks(sockets => $c{'0w'}{id}{'/'},
                                       args => [$_]) } 1 .. $many);
    for (1 .. $many) {
        my ($n, $rest) = asked($c{'0w'});
        push @order, $rest =~ /(\d+)/;
        says($c{'0w'}, "43$n" . "[$order[-1]]");
    }
    is("@order", join(' ', 1 .. $many), "$many in a request");
    is_deeply([$t->finish_api($pids[1])],
              [map { acked(0, $c{'0w'}{id}{'/'} => [$_]) } 1 .. $many],
              'are all answered');

    # The shortest time and the longest.
    @r = $t->api(asks(to => '*', timeout => 1),
                 asks(to => 'nobody', timeout => 600_000));
    is_deeply([answers(@r)], [acked(12), acked(0)], 'a millisecond');
    asked($_) for @c;

    # A client that moves between the question and its answer, which is then
    # of another worker: the asker, the one that asked it, or a third one.
    my $moves = $t->status->{moves};
    my @moved;
    for my $i (0 .. $#pids) {
        for my $heard (1, 0) {
            my $c = client('1p', '/', '/x');
            my $from = "$pids[$i] $heard";
            $t->begin_api($from,
                asks(sockets => $c->{id}{'/'}, args => [0 + $i]),
                asks(sockets => $c->{id}{'/x'}, namespace => '/x',
                     timeout => $ms));
            my @asked = $heard ? (asked($c), asked($c, '/x')) : ();
            my $ws = $t->probe($c->{polling}, $pids[2]);
            $c->{ws} = SioCluster::upgraded($ws);
            delete $c->{polling};
            @asked = (asked($c), asked($c, '/x')) if !$heard;
            is("@asked[1, 3]", qq{["q",$i] ["q"]}, 'one is asked twice');
            is(answer($c, '42["there"]'), '42["there"]', 'it has moved');
            says($c, "43$asked[0]" . qq{["moved",$i]});
            push @moved, [$c, $i, $from, @asked];
        }
    }
    is($t->status->{moves} - $moves, @moved, 'all to another worker');
    for (@moved) {
        my ($c, $i, $from) = @$_;
        is_deeply([$t->finish_api($from)],
                  [acked(0, $c->{id}{'/'} => ['moved', $i]), acked(1)],
                  "worker $i: its answer counts, and its time ends");
    }
    $counts = $t->status;
    for (@moved) {
        my ($c, $of_it, $late) = @$_[0, 3, 5];
        says($c, "43/x,$late" . '["late"]', "43$of_it" . '[2]');
        is(answer($c, '42["still"]'), '42["still"]', 'it goes on');
    }
    $counted->('after that', 0, 0, 0, 2 * @moved);
    leave(map { $_->[0] } @moved);

    leave(@c);
}

sub killed {
    for my $victim (1, 3) {
        my @c = crowd();
        $t->api({ op => 'join', to => '*', rooms => 'all' },
                { op => 'count' });
        $_->{rooms}{'/'}{all} = 1 for @c;
        $t->ready;

        my @dead = grep { $_->{pid} == $pids[$victim] } @c;
        my @rest = grep { $_->{pid} != $pids[$victim] } @c;
        is(@dead . ' ' . @rest, '3 9', 'clients of all');
        my @others = grep { $_ != $pids[$victim] } @pids;
        my @question = ({ op => 'count' }, { op => 'fetch' },
                        { op => 'rooms' });
        my $expected = [{ count => scalar @rest }, seen('/', \@rest),
                        { rooms => { all => scalar @rest } }];

        # Its clients are asked what they can answer no more.
        my $ms = 2000 * SioTest::slow();
        $t->begin_api("$_ ask", asks(to => '*', timeout => $ms)) for @others;
        my @numbers = map { my $c = $_; [map { (asked($c))[0] } @others] } @c;

        # Some were asked when it still lived: they hear of its end.
        $t->stop_worker($pids[$victim]);
        $t->begin_api($_, @question) for @others;
        ok($t->kill_worker($pids[$victim]), 'a worker is killed');
        for my $pid (@others) {
            my @r = $t->finish_api($pid);
            is_deeply([$r[0], fetched($r[1]), $r[2]], $expected,
                      'who asked before has an answer without it')
                or diag explain \@r;
        }
        for my $i (0 .. $#c) {
            says($c[$i], map { "43$_" . '[1]' } @{$numbers[$i]})
                if $c[$i]{pid} != $pids[$victim];
        }
        is_deeply([answers($t->finish_api("$_ ask"))],
                  [acked(3, map { ($_->{id}{'/'} => [1]) } @rest)],
                  'its clients have not acknowledged') for @others;

        # While another one comes in its place.
        my (@wrong, $n);
        my $until = time + 10 * SioTest::slow();
        my $new = 0;
        while (time < $until) {
            my $pid = $others[$n++ % @others];
            my @r = $t->api_on($pid, @question);
            push @wrong, \@r
                if $json->encode([$r[0], fetched($r[1]), $r[2]])
                   ne $json->encode($expected);
            $new ||= $t->together && $n;
            last if $new && $n > $new + 10;
        }
        ok($new, "a new worker is there after $n questions");
        is(scalar @wrong, 0, 'all are answered, exactly')
            or diag explain $wrong[0];
        @pids = $t->worker_pids;
        my ($r) = $t->api_on((grep { my $p = $_; !grep { $_ == $p } @others }
                              @pids)[0], { op => 'count' });
        is_deeply($r, { count => scalar @rest }, 'the new one knows as well');
        ok($_->{ws} ? $_->{ws}->closes : $_->{polling}->gone,
           "$_->{name} is gone") for @dead;
        sends('those who live', [{ op => 'emit', to => 'all',
                                   event => 'still' }],
              { map { ($_->{name} => ['42["still"]']) } @rest }, @rest);
        leave(@rest);
        $_->{ws}->close for grep { $_->{ws} } @dead;
    }
}

# Another socket's id is no room that a client may name.
sub refused_ids {
    my @c = crowd();
    my @ws = grep { $_->{ws} } @c;
    my $gone = client('2w', '/');
    leave($gone);
    $t->wait_for(sub { ($t->api({ op => 'count' }))[0]{count} == @c },
                 'one has left');
    my $before = $t->status->{names_invalid};
    my ($tries, @wrong) = (0);

    for my $c (@ws) {
        for my $other ((map { values %{$_->{id}} } @c), $gone->{id}{'/'}) {
            for my $event (qw(enter exit)) {
                my ($answer) = $c->{ws}->ask(qq{421["$event","$other"]});
                push @wrong, $answer
                    if ($answer // '') ne qq{431["$other"]};
                $tries++ if $other ne $c->{id}{'/'};
            }
        }
    }

    is("@wrong", '', 'all are answered');
    is($t->status->{names_invalid} - $before, $tries,
       'each name is refused, but one\'s own');
    my ($r) = $t->api({ op => 'rooms' });
    is_deeply($r, { rooms => {} }, 'nobody is in a room');
    for my $c (@c) {
        my @r = $t->api({ op => 'count', to => $c->{id}{'/'} });
        is_deeply(\@r, [{ count => 1 }], "$c->{name} is alone with its id");
    }
    sends('to an id', [{ op => 'emit', sockets => $c[1]{id}{'/'},
                         event => 'you' }],
          { $c[1]{name} => ['42["you"]'] }, @c);

    # What only looks like one is a room, as is one with something before.
    my $like = $c[0]{id}{'/'};
    substr($like, -1) =~ tr/A-Za-z0-9_-/B-ZAb-za1-90\-_/;
    $ws[1]{ws}->ask(qq{421["enter","$like"]});
    is_deeply([$t->api({ op => 'rooms' })], [{ rooms => { $like => 1 } }],
              'a name that is no id can be joined');
    is($t->status->{names_invalid} - $before, $tries, 'and is not counted');

    # The API may join it, as the application that it speaks for.
    my $id = $c[0]{id}{'/'};
    sends('a join by the API', [{ op => 'join', sockets => $c[4]{id}{'/'},
                                  rooms => $id },
                                { op => 'emit', to => $id, event => 'two' }],
          { map { ($c[$_]{name} => ['42["two"]']) } 0, 4 }, @c);
    sends('the socket itself', [{ op => 'emit', sockets => $id,
                                  event => 'one' }],
          { $c[0]{name} => ['42["one"]'] }, @c);
    is_deeply([map { $_->{count} } $t->api({ op => 'count', sockets => $id },
                   { op => 'count', to => $id },
                   { op => 'count', to => '*', except => $id })],
              [1, 2, @c - 2], 'its id is its own, the room is theirs');
    is_deeply([$t->api({ op => 'rooms' })],
              [{ rooms => { $like => 1, $id => 1 } }],
              'who has an id by itself is not counted in its room');
    leave(@c);
}

my %suite = (
    '1 emit' => \&emits,
    '2 random operations' => \&random,
    '3 disconnect' => \&disconnects,
    '4 questions' => \&questions,
    '5 sessions that move' => \&moving,
    '6 a stopped worker' => \&stopped,
    '7 ids' => \&refused_ids,
    '8 data' => \&data,
    '9 acknowledgements' => \&acknowledgements,
    '10 a killed worker' => \&killed,
);
my @suite = sort { ($a =~ /(\d+)/)[0] <=> ($b =~ /(\d+)/)[0] } keys %suite;

for my $reuseport (0, 1) {
    subtest $reuseport ? 'listen reuseport' : 'one listener' => sub {
        begin(reuseport => $reuseport,
              expect_log => [qr/worker process \d+ exited on signal 9/]);
        for my $name (@suite) {
            next if $ENV{NGX_SIO_ONLY} && $name !~ /$ENV{NGX_SIO_ONLY}/;
            my $start = time;
            subtest $name => $suite{$name};
            note(sprintf '%s: %.1f s', $name, time - $start);
        }
        finish();
    };
}


# --- what is wrong

$t = undef;

subtest 'what is wrong' => sub {
    begin(server => <<'CONF');
        location = /small { sio_api; allow 127.0.0.1; deny all;
                            client_max_body_size 1k; }
        location = /file  { sio_api; allow 127.0.0.1; deny all;
                            client_body_buffer_size 1k;
                            client_max_body_size 8m; }
        location = /only  { sio_api; allow 127.0.0.1; deny all;
                            client_body_in_file_only clean; }
CONF
    subtest 'bodies' => \&bodies;
    subtest 'operations' => \&operations;
    subtest 'binary values' => \&binary;
    subtest 'sizes' => \&sizes;
    subtest 'connections' => \&connections;
    finish();
};

subtest 'locations' => sub {
    begin(server => <<'CONF');
        sio_app main;
        location = /inner { sio_api; internal; }
        location = /outer { rewrite ^ /inner; }
        location = /shut  { sio_api; deny all; }
        location = /if    { sio_api; allow 127.0.0.1; deny all;
                            if ($arg_x) { add_header X-If $arg_x; } }
        location = /limit { sio_api; allow 127.0.0.1; deny all;
                            limit_except POST { deny all; } }
        location /p/      { sio; sio_app plain; sio_parser none;
                            sio_ping_interval 10m; }
        location = /plain { sio_api; sio_app plain; allow 127.0.0.1;
                            deny all; }
        location = /fewer { sio_api; allow 127.0.0.1; deny all;
                            limit_except GET { allow 127.0.0.1; } }
CONF
    locations();
    plain();
    finish();
};

subtest 'many questions' => sub {
    begin();
    my @ws = $t->websockets;
    my $n = $ENV{NGX_SIO_ASAN} ? 1000 : 10_000;
    my $echo = (grep { SioCluster::whoami($_) == $pids[0] } @ws)[0];
    $t->begin_on($pids[0], POST => '/api', @type, body =>
        '[' . join(',', ('{"op":"count"}') x $n) . ']');
    my $start = time;
    my $alive = $echo->alive;
    my $took = time - $start;
    my $r = eval { $json->decode($t->finish_on($pids[0], deadline => 60)
                                 ->body) } // [];
    is(scalar(grep { $_->{count} == 4 && !$_->{partial} } @$r), $n,
       "$n questions in a request are answered exactly");
    ok($alive, 'a client is served meanwhile');
    cmp_ok($took, '<', 2 * SioTest::slow(), 'and soon');
    $_->close for @ws;
    finish();
};

# A hundred thousand emits, of a backend that has them to send; whose requests
# follow each other on one connection.
subtest 'many emits' => sub {
    begin(http => 'sio_bus_buffer 64m;');
    my ($all, $batch) = $ENV{NGX_SIO_ASAN} ? (20_000, 500) : (100_000, 1000);
    my @c = (map { client($_, '/') } map { ("${_}w", "${_}m") } 0 .. $#pids);
    my $c = $t->connect_to($pids[1]);
    my $start = time;
    my @failed;
    for (my $i = 0; $i < $all; $i += $batch) {
        $c->send_request(POST => '/api', @type, body => '['
            . join(',', map { "{\"op\":\"emit\",\"to\":\"*\",\"event\":\"n\","
                              . "\"args\":[$_]}" } $i + 1 .. $i + $batch)
            . ']');
        my $body = $c->response->body;
        push @failed, substr $body, 0, 200
            if $body ne '[' . join(',', ('{"ok":true}') x $batch) . "]\n";
    }
    is($failed[0], undef, "$all emits are taken");

    # As frames, which Perl compares faster than it takes them apart.
    my $frames = join '', map { my $m = "42[\"n\",$_]";
                                "\x81" . chr(length $m) . $m } 1 .. $all;
    for my $c (@c) {
        my $got = $c->{ws}->take(length $frames, 60) // '';
        ok($got eq $frames, "$c->{name} gets all of them, in order")
            or diag "the first difference is at byte "
                    . length(($got ^ $frames) =~ s/[^\0].*//sr);
    }
    my $took = time - $start;
    note(sprintf '%d emits to %d clients: %.1f s', $all, scalar @c, $took);
    cmp_ok($took, '<', 30, 'and soon');
    is(answer($_, '42["end"]'), '42["end"]', 'nothing is behind them') for @c;
    $c->close;
    leave(@c);
    finish();
};

# Who asks goes, and who is asked says nothing, until there is a limit.
subtest 'acknowledgements that nobody waits for' => sub {
    begin();
    my ($most, $each) = (1000, 16);
    my $c = client('0w', '/');
    my $other = client('1w', '/');
    my $began = time;
    $t->begin_api("$pids[3] default", { op => 'emit', event => 'q',
        sockets => $other->{id}{'/'}, ack => $yes });
    asked($other);
    my $before = $t->status;
    my $times = 0;
    while ($times * $each <= $most) {
        my $pid = $pids[$times++ % @pids];
        my $asker = $t->connect_to($pid);
        $asker->send_request(POST => "/api?$times", @type,
            body => $json->encode([map { asks(sockets => $c->{id}{'/'},
                args => [0 + $_], timeout => 600_000) } 1 .. $each + 4]));
        $t->await(sub {
            $t->status->{acks_asked} - $before->{acks_asked}
                >= $times * $each;
        });
        $asker->close;
    }
    $t->wait_for(sub {
        (() = $t->access_log =~ m{ /api\?\d+ HTTP/1.1" 499 }g) == $times;
    }, 'all askers have gone');
    my $all = $times * $each;
    my @asked = map { [asked($c)] } 1 .. $all;
    is(join(' ', map { $_->[1] } @asked),
       join(' ', (map { "[\"q\",$_]" } 1 .. $each) x $times),
       "what was not begun is not asked");
    is($t->status->{limit_acks} - $before->{limit_acks}, $all - $most,
       'no more than 1000 are awaited of a client');
    is(() = $t->log =~ /no more acknowledgements are awaited of it/g, 1,
       'the log tells, once');
    says($c, map { "43$_->[0]" . '["too late"]' } @asked);
    is(answer($c, '42["still"]'), '42["still"]', 'it may answer');
    my $status = $t->status;
    is(join(' ', map { $status->{$_} - $before->{$_} }
                 qw(acks_asked acks_received acks_unknown)),
       "$all $most " . ($all - $most), 'to nobody');
    $t->begin_api($pids[2], asks(sockets => $c->{id}{'/'}));
    says($c, '43' . (asked($c))[0] . '["in time"]');
    is_deeply([$t->finish_api($pids[2])],
              [acked(0, $c->{id}{'/'} => ['in time'])], 'and is asked again');

    # All this time nobody has answered this one.
    is_deeply([$t->finish_on("$pids[3] default", deadline => 20)->body],
              ["[{\"ok\":true,\"answers\":[],\"missing\":1}]\n"],
              'an answer that does not come');
    cmp_ok(time - $began, '>=', 5, 'is awaited for five seconds');
    leave($c, $other);
    finish();
};

subtest 'more than the bus bears' => sub {
    begin(http => 'sio_bus_buffer 1m;');
    much();
    finish();
};

sub post {
    my ($body, $target, %opt) = @_;
    return $t->request_on($pids[0], POST => $target // '/api',
                          @type, $opt{chunks} ? () : (body => $body), %opt);
}

# The results of a raw body, or what was answered instead.
sub results {
    my $r = post(@_);
    return eval { $json->decode($r->body) } // $r->status . ' ' . $r->body;
}

sub bodies {
    my $deep = sub { '[' x $_[0] . ']' x $_[0] };
    my %wrong = (
        'the body is not a valid JSON array' => [
            'null', '1', '"x"', 'true', ' "[]" ',
            '', ' ', 'null', '1', '"x"', 'true', ' "[]" ', '[', ']',
            '[]]', '[] []', '[{]', 'x', "\xef\xbb\xbf[]",
            '[{"op":"count"},]', "['a']", '[{"op":"count",}]', "[\x00]",
            "[]\x00", '[{"op":"emit","to":"*","event":"a' . "\n" . '"}]',
            '[{op:"count"}]', '[01]', '[NaN]', '[1' . '0' x 10, '/**/[]',
            '["\\x"]', '["\\ud8"]', '[' . '{"a":' x 10 . '}' x 10 . ']'],
        'the body must be an array of operations' => [
            '{}', '{"op":"count"}', '{"0":[]}'],
        'the body is not UTF-8' => [
            "[\"\xff\"]", "[\"\xc3\"]", "\xff", "[\"\xed\xa0\x80\"]",
            "[\"\xc0\xaf\"]", "[\"\xf4\x90\x80\x80\"]",
            '[{"op":"count"}' . "]\xe9"],
        'the JSON is nested too deep' => [
            $deep->(65), $deep->(100_000), '[' x 65,
            '[{"op":"emit","to":"*","event":"e","args":' . $deep->(63)
            . '}]'],
    );

    for my $error (sort keys %wrong) {
        my @other;
        for my $body (@{$wrong{$error}}) {
            my $r = post($body);
            my $type = $r->header('content-type') // '';
            my $said = $r->status . " $type " . $r->body;
            push @other, substr($body, 0, 60) . ": $said"
                if $said ne "400 application/json {\"error\":\"$error\"}";
        }
        is(join("\n", @other), '', $error);
    }

    is_deeply(results($_), [], 'nothing to do: ' . s/\s/./gr)
        for '[]', " [ ]\r\n\t";
    is_deeply(results($deep->(64)),
              [{ error => 'an operation must be an object' }],
              'as deep as may be');
    my $r = post('[{"op":"count"}]');
    is($r->body, qq{[{"count":0}]\n}, 'the form of an answer');
    is($r->header('content-type'), 'application/json', 'and its type');

    for my $method (qw(GET HEAD PUT DELETE OPTIONS PATCH)) {
        for my $body (undef, '[{"op":"count"}]', 'x' x 100_000) {
            my $r = $t->request_on($pids[1], $method => '/api',
                                   defined $body ? (body => $body) : ());
            my $here = "$method, " . length($body // '');
            is($r->status . ' ' . ($r->header('allow') // 'none'), '405 POST',
               $here);
            is($r->body, '{"error":"the method must be POST"}', "$here: why")
                if $method ne 'HEAD';
        }
    }
    my $count = '[{"op":"count"}]';
    for my $type (undef, '', 'text/plain', 'application/jsonx', 'json',
                  'application/x-www-form-urlencoded', 'application/jso',
                  'text/plain; application/json') {
        my $r = $t->request_on($pids[1], POST => '/api', body => $count,
            headers => [defined $type ? ('Content-Type' => $type) : ()]);
        is($r->status . ' ' . $r->body, '415 {"error":"the Content-Type must '
           . 'be application/json"}', 'type ' . ($type // 'none'));
    }
    for my $type ('application/json; charset=utf-8', 'Application/JSON',
                  'application/json;x', "application/json\t;x") {
        my $r = $t->request_on($pids[1], POST => '/api', body => $count,
                               headers => ['Content-Type' => $type]);
        is($r->body, qq{[{"count":0}]\n}, "type $type");
    }
    is_deeply([$t->api_on($pids[1], { op => 'count' })], [{ count => 0 }],
              'the connection goes on');
}

sub operations {
    my ($ws, @others) = $t->websockets;
    my $id = $ws->id;
    my $long = 'n' x 257;
    my $cut = substr qq{"$long"}, 0, 100;
    my $names = 'not a name or an array of names: ';
    my $emit = '"op":"emit","event":"e"';
    my @wrong = (
        (map { [$_ => 'an operation must be an object'] }
             '1', 'null', '"count"', '[]', '[{"op":"count"}]', 'true'),
        (map { [$_ => '"op" is missing'] } '{}', '{"Op":"count"}',
             '{"to":"*"}'),
        (map { ["{\"op\":$_}" => "unknown \"op\": $_"] } '"Emit"', '"emit "',
             '""', '1', 'null', '["emit"]', '"emi"', '"emitt"',
             '{"op":"emit"}', '"e\\nmit"', '"ack"', '"ask"', '"Data"'),
        ['{"op":"ack","seq":1,"args":[]}' => 'unknown "op": "ack"'],

        (map { ["{$_}" => '"to" or "sockets" is missing'] } $emit,
             '"op":"join","rooms":"a"', '"op":"leave","rooms":"a"',
             '"op":"disconnect"', '"op":"disconnect","except":"a"',
             "$emit,\"except\":[]", "$emit,\"ack\":true",
             '"op":"data","set":{}', '"op":"data","set":{},"except":"a"'),
        (map { ["{$_}" => 'only one of "to" and "sockets" may be there, once'
               ] } "$emit,\"to\":\"*\",\"sockets\":[]",
             "$emit,\"sockets\":\"$id\",\"to\":\"a\"",
             "$emit,\"to\":\"a\",\"to\":\"b\"",
             '"op":"count","to":"*","sockets":[]'),

        (map { ["{$_->[0],\"to\":\"*\"}" => "unknown member $_->[1]"] }
             ["$emit,\"rooms\":\"a\"", '"rooms"'],
             ["$emit,\"colour\":1", '"colour"'],
             ["$emit,\"Args\":[]", '"Args"'], ["$emit,\"\":1", '""'],
             ["$emit,\"close\":true", '"close"'],
             ['"op":"join","rooms":"a","event":"e"', '"event"'],
             ['"op":"leave","rooms":"a","volatile":true', '"volatile"'],
             ['"op":"disconnect","rooms":"a"', '"rooms"'],
             ['"op":"fetch","close":true', '"close"'],
             ['"op":"rooms","rooms":"a"', '"rooms"'],
             ['"op":"count","local":true', '"local"'],
             ['"op":"join","rooms":"a","ack":true', '"ack"'],
             ['"op":"disconnect","timeout":1', '"timeout"'],
             ['"op":"fetch","set":{}', '"set"'],
             ["$emit,\"set\":{}", '"set"'], ["$emit,\"seq\":1", '"seq"'],
             ['"op":"data","set":{},"rooms":"a"', '"rooms"'],
             ['"op":"data","set":{},"args":[]', '"args"'],
             ["$emit,\"a\\u00e9\\\"\":1", '"a\\u00e9\\""']),

        (map { my $v = $_; map { ["{$emit,\"$_\":$v" . ($_ eq 'except'
                   ? ',"to":"*"}' : '}') => "$names$v"] }
               qw(to sockets except) }
             '""', '1', 'null', 'true', '{}', '[1]', '["a",""]', '["a",null]',
             '[["a"]]', '[{}]', '{"a":"b"}'),
        (map { ["{$emit,\"$_\":\"$long\"" . ($_ eq 'except' ? ',"to":"*"}'
                : '}') => $names . $cut] } qw(to sockets except)),
        ['{"op":"join","to":"*"}' => '"rooms" is missing'],
        ['{"op":"leave","to":"*","rooms":[]}' => '"rooms" is missing'],
        (map { ["{\"op\":\"join\",\"to\":\"*\",\"rooms\":$_}"
                => "$names$_"] } '7', '""', '["a",7]', 'null', '[[]]'),
        ["{\"op\":\"join\",\"to\":\"*\",\"rooms\":\"$long\"}"
         => $names . $cut],
        ["{\"op\":\"join\",\"to\":\"*\",\"rooms\":[\"a\",\"$long\"]}"
         => $names . substr "[\"a\",\"$long\"]", 0, 100],

        (map { ["{$emit,\"to\":\"*\",\"namespace\":$_}"
                => "invalid \"namespace\": $_"] } '""', '"x"', '1', 'null',
             '["/x"]'),
        ["{$emit,\"to\":\"*\",\"namespace\":\"/$long\"}"
         => 'invalid "namespace": ' . substr "\"/$long\"", 0, 100],

        ['{"op":"emit","to":"*"}' => '"event" is missing'],
        (map { ["{\"op\":\"emit\",\"to\":\"*\",\"event\":$_}"
                => "not a string: $_"] } '1', 'null', '["e"]', 'true'),
        (map { ["{\"op\":\"emit\",\"to\":\"*\",\"event\":\"$_\"}"
                => "reserved \"event\": \"$_\""] }
             qw(connect connect_error disconnect disconnecting newListener
                removeListener), 'conn\\u0065ct'),
        (map { ["{$emit,\"to\":\"*\",\"args\":$_}"
                => '"args" must be an array'] } '1', '{}', '"[]"', 'null'),
        (map { my $v = $_; (map { ["{$emit,\"to\":\"*\",\"$_\":$v}"
                => "not true or false: $v"] } qw(volatile local)),
               ["{\"op\":\"disconnect\",\"to\":\"none\",\"close\":$v}"
                => "not true or false: $v"] }
             '1', '0', '"true"', 'null', '[]'),

        (map { ["{\"op\":\"data\",\"to\":\"*\"$_}"
                => '"set" must be an object'] } ',"set":1', ',"set":[]',
             ',"set":null', ',"set":"{}"', ',"set":true'),
        ['{"op":"data","to":"*"}' => '"set" is missing'],

        (map { ["{$emit,\"to\":\"*\",\"ack\":$_}"
                => 'invalid "ack": ' . substr $_, 0, 100] } 'false', 'null',
             '1', '""', '[]', '{}', "\"$long\""),
        ["{$emit,\"to\":\"*\",\"timeout\":1}" => '"timeout" needs "ack"'],
        (map { ["{$emit,\"to\":\"*\",\"ack\":true,\"timeout\":$_}"
                => "\"timeout\" must be a whole number from 1 to 600000, "
                   . "not " . substr $_, 0, 100] }
             '0', '-1', '600001', '1.5', '"x"', '"1"', 'null', 'true', '[]',
             '1e3', '-0', '1.0', '18446744073709551617', '1' . '0' x 120),

        (map { ["{$emit,\"to\":\"*\",\"args\":[[{\"_base64\":\"$_\"}]]}"
                => "not base64: \"$_\""] } 'Q', '!', 'QQ=', 'QQ===', 'Q=Q=',
             'QQ==\\n', ' QQ==', 'Q Q=', '_-_-', '\\u00e9', '===='),
        ["{$emit,\"to\":\"*\",\"args\":[{\"_base64\":\"QQ==\"},"
         . "{\"_base64\":\"$long!\"}]}"
         => 'not base64: ' . substr "\"$long", 0, 100],
        ["{$emit,\"to\":\"*\",\"args\":["
         . join(',', ('{"_base64":"QQ=="}') x 256) . ']}'
         => 'too many binary values'],
        (map { my $p = $_; (map { ["{$emit,\"to\":\"*\",\"args\":[$_]}"
                => '"_placeholder" next to binary values'] }
                "{\"_base64\":\"QQ==\"},$p", "$p,{\"_base64\":\"QQ==\"}",
                "[{\"a\":$p}],{\"b\":{\"_base64\":\"\"}}") }
             map { "{\"_placeholder\":true$_}" } ',"num":0', ',"num":1',
             ',"num":-1', ',"num":0.5', ',"num":"0"', '', ',"num":0,"x":1',
             ',"num":4294967296'),
        ["{$emit,\"to\":\"*\",\"args\":[{\"_base64\":\"QQ==\"},"
         . '{"num":0,"\\u005fplaceholder":true}]}'
         => '"_placeholder" next to binary values'],
        ["{$emit,\"to\":\"*\",\"args\":[{\"_base64\":\"QQ==\"}"
         . ',{"_placeholder":true,"num":0}' x 300 . ']}'
         => '"_placeholder" next to binary values'],
    );

    # Those beside a wrong one are done, in order.
    my $n = 0;
    my @good = map { sprintf '{"op":"emit","to":"*","event":"ok","args":[%d]}',
                             ++$n } @wrong;
    my $got = results('[' . join(',', map { "$wrong[$_][0],$good[$_]" }
                                      0 .. $#wrong) . ']');
    $got = [] if ref $got ne 'ARRAY';
    my @other = map {
        my $error = $got->[2 * $_]{error} // 'done';
        utf8::encode($error);
        $error eq $wrong[$_][1] ? () : "$wrong[$_][0]: $error"
    } 0 .. $#wrong;
    is(scalar @$got, 2 * @wrong, 'a result for each');
    is(join("\n", @other), '', 'what is wrong is said');
    is(scalar(grep { !$_->{ok} } map { $got->[2 * $_ + 1] } 0 .. $#wrong), 0,
       'the others are done');
    for my $c ($ws, @others) {
        is(instead($c, map { "42[\"ok\",$_]" } 1 .. $n), undef,
           'by all workers');
    }

    # What is right, though it may not look so.
    my $most = 'n' x 256;
    my $accents = '\\u00e9' x 128;
    my @right = (
        '"event":"e","to":"*"', '"event":"","to":"*"',
        '"event":"connection","to":"*"', '"event":"\\u0000","to":"*"',
        "\"event\":\"$most$most\",\"to\":\"*\"",
        "\"event\":\"e\",\"to\":[\"$most\",\"*\",\"$id\"]",
        "\"event\":\"e\",\"to\":\"$accents\",\"except\":\"$most\"",
        '"event":"e","to":"*","args":[],"volatile":false,"local":false,'
        . '"namespace":"/","except":[]',
        '"event":"e","to":"*","args":[1.0,1e400,"\\ud800","\\/",{"a":1,"a":2'
        . '},"\\u2028",12345678901234567890]',
        '"\\u0065vent":"e","\\u0074o":"\\u002a","args" : [ 1 , [ 2 ] ] ',
        '"event":"e","event":"f","to":"*"',
        '"event":"e","to":["a","a","a"],"except":["a","a"]',
    );
    $got = results('[' . join(',', map { "{\"op\":\"\\u0065mit\",$_}" }
                                       @right) . ']');
    is_deeply($got, [($ok) x @right], 'what is unusual is done');
    is_deeply([map { my $c = $_; [map { $c->message } 1 .. 8] } $ws,
               @others],
              [map { ['42["e"]', '42[""]', '42["connection"]',
                      '42["\\u0000"]', "42[\"$most$most\"]",
                      $_ ? () : '42["e"]', '42["e"]',
                      '42["e",1.0,1e400,"\\ud800","\\/",{"a":1,"a":2},'
                      . '"\\u2028",12345678901234567890]',
                      $_ ? '42["e",1 , [ 2 ] ]' : ()] } 0 .. 3],
              'its bytes pass through');
    $_->text('42["end"]') for $ws, @others;
    for my $c ($ws, @others) {
        my $m;
        1 while defined($m = $c->message) && $m ne '42["end"]';
        is($m, '42["end"]', 'a client lives');
    }

    # An error that quotes something is cut within no character.
    for my $n (94 .. 100) {
        my $name = 'a' x $n . "\x{20ac}" x 80;
        utf8::encode($name);
        my $shown = 'a' x $n . "\x{20ac}" x int((99 - $n) / 3);
        is_deeply(results("[{\"op\":\"count\",\"to\":\"$name\"}]"),
                  [{ error => $names . substr("\"$shown", 0, 100) }],
                  "an error is UTF-8, cut near $n");
    }

    # Half of a surrogate pair as a name.
    my @half = @{results('[{"op":"join","to":"*","rooms":"a\\ud800"},'
                         . '{"op":"rooms"},{"op":"count","to":"a\\ud800"},'
                         . '{"op":"leave","to":"*","rooms":"a\\ud800"},'
                         . '{"op":"rooms"}]')};
    is_deeply([@half[0, 2, 3, 4]], [$ok, { count => 4 }, $ok,
                                    { rooms => {} }], 'half a pair');
    is(join(' ', values %{$half[1]{rooms}}), 4, 'is shown as JSON');
    $_->close for $ws, @others;
}

# What is a binary value, and what only looks like one.
sub binary {
    my @c = crowd();
    my $place = sub { "{\"_placeholder\":true,\"num\":$_[0]}" };
    my $many = sub { join ',', map { '{"_base64":"'
                         . encode_base64(pack('n', $_), '') . '"}' } 1 .. $_[0]
    };
    my @case = (    # arguments as they are sent, as they arrive, attachments
        ['{"_base64":"QUJD"}', $place->(0), 'ABC'],
        [" {\n\"_base64\" :\t\"QUJD\" \r} ,1", $place->(0) . ' ,1', 'ABC'],
        ['{"_base64":"QQ"},{"_base64":"QUI"}', $place->(0) . ',' . $place->(1),
         'A', 'AB'],
        ['{"_base64":"\\u0051Q=="}', $place->(0), 'A'],
        ['{"_base64":"\\/+=="}', $place->(0), "\xff"],
        ['1,{"a":[{"_base64":"AA=="},{"b":{"_base64":""}}],"_base64":"QQ=="}',
         '1,{"a":[' . $place->(0) . ',{"b":' . $place->(1)
         . '}],"_base64":"QQ=="}', "\0", ''],
        ['{"_base64":"QQ=="},"{\"_base64\":\"QQ==\"}"',
         $place->(0) . ',"{\"_base64\":\"QQ==\"}"', 'A'],
        ['{"_base64":"QQ=="},{"_placeholder":false,"num":0}',
         $place->(0) . ',{"_placeholder":false,"num":0}', 'A'],
        ['{"_base64":"QQ=="},{"_placeholder":{"_base64":"Qg=="},"num":0}',
         $place->(0) . ',{"_placeholder":' . $place->(1) . ',"num":0}',
         'A', 'B'],
        ['{"_base64":{"_base64":"QQ=="}}', '{"_base64":' . $place->(0) . '}',
         'A'],
        [$many->(255), join(',', map { $place->($_) } 0 .. 254),
         map { pack 'n', $_ } 1 .. 255],
        map { [$_, $_] } '{"_base64":1}', '{"_base64":null}', '"_base64"',
            '{"_base64":["QQ=="]}', '{"_base64":"QQ==","a":1}',
            '{"a":1,"_base64":"QQ=="}', '{"_base64":"QQ==","_base64":"QQ=="}',
            '{"\\u005fbase64":"QQ=="}', '{"_base64 ":"QQ=="}',
            '{"x":"{\\"_base64\\":\\"QQ==\\"}"}', $place->(0),
            '{"_Base64":"!"}', '["{","_base64",":"]',
    );
    for my $case (@case) {
        my ($args, $arrives, @attached) = @$case;
        my $name = substr $args, 0, 60;
        my $packet = (@attached ? '45' . @attached . '-' : '42')
                     . "[\"b\",$arrives]";
        my $got = results("[{\"op\":\"emit\",\"to\":\"*\",\"event\":\"b\","
                          . "\"args\":[$args]}]");
        is_deeply($got, [$ok], "$name: done");
        my @wrong;
        for my $c (@c) {
            my @got = map { hears($c) } 0 .. @attached;
            my @want = ($packet, map { $c->{ws} ? $_
                : 'b' . encode_base64($_, '') } @attached);
            push @wrong, "$c->{name}: @got" if "@got" ne "@want";
        }
        is($wrong[0], undef, "$name: as it should be");
    }
    leave(@c);
}

sub sizes {
    my @ws = $t->websockets;
    my $emit = sub { "[{\"op\":\"emit\",\"to\":\"*\",\"event\":\"big\","
                     . "\"args\":[\"$_[0]\"]},{\"op\":\"count\"}]" };
    my $arrives = sub {
        my ($name, $text) = @_;
        is(join(' ', map { instead($_, "42[\"big\",\"$text\"]") } @ws), '',
           "$name: it arrives");
    };

    is(post($emit->('x' x 1024), '/small')->status, 413,
       'larger than client_max_body_size');
    is(post('', '/small', chunks => [('[' . ' ' x 600) x 2])->status, 413,
       'in chunks too');
    is_deeply(results($emit->('x'), '/small'), [$ok, { count => 4 }],
              'a smaller one');
    $arrives->('a smaller one', 'x');

    my $done = [$ok, { count => 4 }];
    for my $n (500, 1023, 1100, 5000, 300_000) {
        my $text = join '', map { chr(97 + $_ % 26) } 1 .. $n;
        is_deeply(results($emit->($text), '/file'), $done,
                  "a body of $n in a file");
        $arrives->($n, $text);
        my $body = $emit->($text);
        my @cut = (substr($body, 0, 1), substr($body, 1, 700),
                   length $body > 701 ? substr($body, 701) : ());
        for my $target ('/api', '/file') {
            is_deeply(results('', $target, chunks => [@cut]), $done,
                      "in chunks, $target");
            $arrives->("$n in chunks", $text);
        }
    }
    is_deeply(results($emit->('f'), '/only'), $done, 'always in a file');
    $arrives->('that', 'f');
    my $bytes = join '', map { chr rand 256 } 1 .. 300_000;
    is_deeply(results('[{"op":"emit","to":"*","event":"bytes","args":['
                      . '{"_base64":"' . encode_base64($bytes, '') . '"}]},'
                      . '{"op":"data","to":"*","set":{"in":"a file"}},'
                      . '{"op":"count"}]', '/file'),
              [$ok, $ok, { count => 4 }], 'bytes in a file');
    is(join(' ', map { instead($_, '451-["bytes",{"_placeholder":true,"num":0'
                                   . '}]', $bytes) } @ws), '', 'arrive');
    my ($fetched) = $t->api({ op => 'fetch' });
    is(join(',', map { $_->{data}{in} } @{$fetched->{sockets}}),
       join(',', ('a file') x 4), 'as does what is behind them');
    is(post('', '/api', chunks => [])->status, 400, 'no chunk at all');
    is(post('', '/only')->status, 400, 'nothing in a file');

    # Long arguments, and those that no other worker could be sent.
    my $mb = 'm' x (1024 * 1024);
    is_deeply(results($emit->($mb)), $done, 'a megabyte');
    $arrives->('a megabyte', $mb);
    # Many operations.
    my $n = 10_000;
    my $body = '[' . join(',', map {
        my $i = $_;
        $i % 10 ? "{\"op\":\"emit\",\"to\":\"*\",\"event\":\"n\",\"args\":[$i"
                  . ']}' : $i % 1000 ? '{"op":"x"}' : '{"op":"count"}'
    } 1 .. $n) . ']';
    my $r = results($body);
    my @wrong = ref $r ? grep {
        my $i = $_ + 1;
        $json->encode($r->[$_]) ne $json->encode(
            $i % 10 ? $ok : $i % 1000 ? { error => 'unknown "op": "x"' }
            : { count => 4 })
    } 0 .. $n - 1 : $r;
    is(ref $r && @$r, $n, '10,000 operations');
    is("@wrong", '', 'all are done');
    for my $ws (@ws) {
        is(instead($ws, map { "42[\"n\",$_]" } grep { $_ % 10 } 1 .. $n),
           undef, 'and arrive in order');
    }
    $_->close for @ws;
}

sub connections {
    my @ws = $t->websockets;
    my %slot = $t->slots;
    $t->ready;

    # Several requests on a connection, one after the other and all at once.
    my $count = '[{"op":"count"}]';
    is(join(' ', map { results($count)->[0]{count} } 1 .. 20),
       join(' ', (4) x 20), 'kept alive');
    my @body = map { "[{\"op\":\"join\",\"to\":\"*\",\"rooms\":\"p$_\"},"
                     . "{\"op\":\"count\",\"to\":\"p$_\"},"
                     . "{\"op\":\"rooms\"},{\"op\":\"x$_\"}]" } 1 .. 20;
    my $c = $t->connect_to($pids[2]);
    $c->write(join '', map { $c->request(POST => '/api', @type, body => $_) }
                           @body);
    my @got = map { eval { $json->decode($c->response->body) } // 'none' }
              @body;
    is_deeply(\@got, [map { my $n = $_; [$ok, { count => 4 },
                      { rooms => { map { ("p$_" => 4) } 1 .. $n } },
                      { error => "unknown \"op\": \"x$n\"" }] } 1 .. 20],
              'all at once: answered in order');
    $c->close;

    # The same with answers that wait, and a request behind that does not.
    $t->stop_worker($pids[3]);
    my $start = time;
    $c = $t->{asking}{$pids[0]};
    $c->write(join '', (map { $c->request(POST => '/api', @type,
                                          body => $count) } 1, 2),
                       $c->request(GET => '/pid'));
    @got = map { $c->response->body } 1 .. 3;
    my $partial = '[{"count":3,"partial":true,"missing":['
                  . "$slot{$pids[3]}]}]\n";
    is_deeply(\@got, [$partial, $partial, $pids[0]],
              'answers that wait');
    cmp_ok(time - $start, '>', 1.8, 'one after the other');

    # Emits wait for who is asked, longer than their own time if need be.
    is_deeply($t->api_on($pids[0], { op => 'emit', to => '*', event => 'e',
                                     ack => $yes, timeout => 50 }),
              { ok => $yes, answers => [], missing => 3, partial => $yes },
              'an emit does not know of the clients of a slow worker');

    # A client that leaves before its answer; who is slow may come too late.
    for my $end (qw(close reset finish)) {
        for my $n (1, 40) {
            my ($before, $after, $status);
            for my $try (1 .. 5) {
                my $c = $t->connect_to($pids[1]);
                my $target = "/api?$end-$n-$try";
                $before = $t->status_on($pids[0]);
                $c->send_request(POST => $target, @type, body =>
                    '[' . join(',', ('{"op":"fetch"}') x $n) . ']');
                $t->await(sub {
                    $t->status_on($pids[0])->{questions}
                        - $before->{questions} >= ($n > 16 ? 16 : $n);
                });
                $c->$end;
                $t->await(sub {
                    ($status) = $t->access_log =~ /\Q$target\E HTTP\S+ (\d+)/;
                });
                $after = $t->status_on($pids[0]);
                last if ($status // '') eq '499';
            }
            is($status, 499, "$n questions, $end: noticed");
            is($after->{questions_partial} - $before->{questions_partial}, 0,
               'and nobody waits for answers');
        }
    }
    $t->continue_worker($pids[3]);
    my ($r) = $t->api_on($pids[1], { op => 'count' });
    is_deeply($r, { count => 4 }, 'the next ones are answered');

    # One that stops in the midst of its body.
    for my $headers (['Content-Length' => 100],
                     ['Transfer-Encoding' => 'chunked']) {
        my $c = $t->connect_to($pids[1]);
        $c->send_request(POST => '/api?half',
            headers => [@$headers, @SioCluster::JSON],
            body => ($headers->[1] eq 'chunked' ? "11\r\n" : '')
                    . '[{"op":"emit"');
        $c->close;
    }
    my $expect = $t->connect_to($pids[1]);
    $expect->write($expect->request(POST => '/api', headers =>
        [@SioCluster::JSON, Expect => '100-continue',
         'Content-Length' => length $count]));
    is($expect->response->status, 100, 'a body that is asked for');
    $expect->write($count);
    is($expect->response->body, qq{[{"count":4}]\n}, 'is read');
    $expect->close;
    my $old = $t->connect_to($pids[1]);
    $old->send_request(POST => '/api', @type, body => $count,
                       version => '1.0');
    is($old->response->body, qq{[{"count":4}]\n}, 'HTTP/1.0');
    ok($old->closes, 'is answered and closed');
    $_->close for @ws;
}

sub locations {
    my $count = '[{"op":"count"}]';
    my $answer = "[{\"count\":0}]\n";
    my %expected = ('/inner' => 404, '/shut' => 403);
    is(post($count, $_)->status, $expected{$_}, "$_: refused")
        for sort keys %expected;
    for my $path (qw(/api /outer /limit /if /if?x=1 /fewer)) {
        my $r = post($count, $path);
        is($r->status . ' ' . $r->body, "200 $answer", "$path: answered");
        $t->await(sub { $t->together }, 5);
        is(join(' ', $t->worker_pids), "@pids", 'by a worker that lives on');
        @pids = $t->worker_pids;
    }
}

# An app without events: each message is one text, or bytes.
sub plain {
    my @ws = map { SioRaw::WS->open($t->port, path => '/p/',
                                    on => $t->connect_to($_)) } @pids;
    my @s = map { $t->polling($_, path => '/p/') } @pids;
    my $only = 'the app has "sio_parser none": ';
    my $one = $only . '"args" must be one string or binary value';
    my $event = $only . 'its only event is "message", not ';
    my $acks = $only . 'it knows no acknowledgements';
    my $b64 = encode_base64("\0\xff", '');

    my @wrong = (
        (map { ["\"event\":$_,\"args\":[\"x\"]" => $event . $_] }
             '"e"', '""', '"Message"', '1', 'null', '["message"]'),
        (map { ["\"args\":$_" => $one] } '[]', '[1]', '[null]', '["a","b"]',
             '[["a"]]', '[{}]', "[{\"_base64\":\"$b64\"},\"x\"]",
             "[\"x\",{\"_base64\":\"$b64\"}]", '[{"_base64":1}]',
             "[{\"a\":{\"_base64\":\"$b64\"}}]",
             "[[{\"_base64\":\"$b64\"}]]", "[{\"_base64\":\"$b64\",\"a\":1}]"),
        ['"event":"message"' => $one], ['"local":true' => $one],
        (map { ["\"args\":$_" => '"args" must be an array'] } '"x"', '{}'),
        ['"args":[{"_base64":"!"}]' => 'not base64: "!"'],
        (map { ["\"args\":[\"x\"],$_" => $acks] } '"ack":true',
             '"timeout":1000', '"ack":"t","timeout":1000'),
    );
    is_deeply(results('[' . join(',', map { "{\"op\":\"emit\",\"to\":\"*\","
                                            . "$_->[0]}" } @wrong) . ']',
                      '/plain'),
              [map { { error => $_->[1] } } @wrong], 'what is wrong');

    my @right = (
        ['"args":["x"]' => 'x'], ['"args":["x"],"event":"message"' => 'x'],
        ['"event":"mess\\u0061ge","args":["y"]' => 'y'],
        ['"args":[""]' => ''],
        ['"args":["42[\\"e\\"]\\n\\u00e9\\ud83d\\ude00\\/"]'
         => "42[\"e\"]\n\xc3\xa9\xf0\x9f\x98\x80/"],
        ['"args":["\\ud800"]' => "\xef\xbf\xbd"],
        ['"args":["{\\"_base64\\":\\"QQ==\\"}"]' => '{"_base64":"QQ=="}'],
        ["\"args\":[{\"_base64\":\"$b64\"}]" => \"\0\xff"],
        ["\"args\":[ { \"_base64\" : \"$b64\" } ],\"event\":\"message\""
         => \"\0\xff"],
        ['"args":[{"_base64":""}]' => \''],
    );
    my ($r) = results('[' . join(',', (map { "{\"op\":\"emit\",\"to\":\"*\","
                                             . "$_->[0]}" } @right),
                                 '{"op":"count"}') . ']', '/plain');
    is_deeply($r, [($ok) x @right, { count => 8 }], 'what is right');
    my @want = map { ref $_->[1] ? [2, ${$_->[1]}] : [1, "4$_->[1]"] } @right;
    for my $ws (@ws) {
        is_deeply([map { my $f = $ws->recv // {}; [@$f{qw(op payload)}] }
                   @want], \@want, 'arrives as text and as bytes');
    }
    for my $s (@s) {
        is_deeply([$s->packets], [map { $_->[0] == 1 ? $_->[1]
            : 'b' . encode_base64($_->[1], '') } @want], 'to who polls too');
    }

    my ($id) = map { $_->{id} } @{results('[{"op":"fetch"}]', '/plain')
                                  ->[0]{sockets}};
    ($r) = results('[{"op":"join","to":"*","rooms":"r"},'
                   . '{"op":"count","to":"r"},{"op":"rooms"},'
                   . "{\"op\":\"data\",\"sockets\":\"$id\",\"set\":{\"a\":1}},"
                   . "{\"op\":\"fetch\",\"sockets\":\"$id\"},"
                   . '{"op":"disconnect","to":"*"},{"op":"count"}]',
                   '/plain');
    is_deeply($r, [$ok, { count => 8 }, { rooms => { r => 8 } }, $ok,
                   { sockets => [{ id => $id, rooms => [$id, 'r'],
                                   data => { a => 1 } }] },
                   $ok, { count => 0 }], 'all else is there');
    is(join(' ', map { $_->close_code // 'none' } @ws),
       join(' ', (1005) x 4), 'its clients were sent nothing more');
    is(join(' ', map { ($_->packets) } @s), '6 1 6 1 6 1 6 1',
       'nor were those');
    is(scalar(grep { $_->gone } @s), 4, 'who are gone as well');
    $_->close for @ws;
}

# What the bound of the bus refuses is not done in part, and a request that
# is larger as a whole does no harm: the other workers do read.
sub much {
    my $mb = 'm' x (1024 * 1024);
    my $too = { error => 'too large for "sio_bus_buffer"' };
    my $all = { count => 4 };
    my @ws = $t->websockets;
    my $cuts = 0;
    my $here = sub {
        my ($name) = @_;
        is($t->status->{bus_cuts} - $cuts, 0, "$name: nobody is cut off");
        $cuts = $t->status->{bus_cuts};
        my @lost = grep { !$_->alive } @ws;
        is(scalar @lost, 0, 'and all clients are there');
        return if !@lost;
        $_->close for @ws;
        @ws = $t->websockets;
    };

    is_deeply(results("[{\"op\":\"emit\",\"to\":\"*\",\"event\":\"no\","
                      . "\"args\":[\"$mb\"]},{\"op\":\"count\"}]"),
              [$too, $all], 'more than the bus bears');
    $here->('that');

    # Names may take more room there than in JSON.
    for my $n (100_000, 150_000, 200_000, 250_000, 300_000) {
        my $names = join ',', ('"r"') x $n;
        my $form = $json->encode(results(
            "[{\"op\":\"join\",\"to\":\"*\",\"rooms\":[$names]},"
            . '{"op":"count","to":"r"},{"op":"leave","to":"*","rooms":"r"}'
            . ',{"op":"count","to":"r"}]'));
        my $done = $json->encode([$ok, $all, $ok, { count => 0 }]);
        my $not = $json->encode([$too, { count => 0 }, $ok, { count => 0 }]);
        ok($form eq $done || $form eq $not, "join $n: done or refused")
            or diag $form;
        $form = $json->encode(results("[{\"op\":\"join\",\"to\":\"*\","
            . "\"rooms\":\"r\"},{\"op\":\"count\",\"to\":[$names]},"
            . '{"op":"leave","to":"*","rooms":"r"}]'));
        ok($form eq $json->encode([$ok, $all, $ok])
           || $form eq $json->encode([$ok, $too, $ok]),
           "count $n: done or refused") or diag $form;
        $here->('those');
    }

    # Answers that are larger, one by one or together: those are missing.
    my $asked = sub {
        my ($size) = @_;
        my $text = 'a' x $size;
        $t->begin_api($pids[0], asks(to => '*', timeout => 2000
                                                * SioTest::slow()));
        for my $ws (@ws) {
            my ($n) = asked({ ws => $ws });
            $ws->text("43$n" . "[\"$text\"]");
        }
        my ($r) = $t->finish_api($pids[0]);
        return join ' ', $r->{missing}, map { length $_->{args}[0] }
                                            @{$r->{answers} // []};
    };
    is($asked->(900_000), '3 900000', 'answers, of which one is borne');
    is($asked->(400_000), '2 400000 400000', 'of which two are');
    is($asked->(200_000), '0 200000 200000 200000 200000', 'all are');
    $here->('answers');
    is_deeply(results("[{\"op\":\"emit\",\"to\":\"*\",\"event\":\"no\","
                      . "\"ack\":true,\"args\":[\"$mb\"]},{\"op\":\"count\"}]"),
              [$too, $all], 'a question that is larger');
    $here->('that question');

    # A request that is larger as a whole.
    my $part = 'p' x 200_000;
    my %large = (
        '20 large ones' => [20, "{\"op\":\"emit\",\"to\":\"*\","
                                . "\"event\":\"e\",\"args\":[\"$part\"]}"],
        '30,000 small ones for nobody' =>
            [30_000, '{"op":"emit","to":"x","event":"e"}'],
        '30,000 small ones' => [30_000, '{"op":"emit","to":"*","event":"e"}'],
    );
    for my $name (sort keys %large) {
        my ($n, $op) = @{$large{$name}};
        my $r = results('[' . join(',', ($op) x $n, '{"op":"count"}') . ']');
        is($json->encode(ref $r ? $r->[-1] : $r), $json->encode($all),
           "$name: all can be asked");
        my ($args) = $op =~ /"args":\[(.*)\]/;
        my $packet = '42["e"' . (defined $args ? ",$args]" : ']');
        is(join(' ', map { instead($_, ($packet) x $n) } @ws), '',
           'all have all of it') if $op =~ /"\*"/;
        $here->($name);
    }
    $_->close for @ws;
}


# --- nginx -t

subtest 'nginx -t' => sub {
    my $sio = 'location /socket.io/ { sio; }';
    my $guard = 'allow 127.0.0.1; deny all;';
    my $api = "sio_api; $guard";

    my $tested = sub {
        my ($name, $message, %arg) = @_;
        my $n = SioTest->new(bare => 1, %arg);
        $n->write_config;
        if (defined(my $pid = $arg{pid_path})) {
            my $path = $n->dir . '/nginx.conf';
            SioTest::write_file($path, SioTest::read_file($path)
                                       =~ s/ pid \K\S+;/$pid;/r);
        }
        my ($exit, $output) = $n->test_config;
        if (defined $message) {
            ok($exit, "refused: $name");
            my @emerg = $output =~ /\[emerg\] (?:\d+#\d+: )?(.*)/g;
            s{ in \S+nginx\.conf:\d+$}{ in CONF} for @emerg;
            is("@emerg", $message, 'says why');
        } else {
            is($exit, 0, "accepted: $name") or diag $output;
        }
    };
    my $unguarded = sub {
        "location \"$_[0]\" with \"sio_api\" has neither \"internal\" nor "
        . '"allow" or "deny": who may reach it can send to all clients';
    };
    my $several = sub { "\"sio_api\" in location \"$_[0]\" needs \"sio_app\":"
                        . ' its server has more than one app' };
    my $alone = sub { "\"sio_api\" in location \"$_[0]\": there is no location"
                      . ' with "sio" ' . ($_[1] ? 'and its "sio_app"'
                      : 'in its server, nor a "sio_app"') };
    my $server = sub { 'server { listen 127.0.0.1:'
                       . SioTest::free_port() . "; server_name other; $_[0] "
                       . '}' };

    # who may use it
    $tested->('no access rule', $unguarded->('/api'),
              server => "$sio location /api { sio_api; }");
    $tested->('another kind of protection', $unguarded->('/api'),
              server => "$sio location = /api { sio_api; auth_basic x;
                         auth_basic_user_file x; }");
    $tested->('one of two', $unguarded->('/open'),
              server => "$sio location /api { $api }
                         location /open { sio_api; }");
    $tested->('a location within a sio location', $unguarded->('/a/b'),
              server => "location /a/ { sio; location /a/b { sio_api; } }");
    $tested->("$_", undef, server => "$sio location /api { sio_api; $_ }")
        for 'internal;', 'allow 127.0.0.1;', 'deny all;', 'allow ::1;',
            'allow unix:;', 'allow all;';
    $tested->('rules of the server', undef,
              server => "$guard $sio location /api { sio_api; }");
    $tested->('rules of http', undef, http => $guard,
              server => "$sio location /api { sio_api; }");

    $tested->('a location within one that is internal', undef,
              server => "$sio location /a/ { internal;
                         location /a/b { sio_api; } }");

    # which app
    $tested->('no sio location', $alone->('/api'),
              server => "location /api { $api }");
    $tested->('a sio location elsewhere', $alone->('/api'),
              server => "location /api { $api }", http => $server->($sio));
    $tested->('a sio_app that nobody has', $alone->('/api', 1),
              server => "$sio location /api { $api sio_app none; }");
    $tested->('two apps', $several->('/api'),
              server => "$sio location /b/ { sio; } location /api { $api }");
    $tested->('two apps with names', $several->('/api'),
              server => "location /a/ { sio; sio_app a; }
                         location /b/ { sio; sio_app b; }
                         location /api { $api }");
    $tested->('two apps, one named', undef,
              server => "location /a/ { sio; sio_app a; }
                         location /b/ { sio; sio_app b; }
                         location /api { $api sio_app b; }");
    $tested->('two locations of one app', undef,
              server => "location /a/ { sio; sio_app a; }
                         location /b/ { sio; sio_app a; }
                         location /api { $api }");
    $tested->('an app of another server', undef,
              http => $server->("location /a/ { sio; sio_app a; }"),
              server => "location /api { $api sio_app a; }");
    $tested->('a location within', undef,
              server => "$sio location /a/ { $guard
                         location /a/b { sio_api; } }");
    $tested->('above its sio location', undef,
              server => "location /api { $api } $sio");

    # the directives themselves
    $tested->('twice', '"sio_api" directive is duplicate in CONF',
              server => "$sio location /api { sio_api; $api }");
    $tested->('an argument', 'invalid number of arguments in "sio_api" '
              . 'directive in CONF',
              server => "$sio location /api { sio_api on; $guard }");
    $tested->("in $_", '"sio_api" directive is not allowed here in CONF',
              $_ => 'sio_api;') for qw(http server);
    for my $line ('sio_bus_path bus', 'sio_bus_buffer 1m', 'sio_zone 1m') {
        my ($word) = split / /, $line;
        $tested->("$line twice", "\"$word\" directive is duplicate in CONF",
                  http => "$line; $line;", server => $sio);
        $tested->("$line in a server",
                  "\"$word\" directive is not allowed here in CONF",
                  server => "$sio $line;");
        $tested->("$word without a value", 'invalid number of arguments in '
                  . "\"$word\" directive in CONF", http => "$word;");
    }
    for my $size (qw(0 1 1023k 1048575 268435457 257m)) {
        $tested->("sio_bus_buffer $size", '"sio_bus_buffer" directive must be '
                  . 'between 1m and 256m in CONF',
                  http => "sio_bus_buffer $size;", server => $sio);
    }
    $tested->("sio_bus_buffer $_", undef, http => "sio_bus_buffer $_;",
              server => $sio) for qw(1m 1048576 256m 268435456);
    for my $size (qw(0 1 4k 31k 32767)) {
        $tested->("sio_zone $size", '"sio_zone" directive is too small in '
                  . 'CONF', http => "sio_zone $size;", server => $sio);
    }
    $tested->("sio_zone $_", undef, http => "sio_zone $_;", server => $sio)
        for qw(32k 1m 64m);
    $tested->("$_ x", "\"$_\" directive invalid value in CONF",
              http => "$_ x;", server => $sio)
        for qw(sio_bus_buffer sio_zone);

    # Sockets have names of at most 107 bytes.
    my $most = 108 - length "/1023.ffffffff.new\0";
    my $too = '"sio_bus_path" directive is too long for the sockets of the '
              . 'workers in CONF';
    $tested->('a long path', $too, server => $sio,
              http => 'sio_bus_path /' . 'p' x $most . ';');
    $tested->('one that is long as a whole', $too, server => $sio,
              http => 'sio_bus_path ' . 'p' x ($most - 5) . ';');
    $tested->('the longest', undef, server => $sio,
              http => 'sio_bus_path /' . 'p' x ($most - 1) . ';');
    my $pid = '/tmp/' . 'p' x ($most - 5 - length '.sio');
    $tested->('a long pid path', "\"${pid}p.sio\" is too long for the sockets"
              . ' of the workers, name a shorter one with "sio_bus_path"',
              pid_path => "${pid}p", server => $sio);
    $tested->('the longest pid path', undef, pid_path => $pid, server => $sio);
    $tested->('a long one and a bus path', undef,
              pid_path => "${pid}p", http => 'sio_bus_path bus;',
              server => $sio);
    $tested->('a long one without sio', undef, pid_path => "${pid}p");
};


subtest 'the longest bus path' => sub {
    my $dir = File::Temp::tempdir('sio.XXXXXX', TMPDIR => 1, CLEANUP => 1);
    my $most = 108 - length "/1023.ffffffff.new\0";
    my $path = "$dir/" . 'p' x ($most - length "$dir/");
    begin(http => "sio_bus_path $path;");
    is(length $path, $most, 'as long as it may be');
    is((stat $path)[2] & 07777, 0700, 'nobody else may enter it');
    my @ws = $t->websockets;
    my @c = map { { name => $_, ws => $ws[$_], id => { '/' => $ws[$_]->id } }
                } 0 .. $#ws;
    sends('to all', [{ op => 'emit', to => '*', event => 'e' }],
          { map { ($_ => ['42["e"]']) } 0 .. $#ws }, @c);
    $_->close for @ws;
    finish();
    ok(!-e $path, 'it is removed at the end');
};

done_testing;
