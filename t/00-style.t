# The form of the files.

use lib 't/lib';
use SioTest;
use File::Find;

my @files;

find({
    no_chdir => 1,
    wanted => sub {
        $File::Find::prune = 1 if m{^\./(?:\.git|build)$|/(?:node_modules)$};
        push @files, $_ if -f && !m{^\./t/(?:fuzz/corpus|vectors)/};
    },
}, '.');

@files = sort grep { -T } @files;

my @c = grep { /\.[ch]$/ } @files;

ok(@c > 0, 'there are C files');

lines('no line of C has more than 80 columns', qr/^.{81}/, @c);
lines('no tabs in C', qr/\t/, @c);
lines('no blanks at the end of a line', qr/[ \t\r]$/, @files);

is(join("\n", grep { SioTest::read_file($_) !~ /[^\n]\n\z/ } @files), '',
   'files end with one newline');

done_testing;


sub lines {
    my ($name, $wrong, @files) = @_;

    my @found;

    for my $path (@files) {
        my $n = 0;

        for my $line (split /\n/, SioTest::read_file($path)) {
            $n++;
            push @found, "$path:$n" if $line =~ $wrong;
        }
    }

    is(join("\n", @found), '', $name);
}
