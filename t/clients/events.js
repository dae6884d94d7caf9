'use strict';

/* Events and acknowledgements: text, binary, nested, names, order. */

const { assert, RAW, same, test } = require('./harness');

const BYTES = Buffer.from(Array.from({ length: 256 }, (_, i) => i));

const TEXT = [
    null, true, false, 0, -1, 1.5, 1e21, 1e-7, 2 ** 53, '', 'text', [], {},
    [[]], [{}], { '': '' }, { a: [1, { b: [null, { c: 'd' }] }] },
    { _placeholder: false, num: 3 },
];

const STRINGS = [
    'Grüße', '你好', '😀', '\u2028\u2029', '\u0000\u0001\u001e\u001f\u007f',
    '"\\/\b\f\n\r\t', '\ud800', '\udfff\ud800', '\ufeff', '\uffff', "'", '<>&',
    '\u00e9e\u0301', '0', '42["x"]', ' '.repeat(10), '$sio_id', '${x}',
];

test('text arguments come back as they were', async t => {
    const peer = await t.connect();

    peer.emit('echo', ...TEXT);
    same(await peer.next('echo'), TEXT);
    peer.emit('echo');
    same(await peer.next('echo'), []);
    peer.emit('echo', undefined, { u: undefined, v: 1 });
    same(await peer.next('echo'), [null, { v: 1 }]);
    await peer.nothing();
});

test('strings come back as they were', async t => {
    const peer = await t.connect();

    peer.emit('echo', ...STRINGS);
    same(await peer.next('echo'), STRINGS);
    peer.emit('echo', Object.fromEntries(STRINGS.map(s => [s, s])));
    same(await peer.next('echo'),
         [Object.fromEntries(STRINGS.map(s => [s, s]))]);
    await peer.nothing();
});

test('any event name', async t => {
    const peer = await t.connect();

    for (const name of [...STRINGS, 'connection', 'reconnect', 'error', 'ping',
                        'message', '*', '__proto__', 'constructor',
                        'x'.repeat(5000)]) {
        peer.emit(name, name);
        same(await peer.next(name), [name]);
    }
    await peer.nothing();
});

test('a number as event name', { kinds: RAW }, async t => {
    const raw = await t.raw();

    await raw.join();
    raw.send('2[7,"seven"]');
    same(await raw.next(), '2[7,"seven"]');
});

test('binary arguments', async t => {
    const peer = await t.connect();

    for (const args of [
        [BYTES],
        [new Uint8Array([1, 2, 3])],
        [new Uint8Array([1, 2, 3]).buffer],
        [BYTES.subarray(3, 7)],
        [BYTES, 'and', BYTES.subarray(0, 1), { text: 1 }, BYTES.subarray(9)],
        [Buffer.alloc(0)],
        [Buffer.alloc(0), Buffer.alloc(0), 'x', Buffer.alloc(0)],
        [Buffer.from('plain text, sent as binary')],
        [Buffer.alloc(70000, 'x')],
    ]) {
        peer.emit('echo', ...args);
        same(await peer.next('echo'), args);
    }
    await peer.nothing();
});

test('nested binary, as many attachments as are allowed', async t => {
    const peer = await t.connect();
    const part = n => Buffer.from([n, n, n]);
    const args = [
        { a: part(0), b: [part(1), { c: { d: [[[part(2)]]] } }], t: 'x' },
        'text', null,
        [[part(3)], [], [part(4), part(5), { e: Buffer.alloc(0) }]],
        part(7), { 'ключ "\u2028"': part(8) }, { z: [0, part(9)] },
    ];

    peer.emit('echo', ...args);
    same(await peer.next('echo'), args);
    same(await peer.ask('ask', ...args), args);
    await peer.nothing();
});

test('one buffer in several places', async t => {
    const peer = await t.connect();
    const args = [BYTES, { again: BYTES }, [[BYTES]]];

    peer.emit('echo', ...args);
    same(await peer.next('echo'), args);
});

test('one attachment named by several placeholders', {
    kinds: RAW,
}, async t => {
    const raw = await t.raw();
    const hole = '{"_placeholder":true,"num":0}';

    await raw.join();
    raw.send(`51-["echo",${hole},{"a":[${hole}]}]`);
    raw.send(BYTES);

    const head = await raw.next();
    const count = Number(/^5(\d+)-/.exec(head)[1]);
    const parts = [];

    for (let i = 0; i < count; i++) {
        parts.push(await raw.next());
    }

    const value = JSON.parse(head.slice(head.indexOf('-') + 1),
        (_, v) => v && v._placeholder ? parts[v.num] : v);
    same(value, ['echo', BYTES, { a: [BYTES] }]);
});

test('acknowledgements: none, text, binary, nested', async t => {
    const peer = await t.connect();

    for (const args of [
        [], [null], TEXT, STRINGS, [BYTES], [Buffer.alloc(0)],
        [{ a: [BYTES, 'x', { b: Buffer.alloc(0) }] }, BYTES],
    ]) {
        same(await peer.ask('ask', ...args), plainUndefined(args));
    }
    await peer.nothing();
});

const plainUndefined = args => args.map(a => a === undefined ? null : a);

test('acknowledgement with other arguments', async t => {
    const peer = await t.connect();

    same(await peer.ask('first', 'a', [1]),
         ['got', 'a', { all: ['a', [1]] }]);
    same(await peer.ask('first', BYTES, 'x'),
         ['got', BYTES, { all: [BYTES, 'x'] }]);
});

test('many acknowledgements at once, each to its own callback', async t => {
    const peer = await t.connect();
    const numbers = Array.from({ length: 200 }, (_, i) => i);

    same(await Promise.all(numbers.map(async i =>
        (await peer.ask('ask', i % 3 ? i : Buffer.from([i])))[0])),
         numbers.map(i => i % 3 ? i : Buffer.from([i])));
});

test('no acknowledgement unless a rule makes one', async t => {
    const peer = await t.connect();
    let acked = false;

    peer.emit('echo', 1, () => { acked = true; });
    same(await peer.next('echo'), [1]);
    await peer.nothing();
    assert(!acked, 'the callback was not called');
});

test('an event that wants no acknowledgement gets none', {
    kinds: RAW,
}, async t => {
    const raw = await t.raw();

    await raw.join();
    raw.send('2["ask",1]');
    raw.send('27["ask",2]');
    same(await raw.next(), '37[2]');
    raw.send('29007199254740991["ask",3]');
    same(await raw.next(), '39007199254740991[3]');
});

test('the rules of an event run in their order', async t => {
    const peer = await t.connect();
    const order = [];

    peer.socket.onAny(name => order.push(name));
    await new Promise(done => peer.emit('both', 5, () => {
        order.push('ack');
        done();
    }));
    same(await peer.next('two'), [5]);
    same(order, ['one', 'ack', 'two']);
});

test('emitted before the connection stands', async t => {
    const peer = t.open();

    peer.emit('echo', 'early', BYTES);
    same(await peer.next('echo'), ['early', BYTES]);
});

test('a burst arrives in order, text and binary mixed', async t => {
    const peer = await t.connect();
    const N = 500;

    for (let i = 0; i < N; i++) {
        if (i % 7 === 3) {
            peer.emit('echo', i, Buffer.from(String(i)));
        } else {
            peer.emit('echo', i);
        }
    }
    for (let i = 0; i < N; i++) {
        same(await peer.next('echo'),
             i % 7 === 3 ? [i, Buffer.from(String(i))] : [i]);
    }
    await peer.nothing();
});
