'use strict';

/* The chats of conf/backends, which behave alike whatever is behind them. */

const crypto = require('crypto');
const { KINDS, same, SCALE, test, until, url } = require('./harness');

const kinds = KINDS.filter(kind => kind.version === '4.x');

const TEXT = 'a "\\ \u0000 \n </script> é \u2028 😀 $sio_id';
const BYTES = Buffer.concat([Buffer.from([...Array(256).keys()]),
                             crypto.randomBytes(100000)]);

/* a name that no other test has */
let names = 0;
const fresh = prefix => `${prefix}-${++names}`;

async function login(name) {
    const answer = await fetch(`${url}/login`, {
        method: 'POST', redirect: 'manual',
        body: new URLSearchParams({ name }),
    });

    return { status: answer.status,
             cookie: (answer.headers.get('Set-Cookie') ?? '').split(';')[0] };
}

/* somebody who is logged in, and connected */
async function enter(t, name) {
    const { cookie } = await login(name);
    const peer = await t.connect('/', { extraHeaders: { Cookie: cookie } });

    peer.name = name;
    return peer;
}

/* several of them, in a room */
async function meet(t, room, ...prefixes) {
    const peers = [];

    for (const prefix of prefixes) {
        const peer = await enter(t, fresh(prefix));

        await peer.settled(t.kind);
        same(await peer.ask('join', room), ['ok']);
        peers.push(peer);
    }
    return peers;
}

const message = (peer, room, text) => peer.inbox.take(
    e => e[0] === 'message' && e[1].room === room
         && (text === undefined || e[1].text === text),
    `a message to ${room}`).then(event => event[1]);

const messages = (peer, room) => peer.inbox.items.filter(
    e => e[0] === 'message' && e[1].room === room).map(e => e[1]);


test('a login is needed', { kinds }, async t => {
    const { cookie } = await login('ann');
    const { cookie: other } = await login('bob');
    const signature = cookie.split('.')[1];

    for (const wrong of [undefined, 'user=ann', `user=bob.${signature}`,
                         `user=ann.${other.split('.')[1]}`, 'user[a]=b',
                         `user=ann.${'0'.repeat(64)}`, `a/b="c; ${cookie}x`])
    {
        const peer = t.open('/', { extraHeaders: wrong ? { Cookie: wrong }
                                                       : {} });
        const error = await peer.error();

        same(error.message, 'not logged in', `with ${wrong}`);
        same(error.data, { login: '/login' });
    }

    const peer = await enter(t, 'ann');

    await peer.next('history');
    same((await login('not a name')).status, 400);
    same((await login('')).status, 400);
});

test('the backend is out of reach', { kinds: [null] }, async t => {
    for (const path of ['/app', '/auth']) {
        for (const method of ['GET', 'POST']) {
            same((await fetch(url + path, { method })).status, 404, path);
        }
    }
});

test('the history of the lobby', { kinds }, async t => {
    const ann = await enter(t, 'ann');
    const said = [];

    for (let i = 0; i < 25; i++) {
        const text = `${i} ${TEXT}`;
        const [result, number] = await ann.ask('say', 'lobby', text);

        same(result, 'ok');
        said.push({ number, room: 'lobby', user: 'ann', id: ann.id, text });
        same(await message(ann, 'lobby'), said[i]);
    }

    const bob = await enter(t, 'bob');

    same(await bob.next('history'), [said.slice(-20)]);
    same(await ann.inbox.take(e => e[0] === 'joined' && e[2] === 'bob', 'bob'),
         ['joined', 'lobby', 'bob', bob.id]);
});

test('rooms', { kinds }, async t => {
    const room = fresh('room');
    const [ann, bob] = await meet(t, room, 'ann', 'bob');
    const cy = await enter(t, fresh('cy'));

    same(await ann.inbox.take(e => e[0] === 'joined' && e[1] === room
                                   && e[3] === bob.id, 'bob'),
         ['joined', room, bob.name, bob.id]);
    same(await cy.ask('say', room, 'from outside'),
         ['error', 'not in this room']);

    const [result, number] = await ann.ask('say', room, TEXT);

    same(result, 'ok');
    for (const peer of [ann, bob]) {
        same(await message(peer, room),
             { number, room, user: ann.name, id: ann.id, text: TEXT });
    }

    /* what ann has sent before has passed by */
    await ann.ask('say', 'lobby', room);
    await message(cy, 'lobby', room);
    same(messages(cy, room), []);

    for (const wrong of ['', 'a b', 'x'.repeat(31), `user:${ann.name}`, 7, null,
                         {}, [room]])
    {
        same(await cy.ask('join', wrong), ['error', 'no such room']);
        same(await cy.ask('say', wrong, 'x'), ['error', 'no such room']);
    }
    same(await cy.ask('join'), ['error', 'no such room']);
    same(await cy.ask('constructor', 'lobby'), ['error', 'no such event']);
    same(await cy.ask('say', 'lobby', { text: 'x' }), ['error', 'no text']);
    same(await cy.ask('say', 'lobby'), ['error', 'no text']);
    same(messages(bob, room), []);
});

test('a name of a room is not the id of a socket', { kinds }, async t => {
    const [ann, bob] = await meet(t, fresh('room'), 'ann', 'bob');

    same(await bob.ask('join', ann.id), ['ok']);
    same(await bob.ask('invite', 'lobby', ann.name), ['ok']);
    await ann.next('invited');
    same(await bob.ask('say', ann.id, 'for those in this room'),
         ['ok', (await message(bob, ann.id)).number]);
    await bob.ask('say', 'lobby', bob.name);
    await message(ann, 'lobby', bob.name);
    same(messages(ann, ann.id), []);
});

