# Builds, runs and tests ngx_sio; `make help` names the targets.  All that is
# made lies in build/.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory --silent

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

PORT         ?= 8080
BACKEND      ?= node
FUZZ_SECONDS ?= 300
NGINX_SRC    ?= /usr/share/nginx/src

.PHONY: help build install run backend test asan fuzz bench clean unit fuzzers FORCE

# prove's own children must not look for this make's job server.

PROVE := env -u MAKEFLAGS prove

help:
	awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s%s\n", $$1, $$2 }' \
	    Makefile


# Packages are looked for first, and what needs them is made by a make of its
# own, which sees the files that they bring.

NEED_BUILD := gcc libc6-dev nginx nginx-dev libyajl-dev
NEED_NODE  := node:nodejs npm:npm

NEED_php    := php-fpm
NEED_python := uwsgi-core uwsgi-plugin-python3

NEED_TEST  := $(NEED_BUILD) $(NEED_NODE) $(NEED_php) $(NEED_python) wrk \
              libnginx-mod-http-js perl openssl libssl-dev clang dpkg-dev \
              libclang-rt-dev libio-socket-ssl-perl python3-socketio \
              python3-aiohttp python3-requests python3-websocket chromium

build: ## builds build/ngx_sio_module.so for the installed nginx
	tools/need $(NEED_BUILD)
	$(MAKE) build/ngx_sio_module.so

install: build ## installs the module where nginx looks for it (DESTDIR=)
	dir=$$(PATH=$$PATH:/usr/sbin nginx -V 2>&1 \
	        | sed -n 's/.* --modules-path=\([^ ]*\).*/\1/p') \
	    && install -D -m 644 -t "$(DESTDIR)$$dir" build/ngx_sio_module.so \
	    && echo "$(DESTDIR)$$dir/ngx_sio_module.so"

run: ## builds everything and serves the demo in the foreground (PORT=8080)
	tools/need $(NEED_BUILD) $(NEED_NODE)
	$(MAKE) build/ngx_sio_module.so build/node
	tools/serve $(PORT)

backend: ## the same for an example backend (BACKEND=node, python or php)
	tools/need $(NEED_BUILD) $(NEED_NODE) $(NEED_$(BACKEND))
	$(MAKE) build/ngx_sio_module.so build/node
	tools/backend $(BACKEND) $(PORT)

test: ## runs all tests, and a part of them with AddressSanitizer
	tools/need $(NEED_TEST)
	$(MAKE) build/node unit fuzzers build/unit/nginx/move build/load/swarm \
	    build/ngx_sio_module.so build/asan/ngx_sio_module.so
	$(PROVE) t
	echo 'With AddressSanitizer and UBSan:'
	$(ASAN) $(PROVE) $$(cat t/asan.list)

asan: ## runs all tests with AddressSanitizer and UBSan
	tools/need $(NEED_TEST)
	$(MAKE) build/node unit fuzzers build/unit/nginx/move build/load/swarm \
	    build/asan/ngx_sio_module.so
	$(ASAN) $(PROVE) t

fuzz: ## runs every fuzz target (FUZZ_SECONDS=300 each)
	tools/need $(NEED_TEST)
	$(MAKE) build/node fuzzers
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(PROVE) -v t/fuzz*.t

bench: ## measures the CPU time of deliveries, echoes and connects
	tools/need $(NEED_BUILD) $(NEED_NODE) wrk
	$(MAKE) build/ngx_sio_module.so build/node
	t/bench/run

clean: ## removes all that was built
	rm -rf build


# The module, by nginx's own build, which names the file after the variable.

CC_OPT := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2 -Wformat \
          -Werror=format-security -fno-semantic-interposition
LD_OPT := -Wl,-z,relro -Wl,-z,now -Wl,-Bsymbolic-functions

define make-module
	+$(MAKE) -C $1 -f objs/Makefile modules
	cmp -s $1/objs/ngx_http_sio_module.so $@ || { \
	    cp $1/objs/ngx_http_sio_module.so $@.new && mv $@.new $@; }
endef

build/ngx_sio_module.so: FORCE
	. $(NGINX_SRC)/conf_flags && tools/nginx-configure build/nginx \
	    $(NGINX_SRC) "$${NGX_CONF_FLAGS[@]}" --with-cc-opt='$(CC_OPT)' \
	    --with-ld-opt='$(LD_OPT)' --add-dynamic-module=../..
	$(call make-module,build/nginx)


# The same for an nginx with AddressSanitizer, from the distribution's source.
# NGX_DEBUG_PALLOC makes each palloc a malloc, or a pool would hide overflows.
# nginx unloads modules before leaks are looked for; without nodelete no report
# could name a function of ours.

ASAN_CC   := -O1 -g -fno-omit-frame-pointer -fsanitize=address \
             -DNGX_DEBUG_PALLOC=1
UBSAN_CC  := -fsanitize=undefined -fno-sanitize-recover=undefined
ASAN_CONF := --error-log-path=stderr --with-compat --with-debug \
             --with-threads --with-pcre-jit --with-http_ssl_module \
             --with-http_v2_module --with-http_realip_module \
             --with-http_auth_request_module --with-http_stub_status_module

