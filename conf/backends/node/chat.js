'use strict';

// The chat's backend in Node.js, without any package.  nginx sends each event
// as a POST to /app and carries out the answer, an array of operations.  The
// state is in memory, as this one process serves all.

const crypto = require('crypto');
const http = require('http');
const { text } = require('stream/consumers');

const SECRET = process.env.CHAT_SECRET;
const NAME = /^[A-Za-z0-9_-]{1,30}$/;
const KEPT = 20;

const history = [];             // the last messages of the lobby
const polls = new Map();        // token -> poll, the last ones
const invited = new Map();      // private room -> names of those who may join
let number = 0;                 // of messages and polls

const ack = (...args) => ({ op: 'ack', args });
const emit = (to, event, ...args) => ({ op: 'emit', to, event, args });

function chat({ type, data: { user } = {}, id, rooms, ...request }) {
    switch (type) {
    case 'connect':             // an emit without "to" is for this socket alone
        return [{ op: 'join', rooms: ['room:lobby', `user:${user}`] },
                { op: 'emit', event: 'history', args: [history] },
                emit('room:lobby', 'joined', 'lobby', user, id)];
    case 'event':
        return onEvent(request.event, request.args, user, id, rooms);
    case 'ack':
        return onAnswer(request);
    case 'disconnect':
        return [emit(rooms.filter(room => room.startsWith('room:')),
                     'gone', user, id)];
    }
}

// What a client says can be anything, but nginx vouches for user, id and rooms.
// The prefix keeps clients out of the user: rooms and those of socket ids.

function onEvent(event, [room, value], user, id, rooms) {
    const to = `room:${room}`;

    if (typeof room !== 'string' || !NAME.test(room)) {
        return [ack('error', 'no such room')];
    }
    if (event !== 'join' && !rooms.includes(to)) {
        return [ack('error', 'not in this room')];
    }
    if (['say', 'invite', 'poll'].includes(event) && typeof value !== 'string') {
        return [ack('error', 'no text')];
    }

    switch (event) {
    case 'join':
        if (room.startsWith('private-')) {      // who comes first has opened it
            const names = invited.get(room) ?? new Set([user]);

            if (!names.has(user)) {
                return [ack('error', 'not invited')];
            }
            invited.set(room, names);
        }
        return [{ op: 'join', rooms: [to] },
                emit(to, 'joined', room, user, id), ack('ok')];
    case 'invite':
        if (!NAME.test(value)) {
            return [ack('error', 'no such user')];
        }
        invited.get(room)?.add(value);
        return [emit(`user:${value}`, 'invited', room, user), ack('ok')];
    case 'say': {
        const message = { number: ++number, room, user, id, text: value };

        if (room === 'lobby') {
            history.push(message);
            history.splice(0, history.length - KEPT);
        }
        return [emit(to, 'message', message), ack('ok', number)];
    }
    case 'picture':             // {"_base64":"..."} goes back as it came
        return [{ ...emit(to, 'picture', room, user, id, value), except: [id] },
                ack('ok')];
    case 'poll': {              // asks all in the room for an acknowledgement
        const token = `poll-${++number}`;

        polls.set(token, { to, question: value, votes: { yes: 0, no: 0 } });
        if (polls.size > KEPT) {
            polls.delete(polls.keys().next().value);
        }
        return [{ ...emit(to, 'vote', value), ack: token, timeout: 5000 },
                ack('ok')];
    }
    default:
        return [ack('error', 'no such event')];
    }
}

// The answer of one, or how many have not answered in time.

function onAnswer({ token, missing, args: [answer] = [] }) {
    const poll = polls.get(token);

    if (!poll) {
        return [];
    }
    if (missing) {
        poll.votes.missing = missing;
    } else if (answer === 'yes' || answer === 'no') {
        poll.votes[answer]++;
    }
    return [emit(poll.to, 'votes', poll.question, poll.votes)];
}

// The cookie is NAME.SIGNATURE, so that nobody can make up one.

function signed(user) {
    return `${user}.${crypto.createHmac('sha256', SECRET).update(user)
                            .digest('hex')}`;
}

function whoHas(cookies = '') {
    const [, cookie, user] = /\buser=(([\w-]+)\.\w{64})\b/.exec(cookies) ?? [];

    return user && crypto.timingSafeEqual(Buffer.from(cookie),
                                          Buffer.from(signed(user))) && user;
}

function serve(path, cookies, body) {
    if (path === '/login') {    // a real one asks for a password, too
        const user = new URLSearchParams(body).get('name') ?? '';

        return NAME.test(user)
            ? [303, { 'Location': '/', 'Set-Cookie':
                      `user=${signed(user)}; Path=/; HttpOnly; SameSite=Lax` }]
            : [400, {}, 'A name has 1 to 30 letters, digits, - or _.\n'];
    }
    if (path === '/auth') {     // nginx asks whose request it has
        const user = whoHas(cookies);

        return [204, user ? { 'X-User': user } : {}];
    }

    const request = JSON.parse(body);
    const [status, answer] = request.type === 'connect' && !request.data.user
        ? [401, { message: 'not logged in', data: { login: '/login' } }]
        : [200, chat(request)];

    return [status, { 'Content-Type': 'application/json' },
            JSON.stringify(answer)];
}

const server = http.createServer(async (request, response) => {
    try {
        const [status, headers, body = ''] = serve(
            request.url, request.headers.cookie, await text(request));

        response.writeHead(status, headers).end(body);
    } catch (error) {
        console.error(error);
        response.writeHead(500).end();
    }
});

// nginx closes an idle connection after 60s.  If Node.js were first to do so, a
// request could be on its way just then, and nginx does not repeat a POST.

server.keepAliveTimeout = 75000;
server.listen(process.argv[2]);
