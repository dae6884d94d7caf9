'use strict';

/* Who gets what: rooms, exceptions, the sender, volatile. */

const { assert, everywhere, kind, KINDS, same, test } = require('./harness');

/* three sockets of the kind and one of another */
async function people(t) {
    const other = KINDS[(KINDS.indexOf(t.kind) + 4) % KINDS.length];
    const [a, b, c, d] = await Promise.all([
        t.connect(), t.connect(), t.connect(),
        t.connect('/', { kind: other })]);

    return { a, b, c, d, all: [a, b, c, d] };
}

/* the sender has sent all; exactly those named got the event, once */
async function expect(sender, everybody, receivers, name, args) {
    await sender.sync();
    for (const peer of receivers) {
        same(await peer.next(name), args);
    }
    for (const peer of everybody) {
        await peer.nothing();
    }
}

test('emit reaches everybody, broadcast all others, reply the sender',
     async t => {
    const { a, b, c, d, all } = await people(t);

    a.emit('all', 1, Buffer.from('one'));
    await expect(a, all, all, 'all', [1, Buffer.from('one')]);
    b.emit('others', { x: [Buffer.from('two')] }, '😀');
    await expect(b, all, [a, c, d], 'others',
                 [{ x: [Buffer.from('two')] }, '😀']);
    c.emit('me', 3);
    await expect(c, all, [c], 'me', [3]);
});

test('join, leave', async t => {
    const { a, b, c, d, all } = await people(t);

    d.emit('to', 'red', 0);
    await expect(d, all, [], 'msg');
    same(await a.ask('join', 'red'), ['red']);
    same(await b.ask('join', 'red'), ['red']);
    same(await b.ask('join', 'red'), ['red']);
    d.emit('to', 'red', 1);
    await expect(d, all, [a, b], 'msg', [1]);
    a.emit('to', 'red', 2);
    await expect(a, all, [a, b], 'msg', [2]);
    a.emit('past', 'red', 3);
    await expect(a, all, [b], 'msg', [3]);
    d.emit('past', 'red', 4);
    await expect(d, all, [a, b], 'msg', [4]);
    await b.ask('leave', 'red');
    await c.ask('leave', 'red');
    d.emit('to', 'red', 5);
    await expect(d, all, [a], 'msg', [5]);
});

test('several rooms: one copy each', async t => {
    const { a, b, c, d, all } = await people(t);

    await a.ask('join', 'red');
    await a.ask('join', 'blue');
    await b.ask('join', 'blue');
    await c.ask('join', 'red');
    d.emit('two', 'red', 'blue', 1);
    await expect(d, all, [a, b, c], 'msg', [1]);
    d.emit('two', 'red', 'red', 2);
    await expect(d, all, [a, c], 'msg', [2]);
    d.emit('two', 'red', 'nobody', 3);
    await expect(d, all, [a, c], 'msg', [3]);
    d.emit('two', null, 'blue', 4);
    await expect(d, all, [a, b], 'msg', [4]);
});

test('exceptions', async t => {
    const { a, b, c, d, all } = await people(t);

    await a.ask('join', 'red');
    await b.ask('join', 'red');
    await b.ask('join', 'blue');
    await c.ask('join', 'green');
    d.emit('but', 'red', 1);
    await expect(d, all, [c, d], 'msg', [1]);
    d.emit('to-but', 'red', 'blue', 'nobody', 2);
    await expect(d, all, [a], 'msg', [2]);
    d.emit('to-but', 'lobby', 'blue', 'green', 3);
    await expect(d, all, [a, d], 'msg', [3]);
    d.emit('to-but', 'lobby', d.id, a.id, 4);
    await expect(d, all, [b, c], 'msg', [4]);
    d.emit('to-but', 'red', 'red', 'red', 5);
    await expect(d, all, [], 'msg');
});

test('a socket is in the room of its own id', async t => {
    const { a, b, d, all } = await people(t);

    d.emit('to', a.id, 'only you');
    await expect(d, all, [a], 'msg', ['only you']);
    a.emit('to', a.id, 'myself');
    await expect(a, all, [a], 'msg', ['myself']);
    await a.ask('join', b.id);
    d.emit('to', b.id, 'private');
    await expect(d, all, [b], 'msg', ['private']);
});

test('what is no name addresses nobody', async t => {
    const { a, b, all } = await people(t);

    for (const value of [null, true, {}, ['lobby'], { a: 'lobby' }, '']) {
        await b.ask('join', value);
        a.emit('to', value, 'x');
        await expect(a, all, [], 'msg');
    }
    a.emit('to');
    a.emit('past', null, 'x');
    await expect(a, all, [], 'msg');
});

