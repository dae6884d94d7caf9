# The folder, the prefix and the permitted world are the same thing: who may
# include what.

use lib 't/lib';
use SioTest;

my @ranks = qw(proto core cluster http);
my %rank = map { $ranks[$_] => $_ } 0 .. $#ranks;
my %prefix = (proto => 'sio_', core => 'ngx_sio', cluster => 'ngx_sio',
              http => 'ngx_http_sio');

# The opening handshake of a WebSocket needs nginx's SHA-1.

my $nginx = 'ngx_(?:config|core|event)\.h';
my %system = (proto => qr/^(?:stddef|stdint|string|limits|assert)\.h$/,
              core => qr/^$nginx$/, cluster => qr/^$nginx$/,
              http => qr/^(?:$nginx|ngx_http\.h|ngx_sha1\.h)$/);

# Libraries, each known to one file only.

my %library = ('sio_json.c' => qr{^yajl/}, 'sio_msgpack.c' => qr{^msgpack\.h$},
               'ngx_sio_redis.c' => qr{^hiredis/},
               'ngx_sio_directory.c' => qr{^sys/file\.h$},
               'ngx_http_sio_handshake.c' => qr{^ngx_sha1\.h$});

my (@misplaced, @upward, @foreign, @other, %includes, %stem);

for my $path (glob 'ngx_sio_module/*/*') {
    my ($dir, $file) = $path =~ m{([^/]+)/([^/]+)$};
    my $rank = $rank{$dir};

    if (!defined $rank || $file !~ /^$prefix{$dir}\w*\.[ch]$/) {
        push @misplaced, $path;
        next;
    }

    push @{$stem{$file}}, $path;

    for (split /\n/, SioTest::read_file($path)) {
        my ($what) = /^\s*#\s*include\s+(\S+)/ or next;

        if ($what =~ m{^"(\w+)/(\w+\.h)"$} && exists $rank{$1}) {
            push @{$includes{"$dir/$file"}}, "$1/$2";
            push @upward, "$path: $what" if $rank{$1} > $rank;

        } elsif ($what =~ /^<(\S+)>$/) {
            my $library = $library{$file};

            push @foreign, "$path: $what"
                if $1 !~ $system{$dir} && !($library && $1 =~ $library);

        } else {
            push @other, "$path: $what";
        }
    }
}

none('every file lies where its prefix belongs', @misplaced);
none('includes point to the same or a lower rank', @upward);
none('only permitted headers from outside', @foreign);
none('includes carry the folder, no .c is included', @other);
none('file names are unique', map { @$_ > 1 ? "@$_" : () } values %stem);
none('no include cycle', cycles());

done_testing;


sub none {
    my ($name, @wrong) = @_;

    is(join("\n", @wrong), '', $name);
}


sub cycles {
    my (%done, @found);

    my $visit;
    $visit = sub {
        my ($file, @path) = @_;

        return push @found, join ' > ', @path, $file
            if grep { $_ eq $file } @path;
        return if $done{$file}++;

        $visit->($_, @path, $file) for @{$includes{$file} // []};
    };

    $visit->($_) for sort keys %includes;

    return @found;
}
