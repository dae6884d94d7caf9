# Every fuzz target for a short while, or FUZZ_SECONDS, from its corpus.  What
# it finds stays in build/fuzz/.

use lib 't/lib';
use SioTest;
use File::Path qw(make_path);

my $seconds = $ENV{FUZZ_SECONDS} || 3;
my @names = map { m{([^/]+)\.c$} } glob 't/fuzz/*.c';
my @waiting = @names;
my %running;

ok(@names > 0, 'there are fuzz targets');
is(system('make', '-s', 'fuzzers'), 0, 'they compile');

chomp(my $cores = qx{nproc});

while (@waiting || %running) {
    if (@waiting && keys %running < $cores) {
        my $name = shift @waiting;
        $running{start($name)} = $name;
        next;
    }

    my $pid = wait;
    my $name = delete $running{$pid};

    is($?, 0, $name) or diag(qx{tail -n 40 build/fuzz/$name.log});
    note(qx{tail -n 1 build/fuzz/$name.log});
}

done_testing;


sub start {
    my ($name) = @_;

    my $found = "build/fuzz/found-$name";
    make_path($found);

    defined(my $pid = fork) or die "fork: $!";
    return $pid if $pid;

    open STDOUT, '>', "build/fuzz/$name.log";
    open STDERR, '>&', \*STDOUT;
    exec 'setpriv', '--pdeathsig', 'KILL', "build/fuzz/$name",
         "-max_total_time=$seconds", '-timeout=10', '-rss_limit_mb=2048',
         "-artifact_prefix=build/fuzz/$name-", $found,
         grep { -d } "t/fuzz/corpus/$name"
         or POSIX::_exit(127);
}
