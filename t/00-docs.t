# What the documents say is there, and what is there is in the documents.

use lib 't/lib';
use SioTest;
use File::Basename qw(dirname);

sub text { SioTest::read_file($_[0]) // '' }

my @pages = ('README.md', glob 'docs/*.md');
my $code = source('http');


# Directives: a section for each, which has its three facts.

my %known = map { $_ => 1 } $code =~ /\{\s*ngx_string\("(sio\w*)"\),\s*NGX_/g;
my %section = text('docs/directives.md') =~ /^#+ `?(sio\w*)`?\s*\n(.*?)(?=^#|\z)/msg;

ok(%known > 0, 'there are directives');
is(join(' ', grep { !exists $section{$_} } sort keys %known), '',
   'each directive is in docs/directives.md');
is(join(' ', grep { !$known{$_} } sort keys %section), '',
   'each directive of docs/directives.md exists');

# The code says where a directive may stand and what is its default, and nginx
# whether the default that is told is a value of it.

my %define = $code =~ /^#define (NGX_HTTP_SIO_\w+)\s+((?:.*\\\n)*.*)/mg;
my %flags = $code =~ /\{\s*ngx_string\("(sio\w*)"\),\s*(NGX_[\w|]+),/g;
my %inner = map { $_ => 1 } $code =~ /value\[0\]\.data, "(sio_\w+)"\) [!=]= 0/g;

my %field = $code =~ /\{\s*ngx_string\("(sio\w*)"\),\s*[\w|]+,\s*\w+,\s*\w+,
                      \s*offsetof\(\w+,\s*([\w.]+)\)/xg;
my %word = reverse $code =~ /\{ ngx_string\("(\w+)"\), (NGX_HTTP_SIO_\w+) \}/g;
my %value = ($code =~ /conf->([\w.]+),\s*prev->[\w.]+,\s*([^;]+)\);/g,
             $code =~ /ngx_conf_init_\w+_value\(smcf->(\w+),\s*([^;]+)\);/g);

ok(keys %inner == 2, 'two directives may stand in sio_namespace');
is(join(' ', grep { !defined default($_) } sort keys %field), 'sio_app',
   'the defaults in the code are numbers or words, but for one');

for my $name (sort keys %section) {
    my %fact = map { /^ +(Syntax|Default|Context): +(.*)$/ }
               split /\n/, $section{$name};

    is(join(' ', sort keys %fact), 'Context Default Syntax',
       "$name: syntax, default and context") or next;

    like($fact{Syntax}, qr/^$name\b/, "$name: syntax");
    is($fact{Context}, context($name), "$name: context");

    check("$name: default", whole($fact{Default}))
        if $fact{Default} =~ /^$name [^<]*;$/;

    my $default = default($name) // next;
    my ($told) = $fact{Default} =~ /^$name (.+);$/;

    is($default =~ /^\d/ ? number($told) : $told, $default,
       "$name: the default in the code");
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
        ['docs/variables.md', 'core/ngx_sio.h',
         qr/X\((?!NONE)\w+, "([^"]+)"\)/],
    'limits that the log names' =>
        ['docs/limits.md', '*', qr/limited by \\"(sio_\w+)/],
    'operations of the API' =>
        ['docs/api.md', 'core/ngx_sio_op_json.c',
         qr/^ +\{ .*"(\w+)".*, SIO_OP_/m],
    'members of operations' =>
        ['docs/api.md', 'core/ngx_sio_op_json.c', qr/\bX\(\w+, "(\w+)"\)/],
);

for my $what (sort keys %listed) {
    my ($page, $source, $pattern) = @{$listed{$what}};
    my $text = text($page);
    my @names = source($source) =~ /$pattern/g;

    ok(@names > 0, "there are $what");
    # one that ends with an underscore is the beginning of names

    is(join(', ', grep { $text !~ /[`\["]\$?\Q$_\E(?:\b|(?<=_)[A-Z])/ } @names),
       '', "$page has all $what");
}


# What the log and the API say, with any values.

my %said = (
    'what the log says of other workers' =>
        ['docs/operations.md', 'cluster',
         qr/NGX_LOG_(?!INFO|DEBUG)\w+,[^;"]*"((?:[^"\\]|\\.)+)"/],
    'what the log says of clients and handlers' =>
        ['docs/limits.md docs/operations.md', '{core,http}',
         qr/(?:_log(?:_error)?\(NGX_LOG_(?:WARN|ERR),[^;"]*|\bwhy\s=\s)
            "((?:[^"\\]|\\.)+)"/x],
    'what is wrong with answers of handlers' =>
        ['docs/operations.md docs/api.md', 'http/ngx_http_sio_outcome.c',
         qr/\s(?:error\s=|return)\s"((?:[^"\\]|\\.)+)"/],
    'errors of the API' =>
        ['docs/api.md', '{http/ngx_http_sio_api,core/ngx_sio_op_json}.c',
         qr/(?:error\s=\s|\sreturn\s|NULL\s:\s|_refuse\(r,\s\w+,\s*)
            "((?:[^"\\]|\\.)+)"/x],
);

for my $what (sort keys %said) {
    my ($pages, $source, $pattern) = @{$said{$what}};
    my $text = join '', map { text($_) } split / /, $pages;
    my @texts = grep { /\w{4}/ } map { s/\\(["\\])/$1/gr }
                source($source) =~ /$pattern/g;

    ok(@texts > 0, "there is $what");
    is(join("\n", grep { $text !~ said($_) } @texts), '',
       "$pages: all of what is said");
}


# And what is shown as a line of the log is one.

my @formats = map { said(s/\\(["\\])/$1/gr) } grep { /[a-z]{4}/ }
    source('{core,cluster,http}')
        =~ /(?:NGX_LOG_\w+,[^;"]*|\bwhy = )"((?:[^"\\]|\\.)+)"/g;
my @lines = map { text($_) =~ /^    sio: (.*)/mg } @pages;

ok(@lines > 0, 'there are lines of the log');
is(join("\n", grep { my $line = $_; !grep { "sio: $line" =~ /^(?:sio: )?$_/ }
                                         @formats } @lines), '',
   'nginx can log them');


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


# The source: a file, or all .c of folders; strings that go on in the next line
# are joined.

sub source {
    my ($what) = @_;

    $what .= '/*.c' if $what !~ /\.\w$/;

    return join '', map { s/"\s*\n\s*"//gr } map { text($_) }
                    glob "ngx_sio_module/$what";
}


sub context {
    my ($name) = @_;

    my $flags = $flags{$name} =~ s/\b(NGX_HTTP_SIO_\w+)/$define{$1}/gr;

    return join ', ', $flags =~ /_MAIN_CONF/ ? 'http' : (),
                      $flags =~ /_SRV_CONF/ ? 'server' : (),
                      $flags =~ /_LOC_CONF/ ? 'location' : (),
                      $inner{$name} ? 'sio_namespace' : ();
}


# A number, or the words of the configuration.

sub default {
    my ($name) = @_;

    my $value = $value{$field{$name} // ''} // return;
    my @words = map { $word{$_} // () } $value =~ /\w+/g;

    return "@words" if @words;

    $value =~ s{\b(NGX_HTTP_SIO_\w+)}{$define{$1} =~ s|/\*.*||r}ge;

    return $value =~ /^[\d *()]+$/ ? eval $value : undef;
}


# A format, or the part of a message in front of what it names.

sub said {
    my ($format) = @_;

    return join '[^\n`]+', map { quotemeta } split /%\*?\w+/, $format, -1;
}


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
# location gets a server, what else is not known is part of a sio location, but
# for directives that stand in http alone.

sub whole {
    my ($config) = @_;

    return $config if $config =~ /^http \{/m;

    my $http = '';

    for my $name (grep { context($_) eq 'http' } sort keys %flags) {
        $http .= $1 if $config =~ s/^($name [^;]*;)//m;
    }

    $config = "location /socket.io/ { sio; $config }"
        if $config !~ /^(?:server|location|upstream|map|log_format) /m;

    $config = "server { listen 127.0.0.1:8080; $config }"
        if $config !~ /^server /m;

    return "load_module modules/ngx_sio_module.so;\nhttp { $http $config }";
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

    $config =~ s{\blisten\s+unix:\K[^;\s]+}{$dir/socket}g;
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
