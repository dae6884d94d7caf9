'use strict';

/*
 * The judge of the scenarios: a socket.io server on Node.js that does in
 * JavaScript what the rules in the configuration of the test of the same name
 * do.  "node reference.js APP SCENARIO [args]" starts the app on a free port,
 * runs the scenario against it and ends with its exit code.
 */

const { createServer } = require('http');
const { spawn } = require('child_process');
const path = require('path');
const { Server } = require('socket.io');
const engine = require('engine.io');

/*
 * What sio_on does: table maps an event, or '*' for those without an entry, to
 * a function (args, done, event); done acknowledges, if that was asked for.
 * "sync", by which a client learns that all before it was done, is everywhere.
 */
function rules(socket, table) {
    table = { sync: (args, done) => done(...args), ...table };

    socket.onAny((event, ...args) => {
        const done = typeof args[args.length - 1] === 'function'
                     ? args.pop() : () => {};
        const rule = Object.hasOwn(table, event) ? table[event] : table['*'];

        if (rule) {
            rule(args, done, event);
        }
    });
}

/* tells those who watch why a socket left */
function observed(socket) {
    socket.onAny(event => {
        if (event === 'watch') {
            socket.join('observers');
        }
    });
    socket.on('disconnect', reason => socket.nsp.to('observers')
        .emit('gone', socket.id, reason, [reason]));
}

/* a value as the name of a room or an event, null if it is none */
function name(value) {
    return typeof value === 'string' ? value
           : typeof value === 'number' ? String(value) : null;
}

const apps = {};

apps.events = {
    serve(io) {
        io.on('connection', socket => rules(socket, {
            ask: (args, done) => done(...args),
            first: (args, done) => done('got', args[0], { all: args }),
            both: (args, done) => {
                socket.emit('one', ...args);
                done(...args);
                socket.emit('two', ...args);
            },
            '*': (args, done, event) => socket.emit(event, ...args),
        }));
    },
};


apps.namespaces = {
    serve(io) {
        const serve = (nsp, word) => nsp.on('connection', socket => {
            socket.emit('welcome', socket.id, socket.nsp.name,
                        socket.handshake.auth);
            rules(socket, {
                where: (args, done) => done(word, socket.nsp.name),
                say: args => socket.broadcast.emit('say', ...args),
            });
        });

        serve(io, 'main');
        serve(io.of('/chat'), 'chat');
        serve(io.of('/room-7'), 'seven');
        serve(io.of('/чат ✓'), 'unicode');
        serve(io.of(/^\/room-\d+$/), 'number');
        serve(io.of(/^\/room-/), 'room');
        serve(io.of(/^\/auth-[ab]$/), 'auth');
    },
};

apps.rooms = {
    serve(io) {
        const serve = socket => {
            /* to or except, by values of which those that are no name count
             * for nothing; nobody is meant if none is left */
            const emit = (to, except, event, args, from = socket.nsp) => {
                to = to && to.map(name).filter(room => room !== null);
                except = except.map(name).filter(room => room !== null);
                if (!to || to.length) {
                    (to ? from.to(to) : from).except(except)
                        .emit(event, ...args);
                }
            };
            const room = value => {
                const text = name(value);
                return text === null || text === ''
                       || Buffer.byteLength(text) > 256
                       || (text !== socket.id && socket.nsp.sockets.has(text))
                       ? null : text;
            };

            socket.join('lobby');

            rules(socket, {
                join: ([value], done) => {
                    if (room(value) !== null) {
                        socket.join(room(value));
                    }
                    done(value);
                },
                leave: ([value], done) => {
                    if (room(value) !== null) {
                        socket.leave(room(value));
                    }
                    done(value);
                },
                'join-team': ([value]) => socket.join(`team:${value}`),
                all: args => socket.nsp.emit('all', ...args),
                others: args => socket.broadcast.emit('others', ...args),
                me: args => socket.emit('me', ...args),
                lobby: args => io.to('lobby').emit('msg', ...args),
                to: ([a, x]) => emit([a], [], 'msg', [x]),
                past: ([a, x]) => emit([a], [socket.id], 'msg', [x]),
                two: ([a, b, x]) => emit([a, b], [], 'msg', [x]),
                but: ([a, x]) => emit(null, [a], 'msg', [x]),
                'to-but': ([a, b, c, x]) => emit([a], [b, c], 'msg', [x]),
                member: ([a, x]) => {
                    if (socket.rooms.has(name(a))) {
                        emit([a], [], 'msg', [x]);
                    }
                },
                team: ([a, x]) => emit([`team:${a}`], [], 'msg', [x]),
                volatile: args => socket.nsp.volatile.emit('volatile', ...args),
                'volatile-lobby': args =>
                    io.to('lobby').volatile.emit('volatile', ...args),
                local: args => io.local.emit('msg', ...args),
            });
        };

        io.on('connection', serve);
        io.of('/other').on('connection', serve);
    },
};

