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

# The code says where a directive may stand, and nginx whether the default that
# is told is a value of it.

my %default = map { /conf->core\.(\w+),\s*prev->core\.\w+,\s*([\d *]+)\)/
                    ? ($1 => eval $2) : () }
              split /;/, $code;
my %context = $code =~ /\{\s*ngx_string\("(sio\w*)"\),\s*(NGX_\w+)/g;

for my $name (sort keys %section) {
    my %fact = map { /^ +(Syntax|Default|Context): +(.*)$/ }
               split /\n/, $section{$name};

    is(join(' ', sort keys %fact), 'Context Default Syntax',
       "$name: syntax, default and context") or next;

    like($fact{Syntax}, qr/^$name\b/, "$name: syntax");

    my $anywhere = $context{$name} eq 'NGX_HTTP_SIO_ANY_CONF';

    like($fact{Context}, $anywhere ? qr/^http, server, location$/
                                   : qr/^location(?:, sio_namespace)?$/,
         "$name: context");

    check("$name: default", whole($fact{Default}))
        if $fact{Default} =~ /^$name [^<]*;$/;

    is(number($fact{Default} =~ /^$name (\w+);$/), $default{$name =~ s/^sio_//r},
       "$name: the default in the code")
        if exists $default{$name =~ s/^sio_//r};
}


# Everything that has a name which users meet.

my %listed = (
    'fields of the status page' =>
        ['docs/limits.md', 'core/ngx_sio_stats.h', qr/\bX\((\w{2,})\)/],
    'variables of rules' =>
        ['docs/variables.md', 'proto/sio_template.c', qr/sio_span\("(sio_\w+)"\)/],
    'variables of nginx' =>
        ['docs/variables.md', 'http/ngx_http_sio_variables.c',
         qr/ngx_string\("(sio_\w+)"\)/],
    'actions' =>
        ['docs/rules.md', 'http/ngx_http_sio_rules_conf.c',
         qr/\{ ngx_string\("(\w+)"\), NGX_HTTP_SIO_RULE_/],
    'reasons' =>
        ['docs/variables.md', 'core/ngx_sio_session.h',
         qr/X\((?!NONE)\w+, "([^"]+)"\)/],
    'limits that the log names' =>
        ['docs/limits.md', 'core/ngx_sio_socket.c',
         qr/limited by "\s*"?\\"(sio_\w+)/],
);

for my $what (sort keys %listed) {
    my ($page, $source, $pattern) = @{$listed{$what}};
    my $text = text($page);
    my @names = text("ngx_sio_module/$source") =~ /$pattern/g;

    ok(@names > 0, "there are $what");
    is(join(', ', grep { $text !~ /[`\["]\$?\Q$_\E\b/ } @names), '',
       "$page has all $what");
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


# Configurations: the files, and what is shown on the pages.  One whose first
# line is "```nginx refused" shows a mistake.

for my $path (glob 'conf/*.conf') {
    check($path, text($path));
}

for my $page (@pages) {
    my ($n, $text) = (0, text($page));

    while ($text =~ /^```nginx( refused)?\n(.*?)^```/msg) {
        check("$page: configuration " . ++$n, whole($2), $1);
    }
}

done_testing;


sub anchors {
    my ($path) = @_;

    return map { s/[^\w\s-]//gr =~ s/\s/-/gr } map { lc }
               text($path) =~ /^#+ +(.*?)\s*$/mg;
}


# The value of a time, a size or a number.

sub number {
    my ($n, $unit) = ($_[0] // '') =~ /^(\d+)(\w*)$/;

    return $n * { '' => 1, s => 1000, k => 1024, m => 1024 * 1024 }->{$unit};
}


# A piece of a configuration, with what belongs around it: what begins with a
# location gets a server, what else is not known is part of a sio location.

sub whole {
    my ($config) = @_;

    return $config if $config =~ /^http \{/m;

    $config = "location /socket.io/ { sio; $config }"
        if $config !~ /^(?:server|location|upstream|map|log_format) /m;

    $config = "server { listen 127.0.0.1:8080; $config }"
        if $config !~ /^server /m;

    return "load_module modules/ngx_sio_module.so;\nhttp { $config }";
}


sub check {
    my ($name, $config, $refused) = @_;

    my $t = SioTest->new;

    SioTest::write_file($t->dir . '/nginx.conf', own($t, $config));

    my ($exit, $output) = $t->test_config;

    if ($refused) {
        ok($exit, "$name: refused");
        like($output, qr/\[emerg\] .*\bsio_on\b|\[emerg\] .*invalid value/, 'for what it is');
        return;
    }

    is($exit, 0, $name) or diag($output);
    is($output =~ /\[warn\].*/ ? $& : '', '', "$name: no warning");
}


# Nothing of the machine is touched by a test: no port, no log, no pid file.

sub own {
    my ($t, $config) = @_;

    my $dir = $t->dir;
    my %port;

    mkdir "$dir/$_" for qw(conf logs modules tmp);
    symlink $t->module, "$dir/modules/ngx_sio_module.so";

    $config =~ s{\blisten\s+\K(?:[\d.]+:)?(\d+)}
                {'127.0.0.1:' . ($port{$1} //= SioTest::free_port())}ge;

    $config .= "\nevents {}\n" if $config !~ /^\s*events\b/m;
    $config = "pid nginx.pid;\n$config" if $config !~ /^pid\b/m;
    $config =~ s/^http \{\K/ access_log logs\/access.log;/m
        if $config !~ /\baccess_log\b/;

    for my $what (qw(client_body proxy fastcgi uwsgi scgi)) {
        $config =~ s/^http \{\K/ ${what}_temp_path tmp\/$what;/m
            if $config !~ /\b${what}_temp_path\b/;
    }

    return $config;
}
