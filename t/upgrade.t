# A binary upgrade that is taken back, and reloads that change how many workers
# there are: sessions go on.

use lib 't/lib';
use SioTest;
use SioRaw;
use Time::HiRes qw(time);

my $location = 'sio; sio_on all broadcast; sio_on * reply;';
my $t;

sub joined { SioRaw::WS->socket($t->port) }

sub session {
    my $s = SioRaw::Polling->open($t->port);
    $s->join('/');
    return $s;
}

sub master {
    my ($pid) = (SioTest::read_file($t->dir . '/nginx.pid') // '') =~ /(\d+)/;
    return $pid // 0;
}

# Workers of a master that accept connections.
sub accepting {
    my ($pid) = @_;
    my @workers = grep { SioTest::cmdline($_) =~ /^nginx: worker process[\0 ]*$/ }
                       SioTest::children($pid);
    return scalar @workers;
}

# Whatever one of them sends to all reaches all others.
sub hear_each_other {
    my ($name, @ws) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my @missing;

    for my $from (@ws) {
        my $event = "42[\"all\",\"$from\"]";
        $from->text($event);
        push @missing, grep { ($_->message // '') ne $event }
                       grep { $_ != $from } @ws;
    }
    is(scalar @missing, 0, $name);
}


subtest 'an upgrade that is taken back' => sub {
    $t = SioTest->new(workers => 2, daemon => 1, location => $location)->start;

    my $old = $t->pid;
    my @ws = (joined(), joined());
    my $s = session();

    $t->signal('USR2');
    $t->wait_for(sub { master() != $old && master() && accepting(master()) == 2 },
                 'a new master with its workers', 10);
    my $new = master();

    kill 'WINCH', $old;
    $t->wait_for(sub { accepting($old) == 0 }, 'the old workers exit', 10);
    push @ws, joined(), joined();
    ok($s->lives, 'a session of the old ones polls on');
    hear_each_other('old and new clients hear each other', @ws);

    kill 'HUP', $old;
    $t->wait_for(sub { accepting($old) == 2 }, 'the old master has workers', 10);
    kill 'QUIT', $new;
    $t->wait_for(sub { accepting($new) == 0 }, 'those of the new one exit', 10);
    push @ws, joined(), joined();
    hear_each_other('all clients hear each other', @ws);
    ok($s->lives, 'and the session polls on');

    $_->close for @ws;
    $t->wait_for(sub { !kill 0, $new }, 'the new master ends', 10);
    ok($s->lives, 'the session polls on');
    $s->post('1');

    my $last = joined();
    my $start = time;
    $t->signal('QUIT');
    is($last->close_code, 1005, 'a goodbye at the end');
    $t->wait_for(sub { $t->reaped }, 'the old master ends');
    cmp_ok(time - $start, '<', 2 * SioTest::slow(), 'without delay');
    $t->check_logs;
};


subtest 'another number of workers' => sub {
    $t = SioTest->new(workers => 2, location => $location)->start;
    my @ws = (joined(), joined());
    my @s = (session());

    for my $n (5, 1, 3) {
        $t->{workers} = $n;
        SioTest::write_file($t->dir . '/nginx.conf', $t->config);
        $t->reload;
        push @ws, joined(), joined();
        push @s, session();
        hear_each_other("$n: all hear each other", @ws);
        is(scalar(grep { !$_->lives } @s), 0, "$n: all poll on");
    }

    $_->close for @ws;
    $_->post('1') for @s;
    $t->wait_for(sub { (my @all = SioTest::children($t->pid)) == 3 },
                 'the old workers end', 10);
    $t->wait_for(sub { @{$t->status->{workers}} == 3 }, 'and are forgotten');
    is(scalar(grep { $_->{slot} > 10 } @{$t->status->{workers}}), 0,
       'slots are used again');
    $t->stop;
};

done_testing;
