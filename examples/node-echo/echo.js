// An ARI application that answers every call and sends its audio back, byte by byte.
//
// Asterisk sends a call's RTP to a UDP socket of this program's by way of an external media channel,
// and whatever arrives there goes straight back. See README.md beside this file.
'use strict';

const { run } = require('./calls.js');

run('echo', (socket) => {
  socket.on('message', (packet) => socket.send(packet));
});
