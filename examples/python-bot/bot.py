"""A voice bot without recognition, its media over AudioSocket.

It greets, hears by energy when the caller has stopped, answers a set time later, and falls silent for a caller who
speaks over it. See README.md beside this file.
"""

import array
import asyncio
import math
import os
import signal
import sys
import uuid

from ari import Ari, Refused


def setting(name, otherwise):
    """A time in seconds, from milliseconds in the environment."""
    ms = float(os.environ.get(name, otherwise))
    if not 0 <= ms <= 60_000:
        sys.exit(f"{name}: {ms} is no time from 0 to 60000 ms")
    return ms / 1000


MEDIA_IP = os.environ.get("MEDIA_IP", "127.0.0.1")  # where Asterisk reaches this machine
APP = os.environ.get("ARI_APP", "loadtest")
ANSWER_AFTER = setting("BOT_ANSWER_AFTER_MS", 700)  # from the caller's last word
YIELD_AFTER = setting("BOT_YIELD_AFTER_MS", 400)  # of a caller who speaks over it
MOST_CALLS = 1000

RATE = 8000
FRAME = 160  # samples
FRAME_S = FRAME / RATE
# The ear: a frame is loud if 1 ms of it is above -56 dB of full scale.
LOUD = 52
LOUD_SAMPLES = 8
BREATH = 0.3  # silence after which the caller's next word is a new utterance
SHORTEST = 0.06  # anything shorter is a click
STALL = 0.1  # lateness from which missed frames are left out

# AudioSocket: a byte of kind, two of length, the payload.
HANG_UP, NAME, AUDIO = 0x00, 0x01, 0x10
NAMED_WITHIN = 2
MOST_WAITING = 16_000  # bytes that Asterisk has not read, a second of audio: it has stopped reading


def speech(seconds):
    """A voice that says nothing: harmonics of 140 Hz, loud and soft by syllables."""

    def sample(n):
        t = n / RATE
        syllable = 0.3 + 0.7 * abs(math.sin(math.pi * t / 0.22))
        parts = enumerate([1, 0.7, 0.9, 0.4, 0.2], start=1)
        return int(3500 * syllable * sum(part * math.sin(2 * math.pi * 140 * k * t) for k, part in parts))

    return array.array("h", (sample(n) for n in range(int(seconds * RATE))))


GREETING, ANSWER = speech(1.5), speech(2.5)


def message(samples):
    """A whole message of audio; on the wire it is little-endian."""
    if sys.byteorder == "big":
        samples = array.array("h", samples)
        samples.byteswap()
    payload = samples.tobytes()
    return bytes([AUDIO]) + len(payload).to_bytes(2, "big") + payload


class Bot:
    """The bot in one call; times are those of the event loop, in seconds."""

    def __init__(self):
        self.heard_from = self.heard_until = -math.inf  # the caller's utterance so far
        self.due, self.next = None, None  # the answer's or greeting's time, and which
        self.saying, self.said, self.from_ = None, 0, 0.0

    def greet(self, now):
        self.due, self.next = now, GREETING

    def hear(self, at, samples):
        """Audio of the caller's, whose first sample came at `at`."""
        loud = [n for n, sample in enumerate(samples) if not -LOUD < sample < LOUD]
        if len(loud) < LOUD_SAMPLES:
            return
        if at > self.heard_until + BREATH:
            self.heard_from = at
        self.heard_until = at + (loud[-1] + 1) / RATE
        if self.heard_until - self.heard_from < SHORTEST:
            return
        if self.saying:
            # A short word put in is no reason to stop.
            if self.heard_until - max(self.heard_from, self.from_) < YIELD_AFTER:
                return
            self.saying = None
        # Due after the last word: each word moves it.
        self.due, self.next = self.heard_until + ANSWER_AFTER, ANSWER

    def frame(self, at):
        """The 20 ms from `at` on: speech, silence, or speech that begins within it."""
        out = array.array("h", bytes(2 * FRAME))
        first = 0
        if self.saying is None and self.due is not None and self.due < at + FRAME_S:
            first = min(max(0, math.ceil((self.due - at) * RATE)), FRAME - 1)
            self.saying, self.said, self.from_, self.due = self.next, 0, max(self.due, at), None
        if self.saying:
            part = self.saying[self.said : self.said + FRAME - first]
            out[first : first + len(part)] = part
            self.said += len(part)
            if self.said >= len(self.saying):
                self.saying = None
        return out


async def listen(reader, bot):
    """Hears the caller until the connection ends or Asterisk hangs up."""
    clock = asyncio.get_running_loop().time
    while True:
        kind, high, low = await reader.readexactly(3)
        payload = await reader.readexactly(high << 8 | low)
        if kind == HANG_UP:
            return
        if kind == AUDIO and len(payload) % 2 == 0:
            samples = array.array("h", payload)
            if sys.byteorder == "big":
                samples.byteswap()
            bot.hear(clock(), samples)


async def talk(writer, bot):
    """Sends a frame every 20 ms, of silence too: without any, Asterisk's reader can spin and stop all of it."""
    clock = asyncio.get_running_loop().time
    due = clock()
    while True:
        now = clock()
        if now - due > STALL:
            due = now
        # Whole messages only: half a header hangs Asterisk's channel for good.
        writer.write(message(bot.frame(due)))
        if writer.transport.get_write_buffer_size() > MOST_WAITING:
            writer.transport.abort()
            return
        due += FRAME_S
        await asyncio.sleep(max(0, due - clock()))


