# From polling to a WebSocket, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('upgrade'))->start;

$t->client($_) for SioScenarios::clients('upgrade');

$t->stop;

done_testing;
