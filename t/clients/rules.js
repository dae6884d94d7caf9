'use strict';

/* What rules can say: templates, their variables, sio_data. */

const { same, test } = require('./harness');

const BYTES = Buffer.from([0, 1, 2, 254, 255]);

/* strings that would break out of JSON if they were not escaped */
const NASTY = ['"', '\\', '\\"', '"],"x":[', '\n\t\u0000\u001f', '\u2028',
               '😀', '\ud800', '$sio_id', '{"_placeholder":true,"num":0}',
               '</script>', ''];

const WHO = {
    auth: { token: 'secret "x"' },
    query: { token: 'query-token' },
    extraHeaders: { 'X-User': 'ann "the\\ cat"', Cookie: 'a=b; color=red' },
};

test('the variables', async t => {
    const peer = await t.connect('/', WHO);
    const [all] = await peer.ask('variables', 'one', { two: [2] });

    same(all, {
        id: peer.id, namespace: '/', event: 'variables',
        args: ['one', { two: [2] }], arg1: 'one', arg2: { two: [2] },
        arg9: null, auth: WHO.auth, user: 'ann "the\\ cat"', color: 'red',
        query: 'query-token', fixed: 'fixed text',
        mixed: '127.0.0.1/ann "the\\ cat"',
    });
    same(await peer.next('hello'),
         [peer.id, WHO.auth, 'ann "the\\ cat"', { color: 'red' }]);
});

test('the variables of another namespace, without auth', async t => {
    const peer = await t.connect('/more', { ...WHO, auth: undefined });

    same(await peer.ask('variables', null),
         [{ id: peer.id, namespace: '/more', event: 'variables',
            args: [null], auth: {}, user: 'ann "the\\ cat"' }]);
});

test('arguments stay what they are', async t => {
    const peer = await t.connect();

    for (const value of [null, true, 0, -1.5, 1e21, '', [], {}, [[1]],
                         { '"': ['\\'] }, ...NASTY]) {
        same(await peer.ask('swap', value, 'x'), ['x', value]);
        same(await peer.ask('deep', value), [{ a: [value, { b: value }] }]);
    }
    same(await peer.ask('swap'), [null, null]);
    same(await peer.ask('swap', 1), [null, 1]);
    same(await peer.ask('list', 1, [2], 'three'), [[1, [2], 'three'], 3]);
    same(await peer.ask('list'), [[], 3]);
});

test('inside of strings', async t => {
    const peer = await t.connect('/', WHO);

    for (const value of NASTY) {
        same(await peer.ask('text', value, 'x'),
             [`<${value}|ann "the\\ cat"|x!>`, { key: `${value}${value}` }]);
    }
    for (const value of [null, true, 5, [1, '"', { a: '\n' }], { 'k"': 1 }]) {
        const text = JSON.stringify(value);

        same(await peer.ask('text', value),
             [`<${text}|ann "the\\ cat"|!>`, { key: `${text}${text}` }]);
    }
    same(await peer.ask('text'), ['<|ann "the\\ cat"|!>', { key: '' }]);
});

test('constants', async t => {
    const peer = await t.connect();

    same(await peer.ask('constant', 'ignored'),
         [null, true, 1500, 'text', { a: [] }, '$sio_id costs 5$']);
    same(await peer.ask('none', 'ignored'), []);
});

test('attachments go where their arguments go', async t => {
    const peer = await t.connect();
    const second = Buffer.from('second');

    same(await peer.ask('swap', BYTES, second), [second, BYTES]);
    same(await peer.ask('swap', { a: BYTES }, [second, BYTES]),
         [[second, BYTES], { a: BYTES }]);
    same(await peer.ask('swap', BYTES), [null, BYTES]);
    same(await peer.ask('deep', BYTES), [{ a: [BYTES, { b: BYTES }] }]);
    same(await peer.ask('deep', [second, BYTES, second]),
         [{ a: [[second, BYTES, second], { b: [second, BYTES, second] }] }]);
    same(await peer.ask('second', BYTES, second, BYTES), [second]);
    same(await peer.ask('second', BYTES, 'text'), ['text']);
    same(await peer.ask('list', BYTES, 1), [[BYTES, 1], 3]);
    same(await peer.ask('none', BYTES), []);
});

test('event names', async t => {
    const peer = await t.connect(), other = await t.connect();

    for (const name of ['plain', 'with space', 'ünï ✓', 'connection', '', '"',
                        'x'.repeat(300)]) {
        peer.emit('rename', name, 1, BYTES);
        same(await peer.next(name), [1, BYTES]);
    }
    peer.emit('rename', 7, 1, 2);
    same(await peer.next('7'), [1, 2]);

    await peer.next('hello');
    for (const name of ['connect', 'connect_error', 'disconnect',
                        'disconnecting', 'newListener', 'removeListener',
                        null, true, [], {}, ['x']]) {
        peer.emit('rename', name, 1, 2);
        await peer.nothing();
    }
    same(peer.reasons.items, []);

    peer.emit('say it', 'hi', 'there');
    same(await other.next('it was said'), [{ from: peer.id, text: 'hi' }]);
    await peer.nothing();
});

test('a rule of its own wins over *', async t => {
    const peer = await t.connect();

    await peer.next('hello');
    peer.emit('anything', 1, BYTES);
    same(await peer.next('other'), ['anything', [1, BYTES]]);
    peer.emit('connection', 2);
    same(await peer.next('other'), ['connection', [2]]);
    peer.emit('none', 3);
    await peer.nothing();
});

test('all rules of an event, in their order', async t => {
    const peer = await t.connect(), other = await t.connect();

    await peer.next('hello');
    await other.next('hello');
    peer.emit('several', 'x');
    same(await peer.next('first'), ['x']);
    same(await peer.next('everybody'), ['x']);
    same(await peer.next('room'), ['x']);
    same(await peer.next('last'), ['x']);
    same(await other.next('everybody'), ['x']);
    await peer.nothing();
    await other.nothing();
});

test('a rule after "disconnect" has no effect on the sender', async t => {
    const peer = await t.connect('/', { reconnection: false });
    const other = await t.connect();

    await peer.next('hello');
    peer.emit('bye', 'x');
    same(await peer.next('before'), ['x']);
    same(await peer.reason(), 'io server disconnect');
    same(peer.inbox.items, []);
    same(await other.next('before'), ['x']);
});

test('a header that is no UTF-8', { kinds: [null] }, async t => {
    const poll = await t.poll({ 'X-User': 'caf\xe9 \xff' });

    await poll.post('40');
    await poll.post('421["text","x"]');
    for (let text = ''; !/\b431\[/.test(text);) {
        const answer = await poll.get();

        same(answer.status, 200);
        text += answer.text;
    }

    const raw = await t.raw({
        transports: ['websocket'], extraHeaders: { 'X-User': '\xff\xfe' },
    });

    await raw.join();
    await raw.inbox.take(m => m.startsWith('2["hello"'), 'hello');
    raw.send('20["sync"]');
    same(await raw.next(), '30[]');
});
