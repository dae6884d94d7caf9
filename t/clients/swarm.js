'use strict';

/*
 * Fifty clients among those of t/load/swarm.c: swarm.js URL N.  They connect
 * by polling, upgrade, and see the numbered ticks of all sources and their
 * own echoes; at a SIGUSR2 they must have seen each once and in order.
 */

const { io } = require('socket.io-client');

const [url, n] = process.argv.slice(2);
const errors = [];
const clients = [];
let ready = 0, upgraded = 0, ticks = 0, echoes = 0, stopping = false;

function fail(text) {
    if (errors.push(text) <= 20) {
        console.log(`# ${text}`);
    }
}

function open(i) {
    const socket = io(url, { forceNew: true, reconnection: false,
                             rejectUnauthorized: false });
    const client = { socket, seen: new Map(), sent: 0, got: 0 };

    clients.push(client);

    socket.on('connect', () => {
        const { engine } = socket.io;

        ready++;
        if (engine.transport.name === 'websocket') {
            upgraded++;
        } else {
            engine.on('upgrade', () => upgraded++);
        }
        client.timer = setInterval(() => {
            if (!stopping) {
                socket.emit('echo', ++client.sent);
            }
        }, 200);
    });

    socket.on('tick', (source, number) => {
        const last = client.seen.get(source);

        ticks++;
        if (last !== undefined && number !== last + 1) {
            fail(`client ${i}: ${source} ${number} after ${last}`);
        }
        client.seen.set(source, number);
    });

    socket.on('echo', number => {
        echoes++;
        if (number !== ++client.got) {
            fail(`client ${i}: echo ${number}, not ${client.got}`);
        }
    });

    socket.on('connect_error', error => fail(`client ${i}: ${error.message}`));
    socket.on('disconnect', reason => {
        clearInterval(client.timer);
        if (reason !== 'io client disconnect') {
            fail(`client ${i}: ${reason}`);
        }
    });
}

for (let i = 0; i < n; i++) {
    open(i);
}

function report(ok, number, name) {
    console.log(`${ok ? '' : 'not '}ok ${number} - ${name}`);
}

process.on('SIGUSR2', async () => {
    const end = Date.now() + 20000 * (process.env.NGX_SIO_ASAN ? 4 : 1);
    const until = async condition => {
        while (!condition() && Date.now() < end) {
            await new Promise(next => setTimeout(next, 20));
        }
    };

    await until(() => upgraded == n && clients.every(c => c.sent > 3));
    stopping = true;
    await until(() => clients.every(c => c.got === c.sent));

    report(ready == n && upgraded == n, 1, `${ready} were there, ${upgraded} `
                                           + 'have upgraded');
    report(ticks > 0 && errors.length == 0, 2, `${ticks} ticks in order`);
    report(echoes > 0 && clients.every(c => c.got === c.sent), 3,
           `all of ${echoes} echoes`);
    console.log('1..3');

    clients.forEach(c => c.socket.disconnect());
    process.exitCode = errors.length ? 1 : 0;
    setTimeout(() => process.exit(), 2000).unref();
});
