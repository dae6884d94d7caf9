# Clients that lose the connection and come back.

use lib 't/lib';
use SioTest;
use SioScenarios;

my $t = SioTest->new(SioScenarios::config('reconnect'))->start;

$t->client($_) for SioScenarios::clients('reconnect');

$t->stop;

done_testing;
