'use strict';

/* Namespaces: by name, by regular expression, several, unknown; auth. */

const { assert, RAW, same, test } = require('./harness');

const word = async peer => (await peer.ask('where'))[0];

test('every namespace has its own rules and its own id', async t => {
    const main = await t.connect();
    const chat = await main.of('/chat').connected();
    const room = await main.of('/room-12').connected();

    assert.strictEqual(chat.manager, main.manager);
    same(await main.ask('where'), ['main', '/']);
    same(await chat.ask('where'), ['chat', '/chat']);
    same(await room.ask('where'), ['number', '/room-12']);

    const ids = [main.id, chat.id, room.id];

    assert.strictEqual(new Set(ids).size, 3, 'the ids differ');
    for (const id of ids) {
        assert.match(id, /^[A-Za-z0-9_-]{20}$/);
        assert.notStrictEqual(id, main.engine.id, 'no id is the secret sid');
    }
    for (const peer of [main, chat, room]) {
        same(await peer.next('welcome'), [peer.id, peer.socket.nsp, {}]);
        await peer.nothing();
    }
});

test('a name wins over regular expressions, these in their order', async t => {
    for (const [nsp, expected] of [['/room-7', 'seven'], ['/room-8', 'number'],
                                   ['/room-x', 'room'], ['/room-', 'room'],
                                   ['/чат ✓', 'unicode']]) {
        same(await word(await t.connect(nsp)), expected);
    }
});

test('namespaces do not hear each other', async t => {
    const names = ['/', '/chat', '/room-1', '/room-2'];
    const one = await t.connect(), two = await t.connect();
    const rest = names.slice(1);
    const ones = [one, ...await Promise.all(
        rest.map(n => one.of(n).connected()))];
    const twos = [two, ...await Promise.all(
        rest.map(n => two.of(n).connected()))];

    for (const peer of [...ones, ...twos]) {
        await peer.next('welcome');
    }
    for (const [i, peer] of ones.entries()) {
        peer.emit('say', names[i], Buffer.from(names[i]));
        await peer.sync();
    }
    for (const [i, peer] of twos.entries()) {
        same(await peer.next('say'), [names[i], Buffer.from(names[i])]);
        await peer.nothing();
    }
    for (const peer of ones) {
        await peer.nothing();
    }
});

test('an unknown namespace: connect_error, and only there', async t => {
    const main = await t.connect();

    for (const nsp of ['/nope', '/Chat', '/chat/', '/chat2', '/Room-7',
                       '/auth-c', '/x/chat', '/*']) {
        const peer = main.of(nsp);
        const error = await peer.error();

        assert.strictEqual(error.message, 'Invalid namespace');
        assert.strictEqual(error.data, undefined);
        assert.strictEqual(peer.socket.connected, false);
        peer.socket.disconnect();
    }
    same(await word(main), 'main');
    same(await word(await main.of('/chat').connected()), 'chat');
});

test('only an unknown namespace: the connection stays for others', async t => {
    const peer = t.open('/nope');

    assert.strictEqual((await peer.error()).message, 'Invalid namespace');
    const chat = await peer.of('/chat').connected();
    same(await word(chat), 'chat');
    assert.strictEqual(chat.manager, peer.manager);
});

test('leaving one namespace leaves the others alone', async t => {
    const main = await t.connect();
    const chat = await main.of('/chat').connected();
    const first = chat.id;

    chat.socket.disconnect();
    assert.strictEqual(await chat.reason(), 'io client disconnect');
    same(await word(main), 'main');

    chat.socket.connect();
    await chat.connected();
    assert.notStrictEqual(chat.id, first, 'a new id when it returns');
    same(await word(chat), 'chat');
});

test('auth: as an object, by a function, none', async t => {
    const auth = { token: 'tök"en\u2028', n: 1.5, deep: { list: [null, {}] } };
    const given = async (nsp, options) => {
        const peer = await t.connect(nsp, options);
        return (await peer.next('welcome'))[2];
    };

    same(await given('/', { auth }), auth);
    same(await given('/chat', { auth }), auth);
    same(await given('/auth-a', { auth: done => done(auth) }), auth);
    same(await given('/', {}), {});
    same(await given('/', { auth: {} }), {});
    same(await given('/', { auth: { sio_id: '$sio_id' } }),
         { sio_id: '$sio_id' });
});

test('auth is each namespace\'s own', async t => {
    const main = await t.connect('/', { auth: { for: 'main' } });
    const chat = await main.of('/chat', { auth: { for: 'chat' } }).connected();

    same(await main.next('welcome'), [main.id, '/', { for: 'main' }]);
    same(await chat.next('welcome'), [chat.id, '/chat', { for: 'chat' }]);
});

/* the packets themselves, as the JavaScript clients don't send them */

test('CONNECT packets', { kinds: RAW }, async t => {
    const raw = await t.raw();

    raw.send('0/nope,');
    same(await raw.next(), '4/nope,{"message":"Invalid namespace"}');
    raw.send('0/nope');
    same(await raw.next(), '4/nope,{"message":"Invalid namespace"}');
    raw.send('0/chat?x=1,');
    same(await raw.next(), '4/chat?x=1,{"message":"Invalid namespace"}');
    raw.send('0/nope,{"a":1}');
    same(await raw.next(), '4/nope,{"message":"Invalid namespace"}');
    raw.send('0');
    assert.match(await raw.next(), /^0\{"sid":"[\w-]{20}"\}$/);
    assert.match(await raw.next(), /^2\["welcome","[\w-]{20}","\/",\{\}\]$/);
    raw.send('0/chat');
    assert.match(await raw.next(), /^0\/chat,\{"sid":"[\w-]{20}"\}$/);
    assert.match(await raw.next(),
                 /^2\/chat,\["welcome","[\w-]{20}","\/chat",\{\}\]$/);
    raw.send('0/room-3,{"a":[1]}');
    assert.match(await raw.next(), /^0\/room-3,\{"sid":"[\w-]{20}"\}$/);
    assert.match(await raw.next(), /^2\/room-3,\["welcome".*,\{"a":\[1\]\}\]$/);
    raw.send('1/room-3,');
    raw.send('0/nope');
    same(await raw.next(), '4/nope,{"message":"Invalid namespace"}');
    raw.send('0/room-3,');
    assert.match(await raw.next(), /^0\/room-3,\{"sid":"[\w-]{20}"\}$/);
});

test('the first packet may name any namespace', { kinds: RAW }, async t => {
    const raw = await t.raw();

    await raw.join('/room-5');
    await raw.inbox.take(m => m.includes('welcome'), 'welcome');
    raw.send('2/room-5,1["where"]');
    same(await raw.next(), '3/room-5,1["number","/room-5"]');
});
