# Events and acknowledgements, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('events'))->start;

$t->client($_) for SioScenarios::clients('events');

$t->stop;

done_testing;
