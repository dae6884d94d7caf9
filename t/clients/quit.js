'use strict';

/*
 * Many clients whose server is told to quit: quit.js URL PID N.  PID is the
 * master; half of the N clients poll.  Each of them has to hear why it ends.
 */

const { io } = require('socket.io-client');

const [url, pid, n] = process.argv.slice(2);
const SCALE = process.env.NGX_SIO_ASAN ? 4 : 1;
const reasons = {};
let connected = 0, ended = 0, start;

console.log('1..2');

setTimeout(() => {
    console.log(`not ok 1 - ${connected} connected, ${ended} ended: `
                + JSON.stringify(reasons));
    process.exit(1);
}, 40000 * SCALE).unref();

function quit() {
    start = Date.now();
    process.kill(Number(pid), 'SIGQUIT');
}

function done() {
    const ms = Date.now() - start;
    const ok = reasons['transport close'] === Number(n);

    console.log(`${ok ? '' : 'not '}ok 1 - each hears of it: `
                + JSON.stringify(reasons));
    console.log(`${ms < 1000 * SCALE ? '' : 'not '}ok 2 - within ${ms} ms`);
    process.exit(ok ? 0 : 1);
}

function open(i) {
    const socket = io(url, {
        transports: [i % 2 ? 'websocket' : 'polling'],
        forceNew: true, reconnection: false,
    });

    socket.on('connect', () => {
        if (++connected == n) {

            /* the last ones may still be on their way to their first poll */
            setTimeout(quit, 500);
        }
        if (i + 20 < n) {
            open(i + 20);
        }
    });
    socket.on('connect_error', error => {
        console.log(`not ok 1 - ${error.message}`);
        process.exit(1);
    });
    socket.on('disconnect', reason => {
        reasons[reason] = (reasons[reason] || 0) + 1;
        if (++ended == n) {
            done();
        }
    });
}

for (let i = 0; i < 20 && i < n; i++) {
    open(i);
}
