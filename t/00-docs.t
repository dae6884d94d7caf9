# What the documents say is there, and what is there is in the documents.

use lib 't/lib';
use SioTest;
use File::Basename qw(dirname);

sub text { SioTest::read_file($_[0]) // '' }

my @pages = ('README.md', glob 'docs/*.md');
my $code = join '', map { text($_) } glob 'ngx_sio_module/http/*.c';


# Directives: a section for each, which has its three facts.

my %known = map { $_ => 1 } $code =~ /\{\s*ngx_string\("(sio\w*)"\),\s*NGX_/g;
my %section = text('docs/directives.md') =~ /^#+ `?(sio\w*)`?\s*\n(.*?)(?=^#|\z)/msg;

ok(%known > 0, 'there are directives');
is(join(' ', grep { !exists $section{$_} } sort keys %known), '',
   'each directive is in docs/directives.md');
is(join(' ', grep { !$known{$_} } sort keys %section), '',
   'each directive of docs/directives.md exists');

for my $name (sort keys %section) {
    my @missing = grep { $section{$name} !~ /\b$_\b/i } qw(syntax default context);
    is("@missing", '', "$name: syntax, default and context");
}


# Links between the pages.

my @dead;

for my $page (@pages) {
    my $here = dirname($page);

    for my $link (text($page) =~ /\]\(([^)\s]+)\)/g) {
        my ($path, $anchor) = split /#/, $link, 2;

        next if $path =~ /^\w+:/;
        $path = length $path ? "$here/$path" : $page;

        push @dead, "$page: $link" if !-e $path
            || defined $anchor && !grep { $_ eq $anchor } anchors($path);
    }
}

is(join("\n", @dead), '', 'no link leads nowhere');


# Configurations: the files, and what is shown on the pages.

for my $path (glob 'conf/*.conf') {
    check($path, text($path));
}

for my $page (@pages) {
    my $n = 0;

    for my $config (text($page) =~ /^```nginx\n(.*?)^```/msg) {
        check("$page: configuration " . ++$n, whole($config));
    }
}

done_testing;


sub anchors {
    my ($path) = @_;

    return map { s/[^\w\s-]//gr =~ s/\s/-/gr } map { lc }
               text($path) =~ /^#+ +(.*?)\s*$/mg;
}


# A piece of a configuration, with what belongs around it.

sub whole {
    my ($config) = @_;

    return $config if $config =~ /^http \{/m;

    my $status = 'load_module modules/ngx_sio_module.so; events {} http {';

    return "$status $config }" if $config =~ /^(?:server|upstream|map) /m;

    $config = "location /socket.io/ { sio; $config }"
        if $config !~ /^location /m;

    return "$status server { listen 127.0.0.1:8080; $config } }";
}


sub check {
    my ($name, $config) = @_;

    my $t = SioTest->new;
    my $dir = $t->dir;

    mkdir "$dir/$_" for qw(conf logs modules tmp);
    symlink $t->module, "$dir/modules/ngx_sio_module.so";

    $config = "events {}\n$config" if $config !~ /^\s*events\b/m;

    SioTest::write_file("$dir/nginx.conf", $config);

    my ($exit, $output) = $t->test_config;

    is($exit, 0, $name) or diag($output);
    is($output =~ /\[warn\].*/ ? $& : '', '', "$name: no warning");
}