class Service:
    """The calls that are up."""

    def __init__(self, ari):
        self.ari = ari
        self.port = 0
        self.links = {}  # calls that Asterisk may connect for, by their UUID
        self.calls = set()
        self.leaving = set()  # their ends

    async def accept(self, reader, writer):
        """A connection of Asterisk's: it names its call first, or is closed."""
        try:
            first = await asyncio.wait_for(reader.readexactly(3 + 16), NAMED_WITHIN)
            name = first[3:] if first[:3] == bytes([NAME, 0, 16]) else b""
            future = self.links.pop(name, None)
            if future and not future.done():
                future.set_result((reader, writer))
                return
        except (asyncio.IncompleteReadError, OSError, asyncio.TimeoutError):
            pass
        writer.close()

    async def call(self, caller):
        """One call, from its arrival to its end."""
        ari, name = self.ari, uuid.uuid4()
        media, bridge = f"bot-media-{name}", f"bot-bridge-{name}"
        # Registered before they can happen.
        over = ari.upcoming("StasisEnd", caller)
        entered = [ari.upcoming("ChannelEnteredBridge", channel) for channel in (caller, media)]
        ready = ari.upcoming("StasisStart", media)
        link = self.links[name.bytes] = asyncio.get_running_loop().create_future()

        requests = [asyncio.create_task(request) for request in (
            ari.ask("POST", f"/channels/{caller}/answer"),
            ari.ask("POST", "/bridges", type="mixing", bridgeId=bridge),
            ari.ask("POST", "/channels/externalMedia", app=APP, channelId=media, format="slin",
                    external_host=f"{MEDIA_IP}:{self.port}", encapsulation="audiosocket", transport="tcp",
                    data=str(name)),
        )]

        async def serve():
            await asyncio.gather(*map(asyncio.shield, requests), ready, link)
            reader, writer = link.result()
            bot = Bot()
            talking = asyncio.create_task(talk(writer, bot))
            try:
                await ari.ask("POST", f"/bridges/{bridge}/addChannel", channel=f"{caller},{media}")
                # Not a gather in wait_for: cancelled, that would leave an exception that nobody retrieves.
                _, late = await asyncio.wait(entered, timeout=5)
                if late:
                    raise asyncio.TimeoutError("a channel has not entered the bridge")
                bot.greet(asyncio.get_running_loop().time())
                await listen(reader, bot)  # its end is the end of the call
            finally:
                talking.cancel()

        serving = asyncio.create_task(serve())
        try:
            await asyncio.wait([serving, over], return_when=asyncio.FIRST_COMPLETED)
            if serving.done() and not over.done():
                raise serving.exception() or EOFError("the media's connection has ended")
        except (Refused, OSError, EOFError, asyncio.TimeoutError) as error:
            print(f"call {caller}: {error}", file=sys.stderr)
        finally:
            # Also when the bot is stopped amid it: the end waits for all of these.
            leaving = asyncio.create_task(self.take_down(caller, media, bridge, name, [serving, *requests], link))
            self.leaving.add(leaving)
            leaving.add_done_callback(self.leaving.discard)
            await asyncio.shield(leaving)

    async def take_down(self, caller, media, bridge, name, tasks, link):
        """Ends both sides and the bridge: the end of one takes neither of the others away."""
        tasks[0].cancel()
        # What is still being created could not be deleted yet.
        await asyncio.gather(*tasks, return_exceptions=True)
        self.links.pop(name.bytes, None)
        for channel in (caller, media):
            self.ari.forget(channel)
            await self.ari.gone(f"/channels/{channel}")
        await self.ari.gone(f"/bridges/{bridge}")
        if link.done() and not link.cancelled():
            link.result()[1].close()

    async def run(self):
        """Takes the calls that come until the connection to Asterisk ends."""
        server = await asyncio.start_server(self.accept, MEDIA_IP, 0, limit=1 << 17)
        self.port = server.sockets[0].getsockname()[1]
        print(f"application {APP}: ready", flush=True)
        events = self.ari.events()
        try:
            async for event in events:
                self.enter(event)
        finally:
            server.close()
            await events.aclose()

    def enter(self, event):
        """Takes the call that an event tells of. Its own media channels enter the application too: nobody to answer."""
        if event.get("type") != "StasisStart" or event["channel"]["id"].startswith("bot-media-"):
            return
        caller = event["channel"]["id"]
        if len(self.calls) < MOST_CALLS:
            call = asyncio.create_task(self.call(caller))
        else:
            call = asyncio.create_task(self.ari.gone(f"/channels/{caller}"))
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)


async def main():
    """Runs until SIGTERM, and hangs all calls up then; returns the exit code."""
    ari = Ari(os.environ.get("ARI_URL", "http://127.0.0.1:8088"), os.environ.get("ARI_USER", "loadtest"),
              os.environ.get("ARI_PASS", ""), APP)
    service = Service(ari)
    running = asyncio.create_task(service.run())
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()  # without the events no more calls come
    await asyncio.gather(running, return_exceptions=True)
    calls = list(service.calls)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await asyncio.gather(*service.leaving, return_exceptions=True)
    if stopped.is_set():
        return 0
    print(f"the connection to Asterisk has ended: {running.exception() or 'it closed it'}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
