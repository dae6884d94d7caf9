# The codecs' unit tests in C: each program prints TAP.

use lib 't/lib';
use SioTest;

my @names = map { m{([^/]+)\.c$} } glob 't/unit/*.c';

ok(@names > 0, 'there are unit tests');
is(system('make', '-s', 'unit'), 0, 'they compile');

for my $name (@names) {
    SioTest::run_tap($name, ["build/unit/$name"]);
}

done_testing;
