'use strict';

/* Clients come back by themselves when the connection is lost. */

const { assert, same, test, until } = require('./harness');

/* the new id, after the client has come back by itself */
async function back(peer, old) {
    await until(() => peer.socket.connected && peer.id !== old,
                'the reconnection');
    return peer.id;
}

test('the server drops the connection', async t => {
    let asked = 0;
    const peer = await (await t.connect('/', {
        auth: done => done({ time: ++asked }),
    })).settled(t.kind);
    let attempts = 0;

    peer.manager.on('reconnect_attempt', () => attempts++);

    for (let i = 1; i <= 3; i++) {
        const { id } = peer;

        same(await peer.next('welcome'), [id, { time: i }]);
        peer.engine.write('2[');
        same(await peer.reason(), 'transport close');
        await back(peer, id);
        await peer.settled(t.kind);
        await peer.sync();
    }
    assert(attempts >= 3);
    await peer.next('welcome');
    await peer.nothing();
});

test('the connection breaks; what was emitted meanwhile arrives once',
     async t => {
    const hop = await t.hop();
    const peer = await (await t.connect('/', { url: hop.url }))
        .settled(t.kind);
    const { id } = peer;

    await peer.sync();
    if (t.kind.how === 'polling') {
        await until(() => hop.waiting(), 'a waiting GET');
    }
    hop.cut();
    await peer.reason();
    peer.emit('echo', 'offline', Buffer.from('kept'));
    peer.emit('echo', 2);
    await back(peer, id);
    same(await peer.next('echo'), ['offline', Buffer.from('kept')]);
    same(await peer.next('echo'), [2]);
    same(await peer.next('welcome'), [id, {}]);
    same(await peer.next('welcome'), [peer.id, {}]);
    await peer.nothing();
});

test('rooms are left behind', async t => {
    const peer = await t.connect(), other = await t.connect();
    const { id } = peer;

    peer.emit('join', 'red');
    await peer.sync();
    peer.engine.write('2[');
    await back(peer, id);
    other.emit('to', 'red', 1);
    other.emit('to', id, 2);
    other.emit('to', peer.id, 3);
    await other.sync();
    same(await peer.next('msg'), [3]);
    await peer.next('welcome');
    await peer.next('welcome');
    await peer.nothing();
});

test('after "io server disconnect" only when told to', async t => {
    const peer = await (await t.connect()).settled(t.kind);
    const { id } = peer;
    let attempts = 0;

    peer.manager.on('reconnect_attempt', () => attempts++);
    peer.emit('kill');
    same(await peer.reason(), 'io server disconnect');
    assert.strictEqual(peer.socket.active, false);
    await until(() => peer.engine.readyState === 'closed', 'the end');
    peer.socket.connect();
    await peer.connected();
    assert.notStrictEqual(peer.id, id);
    await peer.sync();
});

test('the server is not there for a while', async t => {
    const hop = await t.hop();
    const peer = await (await t.connect('/', { url: hop.url }))
        .settled(t.kind);
    const { id } = peer;
    const { port } = hop.server.address();
    let failed = 0;

    peer.manager.on('reconnect_error', () => failed++);
    await peer.sync();
    if (t.kind.how === 'polling') {
        await until(() => hop.waiting(), 'a waiting GET');
    }
    hop.server.close();
    hop.cut();
    await until(() => failed >= 2, 'two attempts in vain');
    hop.server.listen(port, '127.0.0.1');
    await back(peer, id);
    await peer.sync();
});
