# Who gets what, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('rooms'))->start;

$t->client($_) for SioScenarios::clients('rooms');

$t->wait_for(sub { $t->status->{rooms} == 0 }, 'no room is left');
is($t->status->{limit_queue}, 0, 'nobody was too slow');

$t->stop;

done_testing;
