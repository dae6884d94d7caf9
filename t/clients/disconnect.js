'use strict';

/*
 * Every way in which a connection ends: the reason that the client sees and
 * the one that the "disconnect" rule tells an observer.
 */

const net = require('net');
const { assert, base, kind, RAW, same, test, until } = require('./harness');

const QUIET = { reconnection: false };

test('the client leaves', async t => {
    const gone = await t.observe();
    const peer = await t.connect();
    const { id } = peer;

    peer.emit('echo', 'last words');
    peer.socket.disconnect();
    same(await peer.reason(), 'io client disconnect');
    same(await gone(id), 'client namespace disconnect');
});

test('the client leaves one namespace', async t => {
    const gone = await t.observe();
    const goneOther = await t.observe('/other');
    const peer = await t.connect();
    const other = await peer.of('/other').connected();
    const ids = [peer.id, other.id];

    other.socket.disconnect();
    same(await other.reason(), 'io client disconnect');
    same(await goneOther(ids[1]), 'client namespace disconnect');
    await peer.sync();
    peer.socket.disconnect();
    same(await gone(ids[0]), 'client namespace disconnect');
});

test('the server ends one namespace', async t => {
    const gone = await t.observe();
    const peer = await t.connect('/', QUIET);
    const other = await peer.of('/other').connected();
    const { id } = peer;

    peer.emit('kick');
    same(await peer.reason(), 'io server disconnect');
    same(await gone(id), 'server namespace disconnect');
    await other.sync();
    peer.socket.connect();
    await peer.connected();
    assert.notStrictEqual(peer.id, id);
    await peer.sync();
});

test('the server ends the connection, all namespaces', async t => {
    const gone = await t.observe();
    const goneOther = await t.observe('/other');
    const peer = await t.connect('/', QUIET);
    const other = await peer.of('/other').connected();
    const ids = [peer.id, other.id];

    peer.emit('kill');
    same(await peer.reason(), 'io server disconnect');
    same(await other.reason(), 'io server disconnect');
    same(await gone(ids[0]), 'server namespace disconnect');
    same(await goneOther(ids[1]), 'server namespace disconnect');
});

test('what was sent before the end arrives, nothing after', async t => {
    const gone = await t.observe();
    const peer = await t.connect('/', QUIET);
    const { id } = peer;

    peer.emit('last', 1, Buffer.from('bye'));
    same(await peer.next('last'), [1, Buffer.from('bye')]);
    same(await peer.reason(), 'io server disconnect');
    same(await gone(id), 'server namespace disconnect');
    same(peer.inbox.items, []);
});

test('the server ends it at the connection', async t => {
    const peer = await t.connect('/closed', QUIET);

    same(await peer.reason(), 'io server disconnect');
});

test('the client closes the transport', async t => {
    const gone = await t.observe();
    const goneOther = await t.observe('/other');
    const peer = await (await t.connect('/', QUIET)).settled(t.kind);
    const other = await peer.of('/other').connected();
    const ids = [peer.id, other.id];

    await peer.sync();
    peer.engine.close();
    same(await peer.reason(), 'forced close');
    same(await other.reason(), 'forced close');
    same(await gone(ids[0]), 'transport close');
    same(await goneOther(ids[1]), 'transport close');
});

test('the connection breaks', async t => {
    const gone = await t.observe();
    const hop = await t.hop();
    const peer = await (await t.connect('/', { ...QUIET, url: hop.url }))
        .settled(t.kind);
    const { id } = peer;

    await peer.sync();
    if (t.kind.how === 'polling') {
        await until(() => hop.waiting(), 'a waiting GET');
    }

    /* nor does a POST come through that closes the session */
    hop.server.close();
    hop.cut();

    const reason = t.kind.how === 'polling' ? 'transport error'
                                            : 'transport close';
    same(await peer.reason(), reason);
    same(await gone(id), reason);
});

/* what a client must not send: [packets, reason of the rule] */

const FORBIDDEN = [
    ['broken JSON', ['2["echo"'], 'forced close'],
    ['JSON that is no array', ['2{"a":1}'], 'forced close'],
    ['no event name', ['2[]'], 'forced close'],
    ['null as event name', ['2[null]'], 'forced close'],
    ['a reserved event', ['2["connect"]'], 'forced close'],
    ['a reserved event, binary',
     ['51-["disconnecting",{"_placeholder":true,"num":0}]', Buffer.from('x')],
     'forced close'],
    ['an unknown packet type', ['7["x"]'], 'forced close'],
    ['an empty packet', [''], 'forced close'],
    ['an acknowledgement that is no array', ['31{}'], 'forced close'],
    ['DISCONNECT with data', ['1{}'], 'forced close'],
    ['an attachment that was not announced', [Buffer.from('x')],
     'forced close'],
    ['text in place of an attachment',
     ['51-["echo",{"_placeholder":true,"num":0}]', '2["echo"]'],
     'forced close'],
    ['a placeholder out of range',
     ['51-["echo",{"_placeholder":true,"num":1}]', Buffer.from('x')],
     'forced close'],
    ['more attachments than allowed',
     ['511-["echo"]'], 'forced close'],
    ['an attachment count without dash', ['51["echo"]'], 'forced close'],
];

