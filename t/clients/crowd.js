'use strict';

/*
 * Two hundred clients at once, half of them polling only, half upgrading; all
 * talk from their first moment on: to themselves, to their room of ten, to
 * one other, to all.  What each of them got is then held against what the
 * others sent: once, in order, as it was sent, and nothing that was meant for
 * others.
 *
 * "node crowd.js URL [--tls PORT] [--sessions N]"
 */

const { assert, Context, kind, SCALE, same, test, until }
    = require('./harness');

const option = (name, otherwise) => {
    const i = process.argv.indexOf(name);
    return i < 0 ? otherwise : Number(process.argv[i + 1]);
};

const N = option('--sessions', 200);
const TLS = process.argv.includes('--tls');

const MS = 30000 * SCALE;

/* members of a room are of both kinds */
const roomOf = i => `room ${i % (N / 10)}`;

/* half of the sessions are in a second namespace too */
const namespacesOf = i => i % 2 ? ['/'] : ['/', '/chat'];


/*
 * When something happened, in the order in which this process saw it.  It
 * tells what must have reached somebody, and what can't have.
 */
let now = 0;
const moment = () => ++now;

/* everybody who ever was there, by public id */
const everybody = new Map();

/* what event n says: text, binary and both */
function content(n) {
    switch (n % 4) {
    case 0: return `text ${n}, größer`;
    case 1: return Buffer.from([n & 255, n >> 8, 0x1e, 0xff]);
    case 2: return { n, list: [Buffer.from(`of ${n}`), null,
                               { deep: Buffer.alloc(n % 3, 7) }] };
    default: return [n, { n: String(n) }];
    }
}


/*
 * One stay in a namespace, from the CONNECT to its end.  It numbers what it
 * says, and keeps what it hears.
 */
class Stay {
    constructor(person, nsp) {
        this.person = person;
        this.nsp = nsp;
        this.room = person.room;
        this.said = [];
        this.heard = [];
        this.lasts = this.ones = this.due = 0;
        this.id = undefined;
        this.asked = moment();
        this.connected = Infinity;
        this.joinAsked = this.joined = Infinity;
        this.gone = null;
        this.n = 0;
    }

    begin(id) {
        this.id = id;
        this.connected = moment();
        everybody.set(id, this);
    }

    hear(event, from, n, what) {
        this.heard.push({ event, from, n, what });
        this.lasts += event === 'last' || event === 'last to all';
        this.ones += event === 'one';
    }
}


/* one of the crowd in one namespace: a client, whose stays may be several */
class Person {
    constructor(i, peer, nsp, room) {
        this.i = i;
        this.peer = peer;
        this.nsp = nsp;
        this.room = room;
        this.socket = peer.socket;
        this.stays = [];
        this.stay = null;
        this.enter();

        this.loud = i % 25 === 0;    /* says more to all */
        this.reasons = [];
        this.hellos = [];            /* of the server: [id, auth] */
        this.ends = [];              /* of others: [id, reason] */
        this.ended = null;           /* called once it has */

        this.socket.on('connect', () => this.stay.begin(this.socket.id));
        this.socket.on('disconnect', reason => {
            this.reasons.push(reason);
            this.stay.gone = moment();
            this.ended?.();
        });
        this.socket.offAny();
        this.socket.onAny((event, from, n, what) => {
            if (event === 'hello') {
                this.hellos.push([from, n]);
            } else if (event === 'gone') {
                this.ends.push([from, n]);
            } else {
                this.stay.hear(event, from, n, what);
            }
        });
    }

    /* before CONNECT is sent */
    enter() {
        this.stay = new Stay(this, this.nsp);
        this.stays.push(this.stay);
        return this.stay;
    }

    say(event, ...args) {
        const { stay } = this;
        const said = { event, n: stay.n++, when: moment(), done: Infinity };

        said.what = content(said.n);
        stay.said.push(said);
        return said;
    }

    join() {
        const { stay } = this;

        stay.joinAsked = moment();
        this.socket.emit('join', this.room, () => { stay.joined = moment(); });
    }

    echo() {
        const { n, what } = this.say('echo');
        this.socket.emit('echo', n, what);
    }

    /* once it is acknowledged, all that was said before has been done */
    ask() {
        const { stay } = this;
        const said = this.say('ask');

        return new Promise(done => {
            this.socket.emit('ask', said.n, said.what, (from, n, what) => {
                const when = moment();

                stay.hear('ask', from, n, what);
                for (let i = stay.said.length - 1;
                     i >= 0 && stay.said[i].done === Infinity; i--) {
                    if (stay.said[i].n <= n) {
                        stay.said[i].done = when;
                    }
                }
                done();
            });
        });
    }

