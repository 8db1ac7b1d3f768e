// A voice bot without recognition: it greets, hears by energy when the caller has stopped, answers a set time
// later, and falls silent for a caller who speaks over it. See README.md beside this file.
'use strict';

const { randomInt } = require('node:crypto');
const { run } = require('../node-echo/calls.js');

const setting = (name, otherwise) => {
  const ms = Number(process.env[name] ?? otherwise);
  if (!(ms >= 0 && ms <= 60_000)) throw new RangeError(`${name}: ${process.env[name]} is no time from 0 to 60000 ms`);
  return ms;
};
const ANSWER_AFTER_MS = setting('BOT_ANSWER_AFTER_MS', 700); // from the caller's last word
const YIELD_AFTER_MS = setting('BOT_YIELD_AFTER_MS', 400); // of a caller who speaks over it

const PER_MS = 8; // samples
const FRAME = 160; // samples, 20 ms
const FRAME_MS = FRAME / PER_MS;
// The ear: a packet is loud if 1 ms of it is above -56 dB of full scale.
const LOUD = 52;
const LOUD_SAMPLES = PER_MS;
const BREATH_MS = 300; // silence after which the caller's next word is a new utterance
const SHORTEST_MS = 60; // anything shorter is a click
const STALL_MS = 100; // lateness from which missed frames are left out: a burst would be dropped

// G.711: the linear value of each byte.
const ulaw = (byte) => {
  const code = ~byte & 0xff;
  const value = ((((code & 0x0f) << 3) + 0x84) << ((code >> 4) & 7)) - 0x84;
  return code & 0x80 ? -value : value;
};
const alaw = (byte) => {
  const code = byte ^ 0x55;
  const step = (code >> 4) & 7;
  const value = step ? (((code & 0x0f) << 4) + 0x108) << (step - 1) : ((code & 0x0f) << 4) + 8;
  return code & 0x80 ? value : -value;
};
const LAWS = { ulaw: { type: 0, decode: ulaw }, alaw: { type: 8, decode: alaw } };

// So many seconds of a voice that says nothing: harmonics of 140 Hz, loud and soft by syllables.
function speech(seconds) {
  return Int16Array.from({ length: seconds * 1000 * PER_MS }, (_, n) => {
    const t = n / (1000 * PER_MS);
    const syllable = 0.3 + 0.7 * Math.abs(Math.sin((Math.PI * t) / 0.22));
    const harmonic = (part, k) => part * Math.sin(2 * Math.PI * 140 * (k + 1) * t);
    const tone = [1, 0.7, 0.9, 0.4, 0.2].map(harmonic).reduce((sum, part) => sum + part);
    return 3500 * syllable * tone;
  });
}

// The voice as bytes of a law: the byte whose value is nearest to each sample.
function encoded(samples, values) {
  const off = (byte, sample) => Math.abs(values[byte] - sample);
  const nearest = (sample) =>
    values.reduce((best, _, byte) => (off(byte, sample) < off(best, sample) ? byte : best), 0);
  return Buffer.from(Array.from(samples, nearest));
}

function voice({ type, decode }) {
  const values = Array.from({ length: 256 }, (_, byte) => decode(byte));
  return { type, values, greeting: encoded(speech(1.5), values), answer: encoded(speech(2.5), values) };
}

const voices = new Map();
function voiceOf(format) {
  if (!LAWS[format]) throw new Error(`MEDIA_FORMAT ${format}: ulaw and alaw are spoken here`);
  if (!voices.has(format)) voices.set(format, voice(LAWS[format]));
  return voices.get(format);
}

// The audio in a packet of RTP (RFC 3550, section 5.1); none of another kind.
function audioOf(packet, type) {
  if (packet.length < 12 || packet[0] >> 6 !== 2 || (packet[1] & 0x7f) !== type) return null;
  let from = 12 + 4 * (packet[0] & 0x0f);
  if (packet[0] & 0x10) {
    if (packet.length < from + 4) return null;
    from += 4 + 4 * packet.readUInt16BE(from + 2);
  }
  const padding = packet[0] & 0x20 ? packet[packet.length - 1] : 0;
  return packet.subarray(from, Math.max(from, packet.length - padding));
}

class Bot {
  constructor(socket, format) {
    this.voice = voiceOf(format);
    this.socket = socket;
    this.heard = { from: -Infinity, until: -Infinity }; // the caller's utterance so far
    this.saying = null; // what is said, how far, since when
    this.timer = null; // of the next frame, or of the answer
    this.rtp = { ssrc: randomInt(2 ** 32), number: randomInt(2 ** 16), clock: randomInt(2 ** 32) };
    this.began = performance.now();
    socket.on('message', (packet) => this.hear(packet, performance.now()));
  }

  begin() {
    this.say(this.voice.greeting, performance.now());
  }

  end() {
    clearTimeout(this.timer);
    this.hear = this.say = () => {};
  }

  hear(packet, at) {
    const audio = audioOf(packet, this.voice.type);
    if (!audio) return;
    let [count, last] = [0, 0];
    audio.forEach((byte, n) => {
      if (Math.abs(this.voice.values[byte]) >= LOUD) [count, last] = [count + 1, n];
    });
    if (count < LOUD_SAMPLES) return;
    if (at > this.heard.until + BREATH_MS) this.heard.from = at;
    this.heard.until = at + (last + 1) / PER_MS;
    if (this.heard.until - this.heard.from < SHORTEST_MS) return;
    if (this.saying) {
      // A short word put in is no reason to stop.
      if (this.heard.until - Math.max(this.heard.from, this.saying.from) < YIELD_AFTER_MS) return;
      this.saying = null;
    }
    // Due after the last word: each word moves it.
    this.at(this.heard.until + ANSWER_AFTER_MS, (due) => this.say(this.voice.answer, due));
  }

  at(due, then) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => then(due), Math.max(0, Math.ceil(due - performance.now())));
  }

  say(what, due) {
    this.saying = { what, said: 0, from: due };
    this.frame(due, true);
  }

  // Sends the frame that is due, and waits for the next one.
  frame(due, isFirst) {
    const { what, said } = this.saying;
    const now = performance.now();
    const start = now - due > STALL_MS ? now : due;
    this.send(what.subarray(said, said + FRAME), start, isFirst || start !== due);
    this.saying.said += FRAME;
    if (this.saying.said >= what.length) this.saying = null;
    else this.at(start + FRAME_MS, (next) => this.frame(next, false));
  }

  // A packet whose time stamp goes on by the clock where nothing was sent.
  send(audio, at, marker) {
    const head = Buffer.alloc(12);
    head[0] = 0x80;
    head[1] = this.voice.type | (marker ? 0x80 : 0);
    head.writeUInt16BE((this.rtp.number = (this.rtp.number + 1) & 0xffff), 2);
    head.writeUInt32BE((this.rtp.clock + Math.round((at - this.began) * PER_MS)) >>> 0, 4);
    head.writeUInt32BE(this.rtp.ssrc, 8);
    this.socket.send(Buffer.concat([head, audio]));
  }
}

voiceOf(process.env.MEDIA_FORMAT ?? 'ulaw'); // made before the first call, or its greeting would wait for it
run('bot', (socket, format) => new Bot(socket, format));