test('private rooms', { kinds }, async t => {
    const room = fresh('private');
    const [ann] = await meet(t, room, 'ann');
    const bob = await enter(t, fresh('bob')), cy = await enter(t, fresh('cy'));

    same(await bob.ask('join', room), ['error', 'not invited']);
    same(await bob.ask('say', room, 'x'), ['error', 'not in this room']);
    same(await bob.ask('invite', room, bob.name), ['error', 'not in this room']);

    same(await ann.ask('invite', room, bob.name), ['ok']);
    same(await bob.next('invited'), [room, ann.name]);
    same(await bob.ask('join', room), ['ok']);
    same(await cy.ask('join', room), ['error', 'not invited']);

    await ann.ask('say', room, 'psst');
    same((await message(bob, room)).text, 'psst');
    same((await message(ann, room)).text, 'psst');
    same(await ann.ask('invite', room, 'no name'), ['error', 'no such user']);

    await ann.ask('say', 'lobby', room);
    await message(cy, 'lobby', room);
    same(messages(cy, room), []);
});

test('pictures', { kinds }, async t => {
    const room = fresh('room');
    const [ann, bob] = await meet(t, room, 'ann', 'bob');

    for (const picture of [BYTES, Buffer.alloc(0), Buffer.from([0]),
                           { name: TEXT, parts: [BYTES, {}, []], n: -1.5 }])
    {
        same(await ann.ask('picture', room, picture), ['ok']);
        same(await bob.next('picture'), [room, ann.name, ann.id, picture]);
    }

    /* it is for the others */
    await bob.ask('picture', room, BYTES);
    same(await ann.next('picture'), [room, bob.name, bob.id, BYTES]);
    same(ann.inbox.items.filter(e => e[0] === 'picture'), []);
});

test('a poll', { kinds, parallel: true }, async t => {
    const room = fresh('room');
    const peers = await meet(t, room, 'ann', 'bob', 'cy', 'dee');
    const [ann, bob, cy, dee] = peers;
    const asked = [];

    for (const [peer, answer] of [[ann, 'yes'], [bob, 'no'], [cy, 'yes']]) {
        peer.socket.on('vote', (question, answered) => {
            asked.push(question);
            answered(answer);
        });
    }

    same(await dee.ask('poll', room, TEXT), ['ok']);

    /* dee does not answer, and is missing after some seconds */
    for (const peer of peers) {
        const votes = () => peer.inbox.items.filter(e => e[0] === 'votes');

        await until(() => votes().some(e => e[2].missing),
                    () => `all votes, there are ${JSON.stringify(votes())}`,
                    10000 * SCALE);
        same(votes().filter(e => !e[2].missing).map(e => e[2].yes + e[2].no)
                    .sort(), [1, 2, 3]);
        same(votes().find(e => e[2].missing),
             ['votes', TEXT, { yes: 2, no: 1, missing: 1 }]);
    }
    same(asked, [TEXT, TEXT, TEXT]);
    same((await dee.inbox.take(e => e[0] === 'vote', 'vote'))[1], TEXT);
});

test('who leaves is gone', { kinds }, async t => {
    const room = fresh('room');
    const [ann, bob, cy] = await meet(t, room, 'ann', 'bob', 'cy');
    const gone = (who, id) => ann.inbox.take(
        e => e[0] === 'gone' && e[2] === id, `the end of ${who}`);

    for (const [peer, leave] of [[bob, () => bob.socket.disconnect()],
                                 [cy, () => cy.engine.close()]])
    {
        const { id, name } = peer;

        peer.socket.io.reconnection(false);
        leave();
        same(await gone(name, id), ['gone', name, id]);
    }
    same(ann.inbox.items.filter(e => e[0] === 'gone' && e[1] === bob.name), []);
});

test('the order of what a client sends', { kinds, ms: 60000 * SCALE },
     async t => {
    const room = fresh('room');
    const receivers = await meet(t, room, 'ann', 'bob');
    const texts = [...Array(200).keys()].map(i => `message ${i}`);
    const acks = new Map();

    /* they don't wait for an upgrade, which falls in between */
    const senders = [await enter(t, fresh('cy')), await enter(t, fresh('dee'))];

    for (const sender of senders) {
        const numbers = [];

        acks.set(sender.id, numbers);

        /* while the first one is under way all others come */
        sender.emit('say', 'lobby', room);
        sender.emit('join', room);
        for (const text of texts) {
            sender.emit('say', room, text, (...answer) => numbers.push(answer));
        }
    }

    for (const sender of senders) {
        const { id } = sender, numbers = acks.get(id);

        await until(() => numbers.length === texts.length,
                    () => `acknowledgements, ${numbers.length} are there`,
                    20000 * SCALE);

        const of = peer => messages(peer, room).filter(m => m.id === id);

        for (const peer of [...receivers, sender]) {
            await until(() => of(peer).filter(m => m.text === texts.at(-1))
                                      .length === 1,
                        () => `messages, ${of(peer).length} are there`);
            same(of(peer).map(m => m.text), texts);
            same(of(peer).map(m => ['ok', m.number]), numbers);
        }
    }
});
