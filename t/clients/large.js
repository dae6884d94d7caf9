'use strict';

/* Messages up to the limit of 1000000 bytes, and above. */

const { assert, RAW, same, test } = require('./harness');

const LIMIT = 1000000;

/* the size of the whole Engine.IO packet is n */
const text = n => 'x'.repeat(n - '42["echo",""]'.length);

test('text of just the limit', async t => {
    const peer = await (await t.connect()).settled(t.kind);

    assert.strictEqual(peer.engine.maxPayload || LIMIT, LIMIT);
    peer.emit('echo', text(LIMIT));
    same(await peer.next('echo'), [text(LIMIT)]);
    peer.emit('echo', text(LIMIT - 1));
    same(await peer.next('echo'), [text(LIMIT - 1)]);
    await peer.nothing();
});

test('large binary', async t => {
    const peer = await (await t.connect()).settled(t.kind);

    /* base64 in a POST is a third longer */
    const size = t.kind.how === 'polling' ? 740000 : LIMIT;
    const bytes = Buffer.alloc(size, Buffer.from(
        Array.from({ length: 251 }, (_, i) => i)));

    peer.emit('echo', bytes);
    same(await peer.next('echo'), [bytes]);
    same(await peer.ask('ask', { bytes }), [{ bytes }]);
    await peer.nothing();
});

test('every size around those where lengths are coded differently',
     async t => {
    const peer = await (await t.connect()).settled(t.kind);

    for (const size of [125, 126, 127, 4095, 4096, 4097, 65535, 65536, 65537]) {
        for (const n of [size - 1, size, size + 1]) {
            const bytes = Buffer.alloc(n, n & 255);

            peer.emit('echo', text(n), bytes);
            same(await peer.next('echo'), [text(n), bytes]);
        }
    }
});

test('much in flight', async t => {
    const peer = await (await t.connect()).settled(t.kind);
    const big = 'y'.repeat(40000);

    for (let i = 0; i < 20; i++) {
        peer.emit('echo', i, i % 2 ? big : Buffer.from(big));
    }
    for (let i = 0; i < 20; i++) {
        same(await peer.next('echo'), [i, i % 2 ? big : Buffer.from(big)]);
    }
    await peer.nothing();
});

test('a real client that sends too much', async t => {
    const gone = await t.observe();
    const peer = await (await t.connect('/', { reconnection: false }))
        .settled(t.kind);
    const { id } = peer;

    peer.emit('echo', text(LIMIT + 1));
    if (t.kind.how === 'polling') {
        same(await peer.reason(), 'transport error');
        return;
    }
    same(await peer.reason(), 'transport close');
    same(await gone(id), 'transport error');
});

test('a WebSocket message above the limit: closed with 1009', {
    kinds: RAW.slice(1),
}, async t => {
    const raw = await t.raw();

    await raw.join();
    while (raw.socket.transport.name !== 'websocket') {
        await new Promise(done => raw.socket.once('upgrade', done));
    }

    const code = new Promise(done => raw.socket.transport.ws
        .addEventListener('close', event => done(event.code)));

    raw.send('2' + text(LIMIT + 1).padEnd(LIMIT, 'x'));
    same(await code, 1009);
});

test('a POST above the limit: 413, and the session lives', {
    kinds: [null],
}, async t => {
    const poll = await t.poll();

    await poll.join();
    same((await poll.post(`42["echo","${text(LIMIT + 1)}"]`)).status, 413);
    same((await poll.post(`42["echo","${text(LIMIT)}"]`)).text, 'ok');
    same((await poll.get()).text, `42["echo","${text(LIMIT)}"]`);
});
