# Handlers: what a location can do with a request, by nginx's own modules.

use lib 't/lib';
use SioTest;
use SioRaw;
use SioBackend;
use JSON::PP ();

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub acks { return { body => [{ op => 'ack', args => [@_] }] } }

my %all = ('*' => acks('done'));
my $http = SioBackend->new(answers => { %all })->start;
my $second = SioBackend->new(answers => { '*' => acks('second') })->start;
my ($fastcgi, $uwsgi, $scgi) = map {
    SioBackend->new(over => $_, answers => { %all })->start;
} qw(fastcgi uwsgi scgi);
my ($one, $two) = map { $_->address } $http, $second;

# A port at which nobody listens.
my $nobody = SioBackend->new->address;

my $returns = '[{"op":"ack","args":["returned"]}]';
my $version = qx{'${\SioTest::nginx()}' -V 2>&1};

sub has { return $version =~ /--with-http_$_[0]_module\b/ }

my $njs = '/usr/lib/nginx/modules/ngx_http_js_module.so';

# It loads into the distribution's nginx, but not into any other one.
my $without_njs = $ENV{NGX_SIO_NGINX} ? loads_not($njs) : '';

# Why nginx does not load a module, in a line.
sub loads_not {
    my ($exit, $output) = SioTest::nginx_t(main => "load_module $_[0];");
    return $exit ? (split /\n/, $output)[0] : '';
}

