// The life of a call in an ARI application whose media come over RTP: answer, bridge, external media channel, and
// all of it taken down again. echo.js sends the audio back; ../node-bot/bot.js talks. See README.md beside this file.
'use strict';

const dgram = require('node:dgram');
const { randomUUID } = require('node:crypto');
const Ari = require('ari-client');

const {
  ARI_URL = 'http://127.0.0.1:8088',
  ARI_USER = 'loadtest',
  ARI_PASS = '',
  ARI_APP = 'loadtest',
  MEDIA_IP = '127.0.0.1', // where Asterisk reaches this machine
  PORT_RANGE = '', // as 21000-31000
  MEDIA_FORMAT = 'ulaw', // the callers' codec: then Asterisk passes the payload on unchanged
} = process.env;

// Events that somebody waits for, by `event channel-id`.
const awaited = new Map();

const upcoming = (event, channelId) =>
  new Promise((resolve) => awaited.set(`${event} ${channelId}`, resolve));

function happened(event, channelId) {
  const key = `${event} ${channelId}`;
  awaited.get(key)?.();
  awaited.delete(key);
}

// The ports that nobody else in a run uses; without a range the kernel chooses.
const [firstPort, lastPort] = PORT_RANGE.split('-').map(Number);
const freePorts = PORT_RANGE ? Array.from({ length: lastPort - firstPort + 1 }, (_, n) => firstPort + n) : null;

function bound(port) {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4');
    socket.once('error', reject);
    socket.bind(port, MEDIA_IP, () => resolve(socket));
  });
}

// The port that has rested longest; one that somebody else holds goes to the end of the queue.
async function udpSocket() {
  if (!freePorts) return bound(0);
  for (let tries = freePorts.length; tries > 0; tries--) {
    const port = freePorts.shift();
    const socket = await bound(port).catch(() => null);
    if (socket) return socket.once('close', () => freePorts.push(port));
    freePorts.push(port);
  }
  throw new Error(`no free port in ${PORT_RANGE}`);
}

// Lets nothing but packets from Asterisk's side of the external media channel in, and sends there.
function connect(socket, { UNICASTRTP_LOCAL_ADDRESS: address, UNICASTRTP_LOCAL_PORT: port }) {
  socket.on('error', () => {}); // a port that has just gone away: the end of the call comes with an event
  return new Promise((resolve) => socket.connect(Number(port), address, resolve)); // drops strangers
}

// One call, from its arrival to its end.
async function serve(ari, { name, media }, caller, over) {
  const id = randomUUID();
  const bridgeId = `${name}-bridge-${id}`;
  const mediaId = `${name}-media-${id}`;
  const socket = await udpSocket();
  let talk;
  // Waited for before they can happen, so that no event comes too early.
  const mediaReady = upcoming('StasisStart', mediaId);

  const setUp = async () => {
    const answered = ari.channels.answer({ channelId: caller.id });
    const bridged = ari.bridges.create({ type: 'mixing', bridgeId });
    const ready = ari.channels
      .externalMedia({
        app: ARI_APP,
        channelId: mediaId,
        external_host: `${MEDIA_IP}:${socket.address().port}`,
        format: MEDIA_FORMAT,
      })
      .then((channel) => connect(socket, channel.channelvars))
      .then(() => (talk = media(socket, MEDIA_FORMAT)));
    // An external channel that is put into a bridge before its own StasisStart stays silent.
    await Promise.all([answered, bridged, ready, mediaReady]);
    await ari.bridges.addChannel({ bridgeId, channel: [caller.id, mediaId] });
    talk?.begin();
    await over;
  };

  try {
    await Promise.race([setUp(), over]);
  } catch (error) {
    console.error(`call ${caller.id}: ${error.message}`);
  }
  talk?.end();
  // The caller's end takes neither the bridge nor the external channel away. What is gone already, or
  // never came, answers 404.
  const gone = () => {};
  awaited.delete(`StasisStart ${mediaId}`);
  awaited.delete(`StasisEnd ${caller.id}`);
  await ari.channels.hangup({ channelId: caller.id }).catch(gone);
  await ari.channels.hangup({ channelId: mediaId }).catch(gone);
  await ari.bridges.destroy({ bridgeId }).catch(gone);
  socket.close();
}

// Serves the calls of the application until SIGTERM. `media(socket, format)` gets each call's socket once it is
// connected to Asterisk; what it returns, if anything, is told when both sides are bridged (`begin`) and of the end
// of the call (`end`).
async function main(name, media) {
  const ari = await Ari.connect(ARI_URL, ARI_USER, ARI_PASS);
  const calls = new Set();

  let hangUpAll;
  const stopping = new Promise((resolve) => (hangUpAll = resolve));

  ari.on('StasisStart', (event, channel) => {
    happened('StasisStart', channel.id);
    // Our own external channels enter the application too; they are nobody to answer.
    if (channel.id.startsWith(`${name}-media-`)) return;
    const over = Promise.race([upcoming('StasisEnd', channel.id), stopping]);
    const call = serve(ari, { name, media }, channel, over)
      .catch((error) => console.error(`call ${channel.id}: ${error.message}`))
      .finally(() => calls.delete(call));
    calls.add(call);
  });
  ari.on('StasisEnd', (event, channel) => happened('StasisEnd', channel.id));
  ari.on('WebSocketReconnecting', () => console.error('lost Asterisk, trying again'));
  ari.on('WebSocketMaxRetries', () => {
    console.error('Asterisk does not come back');
    process.exit(1);
  });

  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.once(signal, async () => {
      hangUpAll();
      await Promise.all(calls);
      ari.stop(); // nothing is left to do then, and the program ends
    });
  }

  await ari.start(ARI_APP);
  console.log(`application ${ARI_APP} at ${ARI_URL}: ready`);
}

exports.run = (name, media) =>
  main(name, media).catch((error) => {
    console.error(`cannot connect to ${ARI_URL}: ${error.message ?? error}`);
    process.exit(1);
  });
