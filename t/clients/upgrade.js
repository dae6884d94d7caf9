'use strict';

/*
 * From polling to a WebSocket while messages flow both ways: each arrives
 * exactly once and in order.
 */

const { assert, kind, same, SCALE, test, until } = require('./harness');

const UPGRADE = [kind('4.x upgrade'), kind('3.x upgrade')];
const ROUNDS = SCALE > 1 ? 2 : 5;
const AT_ONCE = 8;

const content = i => i % 5 === 4 ? Buffer.from(`binary ${i}`) : `text ${i}`;

/* a client that talks from its first moment until well after the upgrade */
async function talk(t) {
    const peer = t.open();
    const got = [], acked = [], ticks = [];
    let sent = 0, after = 0;

    peer.socket.offAny();
    peer.socket.on('echo', (n, x) => got.push([n, x]));
    peer.socket.on('tick', n => ticks.push(n));

    const name = () => peer.engine && peer.engine.transport
                       && peer.engine.transport.name;
    const end = Date.now() + 10000 * SCALE;

    while (after < 5) {
        assert(Date.now() < end, 'the upgrade takes place');
        for (let i = 0; i < 3; i++, sent++) {
            const n = sent;

            peer.emit('echo', n, content(n));
            peer.socket.emit('ask', n, content(n), (...a) => acked.push(a));
        }
        if (name() === 'websocket') {
            after++;
        }
        await new Promise(next => sent % 2 ? setImmediate(next)
                                           : setTimeout(next, 1));
    }

    await peer.sync();

    const expected = Array.from({ length: sent }, (_, n) => [n, content(n)]);

    same(got, expected, 'echoes');
    same(acked, expected, 'acknowledgements');
    assert(ticks.length > 0, 'the others were heard');
    same(ticks, ticks.map((_, i) => ticks[0] + i), 'what others said');
    same(peer.reasons.items, []);
    peer.socket.disconnect();
}

test('both ways during the upgrade, again and again', {
    kinds: UPGRADE, ms: 40000 * SCALE,
}, async t => {
    const ticker = await t.connect('/', { kind: kind('4.x websocket') });
    let running = true, tick = 0;

    const ticking = (async () => {
        while (running) {
            for (let i = 0; i < 4; i++) {
                ticker.emit('tick', tick++);
            }
            await ticker.sync();
        }
    })();

    for (let i = 0; i < ROUNDS; i++) {
        await Promise.all(Array.from({ length: AT_ONCE }, () => talk(t)));
    }
    running = false;
    await ticking;
});

test('the first event is emitted when the upgrade happens', {
    kinds: UPGRADE,
}, async t => {
    for (let i = 0; i < 20; i++) {
        const peer = t.open();

        await until(() => peer.engine, 'an engine');
        await new Promise(done => peer.engine.once('upgrading', done));
        peer.emit('echo', i, Buffer.from([i]));
        await peer.upgraded();
        peer.emit('echo', 'after', i);
        same(await peer.next('echo'), [i, Buffer.from([i])]);
        same(await peer.next('echo'), ['after', i]);
        await peer.nothing();
        peer.socket.disconnect();
    }
});

test('a client that may not upgrade stays with polling', {
    kinds: UPGRADE,
}, async t => {
    const peer = await t.connect('/', { upgrade: false });

    for (let i = 0; i < 10; i++) {
        peer.emit('echo', i);
        same(await peer.next('echo'), [i]);
    }
    assert.strictEqual(peer.engine.transport.name, 'polling');
});