    toRoom(event) {
        const said = this.say(event);

        said.room = this.room;
        this.socket.emit(event, said.n, said.what, this.room);
    }

    toOne(stay) {
        const said = this.say('one');

        said.to = stay;
        stay.due++;
        this.socket.emit('one', said.n, said.what, stay.id);
    }

    toAll(event) {
        const said = this.say(event);

        this.socket.emit(event, said.n, said.what);
    }

    /* something of everything; to whom is a stay of the same namespace */
    round(to) {
        this.echo();
        this.toRoom('room');
        if (to) {
            this.toOne(to);
        }
        this.toRoom('others');
        this.echo();
        if (this.loud) {
            this.toAll('all');
        }
        return this.ask();
    }

    /* all that it says comes before it */
    last(toAll) {
        if (toAll) {
            this.toAll('last to all');
        } else {
            this.toRoom('last');
        }
        return this.ask();
    }
}


/* what the speaker said, had the hearer been there all the time */
function meant(speaker, hearer) {
    if (speaker.room === hearer.room) {
        return speaker.said.filter(({ event, to }) => {
            switch (event) {
            case 'echo': case 'ask': return speaker === hearer;
            case 'others': return speaker !== hearer;
            case 'one': return to === hearer;
            default: return true;
            }
        });
    }
    return [...speaker.saidToAll,
            ...speaker.saidToOne.filter(said => said.to === hearer)]
        .sort((a, b) => a.n - b.n);
}

/*
 * What the hearer got of the speaker, and what it had to get.  It hears all
 * as soon as it has connected, its room as soon as it has joined: at the
 * latest when it knew of that, at the earliest when it asked for it.  From
 * then on nothing may be missing, until it leaves.
 */
function compare(speaker, hearer, heard) {
    const where = said => `"${said.event}" ${said.n} of ${name(speaker)} at `
                          + name(hearer);
    let i = 0, hears = false, inRoom = false, ended = false;

    for (const said of meant(speaker, hearer)) {
        const toRoom = said.room !== undefined;
        const must = toRoom ? inRoom || said.when > hearer.joined
                            : hears || said.when > hearer.connected
                              || said.to === hearer;
        const may = must || said.done > (toRoom ? hearer.joinAsked
                                                : hearer.asked);
        const got = heard[i];

        if (got && got.n === said.n) {
            assert(may, `too early: ${where(said)}`);
            assert(!ended, `after a gap: ${where(said)}`);
            assert.strictEqual(got.event, said.event, where(said));
            same(got.what, said.what, where(said));
            hears = true;
            inRoom ||= toRoom;
            i++;
            continue;
        }

        if (must) {
            assert(hearer.gone !== null && !(said.done < hearer.gone
                                             && speaker === hearer),
                   `lost, or not in order: ${where(said)}; next is `
                   + (got ? `"${got.event}" ${got.n}` : 'nothing'));
            ended = true;
        }
    }

    if (i < heard.length) {
        assert.fail(`twice, not in order, or not meant for it: `
                    + where(heard[i]));
    }
}

const name = stay => `${stay.person.i}${stay.nsp}`;

/* holds all that was heard against all that was said, and forgets it */
function verify(stays) {
    const loud = [], ofRoom = new Map(), toOne = new Map();
    const put = (map, key, stay) => map.set(key, [...map.get(key) || [], stay]);

    for (const stay of stays) {
        stay.saidToAll = stay.said.filter(s => s.event.endsWith('all'));
        stay.saidToOne = stay.said.filter(s => s.to);

        loud.push(...stay.saidToAll.length ? [stay] : []);
        put(ofRoom, stay.room, stay);
        stay.saidToOne.forEach(({ to }) => put(toOne, to, stay));
    }
    for (const hearer of stays) {
        const from = new Map();

        for (const heard of hearer.heard) {
            const speaker = everybody.get(heard.from);

            assert(speaker && speaker.nsp === hearer.nsp,
                   `${name(hearer)} hears ${JSON.stringify(heard)}`);
            if (!from.has(speaker)) {
                from.set(speaker, []);
            }
            from.get(speaker).push(heard);
        }

        const speakers = new Set([...from.keys(), ...loud,
                                  ...ofRoom.get(hearer.room),
                                  ...toOne.get(hearer) || []]);

        for (const speaker of speakers) {
            if (speaker.nsp === hearer.nsp) {
                compare(speaker, hearer, from.get(speaker) || []);
            }
        }
    }
    for (const stay of stays) {
        stay.said = [];
        stay.heard = [];
        stay.lasts = stay.ones = stay.due = 0;
    }
}


/* the crowd, which outlives a test */