test('numbers and any text are names', async t => {
    const { a, b, all } = await people(t);

    for (const room of ['Zimmer 7', 'комната', '\u2028', 'a,b', 'a#b', '"',
                        '\u0000', '$sio_id', 'x'.repeat(256), '😀']) {
        await b.ask('join', room);
        a.emit('to', room, room);
        await expect(a, all, [b], 'msg', [room]);
    }
    await b.ask('join', 7);
    a.emit('to', '7', 'text');
    await expect(a, all, [b], 'msg', ['text']);
    a.emit('to', 7, 'number');
    await expect(a, all, [b], 'msg', ['number']);
    await b.ask('join', 'x'.repeat(257));
    a.emit('to', 'x'.repeat(257), 'too long');
    await expect(a, all, [], 'msg');
});

test('a name of text and a variable', async t => {
    const { a, b, c, all } = await people(t);

    b.emit('join-team', 'x');
    c.emit('join-team', 'y');
    await b.sync();
    await c.sync();
    a.emit('team', 'x', 1);
    await expect(a, all, [b], 'msg', [1]);
    a.emit('to', 'team:y', 2);
    await expect(a, all, [c], 'msg', [2]);
});

test('only a member may speak', async t => {
    const { a, b, all } = await people(t);

    await a.ask('join', 'club');
    b.emit('member', 'club', 1);
    await expect(b, all, [], 'msg');
    await b.ask('join', 'club');
    b.emit('member', 'club', 2);
    await expect(b, all, [a, b], 'msg', [2]);
    await b.ask('leave', 'club');
    b.emit('member', 'club', 3);
    await expect(b, all, [], 'msg');
});

test('a room joined at the connection; local', async t => {
    const { a, b, all } = await people(t);

    a.emit('lobby', 1);
    await expect(a, all, all, 'msg', [1]);
    await b.ask('leave', 'lobby');
    a.emit('lobby', 2);
    await expect(a, all, all.filter(p => p !== b), 'msg', [2]);
    a.emit('local', 3);
    await expect(a, all, all, 'msg', [3]);
});

test('rooms belong to their namespace', async t => {
    const a = await t.connect(), b = await t.connect('/other');
    const a2 = await a.of('/other').connected();
    const all = [a, b, a2];

    await a.ask('join', 'red');
    b.emit('to', 'red', 1);
    await expect(b, all, [], 'msg');
    await a2.ask('join', 'red');
    b.emit('to', 'red', 2);
    await expect(b, all, [a2], 'msg', [2]);
    b.emit('but', 'lobby', 3);
    await expect(b, all, [], 'msg');
});

test('who leaves is in no room any more, who comes in none yet', async t => {
    const { a, b, c, d } = await people(t);

    await a.ask('join', 'red');
    await b.ask('join', 'red');
    const { id } = a;

    a.socket.disconnect();
    const e = await t.connect();

    d.emit('two', 'red', id, 1);
    await expect(d, [b, c, d, e], [b], 'msg', [1]);
});

test('every kind of client gets the same broadcast', {
    kinds: [kind('4.x websocket')],
}, async t => {
    const sender = await t.connect();
    const all = await Promise.all(KINDS.map(k => t.connect('/', { kind: k })));
    const args = ['x', [Buffer.from([0, 255]), { a: Buffer.alloc(0) }],
                  '\u2028'];

    for (let i = 0; i < 20; i++) {
        sender.emit('others', i, ...args);
        sender.emit('others', 'text', i);
    }
    for (const peer of all) {
        for (let i = 0; i < 20; i++) {
            same(await peer.next('others'), [i, ...args]);
            same(await peer.next('others'), ['text', i]);
        }
        await peer.nothing();
    }
});

test('volatile reaches who can take it at once', {
    kinds: KINDS.filter(k => k.how !== 'polling'),
}, async t => {
    const sender = await t.connect('/', { kind: kind('4.x websocket') });
    const peer = await (await t.connect()).settled(t.kind);

    await peer.sync();
    await sender.sync();
    sender.emit('volatile', 1);
    same(await peer.next('volatile'), [1]);
    same(await sender.next('volatile'), [1]);
    sender.emit('volatile', 2, Buffer.from('two'));
    same(await peer.next('volatile'), [2, Buffer.from('two')]);
});

test('volatile is lost without a waiting GET, the rest is kept', {
    kinds: [kind('4.x websocket')],
}, async t => {
    const sender = await t.connect();
    const poll = await t.poll();

    await poll.join();
    sender.emit('volatile', 'lost');
    sender.emit('all', 'kept');
    sender.emit('volatile-lobby', 'lost');
    await sender.sync();
    await everywhere();
    same((await poll.get()).text, '42["all","kept"]');

    let answer;

    poll.get().then(({ text }) => { answer = text; });
    for (let i = 0; answer === undefined; i++) {
        sender.emit('volatile', i);
        await sender.sync();
    }

    /* another worker may do several at once */
    for (const packet of answer.split('\x1e')) {
        assert.match(packet, /^42\["volatile",\d+\]$/);
    }
    sender.emit('volatile', 'lost');
    sender.emit('all', 'kept');
    await sender.sync();
    await everywhere();
    same((await poll.get()).text, '42["all","kept"]');
});
