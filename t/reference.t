# The scenarios of the client tests against the Node.js server: what they
# expect of the module is what the reference does.

use lib 't/lib';
use SioTest;

for my $app (qw(events namespaces rooms disconnect heartbeat reconnect upgrade
                large engine rules http python))
{
    my $scenario = $app eq 'python' ? 'python.py' : "$app.js";

    SioTest::run_tap("$scenario against Node.js",
        [SioTest::client_command('reference.js', $app, $scenario)]);
}

done_testing;
