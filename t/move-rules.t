# How a session changes its worker: random schedules pass, and each of the
# rules that ngx_sio_move.c marks, taken out, is seen to be missing.

use lib 't/lib';
use SioTest;
use File::Temp ();
use POSIX ();

my $source = 'ngx_sio_module/cluster/ngx_sio_move.c';
my $program = 'build/unit/nginx/move';

# What stands instead of the statement that a rule is.

my %instead = (
    wait  => 'return 0;',
    log   => ';',
    skip  => ';',
    floor => 'floors = NULL; n = 0;',
    hello => ';',
);

# Without the epoch each life of a slot is taken for the first one.

my $key = '((ngx_rbtree_key_t) (origin)';
my $first_life = "$key >> 32 << 32 | 1)";

is(system('make', '-s', $program), 0, 'it compiles') or die;

SioTest::run_tap('the rules hold', [$program, 20000, 1]);

my $code = SioTest::read_file($source);
my @rules = ('epoch', sort keys %instead);

is(join(' ', sort 'epoch', $code =~ m{/\* rule: (\w+) \*/}g),
   join(' ', sort @rules), 'all rules are known here');

my $dir = File::Temp->newdir('ngx_sio.XXXXXX', TMPDIR => 1);
my ($cc, $rest) = commands();

for my $rule (@rules) {
    SioTest::write_file("$dir/$rule.c", without($rule));
}

my %status = compile();

for my $rule (@rules) {
    is($status{$rule}, 0, "$rule: compiles without") or next;

    local $ENV{ASAN_OPTIONS} = 'exitcode=86';
    local $ENV{UBSAN_OPTIONS} = 'exitcode=86';

    my ($exit, @lines) = SioTest::run_command(["$dir/$rule", 3000, 1]);
    is($exit, 1 << 8, "$rule: fails without, but does not crash");
    like(join("\n", @lines),
         qr/^# schedule \d+: session \d+: (?:gap|repeat|order) /m,
         "$rule: a session was not given what is due");
}

done_testing;


# The command that compiles, and what the program is made of besides the rules.

sub commands {
    SioTest::write_file("$dir/Makefile", "include Makefile\n"
                        . "commands:\n"
                        . "\techo '\$(UNIT_NGINX)'\n"
                        . "\techo '\$(MOVE_OBJECTS)'\n");

    chomp(my ($cc, $objects) = qx{make -s -f $dir/Makefile commands});

    return ($cc, join ' ', grep { !m{/ngx_sio_move\.o$} }
                                split ' ', $objects);
}


sub without {
    my ($rule) = @_;

    my $text = $code;

    my $n = $rule eq 'epoch'
            ? $text =~ s/\Q$key)\E$/$first_life/mg
            : $text =~ s{[^;{}]*;[ ]*/\* rule: $rule \*/}{$instead{$rule}}g;

    die "rule $rule matches $n times" if $n != 1;

    return $text;
}


# Compiles all at once: the status of each rule's program.

sub compile {
    my (%rule, %status);

    for my $rule (@rules) {
        my $path = "$dir/$rule";

        defined(my $pid = fork) or die "fork: $!";

        exec "$cc -w -c -o $path.o $path.c && $cc -o $path $path.o $rest -lyajl"
            or POSIX::_exit(127) if $pid == 0;

        $rule{$pid} = $rule;
    }

    while ((my $pid = wait) > 0) {
        $status{$rule{$pid}} = $?;
    }

    return %status;
}
