# Rules, their templates and variables, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('rules'))->start;

$t->client($_) for SioScenarios::clients('rules');

$t->stop;

done_testing;
