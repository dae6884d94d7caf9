'use strict';

/* Plain Engine.IO: each message goes back, or to everybody, as it came. */

const { assert, RAW, same, test, until } = require('./harness');

const MESSAGES = [
    'text', '', ' ', '0', '40', '2["echo"]', '2probe', 'Grüße 😀 \u2028', '{}',
    '\u0000', 'x'.repeat(70000),
    Buffer.from([0, 1, 2, 255]), Buffer.alloc(0), Buffer.from('text'),
    Buffer.alloc(70000, 7),
];

/* the client's decoder makes nothing of an empty text */
const back = async raw => {
    const message = await raw.next();
    return message === undefined ? '' : message;
};

const settle = async (t, raw) => {
    if (t.kind.how === 'upgrade') {
        await until(() => raw.socket.transport.name === 'websocket',
                    'the upgrade');
    }
};

test('messages come back as they were', { kinds: RAW }, async t => {
    const raw = await t.raw({ path: '/engine.io' });

    for (const message of MESSAGES) {
        raw.send(message);
        same(await back(raw), message);
    }
    await settle(t, raw);
    for (const message of MESSAGES) {
        raw.send(message);
    }
    for (const message of MESSAGES) {
        same(await back(raw), message);
    }
});

test('in order and once, also across the upgrade', { kinds: RAW }, async t => {
    const raw = await t.raw({ path: '/engine.io' });
    let sent = 0;

    const send = () => {
        raw.send(String(sent++));
        raw.send(Buffer.from(String(sent++)));
    };
    while (sent < 100 || (t.kind.how === 'upgrade' && sent < 100000
                          && raw.socket.transport.name !== 'websocket')) {
        send();
        await new Promise(next => setImmediate(next));
    }
    send();
    for (let i = 0; i < sent; i++) {
        same(await raw.next(), i % 2 ? Buffer.from(String(i)) : String(i));
    }
    same(raw.inbox.items, []);
});

test('to everybody', { kinds: RAW }, async t => {
    const all = await Promise.all(RAW.map(kind => t.raw({
        path: '/shared', transports: kind.transports,
    })));

    for (const [i, raw] of all.entries()) {
        raw.send(`from ${i}`);
        raw.send(Buffer.from([i]));
        for (const other of all) {
            same(await other.next(), `from ${i}`);
            same(await other.next(), Buffer.from([i]));
        }
    }
});

test('no CONNECT is due', { kinds: RAW, parallel: true }, async t => {
    const raw = await t.raw({ path: '/short' });
    let pings = 0;

    raw.socket.on('ping', () => pings++);
    await until(() => pings >= 3, 'three pings');
    raw.send('still there');
    same(await raw.next(), 'still there');
});

test('closed by the client and by rubbish', { kinds: RAW }, async t => {
    const raw = await t.raw({ path: '/engine.io' });

    await settle(t, raw);
    raw.send('x');
    await raw.next();
    raw.socket.close();
    same(await raw.reason(), 'forced close');

    const bad = await t.raw({ path: '/engine.io' });

    await settle(t, bad);
    bad.socket.transport.write([{ type: 'ping' }]);
    assert(await bad.reason());
});
