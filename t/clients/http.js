'use strict';

/* The HTTP side: headers, cookies, CORS, HTTP/1.0, gzip, subprotocols. */

const net = require('net');
const http = require('http');
const zlib = require('zlib');
const WebSocket = require('ws');
const { assert, base, Inbox, Poll, REFERENCE, same, test, url, within }
    = require('./harness');

const ONCE = { kinds: [null] };
const COOKIE = /^io=([\w-]+); Path=\/; HttpOnly; SameSite=Lax$/;

/* a WebSocket handshake: {status, headers, ws, inbox} */
function shake(headers = {}, protocols = [], query = '') {
    return within(new Promise(done => {
        const ws = new WebSocket(
            `${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`
            + query, protocols, { headers });
        const inbox = new Inbox('ws');
        let response;

        ws.on('message', message => inbox.put(message.toString()));
        ws.on('upgrade', r => { response = r; });
        ws.on('open', () => done({
            status: 101, headers: response.headers, ws, inbox }));
        ws.on('unexpected-response', (_, r) => {
            done({ status: r.statusCode, headers: r.headers });
            ws.terminate();
        });
        ws.on('error', () => {});
    }), 'the handshake');
}

test('the answers to polling requests', ONCE, async t => {
    const poll = new Poll();
    const { status, headers, text } = await poll.get();

    same(status, 200);
    same(headers['content-type'], 'text/plain; charset=UTF-8');
    same(headers['cache-control'], 'no-store');
    assert.strictEqual(text[0], '0');

    const open = JSON.parse(text.slice(1));

    same(Object.keys(open),
         ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    same({ ...open, sid: '' }, { sid: '', upgrades: ['websocket'],
        pingInterval: 25000, pingTimeout: 20000, maxPayload: 1000000 });
    assert.match(open.sid, /^[\w-]{20,}$/);

    poll.path += `&sid=${open.sid}`;
    const post = await poll.post('40');

    same(post.status, 200);
    same(post.text, 'ok');
    same(post.headers['content-type'], 'text/html');
    same(post.headers['cache-control'], 'no-store');
    same((await poll.get()).headers['content-type'],
         'text/plain; charset=UTF-8');
    await poll.post('1');
});

test('the cookie, in the handshake only', ONCE, async t => {
    const poll = new Poll();
    const { headers, text } = await poll.get();
    const { sid } = JSON.parse(text.slice(1));

    same(headers['set-cookie'].length, 1);
    same(COOKIE.exec(headers['set-cookie'][0])[1], sid);
    poll.path += `&sid=${sid}`;
    same((await poll.post('40')).headers['set-cookie'], undefined);
    same((await poll.get()).headers['set-cookie'], undefined);
    await poll.post('1');

    /* Node.js sets none on a WebSocket */
    if (REFERENCE) {
        return;
    }

    const { ws, headers: upgraded, inbox } = await shake();
    const message = await inbox.take(() => true, 'the open packet');

    same(COOKIE.exec(upgraded['set-cookie'][0])[1],
         JSON.parse(message.slice(1)).sid);
    ws.close();
});

test('the first of the offered subprotocols', ONCE, async t => {
    for (const [offered, expected] of [[['one'], 'one'], [[], undefined],
                                       [['b', 'a', 'c'], 'b']]) {
        const { status, headers, ws } = await shake({}, offered);

        same(status, 101);
        same(headers['sec-websocket-protocol'], expected);
        ws.close();
    }
});

/* [Origin, allowed, named in the list]; its own host needs no header */

const ORIGINS = [
    ['https://example.com', true, true],
    ['https://a.example.org', true, true],
    [`http://127.0.0.1:${base.port}`, true, false],
    ['https://evil.com', false, false],
    ['https://example.com.evil.com', false, false],
    ['http://example.com', false, false],
    ['https://example.com:8443', false, false],
    ['null', false, false],
];

test('CORS', ONCE, async t => {
    for (const [origin, allowed, named] of ORIGINS) {
        const poll = new Poll({ Origin: origin });
        const { status, headers, text } = await poll.get();

        same(status, allowed ? 200 : 403, origin);
        if (!allowed) {
            same(headers['access-control-allow-origin'], undefined, origin);
        }
        if (named) {
            same(headers['access-control-allow-origin'], origin);
            same(headers['access-control-allow-credentials'], 'true', origin);
            assert.match(headers.vary, /\bOrigin\b/);
        }
        if (!allowed) {
            same(JSON.parse(text).code, 4);
            continue;
        }

        poll.path += `&sid=${JSON.parse(text.slice(1)).sid}`;
        const good = await poll.post('40');

        await poll.post('1');
        const bad = await poll.get();

        same(bad.status, 400);
        same(JSON.parse(bad.text).code, 1);
        if (named) {
            same(good.headers['access-control-allow-origin'], origin);
            same(bad.headers['access-control-allow-origin'], origin);
            assert.match(bad.headers.vary, /\bOrigin\b/);
        }
    }
});

test('CORS: the preflight', ONCE, async t => {
    const poll = new Poll({
        Origin: 'https://example.com',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'content-type, x-user',
    });
    const { status, headers } = await poll.request('OPTIONS');

    same(status, 204);
    same(headers['access-control-allow-origin'], 'https://example.com');
    same(headers['access-control-allow-credentials'], 'true');
    assert.match(headers['access-control-allow-methods'], /\bGET\b/);
    assert.match(headers['access-control-allow-methods'], /\bPOST\b/);
    assert.match(headers['access-control-allow-headers'].toLowerCase(),
                 /content-type.*x-user/);
});

test('the Origin of a WebSocket', ONCE, async t => {
    for (const [origin, allowed] of ORIGINS) {
        const { status, ws } = await shake({ Origin: origin });

        same(status, allowed ? 101 : 400, origin);
        ws?.close();
    }
});

test('a client of a foreign origin', async t => {
    const extraHeaders = { Origin: 'https://evil.com' };
    const peer = t.open('/', { extraHeaders, reconnection: false });

    await peer.error();
    assert.strictEqual(peer.socket.connected, false);

    await t.connect('/', { extraHeaders: { Origin: 'https://example.com' } });
});

test('HTTP/1.0', ONCE, async t => {
    const ask = (method, path, body = '') => within(new Promise(done => {
        const socket = net.connect(base.port, base.hostname);
        let answer = '';

        socket.setEncoding('utf8');
        socket.on('data', data => { answer += data; });
        socket.on('end', () => done(answer.split('\r\n\r\n')));
        socket.write(`${method} /socket.io/?EIO=4&transport=polling${path} `
            + `HTTP/1.0\r\nHost: ${base.host}\r\n`
            + (body && `Content-Length: ${body.length}\r\n`)
            + `\r\n${body}`);
    }), method);

    const [head, open] = await ask('GET', '');

    assert.match(head, /^HTTP\/1\.[01] 200 /);
    assert.doesNotMatch(head, /chunked/i);

    const sid = `&sid=${JSON.parse(open.slice(1)).sid}`;

    same((await ask('POST', sid, '40'))[1], 'ok');
    assert.match((await ask('GET', sid))[1], /^40\{"sid":"[\w-]{20}"\}$/);

    const waiting = ask('GET', sid);

    same((await ask('POST', sid, '421["ask","x"]'))[1], 'ok');
    assert.match((await waiting)[1], /^431\["x"\]$/);
    same((await ask('POST', sid, '1'))[1], 'ok');
});

test('many requests on one connection', ONCE, async t => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const poll = new Poll();
    const seen = new Set();

    t.finally(() => agent.destroy());
    poll.agent = agent;

    const { text } = await poll.get();

    poll.path += `&sid=${JSON.parse(text.slice(1)).sid}`;
    await poll.post('40');
    await poll.get();
    for (let i = 0; i < 50; i++) {
        same((await poll.post(`42${i}["ask",${i}]`)).text, 'ok');
        const answer = await poll.get();

        same(answer.text, `43${i}[${i}]`);
        seen.add(answer.port);
    }
    await poll.post('1');
    same(seen.size, 1, 'one connection');
});

test('gzip', ONCE, async t => {
    const poll = await t.poll();
    const big = 'x'.repeat(20000);

    await poll.join();
    await poll.post(`421["ask","${big}"]`);

    const { bytes, headers } = await poll.get({ 'Accept-Encoding': 'gzip' });

    same(headers['content-encoding'], 'gzip');
    same(zlib.gunzipSync(bytes).toString(), `431["${big}"]`);
    await poll.post(`421["ask","${big}"]`);
    same((await poll.get()).text, `431["${big}"]`);
});
