# Loaded but not used, the module adds nothing to nginx: no descriptor, no
# listener, no shared memory, no timer.

use lib 't/lib';
use SioTest;

my %nginx = map { $_ => SioTest->new(bare => 1, module => $_) } 0, 1;

$_->start for values %nginx;

for my $who (qw(master worker)) {
    my %pid = map {
        my $t = $nginx{$_};
        $_ => $who eq 'master' ? $t->pid : ($t->worker_pids)[0]
    } 0, 1;

    is_deeply(descriptors($pid{1}), descriptors($pid{0}),
              "descriptors of the $who");
    is_deeply(listeners($pid{1}), listeners($pid{0}),
              "listeners of the $who");
    is_deeply(shared($pid{1}), shared($pid{0}),
              "shared mappings of the $who");
}

for my $module (0, 1) {
    my $t = $nginx{$module};
    my ($worker) = $t->worker_pids;

    $t->wait_for(sub { waits_for_ever($worker) },
                 $module ? 'no timer with the module' : 'no timer without it');
}

$nginx{$_}->stop for 0, 1;

done_testing;


# What each descriptor is, without the numbers that differ by chance.

sub descriptors {
    my ($pid) = @_;

    return [ sort map { s/\[\d+\]//r =~ s{^/.*/}{}r }
                  map { readlink($_) // () } glob "/proc/$pid/fd/*" ];
}


sub listeners {
    my ($pid) = @_;

    my %mine = map { (readlink($_) // '') =~ /^socket:\[(\d+)\]$/ ? ($1, 1) : () }
                   glob "/proc/$pid/fd/*";

    my $tcp = grep {
        my @field = split;
        $field[3] eq '0A' && $mine{$field[9]};
    } map { split /\n/, SioTest::read_file($_) // '' } glob '/proc/net/tcp{,6}';

    my $unix = grep {
        my @field = split;
        $field[3] =~ /1....$/ && $mine{$field[6]};
    } split /\n/, SioTest::read_file('/proc/net/unix');

    return { tcp => $tcp, unix => $unix };
}


sub shared {
    my ($pid) = @_;

    no warnings 'portable';

    return [ sort map { /^(\w+)-(\w+) ...s \S+ \S+ \S+ *(.*)/
                        ? hex($2) - hex($1) . " $3" : () }
                  split /\n/, SioTest::read_file("/proc/$pid/maps") ];
}


# The event loop gives the system call that it sleeps in no time limit.

sub waits_for_ever {
    my ($pid) = @_;

    my @word = split ' ', SioTest::read_file("/proc/$pid/syscall") // '';

    return ($word[4] // '') =~ /^0x(?:f{8}){1,2}$/;
}
