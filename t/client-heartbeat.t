# Heartbeats, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('heartbeat'))->start;

$t->client($_) for SioScenarios::clients('heartbeat');

$t->stop;

done_testing;