for (const [what, packets, reason] of FORBIDDEN) {
    test(`${what}: ${reason}`, { kinds: RAW.slice(0, 2) }, async t => {
        const gone = await t.observe();
        const raw = await t.raw();
        const id = await raw.join();

        for (const packet of packets) {
            raw.send(packet);
        }
        same(await gone(id), reason);
        same(await raw.reason(), 'transport close');
        same(raw.inbox.items, []);
    });
}

/*
 * What the state of the session does not allow: Node.js closes the transport
 * at once if it can be written to, else it waits for the client's next GET,
 * and then it is the server that ends the connection.
 */

const UNEXPECTED = [
    ['an event for a namespace not joined', '2/other,["echo"]'],
    ['DISCONNECT for a namespace not joined', '1/other,'],
    ['an acknowledgement for a namespace not joined', '3/other,1[]'],
    ['a second CONNECT', '0'],
    ['CONNECT_ERROR', '4{"message":"x"}'],
];

test('unexpected packets on a WebSocket: forced close', {
    kinds: [kind('4.x websocket')],
}, async t => {
    const gone = await t.observe();

    for (const [what, packet] of UNEXPECTED) {
        const raw = await t.raw();
        const id = await raw.join();

        raw.send(packet);
        same(await gone(id), 'forced close', what);
        same(await raw.reason(), 'transport close', what);
    }
});

test('unexpected packets in a POST, no GET waiting: forced server close', {
    kinds: [null],
}, async t => {
    const gone = await t.observe();

    for (const [what, packet] of UNEXPECTED) {
        const poll = await t.poll();
        const id = await poll.join();

        same((await poll.post(`4${packet}`)).text, 'ok', what);
        same(await gone(id), 'forced server close', what);
        same((await poll.get()).text, '6\x1e1', what);
        same((await poll.get()).status, 400, what);
    }
});

test('broken packets in a POST, no GET waiting: forced close', {
    kinds: [null],
}, async t => {
    const gone = await t.observe();

    for (const body of ['42[', '42["echo"]\x1e42{}', '4\x1e42["echo"]']) {
        const poll = await t.poll();
        const id = await poll.join();

        same((await poll.post(body)).text, 'ok', body);

        /* the answer to a good packet before the bad one may be lost */
        let text = (await poll.get()).text;

        if (text === '42["echo"]') {
            text = (await poll.get()).text;
        }
        same(text, '6\x1e1', body);
        same(await gone(id), 'forced close', body);
        same((await poll.get()).status, 400, body);
    }
});

test('a real client that sends rubbish', async t => {
    const gone = await t.observe();
    const goneOther = await t.observe('/other');
    const peer = await (await t.connect('/', QUIET)).settled(t.kind);
    const other = await peer.of('/other').connected();
    const ids = [peer.id, other.id];

    peer.engine.write('2[');
    same(await peer.reason(), 'transport close');
    same(await gone(ids[0]), 'forced close');
    same(await goneOther(ids[1]), 'forced close');
});

test('rubbish instead of an Engine.IO packet', {
    kinds: [kind('4.x websocket')],
}, async t => {
    const gone = await t.observe();

    for (const [frame, reason] of [['x', 'parse error'], ['', 'parse error'],
                                   ['2', 'transport error'],
                                   ['2probe', 'transport error'],
                                   ['9', 'parse error']]) {
        const raw = await t.raw();
        const id = await raw.join();

        raw.socket.transport.ws.send(frame);
        same(await gone(id), reason, `the frame "${frame}"`);
        same(await raw.reason(), 'transport close');
    }
});

test('rubbish in a POST', { kinds: [null] }, async t => {
    const gone = await t.observe();

    for (const [body, reason] of [['x', 'parse error'], ['', 'parse error'],
                                  ['2', 'transport error'],
                                  ['42["echo"]\x1ex', 'parse error'],
                                  ['1', 'transport close']]) {
        const poll = await t.poll();
        const id = await poll.join();

        poll.post(body).catch(() => {});
        same(await gone(id), reason, `the body ${JSON.stringify(body)}`);
        same((await poll.get()).status, 400);
    }
});

test('a POST of the wrong type', { kinds: [null] }, async t => {
    const gone = await t.observe();
    const poll = await t.poll();
    const id = await poll.join();

    same((await poll.post('42["echo"]',
        { 'Content-Type': 'application/octet-stream' })).status, 400);
    same(await gone(id), 'transport error');
});

test('a GET that is aborted', { kinds: [null] }, async t => {
    const gone = await t.observe();
    const poll = await t.poll();
    const id = await poll.join();

    const get = poll.get();

    await get.sent;
    get.abort();
    same(await gone(id), 'transport error');
});

test('a GET that ends with its connection\'s end', {
    kinds: [null],
}, async t => {
    const gone = await t.observe();

    for (let i = 0; i < 10; i++) {
        const poll = await t.poll();
        const id = await poll.join();
        const socket = net.connect(base.port, base.hostname);

        socket.on('error', () => {});
        socket.resume();
        socket.end(`GET ${poll.path} HTTP/1.1\r\nHost: ${base.host}\r\n\r\n`);
        same(await gone(id), 'transport error');
    }
});

test('two GETs at once', { kinds: [null] }, async t => {
    const gone = await t.observe();
    const poll = await t.poll();
    const id = await poll.join();
    const answers = await Promise.all([poll.get(), poll.get()]);
    const statuses = answers.map(a => a.status).sort();

    same(statuses, [200, 400]);
    same(answers.find(a => a.status === 200).text, '1');
    same(answers.find(a => a.status === 400).text, '');
    same(await gone(id), 'transport error');
});
