# Plain Engine.IO, with its JavaScript client.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('engine'))->start;

$t->client($_) for SioScenarios::clients('engine');

$t->stop;

done_testing;