const context = new Context(null);
const sessions = [];                 /* {i, kind, peer, hop, people} */
const people = [];
const observers = [];
const expectedEnds = new Map();      /* public id: reason */
let broken = null;

const stays = () => [...people, ...observers].flatMap(p => p.stays);
const present = nsp => people.filter(p => p.nsp === nsp && p.stay.id
                                          && p.stay.gone === null);

/* somebody of the namespace, another one each time */
let turn = 0;
const somebody = nsp => {
    const list = present(nsp);
    return list.length ? list[turn++ * 7 % list.length].stay : null;
};

const round = person => person.round(somebody(person.nsp));

/* every one says something last, which all wait for; then all is compared */
async function settle(toAll = person => person.loud) {
    await Promise.all(people.map(person => person.last(toAll(person))));

    const hearers = [...people, ...observers].map(p => p.stay);
    const due = hearers.map(hearer => people.filter(p =>
        p.nsp === hearer.nsp && (toAll(p) || p.room === hearer.room)).length);
    const late = () => hearers.filter((stay, i) => stay.lasts < due[i]
                                                   || stay.ones < stay.due);

    await until(() => !late().length, () => 'the last words of all at '
        + late().slice(0, 10).map(s => `${name(s)} (${s.lasts} last words, `
                                       + `${s.ones} of ${s.due} to it)`), MS);
    verify(stays());

    for (const person of [...people, ...observers]) {
        person.stays = [person.stay];
    }
}

/* what the observers were told until now */
async function ends(more) {
    for (const [id, reason] of more) {
        expectedEnds.set(id, reason);
    }

    const told = () => observers.flatMap(o => o.ends);

    await until(() => told().length >= expectedEnds.size,
                () => `${expectedEnds.size} ends, there are ${told().length}`,
                MS);

    /* which of two workers tells the session's first, nobody can say */
    const gone = told().map(([id, reason]) => {
        const expected = expectedEnds.get(id);

        return [id, [].concat(expected).includes(reason) ? expected : reason];
    });

    same(gone.sort(), [...expectedEnds].sort(), 'who has left, and why');
}

const upgraded = session => session.kind.how === 'polling'
    || session.peer.engine?.transport?.name === 'websocket';

/* the crowd as a whole, no one missing */
async function complete() {
    await until(() => people.every(p => p.stay.joined < Infinity)
                      && sessions.every(upgraded), () => {
        const rest = people.filter(p => p.stay.joined === Infinity);
        return `${rest.length} to join, `
               + `${sessions.filter(s => !upgraded(s)).length} to upgrade`;
    }, MS);
}

/* a step of the crowd's life: the later ones need the earlier ones */
function step(title, body) {
    test(title, { kinds: [null], ms: 2 * MS }, async t => {
        assert(!broken, `not reached: ${broken}`);
        try {
            await body(t);
        } catch (error) {
            broken = title;
            await context.close();
            throw error;
        }
    });
}

function meet(session, nsp) {
    const { i } = session;
    const peer = nsp === '/' ? session.peer
                             : session.peer.of(nsp, { auth: { i, nsp } });
    const person = new Person(i, peer, nsp, roomOf(i));

    session.people.push(person);
    people.push(person);
    person.join();
    return round(person);
}


step('all come, and talk while they join and upgrade', async () => {
    const talk = [];

    for (const nsp of ['/', '/chat']) {
        const peer = await context.connect(nsp, {
            kind: kind('4.x websocket'), auth: { i: 'observer', nsp } });
        const observer = new Person('observer', peer, nsp, undefined);

        observer.stay.begin(peer.id);
        peer.emit('watch');
        await peer.sync();
        observers.push(observer);
    }

    for (let i = 0; i < N; i++) {
        const hop = !TLS && i % 10 === 2 ? await context.hop() : null;

        sessions.push({
            i, hop, people: [],
            kind: kind(i < N / 2 ? '4.x polling' : '4.x upgrade'),
        });
    }

    for (const session of sessions) {
        const { i, hop } = session;

        session.peer = context.open('/', {
            kind: session.kind, auth: { i, nsp: '/' }, timeout: MS,
            ...hop ? { url: hop.url } : {},
        });
        for (const nsp of namespacesOf(i)) {
            talk.push(meet(session, nsp));
        }
        if (session.kind.how === 'upgrade') {
            const both = [session, sessions[i - N / 2]];

            for (const event of ['upgrading', 'upgrade']) {
                session.peer.engine.once(event, () => talk.push(
                    ...both.flatMap(s => s.people).map(round)));
            }
        }
    }

    await complete();
    for (let i = 0; i < 2; i++) {
        talk.push(...people.map(round));
        await until(() => people.every(p => p.stay.said.every(
            said => said.event !== 'ask' || said.done < Infinity)),
            'all acknowledgements', MS);
    }
    assert.strictEqual(talk.length, 5 * people.length, 'two at the upgrade');
    await Promise.all(talk);
    await settle(() => true);
});