apps.disconnect = {
    options: { pingInterval: 60000 },
    serve(io) {
        const serve = nsp => nsp.on('connection', socket => {
            rules(socket, {
                echo: args => socket.emit('echo', ...args),
                kick: () => socket.disconnect(),
                kill: () => socket.disconnect(true),
                last: args => {
                    socket.emit('last', ...args);
                    socket.disconnect(true);
                    socket.emit('never');
                },
            });
            observed(socket);
        });

        serve(io);
        serve(io.of('/other'));
        io.of('/closed').on('connection', socket => socket.disconnect());
    },
};

apps.heartbeat = {
    options: { pingInterval: 300, pingTimeout: 1000, connectTimeout: 500 },
    serve(io) {
        io.on('connection', socket => {
            rules(socket, {});
            observed(socket);
        });
    },
};

apps.reconnect = {
    options: { pingInterval: 1000, pingTimeout: 2000 },
    serve(io) {
        io.on('connection', socket => {
            socket.emit('welcome', socket.id, socket.handshake.auth);
            rules(socket, {
                echo: args => socket.emit('echo', ...args),
                join: ([room]) => socket.join(room),
                to: ([room, x]) => io.to(room).emit('msg', x),
                kill: () => socket.disconnect(true),
            });
        });
    },
};

apps.upgrade = {
    serve(io) {
        io.on('connection', socket => rules(socket, {
            echo: args => socket.emit('echo', ...args),
            ask: (args, done) => done(...args),
            tick: args => socket.broadcast.emit('tick', ...args),
        }));
    },
};

apps.large = {
    options: { maxHttpBufferSize: 1000000 },
    serve(io) {
        io.on('connection', socket => {
            rules(socket, {
                echo: args => socket.emit('echo', ...args),
                ask: (args, done) => done(...args),
            });
            observed(socket);
        });
    },
};


/* plain Engine.IO, in the places of locations with "sio_parser none" */
apps.engine = {
    serve() {},
    engine(server) {
        const attach = (path, options, serve) => {
            const place = new engine.Server(options);

            place.attach(server, { path, destroyUpgrade: false });
            place.on('connection', socket => socket.on(
                'message', message => serve(socket, message, place)));
        };
        const reply = (socket, message) => socket.send(message);

        attach('/engine.io/', {}, reply);
        attach('/short/', { pingInterval: 200 }, reply);
        attach('/shared/', {}, (socket, message, place) => {
            for (const client of Object.values(place.clients)) {
                client.send(message);
            }
        });
    },
};

const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting',
                  'newListener', 'removeListener'];

/* a value within a JSON string */
const inText = value => value === undefined ? ''
                        : typeof value === 'string' ? value
                        : JSON.stringify(value);

