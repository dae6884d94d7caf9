# Each header compiles alone; those of proto/ without nginx.

use lib 't/lib';
use SioTest;

# The flags of the module's own build.

my ($tree) = grep { -e "$_/objs/Makefile" } qw(build/nginx build/asan/module);

chomp(my $nginx = qx{printf 'flags:\\n\\techo \$(CFLAGS) \$(ALL_INCS)\\n' \\
                     | make -s -C $tree -f objs/Makefile -f - flags});

for my $header (glob 'ngx_sio_module/*/*.h') {
    my ($name) = $header =~ m{ngx_sio_module/(.+)};

    my $cc = $name =~ /^proto/
             ? 'cc -std=c11 -pedantic -Wall -Wextra -Werror -Ingx_sio_module'
             : "cd $tree && cc $nginx";

    my $output = qx{echo '#include "$name"' \\
                    | ($cc -fsyntax-only -x c -) 2>&1};

    is($? . $output, '0', $name);
}

done_testing;