step('each has ids of its own, and said who it is', async () => {
    const ids = people.map(p => p.stay.id);

    same(new Set(ids).size, people.length, 'ids differ');
    for (const { i, nsp, hellos, stay } of people) {
        same(hellos, [[stay.id, { i, nsp }]]);
    }
});

step('a namespace is left, by the client or the server', async () => {
    const leaving = people.filter(p => p.nsp === '/chat' && p.i % 4 === 0);
    const kicked = person => person.i % 8 === 0;

    for (const person of leaving) {
        people.splice(people.indexOf(person), 1);
        if (kicked(person)) {
            person.socket.emit('kick');
        } else {
            person.socket.disconnect();
        }
    }
    await until(() => leaving.every(p => p.reasons.length), 'the ends', MS);
    for (const person of leaving) {
        same(person.reasons.splice(0),
             [kicked(person) ? 'io server disconnect'
                             : 'io client disconnect']);
    }
    await ends(leaving.map(p => [
        p.stay.id, kicked(p) ? 'server namespace disconnect'
                             : 'client namespace disconnect']));

    await Promise.all(people.map(round));
    await settle();
    same(leaving.flatMap(p => p.stay.heard), [], 'it is quiet for them');

    const back = leaving.map(person => {
        person.stays = [];
        person.enter();
        people.push(person);
        person.socket.connect();
        person.join();
        return round(person);
    });

    await complete();
    await Promise.all(back);
    await settle();
});

/*
 * Ends all of the sessions and waits until they are back; reasons: what the
 * client is told and what the "disconnect" rule says.
 */
async function restart(some, end, reasons) {
    const gone = some.flatMap(s => s.people);
    const last = gone.map(p => p.stay);
    const back = [];

    for (const person of gone) {
        person.ended = () => {
            person.ended = null;
            person.enter();
            person.join();
            back.push(round(person));
        };
    }
    await Promise.all(some.map(end));
    await until(() => gone.every(p => p.reasons.length), 'the ends', MS);
    await complete();
    await Promise.all(back);

    for (const session of some) {
        for (const person of session.people) {
            same(person.reasons.splice(0), [reasons(session)[0]]);
        }
    }
    return last.map(stay =>
        [stay.id, reasons(sessions[stay.person.i])[1]]);
}

const polls = session => session.kind.how === 'polling';

if (!TLS) {
    step('connections break', async () => {
        const cut = sessions.filter(s => s.hop);

        await until(() => cut.every(s => !polls(s) || s.hop.waiting()),
                    'waiting GETs', MS);

        /* one that polls says "1" when its GET breaks: elsewhere */
        await ends(await restart(cut, ({ hop }) => hop.cut(), session =>
            polls(session) ? ['transport error',
                              ['transport error', 'transport close']]
                           : ['transport close', 'transport close']));
        await settle();
    });
}

step('many go and return while the others talk', async () => {
    const closing = sessions.filter(s => s.i % 5 === 0);
    const killed = sessions.filter(s => s.i % 5 === 1);
    const others = people.filter(p => p.i % 5 > 1);
    let restless = true;

    const talk = others.map(async person => {
        while (restless) {
            await round(person);
            await new Promise(done => setTimeout(done, 50));
        }
    });

    const [one, two] = await Promise.all([
        restart(closing, ({ peer }) => peer.engine.close(),
                () => ['forced close', 'transport close']),

        restart(killed, async session => {
            const { peer } = session;

            peer.emit('kill');
            await until(() => session.people.every(p => p.reasons.length)
                              && peer.engine.readyState === 'closed',
                        'the end', MS);
            for (const person of session.people) {
                person.socket.connect();
            }
        }, () => ['io server disconnect', 'server namespace disconnect']),
    ]);

    restless = false;
    await Promise.all(talk);
    await ends([...one, ...two]);
    await settle();
});

step('all leave', async () => {
    const last = people.map(p => p.stay);

    for (const { i, peer } of sessions) {
        if (i % 3) {
            peer.manager._close();
        }
    }
    for (const { i, socket } of people) {
        if (i % 3 === 0) {
            socket.disconnect();
        }
    }
    await ends(last.map(stay => [
        stay.id, stay.person.i % 3 ? 'transport close'
                                   : 'client namespace disconnect']));
    for (const { i, reasons } of people) {
        same(reasons, [i % 3 ? 'forced close' : 'io client disconnect']);
    }
    for (const observer of observers) {
        same(observer.reasons, []);
    }
    verify(stays());
    await context.close();
});
