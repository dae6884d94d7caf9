# The HTTP side of the protocol, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('http'))->start;

$t->client($_) for SioScenarios::clients('http');

$t->stop;

done_testing;
