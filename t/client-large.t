# Messages up to the limit and above, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('large'))->start;

$t->client($_) for SioScenarios::clients('large');

$t->stop;

done_testing;