# Each is the handler of the event that is called so: what is in its location,
# and whether another location is to have that name.
my %location = (
    plain      => "proxy_pass http://$one;",
    uri        => "proxy_pass http://$one/a/b%20c?d=e;",
    slash      => "proxy_pass http://$one/;",
    variable   => "set \$to $one; proxy_pass http://\$to;",
    variables  => "set \$to $one;"
                  . ' proxy_pass http://$to/x$uri?is=$sio_event&$args;',
    old        => "proxy_pass http://$one; proxy_http_version 1.0;",
    kept       => 'proxy_pass http://kept; proxy_http_version 1.1;'
                  . ' proxy_set_header Connection "";',
    method     => "proxy_pass http://$one; proxy_method PUT;",
    bodyless   => "proxy_pass http://$one; proxy_pass_request_body off;"
                  . ' proxy_set_header Content-Length "";',
    body       => "proxy_pass http://$one;"
                  . ' proxy_set_body \'{"a":"$sio_id"}\';',
    headers    => "proxy_pass http://$one; proxy_pass_request_headers off;",
    unbuffered => "proxy_pass http://$one; proxy_buffering off;",
    streamed   => "proxy_pass http://$one; proxy_http_version 1.1;"
                  . ' proxy_request_buffering off;',
    smallest   => "proxy_pass http://$one; proxy_buffer_size 1k;"
                  . ' proxy_buffers 2 1k; proxy_busy_buffers_size 1k;'
                  . ' proxy_max_temp_file_size 0;',
    slowly     => "proxy_pass http://$one; proxy_limit_rate 100k;",
    to_file    => "proxy_pass http://$one; client_body_in_file_only clean;",
    rated      => "proxy_pass http://$one; limit_rate 10;",
    small      => "proxy_pass http://$one; client_max_body_size 100;",
    uncached   => "proxy_pass http://$one; proxy_cache off;",
    cached     => "proxy_pass http://$one; proxy_cache kept;"
                  . ' proxy_cache_methods POST; proxy_cache_valid 200 1h;'
                  . ' proxy_cache_key $sio_event; proxy_cache_lock on;',
    stale      => "proxy_pass http://$one; proxy_cache kept;"
                  . ' proxy_cache_methods POST; proxy_cache_valid 200 1s;'
                  . ' proxy_cache_key $sio_event; proxy_cache_background_update'
                  . ' on; proxy_cache_use_stale updating;',
    stored     => "proxy_pass http://$one; proxy_store %%DIR%%/stored.json;",
    zipped     => "proxy_pass http://$one; gzip on; gzip_min_length 1;"
                  . ' gzip_types *; gzip_proxied any;',
    parts      => "proxy_pass http://$one; ssi on; ssi_types *;",
    charset    => "proxy_pass http://$one; charset koi8-r;"
                  . ' override_charset on; charset_types *;',
    accel      => "proxy_pass http://$one;",
    accel_file => "proxy_pass http://$one;",
    upgraded   => "proxy_pass http://$one; proxy_http_version 1.1;"
                  . ' proxy_set_header Upgrade websocket;'
                  . ' proxy_set_header Connection upgrade;',
    fastcgi    => "fastcgi_pass ${\$fastcgi->address};"
                  . ' include /etc/nginx/fastcgi_params;',
    keeps      => "fastcgi_pass ${\$fastcgi->address}; fastcgi_keep_conn on;"
                  . ' include /etc/nginx/fastcgi_params;'
                  . ' fastcgi_request_buffering off;',
    uwsgi      => "uwsgi_pass ${\$uwsgi->address};"
                  . ' include /etc/nginx/uwsgi_params;',
    scgi       => "scgi_pass ${\$scgi->address};"
                  . ' include /etc/nginx/scgi_params;',
    returned   => "return 200 '$returns';",
    nothing    => 'return 204;',
    typed      => "default_type text/html; add_header A b always;"
                  . " expires 1h; return 200 '$returns';",
    fallback   => "proxy_pass http://$nobody; error_page 502 = \@fallback;",
    replaced   => "proxy_pass http://$one; proxy_intercept_errors on;"
                  . ' error_page 500 503 =200 /returned;',
    page       => "proxy_pass http://$one; proxy_intercept_errors on;"
                  . ' error_page 500 /page.html;',
    rewritten  => 'rewrite ^ /returned last;',
    rewritten2 => 'rewrite ^ /plain?x=1 last;',
    broken     => "rewrite ^ /none break; proxy_pass http://$one;",
    tried      => 'try_files /no/such/file @fallback;',
    iffy       => 'if ($sio_event = iffy) { return 200 \'' . $returns . '\'; }'
                  . ' return 500;',
    iffy_pass  => 'if ($request_method = POST) { proxy_pass http://'
                  . "$one; }",
    mirrored   => "mirror /mirror; proxy_pass http://$one;",
    file       => 'error_page 404 =200 /answer.json;',
    thread     => 'aio threads; error_page 404 =200 /answer.json;',
    direct     => 'directio 1; error_page 404 =200 /answer.json;',
    static     => 'root html;',
    folder     => 'alias html/; autoindex on;',
    missing    => undef,
    none       => 'return 444;',
    teapot     => "return 418 '$returns';",
    moved      => 'return 302 /returned;',
    cycle      => 'rewrite ^ /cycle last;',
    itself     => 'sio; sio_app own; sio_on * reply;',
    api        => 'sio_app own; sio_api; internal;',
    status2    => 'sio_status;',
    limited    => "limit_conn few 1; proxy_pass http://$one;",
    delayed    => 'limit_req zone=slow burst=10; proxy_pass http://' . "$one;",
    rejected   => 'limit_req zone=fast; proxy_pass http://' . "$one;",
    balanced   => 'proxy_pass http://balanced;',
    logged     => 'log_subrequest on; access_log sub.log sub;'
                  . " proxy_pass http://$one;",
);

$location{sub} = "proxy_pass http://$one; sub_filter done gone;"
                 . ' sub_filter_types *;' if has('sub');
$location{unzipped} = "proxy_pass http://$one; gunzip on;" if has('gunzip');
$location{added} = "proxy_pass http://$one; addition_types *;"
                   . ' add_before_body /returned; add_after_body /returned;'
    if has('addition');
