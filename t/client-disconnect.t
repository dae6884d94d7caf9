# Every way in which a connection ends, with the JavaScript clients.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('disconnect'))->start;

$t->client($_) for SioScenarios::clients('disconnect');

$t->stop;

done_testing;