apps.rules = {
    serve(io) {
        const orNull = value => value === undefined ? null : value;

        io.on('connection', socket => {
            const { headers, query, auth } = socket.handshake;
            const user = headers['x-user'] || '';
            const color = (/color=(\w+)/.exec(headers.cookie) || [])[1];
            const vars = (event, args) => ({
                id: socket.id, namespace: socket.nsp.name, event, args,
                arg1: orNull(args[0]), arg2: orNull(args[1]),
                arg9: orNull(args[8]), auth, user, color, query: query.token,
                fixed: 'fixed text', mixed: `127.0.0.1/${user}`,
            });

            socket.emit('hello', socket.id, auth, user, { color });

            rules(socket, {
                variables: (args, done, event) => done(vars(event, args)),
                swap: ([a, b], done) => done(orNull(b), orNull(a)),
                deep: ([a], done) => done({ a: [a, { b: a }] }),
                second: ([, b], done) => done(b),
                list: (args, done) => done(args, 3),
                text: ([a, b], done) => done(
                    `<${inText(a)}|${user}|${inText(b)}!>`,
                    { key: inText(a) + inText(a) }),
                constant: (args, done) => done(
                    null, true, 1500, 'text', { a: [] }, '$sio_id costs 5$'),
                none: (args, done) => done(),
                rename: ([to, a, b]) => {
                    if (name(to) !== null && !RESERVED.includes(to)) {
                        socket.emit(name(to), a, b);
                    }
                },
                'say it': ([text]) => socket.broadcast.emit(
                    'it was said', { from: socket.id, text }),
                several: args => {
                    socket.emit('first', ...args);
                    io.emit('everybody', ...args);
                    socket.join('own');
                    io.to('own').emit('room', ...args);
                    socket.leave('own');
                    io.to('own').emit('nobody', ...args);
                    socket.emit('last', ...args);
                },
                bye: args => {
                    io.emit('before', ...args);
                    socket.disconnect();
                    socket.emit('after', ...args);
                },
                '*': (args, done, event) => socket.emit('other', event, args),
            });
        });

        io.of('/more').on('connection', socket => rules(socket, {
            variables: (args, done, event) => done({
                id: socket.id, namespace: socket.nsp.name, event, args,
                auth: socket.handshake.auth,
                user: socket.handshake.headers['x-user'] }),
        }));
    },
};

apps.http = {
    options() {
        const listed = ['https://example.com', /^https:\/\/\w+\.example\.org$/];
        const known = origin => listed.some(
            o => o.test ? o.test(origin) : o === origin);

        return {
            cookie: { name: 'io', path: '/', httpOnly: true, sameSite: 'lax' },
            cors: { origin: listed, credentials: true },
            allowRequest(request, done) {
                const { origin, host } = request.headers;

                done(null, !origin || known(origin)
                           || origin === `http://${host}`);
            },
        };
    },
    serve(io) {
        io.on('connection', socket => rules(socket, {
            ask: (args, done) => done(...args),
        }));
    },
};


apps.python = {
    options: { pingInterval: 300, pingTimeout: 2000 },
    serve(io) {
        const serve = nsp => nsp.on('connection', socket => {
            socket.emit('welcome', socket.id, socket.handshake.auth);
            rules(socket, {
                ask: (args, done) => done(...args),
                say: args => socket.broadcast.emit('say', ...args),
                join: ([room], done) => {
                    socket.join(room);
                    done();
                },
                leave: ([room], done) => {
                    socket.leave(room);
                    done();
                },
                to: ([room, x]) => nsp.to(room).emit('msg', x),
                watch: (args, done) => {
                    socket.join('observers');
                    done();
                },
                kill: () => socket.disconnect(true),
                '*': (args, done, event) => socket.emit(event, ...args),
            });
            socket.on('disconnect', reason => nsp.to('observers')
                .emit('gone', socket.id, reason));
        });

        serve(io);
        serve(io.of('/chat'));
    },
};

/* --- */

function main([app, scenario, ...args]) {
    const { serve, options = {}, engine: bare } = apps[app];
    const server = createServer();
    const io = new Server(server, typeof options === 'function'
                                  ? options() : options);

    serve(io);

    if (bare) {
        bare(server);
    }

    server.listen(0, '127.0.0.1', () => {
        const url = `http://127.0.0.1:${server.address().port}`;
        const file = path.join(__dirname, scenario);
        const program = scenario.endsWith('.py') ? '/usr/bin/python3' : 'node';

        spawn(program, [file, url, '--reference', ...args],
              { stdio: 'inherit' })
            .on('exit', code => process.exit(code === null ? 1 : code));
    });
}

main(process.argv.slice(2));