$location{js} = 'js_content main.answer;' if !$without_njs;
$location{fetched} = 'js_content main.fetched;' if !$without_njs;

my $t = SioTest->new(
    main => $without_njs ? '' : "load_module $njs;",
    http => <<"EOC" . ($without_njs ? '' : 'js_import main from main.js;'),
    upstream kept { server $one; keepalive 1; }
    upstream balanced { hash \$sio_id consistent; server $one; server $two; }
    proxy_cache_path %%DIR%%/cache keys_zone=kept:1m;
    sio_ping_interval 10m;
    limit_conn_zone \$uri zone=few:1m;
    limit_req_zone \$uri zone=slow:1m rate=10r/s;
    limit_req_zone \$uri zone=fast:1m rate=1r/m;
    log_format sub '\$request_uri \$status \$sio_event \$remote_addr '
                   '\$request_method \$upstream_addr';
EOC
    location => "sio;\n" . join("\n", (map { "sio_on $_ handler /$_;" }
                                           sort keys %location),
                                'sio_on guarded handler /guarded/app;',
                                'sio_on within  handler /within/a?b=c&d=%20;',
                                'sio_on query   handler /plain?a=b&c=%2F;'),
    server => join("\n", map {
        defined $location{$_} ? "location = /$_ { $location{$_} }" : ()
    } sort keys %location) . <<"EOC",

    location \@fallback { internal; return 200 '$returns'; }
    location /guarded/ {
        deny all;
        auth_basic closed;
        auth_basic_user_file none;
        auth_request /refuses;
        satisfy all;
        location = /guarded/app { internal; proxy_pass http://$one; }
    }
    location = /refuses { return 403; }
    location /within/ { internal; proxy_pass http://$one/base/; }
    location = /mirror { internal; proxy_pass http://$two; }
EOC
);

SioTest::write_file($t->dir . '/html/answer.json',
                    '[{"op":"ack","args":["file"]}]');
SioTest::write_file($t->dir . '/html/static', '[{"op":"ack"}]');
SioTest::write_file($t->dir . '/html/page.html', '<html></html>');
SioTest::write_file($t->dir . '/main.js', <<"EOJ") if !$without_njs;
function answer(r) {
    const m = JSON.parse(r.requestText);
    r.return(200, JSON.stringify([
        { op: 'ack', args: [m.event, r.variables.sio_id == m.id] }]));
}

async function fetched(r) {
    const answer = await ngx.fetch('http://$one/fetched',
                                   { method: 'POST', body: r.requestText });
    const text = await answer.text();
    r.return(200, text);
}

export default { answer, fetched };
EOJ
$t->start;

my $port = $t->port;
my $before = SioBackend::rested($t);
my $ws = SioRaw::WS->socket($port);
my $count = 0;

# The answer to an event that wants to be acknowledged.
sub answer {
    my ($event, @args) = @_;
    my $n = 100 + $count++;
    $ws->text("42$n" . $json->encode([$event, @args]));
    return ($ws->message // 'none') =~ s/^43$n//r;
}

# An event is answered; the request comes back.
sub passes {
    my ($event, $backend, $answer) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    is(answer($event), $answer // '["done"]', $event);
    my $r = $backend ? $backend->take(1) : return;
    is($r->{json}{event}, $event, 'by the backend');
    return $r;
}

my $seen = 0;
sub logged {
    my $log = substr $t->log, $seen;
    $seen += length $log;
    return grep { / sio: / && /\[error\]/ } split /\n/, $log;
}

# An event fails for a reason, and the next one is answered.
sub fails {
    my ($event, $why) = @_;
    my $errors = $t->status->{handler_errors};
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    logged();
    $ws->text('427' . $json->encode([$event]));
    is(answer('returned'), '["returned"]', "$event: no acknowledgement");
    my @log = logged();
    is(scalar @log, 1, 'one line in the log') or diag join "\n", @log;
    like($log[0] // 'none', qr/sio: the handler.*$why, handler: "\/$event/,
         'with the reason');
    is($t->status->{handler_errors}, $errors + 1, 'counted');
}

sub header { return join '|', SioBackend::header(@_) }


subtest 'proxy_pass' => sub {
    my %target = (
        plain => '/plain', uri => '/a/b%20c?d=e', slash => '/',
        variable => '/variable', variables => '/x/variables?is=variables&',
        old => '/old', kept => '/kept', headers => '/headers',
        unbuffered => '/unbuffered', streamed => '/streamed',
        smallest => '/smallest', slowly => '/slowly', to_file => '/to_file',
        rated => '/rated', uncached => '/uncached', zipped => '/zipped',
        parts => '/parts', charset => '/charset', stored => '/stored',
        (has('sub') ? (sub => '/sub') : ()),
        (has('gunzip') ? (unzipped => '/unzipped') : ()),
        (has('addition') ? (added => '/added') : ()),
    );
    for my $event (sort keys %target) {
        my $r = passes($event, $http);
        is($r->{target}, $target{$event}, 'with the URI');
        is($r->{method}, 'POST', 'a POST');
        is(header($r, 'Content-Length'), length $r->{body}, 'as long as it is');
        like($r->{version}, $event eq 'old' ? qr{^HTTP/1\.0$}
             : $event =~ /^(?:kept|streamed)$/ ? qr{^HTTP/1\.1$}
             : qr{^HTTP/1\.[01]$}, 'the version');
    }

    is(SioTest::read_file($t->dir . '/stored.json'),
       '[{"args":["done"],"op":"ack"}]', 'proxy_store');
    my $r = passes('within', $http);
    is($r->{target}, '/base/a?b=c&d=%20', 'a prefix, and a query string');
    $r = passes('query', $http);
    is($r->{target}, '/plain?a=b&c=%2F', 'a query string');

    is(answer('method'), '["done"]', 'proxy_method');
    is($http->take(1)->{method}, 'PUT', 'is that');
    is(answer('bodyless'), '["done"]', 'without a body');
    $r = $http->take(1);
    is($r->{body} . header($r, 'Content-Length'), '', 'indeed');
    is(answer('body'), '["done"]', 'proxy_set_body');
    is($http->take(1)->{body}, '{"a":"' . $ws->id . '"}', 'is that');

    # More than a buffer holds, and other ways to send it.
    my $large = 'x' x 50_000;
    for my $event (qw(plain kept unbuffered smallest slowly uncached)) {
        for my $how ({}, { chunked => 999 }, { unsized => 1 }) {
            next if $how->{chunked} && $event ne 'kept';
            $http->set($event => { %{acks($large)}, %$how });
            ok(answer($event) eq "[\"$large\"]",
               "$event: 50 KB " . join '', keys %$how);
        }
        $http->set($event => acks('done'));
    }
    ok(answer('kept', $large) eq '["done"]', 'as much to the backend');
    is(answer('small', $large), '["done"]', 'client_max_body_size');
    ok((($http->rest)[-1])->{json}{args}[0] eq $large, 'all of it');
    $ws->text('451-["nothing",{"_placeholder":true,"num":0}]');
    $ws->binary('x' x 900_000);
    passes('returned', undef, '["returned"]');
    is(join("\n", logged()), '', 'the log has nothing');
};


subtest 'connections that are kept' => sub {
    passes('kept', $http);
    my $accepted = $http->{accepted};
    passes('kept', $http) for 1 .. 10;
    is($http->{accepted}, $accepted, 'ten requests on one');
    passes('plain', $http) for 1 .. 2;
    is($http->{accepted}, $accepted + 2, 'or one for each');
};


subtest 'FastCGI, uwsgi and SCGI' => sub {
    my %over = (fastcgi => $fastcgi, keeps => $fastcgi, uwsgi => $uwsgi,
                scgi => $scgi);
    for my $event (sort keys %over) {
        my $r = passes($event, $over{$event});
        my $p = $r->{params};
        my %expected = (
            REQUEST_METHOD => 'POST', CONTENT_TYPE => 'application/json',
            CONTENT_LENGTH => length $r->{body}, REQUEST_URI => "/$event",
            QUERY_STRING => '',
            REMOTE_ADDR => '127.0.0.1', SERVER_NAME => 'localhost',
            SERVER_PROTOCOL => 'HTTP/1.1',
        );
        is_deeply({ map { $_ => $p->{$_} } keys %expected }, \%expected,
                  'its parameters');
        is($p->{SERVER_ADDR}, '127.0.0.1', 'SERVER_ADDR')
            if $over{$event} == $fastcgi;
        like($p->{SERVER_PORT} // 'none', qr/^\d*$/, 'SERVER_PORT');
        like($p->{REMOTE_PORT} // 'none', qr/^\d*$/, 'REMOTE_PORT');
        is(join(' ', grep { /^HTTP_/ && !/^HTTP_(?:HOST|CONTENT_\w+)$/ }
                          sort keys %$p), '', 'no header of the client');

        my $large = 'x' x 50_000;
        $over{$event}->set($event => acks($large));
        ok(answer($event, $large) eq "[\"$large\"]", '50 KB both ways');
        ok($over{$event}->take(1)->{json}{args}[0] eq $large, 'all of it');
        $over{$event}->set($event => { status => 500 });
        fails($event, 'status 500');
        $over{$event}->take(1);
    }
};


subtest 'answers of nginx' => sub {
    my $returned = '["returned"]';
    passes($_, undef, $returned)
        for qw(returned typed fallback rewritten tried iffy);
    $http->set(replaced => { status => 503 });
    passes('replaced', $http, $returned);
    passes('rewritten2', $http);
    passes('broken', $http);
    passes('iffy_pass', $http);
    passes($_, undef, '["file"]') for qw(file thread direct);

    $http->set(accel => { status => 200, body => 'no JSON',
                          headers => ['X-Accel-Redirect' => '/returned'] },
               accel_file => { headers => ['X-Accel-Redirect'
                                           => '/answer.json'] });
    passes('accel', $http, $returned);
    passes('accel_file', $http, '["file"]');
    passes('cached', $http);
    passes('cached', undef) for 1 .. 3;
    is(scalar(() = $http->rest), 0, 'from the cache');

    my $errors = $t->status->{handler_errors};
    $ws->text('425["nothing"]');
    passes('returned', undef, $returned);
    is($t->status->{handler_errors}, $errors, '204 without an ack');

    SKIP: {
        skip $without_njs, 3 if $without_njs;
        passes('js', undef, '["js",true]');
        passes('fetched', $http);
    }
};


subtest 'no answers' => sub {
    fails('static', 'status 405');
    fails('folder', 'status 301');
    fails('missing', 'status 40[45]');
    fails('none', 'did not respond');
    fails('teapot', 'status 418');
    fails('moved', 'status 302');
    fails('cycle', 'status 500');
    fails('api', 'status 400');
    fails('status2', 'status 405');
    fails('itself', 'status 4\d\d');
    $http->set(page => { status => 500 });
    fails('page', 'status 500');
    $http->set(upgraded => { raw => "HTTP/1.1 101 Up\r\nUpgrade: websocket\r\n"
                             . "Connection: upgrade\r\n\r\n"
                             . "\x81\x02[]" });
    fails('upgraded', 'status \d+');
    is(scalar(() = $http->rest), 2, 'each was sent once');
};


subtest 'access and limits' => sub {
    passes('guarded', $http);
    is(SioRaw::http($port, GET => '/guarded/app')->status, 404,
       'what is internal is not for clients');

    # Ten each second, of which ten wait.
    my $start = SioRaw::now();
    passes('delayed', $http) for 1 .. 4;
    my $took = SioRaw::now() - $start;
    cmp_ok($took, '>', 0.25, 'limit_req: they are delayed');
    cmp_ok($took, '<', 3 * $SioRaw::SCALE, 'not for long');
    passes('rejected', $http);
    fails('rejected', 'status 503');

    # One at a time.
    my $other = SioRaw::WS->socket($port);
    $http->set(limited => [{ hold => 'limited' }, acks('done')]);
    $other->text('42["limited"]');
    $http->take(1);
    fails('limited', 'status 503');
    $http->release('limited');
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'it ends');
    passes('limited', $http);
    $other->close;
};


subtest 'what runs beside' => sub {
    passes('mirrored', $http);
    passes('plain', $http);
    is(scalar(() = $second->rest), 0, 'nginx does not mirror a subrequest');

    # A cache is brought up to date by a request of its own.
    passes('stale', $http);
    my $until = SioRaw::now() + 2.1;
    $t->await(sub { SioRaw::now() > $until }, 3);
    $http->set(stale => { %{acks('new')}, hold => 'update' });
    my @ws = map { SioRaw::WS->socket($port) } 1 .. 3;
    $ws[0]->text('425["stale"]');
    is(scalar(() = $http->take(1)), 1, 'a cache is updated');
    is(($ws[1]->ask('425["stale"]'))[0], '435["done"]',
       'another one gets what is stale');
    passes('plain', $http);
    $http->release('update');
    is($ws[0]->message, '435["done"]', 'so does the first');
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'it ends');
    is(($ws[1]->ask('426["stale"]'))[0], '436["new"]', 'with something new');

    # The same when the client, or the server, does not wait for it.
    $until = SioRaw::now() + 2.1;
    $t->await(sub { SioRaw::now() > $until }, 3);
    $http->set(stale => { %{acks('newer')}, hold => 'again' });
    $ws[2]->text('425["stale"]');
    is(scalar(() = $http->take(1)), 1, 'a cache is updated');
    $ws[2]->reset;
    passes('plain', $http);
    $http->release('again');
    $t->wait_for(sub { $t->status->{handler_queued} == 0 }, 'it ends');
    $_->close for @ws[0, 1];
};


subtest 'hash $sio_id' => sub {
    $_->rest for $http, $second;
    my @ws = map { SioRaw::WS->socket($port) } 1 .. 32;
    for my $ws (@ws) {
        $ws->text("42$_\[\"balanced\"]") for 1 .. 4;
    }
    for my $ws (@ws) {
        my %answers = map { ($ws->message // 'none') =~ s/^43\d//r => 1 }
                          1 .. 4;
        is(scalar keys %answers, 1, 'one server for a socket');
    }
    my %ids = map { my $b = $_; map { $_->{json}{id} => $b->address }
                                    $b->rest } $http, $second;
    my %of;
    $of{$_}++ for values %ids;
    is(scalar keys %ids, 32, 'all are served');
    is(scalar keys %of, 2, 'and all servers');
    $_->close for @ws;
};


subtest 'the access log' => sub {
    passes('logged', $http);
    my $log = '';
    $t->wait_for(sub {
        $log = SioTest::read_file($t->dir . '/sub.log') // '';
        return $log =~ /\n/;
    }, 'log_subrequest on');
    is($log, "/logged 200 logged 127.0.0.1 POST $one\n", 'a line for it');
    unlike($t->access_log, qr/POST/, 'else there is none');
    is(scalar(() = $t->access_log =~ /GET \/guarded\/app/g), 1,
       'but of clients');
};


$ws->close;
SioBackend::ends($t, $before, $http, $second, $fastcgi, $uwsgi, $scgi);
is(join("\n", map { substr $_->{body}, 0, 100 } map { $_->rest }
                  $http, $second, $fastcgi, $uwsgi, $scgi), '',
   'the backends have heard of nothing else');
done_testing;