ASAN := NGX_SIO_ASAN=1 NGX_SIO_WORKERS=4 \
        NGX_SIO_NGINX='$(CURDIR)/build/asan/nginx' \
        NGX_SIO_MODULE='$(CURDIR)/build/asan/ngx_sio_module.so' \
        ASAN_OPTIONS=detect_odr_violation=0 \
        UBSAN_OPTIONS=print_stacktrace=1 \
        LSAN_OPTIONS='suppressions="$(CURDIR)/t/asan.supp":print_suppressions=0'

build/asan/src:
	tools/nginx-source $@

build/asan/nginx: | build/asan/src
	tools/nginx-configure build/asan/core build/asan/src $(ASAN_CONF) \
	    --with-cc-opt='$(ASAN_CC)' --with-ld-opt='-fsanitize=address'
	echo 'Building nginx with AddressSanitizer'
	$(MAKE) -C build/asan/core -f objs/Makefile binary
	cp build/asan/core/objs/nginx $@

build/asan/ngx_sio_module.so: build/asan/nginx FORCE
	tools/nginx-configure build/asan/module build/asan/src $(ASAN_CONF) \
	    --with-cc-opt='$(ASAN_CC) $(UBSAN_CC)' \
	    --with-ld-opt='-fsanitize=address,undefined -Wl,-z,nodelete' \
	    --add-dynamic-module=../../..
	$(call make-module,build/asan/module)


# What the tests need besides: a program for each unit test and each fuzz
# target, and the clients.

CHECK := -std=gnu11 -O1 -g -Wall -Wextra -Werror -Ingx_sio_module $(UBSAN_CC)
HEADERS := $(wildcard ngx_sio_module/proto/*.h t/unit/*.h t/fuzz/*.h)

programs = $(patsubst t/%.c,build/%,$(wildcard t/$1/*.c))
objects  = $(patsubst ngx_sio_module/proto/%.c,build/$1/%.o, \
                      $(wildcard ngx_sio_module/proto/*.c))

unit: $(call programs,unit)
fuzzers: $(call programs,fuzz) $(call programs,fuzz/diff)

$(call objects,unit): build/unit/%.o: ngx_sio_module/proto/%.c $(HEADERS)
	mkdir -p $(@D)
	$(CC) $(CHECK) -fsanitize=address -c -o $@ $<

$(call programs,unit) $(call programs,fuzz/diff): \
build/%: t/%.c $(call objects,unit)
	mkdir -p $(@D)
	$(CC) $(CHECK) -fsanitize=address -o $@ $^ -lyajl

$(call objects,fuzz): build/fuzz/%.o: ngx_sio_module/proto/%.c $(HEADERS)
	mkdir -p $(@D)
	clang $(CHECK) -fsanitize=fuzzer-no-link,address -c -o $@ $<

$(call programs,fuzz): build/%: t/%.c $(call objects,fuzz)
	clang $(CHECK) -fsanitize=fuzzer,address -o $@ $^ -lyajl

# A test of the move, with parts of nginx: its headers and its trees.

UNIT_NGINX := $(CC) $(CHECK) -fsanitize=address -Wno-unused-parameter \
              $(addprefix -Ibuild/asan/,src/src/core src/src/event \
                  src/src/event/modules src/src/os/unix core/objs)
MOVE_OBJECTS := $(addprefix build/unit/nginx/,move.o ngx_sio_move.o \
                    ngx_sio_msg.o ngx_rbtree.o) $(call objects,unit)

build/unit/nginx/move.o: t/unit/nginx/move.c
build/unit/nginx/ngx_sio_move.o: ngx_sio_module/cluster/ngx_sio_move.c
build/unit/nginx/ngx_sio_msg.o: ngx_sio_module/core/ngx_sio_msg.c
build/unit/nginx/ngx_rbtree.o: build/asan/src/src/core/ngx_rbtree.c
build/asan/src/src/core/ngx_rbtree.c: | build/asan/src ;

$(filter build/unit/nginx/%,$(MOVE_OBJECTS)): \
$(HEADERS) $(wildcard ngx_sio_module/c*/*.h) | build/asan/nginx
	mkdir -p $(@D)
	$(UNIT_NGINX) -c -o $@ $(filter %.c,$^)

build/unit/nginx/move: $(MOVE_OBJECTS)
	$(UNIT_NGINX) -o $@ $^ -lyajl

build/load/%: t/load/%.c
	mkdir -p $(@D)
	$(CC) -std=gnu11 -O2 -g -Wall -Wextra -Werror -o $@ $< -lssl -lcrypto

build/node: t/clients/package.json
	echo 'Installing the packages of $<'
	rm -rf $@ $@.new && mkdir -p $@.new && cp $< $@.new
	npm install --prefix $@.new --no-audit --no-fund --no-update-notifier \
	    --no-package-lock --ignore-scripts --fetch-timeout=60000 \
	    --loglevel=error > $@.new/log \
	    || { cat $@.new/log; exit 1; }
	mv $@.new $@ && touch $@

FORCE:
