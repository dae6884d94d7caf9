'use strict';

/*
 * Runs the tests of one scenario with several kinds of clients and prints
 * TAP.  A scenario is called as "node scenario.js URL [--tls PORT]"; it talks
 * to a server at URL and knows nothing else about it, so that the same file
 * judges the module and the Node.js server (reference.js).  With "--workers"
 * the server is several workers that have a status page.  ONLY=text in the
 * environment runs the tests whose name, with its kind, has that text.
 *
 * Nothing here sleeps: every wait is for a condition and has a deadline.
 */

const assert = require('assert');
const http = require('http');
const https = require('https');
const net = require('net');
const { io: io4 } = require('socket.io-client');
const { io: io3 } = require('socket.io-client-3');
const engine = require('engine.io-client');

/* the server is the one of reference.js */
const REFERENCE = process.argv.includes('--reference');

/* the server is several workers */
const WORKERS = process.argv.includes('--workers');

const SCALE = process.env.NGX_SIO_ASAN ? 4 : 1;
const DEADLINE = 5000 * SCALE;

const base = new URL(process.argv[2]);
const tls = process.argv.indexOf('--tls');

if (tls > 0) {
    base.protocol = 'https:';
    base.port = process.argv[tls + 1];
}

const URL_ = base.href.replace(/\/$/, '');

const KINDS = [];

for (const [version, io] of [['4.x', io4], ['3.x', io3]]) {
    for (const [how, transports] of [
        ['polling', ['polling']],
        ['websocket', ['websocket']],
        ['upgrade', ['polling', 'websocket']],
    ]) {
        KINDS.push({ name: `${version} ${how}`, version, io, how, transports });
    }
}

/* of the transports of bare Engine.IO clients there is one version only */
const RAW = KINDS.slice(0, 3);

const kind = name => KINDS.find(k => k.name === name);


/* the promise, or an error that says what was waited for */
function within(promise, what, ms = DEADLINE) {
    let timer;

    return Promise.race([
        promise,
        new Promise((_, fail) => {
            timer = setTimeout(() => fail(new Error(
                'timed out waiting for '
                + (typeof what === 'function' ? what() : what))), ms);
        }),
    ]).finally(() => clearTimeout(timer));
}

/* polls a condition */
async function until(condition, what, ms = DEADLINE) {
    const end = Date.now() + ms;

    while (!condition()) {
        if (Date.now() > end) {
            throw new Error('timed out waiting for '
                            + (typeof what === 'function' ? what() : what));
        }
        await new Promise(next => setTimeout(next, 2));
    }
}

