# JSON against Node.js: what the module lets through, JSON.parse takes.

use lib 't/lib';
use SioTest;

my $seconds = $ENV{FUZZ_SECONDS} || 3;

is(system('make', '-s', 'build/fuzz/diff/json'), 0, 'the program compiles');

SioTest::run_tap('JSON.parse agrees',
    ['node', 't/fuzz/diff/json.js', 'build/fuzz/diff/json', $seconds],
    $seconds + 60);

done_testing;
