'use strict';

/*
 * worker_shutdown_timeout passes: shutdown.js URL PID.  PID is the master,
 * which is told to reload once the client is there.
 */

const { io } = require('socket.io-client');

const [url, pid] = process.argv.slice(2);
const socket = io(url, { transports: ['websocket'], reconnection: false });

console.log('1..1');

setTimeout(() => {
    console.log('not ok 1 - the client hears of it, in time');
    process.exit(1);
}, 20000).unref();

socket.on('connect', () => process.kill(Number(pid), 'SIGHUP'));
socket.on('disconnect', reason => {
    const ok = reason === 'transport close';

    console.log(`${ok ? '' : 'not '}ok 1 - the client hears: ${reason}`);
    process.exit(ok ? 0 : 1);
});
