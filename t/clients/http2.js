'use strict';

/* Polling over HTTP/2, many sessions and requests on one connection. */

const http2 = require('http2');
const { assert, same, test, url, within } = require('./harness');

class Poll2 {
    constructor(connection) {
        this.connection = connection;
        this.path = '/socket.io/?EIO=4&transport=polling';
    }

    request(method, body) {
        return within(new Promise((done, fail) => {
            const stream = this.connection.request({
                ':method': method, ':path': this.path,
            });
            let headers, text = '';

            stream.setEncoding('utf8');
            stream.on('response', h => { headers = h; });
            stream.on('data', data => { text += data; });
            stream.on('end', () => done({
                status: headers?.[':status'], headers, text }));
            stream.on('error', fail);
            for (const part of [].concat(body ?? [])) {
                stream.write(part);
            }
            stream.end();
        }), method);
    }

    get() { return this.request('GET'); }

    post(body) { return this.request('POST', body); }

    async open() {
        const { status, text } = await this.get();

        same(status, 200);
        this.path += `&sid=${JSON.parse(text.slice(1)).sid}`;
        same((await this.post('40')).text, 'ok');
        assert.match((await this.get()).text, /^40\{"sid":/);
        return this;
    }
}

async function connection(t) {
    const connection = http2.connect(url, { rejectUnauthorized: false });

    t.finally(() => connection.destroy());
    await within(new Promise((done, fail) => {
        connection.on('connect', done);
        connection.on('error', fail);
    }), 'the connection');
    assert.strictEqual(connection.alpnProtocol, 'h2');
    return connection;
}

const ONCE = { kinds: [null] };

test('handshake, POST, GET', ONCE, async t => {
    const poll = await new Poll2(await connection(t)).open();

    for (let i = 0; i < 30; i++) {
        same((await poll.post(`421["ask",${i}]`)).text, 'ok');
        same((await poll.get()).text, `431[${i}]`);
    }
    same((await poll.post('1')).text, 'ok');
    same((await poll.get()).status, 400);
});

test('a GET that waits, beside POSTs', ONCE, async t => {
    const poll = await new Poll2(await connection(t)).open();
    let answered = '';

    const reader = (async () => {
        while (!answered.includes('"last"')) {
            answered += `${(await poll.get()).text}\x1e`;
        }
    })();

    for (let i = 0; i < 100; i++) {
        same((await poll.post(`42["echo",${i}]`)).text, 'ok');
    }
    await poll.post('42["echo","last"]');
    await reader;
    same(answered.split('\x1e').slice(0, -1),
         [...Array.from({ length: 100 }, (_, i) => `42["echo",${i}]`),
          '42["echo","last"]']);
    await poll.post('1');
});

test('large messages, binary', ONCE, async t => {
    const poll = await new Poll2(await connection(t)).open();
    const big = 'x'.repeat(900000);
    const bytes = Buffer.alloc(100000, 7).toString('base64');

    same((await poll.post(`42["echo","${big}"]`)).text, 'ok');
    same((await poll.get()).text, `42["echo","${big}"]`);
    await poll.post('451-["echo",{"_placeholder":true,"num":0}]\x1eb' + bytes);
    same((await poll.get()).text,
         '451-["echo",{"_placeholder":true,"num":0}]\x1eb' + bytes);
    await poll.post('1');
});

test('a POST in several DATA frames, the last one empty', ONCE, async t => {
    const poll = await new Poll2(await connection(t)).open();
    const big = 'x'.repeat(30000);

    same((await poll.post(['42["ec', 'ho",1]\x1e42["echo"', `,"${big}"]`]))
         .text, 'ok');
    same((await poll.get()).text, `42["echo",1]\x1e42["echo","${big}"]`);
    same((await poll.post([...'421["ask",2]'])).text, 'ok');
    same((await poll.get()).text, '431[2]');
    await poll.post('1');
});

test('many sessions on one connection', ONCE, async t => {
    const shared = await connection(t);
    const polls = await Promise.all(Array.from({ length: 30 },
        () => new Poll2(shared).open()));
    const waiting = polls.map(poll => poll.get());

    same((await polls[0].post('42["say","all"]')).text, 'ok');
    for (const answer of await Promise.all(waiting)) {
        same(answer.text, '42["say","all"]');
    }
    await Promise.all(polls.map(poll => poll.post('1')));
});

test('the connection breaks: its sessions end', ONCE, async t => {
    const gone = await t.observe();
    const broken = await connection(t);
    const poll = await new Poll2(broken).open();

    await poll.post('421["id"]');
    const id = JSON.parse((await poll.get()).text.slice(3))[0];
    const waiting = poll.get();

    waiting.catch(() => {});
    await poll.post('42["ask"]');
    broken.destroy();
    same(await gone(id), 'transport error');
});
