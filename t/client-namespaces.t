# Namespaces and auth, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('namespaces'))->start;

$t->client($_) for SioScenarios::clients('namespaces');

$t->stop;

done_testing;