/* every kind of binary as a Buffer, so that values can be compared */
function plain(value) {
    if (value instanceof ArrayBuffer) {
        return Buffer.from(value);
    }
    if (ArrayBuffer.isView(value)) {
        return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
    if (Array.isArray(value)) {
        return value.map(plain);
    }
    if (value && typeof value === 'object') {
        return Object.fromEntries(
            Object.entries(value).map(([key, item]) => [key, plain(item)]));
    }
    return value;
}

function same(got, expected, what) {
    assert.deepStrictEqual(plain(got), plain(expected), what);
}

/* what came in, and those who wait for more of it */
class Inbox {
    constructor(what) {
        this.what = what;
        this.items = [];
        this.seen = 0;
        this.waiting = new Set();
    }

    put(item) {
        this.items.push(item);
        this.seen++;
        for (const check of [...this.waiting]) {
            check();
        }
    }

    /* takes the first item that matches */
    take(match, what) {
        let check;

        return within(new Promise(done => {
            check = () => {
                const i = this.items.findIndex(match);
                if (i >= 0) {
                    this.waiting.delete(check);
                    done(this.items.splice(i, 1)[0]);
                }
            };
            this.waiting.add(check);
            check();
        }), () => `${what} at ${this.what}; there is `
                  + JSON.stringify(this.items).slice(0, 300))
            .finally(() => this.waiting.delete(check));
    }
}

/* a socket.io-client socket that remembers its events */
class Peer {
    constructor(socket) {
        this.socket = socket;
        this.inbox = new Inbox(socket.nsp);
        this.reasons = new Inbox(socket.nsp);
        this.errors = new Inbox(socket.nsp);

        socket.onAny((...event) => this.inbox.put(event));
        socket.on('disconnect', reason => this.reasons.put(reason));
        socket.on('connect_error', error => this.errors.put(error));
    }

    get id() { return this.socket.id; }
    get manager() { return this.socket.io; }
    get engine() { return this.socket.io.engine; }

    emit(...event) { this.socket.emit(...event); }

    /* the arguments of the acknowledgement */
    ask(...event) {
        return within(new Promise(done => {
            this.socket.emit(...event, (...args) => done(args));
        }), () => `the acknowledgement of `
                  + JSON.stringify(event).slice(0, 200)
                  + `; disconnected: ${this.reasons.items}`);
    }

    /* all that was sent to this socket before this call has come */
    sync() { return this.ask('sync'); }

    /* the arguments of the next event of that name */
    async next(name) {
        const event = await this.inbox.take(e => e[0] === name,
                                            `event ${JSON.stringify(name)}`);
        return event.slice(1);
    }

    /* no event is left (after what was sent until now has come) */
    async nothing() {
        await everywhere();
        await this.sync();
        same(this.inbox.items, [], `nothing else came to ${this.socket.nsp}`);
    }

    reason() { return this.reasons.take(() => true, 'disconnect'); }

    error() { return this.errors.take(() => true, 'connect_error'); }

    async connected() {
        if (!this.socket.connected) {
            await within(new Promise((done, fail) => {
                this.socket.once('connect', done);
                this.socket.once('connect_error', fail);
            }), `connect to ${this.socket.nsp}`);
        }
        return this;
    }

    async upgraded() {
        await until(() => this.engine && this.engine.transport
                          && this.engine.transport.name === 'websocket',
                    'the upgrade');
        return this;
    }

    /* the transport that this kind of client ends with */
    async settled(kind) {
        if (kind.how === 'upgrade') {
            await this.upgraded();
        }
        return this;
    }

    /* another namespace of the same connection */
    of(nsp, options) {
        const peer = new Peer(this.manager.socket(nsp, options));
        peer.socket.connect();
        return peer;
    }
}

/* an Engine.IO client: what it sends and gets are bare messages */
class Raw {
    constructor(options) {
        this.socket = new engine.Socket(URL_, {
            path: '/socket.io', rejectUnauthorized: false, ...options,
        });
        this.inbox = new Inbox('engine');
        this.reasons = new Inbox('engine');
        this.socket.on('message', message => this.inbox.put(message));
        this.socket.on('close', reason => this.reasons.put(reason));
        this.socket.on('error', () => {});
    }

    async opened() {
        await until(() => this.socket.readyState === 'open', 'open');
        return this;
    }

    send(message) { this.socket.send(message); }

    next() { return this.inbox.take(() => true, 'message'); }

    reason() { return this.reasons.take(() => true, 'close'); }

    /* joins a namespace and gives the id there */
    async join(nsp = '/', auth) {
        const name = nsp === '/' ? '' : `${nsp},`;
        this.send(`0${name}${auth === undefined ? '' : JSON.stringify(auth)}`);
        const answer = await this.inbox.take(
            m => typeof m === 'string' && m.startsWith(`0${name}{`), 'CONNECT');
        return JSON.parse(answer.slice(1 + name.length)).sid;
    }
}

/* an Engine.IO session by bare HTTP requests, polling only when told to */
class Poll {
    constructor(headers = {}) {
        this.headers = headers;
        this.path = '/socket.io/?EIO=4&transport=polling';
    }

    /*
     * {status, headers, bytes, text, port}; sent is fulfilled when the
     * request has left, abort() breaks the connection
     */
    request(method, body, headers = {}) {
        let request;
        const answer = within(new Promise((done, fail) => {
            request = (base.protocol === 'https:' ? https : http).request(
                URL_ + this.path, {
                    method, agent: this.agent || false,
                    rejectUnauthorized: false,
                    headers: { ...this.headers, ...headers },
                }, response => {
                    const chunks = [];
                    const port = response.socket.localPort;

                    response.on('data', chunk => chunks.push(chunk));
                    response.on('error', fail);
                    response.on('end', () => {
                        const bytes = Buffer.concat(chunks);

                        done({ status: response.statusCode, bytes, port,
                               headers: response.headers,
                               text: bytes.toString() });
                    });
                });
            request.on('error', fail);
            request.end(body);
        }), () => `the answer to a ${method}`);

        answer.catch(() => {});
        answer.sent = new Promise(done => request.on('finish', done));
        answer.abort = () => request.destroy();
        return answer;
    }

    get(headers) { return this.request('GET', undefined, headers); }

    post(body, headers) { return this.request('POST', body, headers); }

    /* the handshake, and CONNECT: gives the id in the namespace */
    async open() {
        const { text } = await this.get();
        this.open_ = JSON.parse(text.slice(1));
        this.sid = this.open_.sid;
        this.path += `&sid=${this.sid}`;
        return this;
    }

    async join(nsp = '/') {
        const name = nsp === '/' ? '' : `${nsp},`;
        await this.post(`40${name}`);
        const { text } = await this.get();
        const [packet] = text.split('\x1e');
        return JSON.parse(packet.slice(2 + name.length)).sid;
    }
}

/*
 * All that was sent to others until now has been given to them.  Of one worker
 * that is so when the sender is answered; among several it may still be on its
 * way, and even reach clients of a later test.
 */
async function everywhere() {
    if (!WORKERS) {
        return;
    }

    const poll = new Poll();
    const end = Date.now() + DEADLINE;

    poll.path = '/status';
    for (;;) {
        const status = JSON.parse((await poll.get()).text);

        if (status.bus_messages_in === status.bus_messages_out) {
            return;
        }
        assert(Date.now() < end, 'what workers sent each other arrives');
        await new Promise(next => setTimeout(next, 2));
    }
}

/* a TCP hop in front of the server that can go silent or break */
class Hop {
    async start() {
        this.pairs = new Set();
        this.silent = false;
        this.server = net.createServer(near => {
            const far = net.connect(base.port, base.hostname);
            const pair = [near, far];

            this.pairs.add(pair);
            near.setNoDelay(true);
            far.setNoDelay(true);

            pair.forEach((from, i) => {
                const to = pair[1 - i];
                from.on('error', () => {});
                from.on('data', data => {
                    if (!this.silent) {
                        pair.busy = i === 0;
                        pair.waiting = i === 0 && data.includes('GET /');
                        to.write(data);
                    }
                });
                from.on('end', () => this.silent || to.end());
                from.on('close', () => {
                    if (!this.silent) {
                        to.destroy();
                        this.pairs.delete(pair);
                    }
                });
            });
        });
        await new Promise(done => this.server.listen(0, '127.0.0.1', done));
        this.url = `${base.protocol}//127.0.0.1:${this.server.address().port}`;
        return this;
    }

    /* a GET is under way and has no answer yet */
    waiting() { return [...this.pairs].some(pair => pair.waiting); }

    /* every connection through it breaks */
    cut() {
        for (const pair of this.pairs) {
            pair.forEach(socket => socket.destroy());
        }
        this.pairs.clear();
    }

    /* those who close may still say so */
    async stop() {
        const busy = () => [...this.pairs].some(pair => pair.busy);

        await until(() => this.silent || !busy(), 'the end', 500)
            .catch(() => {});
        this.cut();
        this.server.close();
    }
}

/* what one test sees: it opens clients, and all are closed behind it */
class Context {
    constructor(kind) {
        this.kind = kind;
        this.closers = [];
    }

    finally(closer) { this.closers.push(closer); }

    open(nsp = '/', options = {}) {
        const { url = URL_, kind = this.kind, ...rest } = options;
        const socket = kind.io(url + nsp, {
            forceNew: true,
            autoConnect: false,
            transports: kind.transports,
            rejectUnauthorized: false,
            reconnectionDelay: 10,
            reconnectionDelayMax: 100,
            ...rest,
        });
        const peer = new Peer(socket);

        this.finally(() => socket.io._close());
        socket.connect();
        return peer;
    }

    connect(nsp, options) { return this.open(nsp, options).connected(); }

    async raw(options) {
        const raw = new Raw({ transports: this.kind ? this.kind.transports
                                                    : ['websocket'],
                              ...options });
        this.finally(() => raw.socket.close());
        return raw.opened();
    }

    /*
     * gone(id) is the reason that the "disconnect" rule gave for that socket;
     * "watch" makes a socket one of those that hear it
     */
    async observe(nsp = '/') {
        const peer = await this.connect(nsp, { kind: kind('4.x websocket') });

        peer.emit('watch');
        await peer.sync();
        return async id => {
            const [, , reason, args] = await peer.inbox.take(
                e => e[0] === 'gone' && e[1] === id, `the end of ${id}`);
            same(args, [reason], 'the arguments of the rule');
            return reason;
        };
    }

    async poll(headers) {
        const poll = await new Poll(headers).open();
        this.finally(() => poll.post('1').catch(() => {}));
        return poll;
    }

    async hop() {
        const hop = await new Hop().start();
        this.finally(() => hop.stop());
        return hop;
    }

    /* hops are opened first and closed last */
    async close() {
        for (const closer of this.closers.reverse()) {
            await closer();
        }
    }
}

const tests = [];

/*
 * Declares a test, run once for each kind (kinds: [null] runs it once, of no
 * kind).  The kinds of a test run one after the other, or side by side if
 * they can't meet ("parallel").
 */
function test(name, options, body) {
    if (!body) {
        body = options;
        options = {};
    }
    tests.push({ name, body, kinds: KINDS, ms: 20000 * SCALE, ...options });
}

async function runOne(test, kind) {
    const context = new Context(kind);

    try {
        await within(test.body(context), test.name, test.ms);
        return null;
    } catch (error) {
        return error;
    } finally {
        await context.close();
        await everywhere();
    }
}

async function run() {
    let number = 0, failed = 0;

    const name = (test, kind) => kind ? `${kind.name}: ${test.name}`
                                      : test.name;
    const only = process.env.ONLY || '';

    const report = (test, kind, error) => {
        console.log(`${error ? 'not ok' : 'ok'} ${++number} - `
                    + name(test, kind));
        if (error) {
            failed++;
            console.log(String(error.stack || error).replace(/^/gm, '# '));
        }
    };

    for (const test of tests) {
        if (failed > 10) {
            console.log('# too many failures, the rest is not run');
            break;
        }

        const kinds = test.kinds.filter(k => name(test, k).includes(only));

        if (test.parallel) {
            await Promise.all(kinds.map(
                async kind => report(test, kind, await runOne(test, kind))));
            continue;
        }
        for (const kind of kinds) {
            report(test, kind, await runOne(test, kind));
        }
    }

    console.log(`1..${number}`);

    /* what is closing may finish, so that no session is left behind */
    process.exitCode = failed ? 1 : 0;
    setTimeout(() => process.exit(), 2000).unref();
}

process.on('unhandledRejection', error => {
    console.log(`not ok - unhandled rejection\n# ${error.stack || error}`);
    process.exit(1);
});

setImmediate(run);

module.exports = {
    assert, base, Context, everywhere, Inbox, kind, KINDS, Poll, RAW, REFERENCE,
    same, SCALE, test, until, url: URL_, within,
};
