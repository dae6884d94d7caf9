# Who gets what, with the JavaScript clients.

use lib 't/lib';
use SioTest;

my $rules = <<'CONF';
    sio_on connection join lobby;

    sio_on sync      ack;
    sio_on join      join $sio_arg1;
    sio_on join      ack;
    sio_on leave     leave $sio_arg1;
    sio_on leave     ack;
    sio_on join-team join team:$sio_arg1;

    sio_on all    emit;
    sio_on others broadcast;
    sio_on me     reply;
    sio_on lobby  emit to=lobby event=msg;
    sio_on local  emit local event=msg;
    sio_on team   emit to=team:$sio_arg1 event=msg args=[$sio_arg2];

    sio_on to     emit to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on past   broadcast to=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on two    emit to=$sio_arg1 to=$sio_arg2 event=msg args=[$sio_arg3];
    sio_on but    emit except=$sio_arg1 event=msg args=[$sio_arg2];
    sio_on to-but emit to=$sio_arg1 except=$sio_arg2 except=$sio_arg3
                       event=msg args=[$sio_arg4];
    sio_on member emit to=$sio_arg1 member event=msg args=[$sio_arg2];

    sio_on volatile       emit volatile;
    sio_on volatile-lobby emit to=lobby event=volatile volatile;
CONF

my $t = SioTest->new(location => <<"CONF")->start;
    sio;
    $rules
    sio_namespace /other {
        $rules
    }
CONF

$t->client('rooms.js');

$t->wait_for(sub { $t->status->{rooms} == 0 }, 'no room is left');
is($t->status->{limit_queue}, 0, 'nobody was too slow');

$t->stop;

done_testing;
