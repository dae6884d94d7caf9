// The peer: the reference server doing what nginx.conf.in asks of nginx.
//
//     node node.js PORT          (socket.io is found through NODE_PATH)

'use strict';

const http = require('http');
const { Server } = require('socket.io');

const server = http.createServer();

// a held GET may not look idle to the load of the next round
server.keepAliveTimeout = 75000;

const io = new Server(server, { serveClient: false });

io.on('connection', (socket) => {
  socket.on('echo', (text) => socket.emit('echo', text));
  socket.on('news', (text) => socket.broadcast.emit('news', text));
});

server.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 511 });
