'use strict';

/* Heartbeats, every 300 ms, with a second for the answer. */

const { assert, RAW, same, test, until } = require('./harness');

/* counts the pings (the event "ping" is not made by all versions) */
function count(peer) {
    const counter = { pings: 0 };

    peer.engine.on('packet', ({ type }) => {
        counter.pings += type === 'ping';
    });
    return counter;
}

test('idle clients stay', { parallel: true }, async t => {
    const peer = await t.connect('/', { reconnection: false });
    const counter = count(peer);

    await until(() => counter.pings >= 5, 'five pings');
    await peer.sync();
    same(peer.reasons.items, []);
});

test('busy clients get pings too', { parallel: true }, async t => {
    const peer = await t.connect('/', { reconnection: false });
    const counter = count(peer);

    while (counter.pings < 4) {
        await peer.sync();
        same(peer.reasons.items, []);
    }
});

test('pings come in time', { kinds: RAW, parallel: true }, async t => {
    const raw = await t.raw();
    const times = [];

    raw.socket.on('ping', () => times.push(Date.now()));
    await raw.join();
    await until(() => times.length >= 4, 'four pings');

    const spans = times.slice(1).map((time, i) => time - times[i]);

    assert(spans.every(span => span > 200), `not too often: ${spans}`);
});

test('no pong: ping timeout', { kinds: RAW, parallel: true }, async t => {
    const gone = await t.observe();
    const raw = await t.raw();
    const id = await raw.join();
    const started = Date.now();

    /* pongs are lost, other packets are not */
    const { socket } = raw;
    const send = socket.sendPacket || socket._sendPacket;

    socket.sendPacket = socket._sendPacket = function (type, ...rest) {
        return type === 'pong' ? undefined : send.call(this, type, ...rest);
    };
    same(await gone(id), 'ping timeout');
    assert(Date.now() - started >= 1000, 'not before its time');
    same(await raw.reason(), 'transport close');
});

test('a peer that falls silent: both sides time out', {
    parallel: true,
}, async t => {
    const gone = await t.observe();
    const hop = await t.hop();
    const peer = await (await t.connect('/', {
        url: hop.url, reconnection: false,
    })).settled(t.kind);
    const { id } = peer;

    await peer.sync();
    hop.silent = true;
    same(await peer.reason(), 'ping timeout');
    same(await gone(id), 'ping timeout');
});

test('no CONNECT in time: closed', { kinds: RAW, parallel: true }, async t => {
    const raw = await t.raw();

    raw.send('0/nope,');
    same(await raw.next(), '4/nope,{"message":"Invalid namespace"}');
    same(await raw.reason(), 'transport close');
});

test('all namespaces left: the connection stays', {
    kinds: RAW, parallel: true,
}, async t => {
    const raw = await t.raw();
    let pings = 0;

    await raw.join();
    raw.send('1');
    raw.socket.on('ping', () => pings++);
    await until(() => pings >= 4, 'four pings');
    same(raw.reasons.items, []);
    await raw.join();
});
