"""A small client of Asterisk's REST interface: events over a WebSocket, requests over HTTP; standard library alone."""

import asyncio
import base64
import hashlib
import json
import os
import urllib.parse

LONGEST = 1 << 20  # bytes of an answer or an event; Asterisk's are a few thousand
PATIENCE_S = 10

# RFC 6455
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUED, TEXT, CLOSE, PING, PONG = 0, 1, 8, 9, 10
NORMAL = 1000


class Refused(Exception):
    """Asterisk's answer was no success."""


class Ari:
    """Requests, and the events of one application."""

    def __init__(self, url, user, password, app):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(f"ARI_URL {url}: an address as http://127.0.0.1:8088 is needed")
        self.host, self.port, self.path = parts.hostname, parts.port or 80, parts.path.rstrip("/")
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.app = app
        self.awaited = {}

    async def ask(self, method, path, **query):
        """A request; returns what Asterisk answers, or raises Refused."""
        return await asyncio.wait_for(self._ask(method, path, query), PATIENCE_S)

    async def _ask(self, method, path, query):
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            target = f"{self.path}/ari{path}?{urllib.parse.urlencode(query)}"
            writer.write(self._head(method, target, "Connection: close", "Content-Length: 0"))
            answer = await reader.read(LONGEST)
            while len(answer) < LONGEST and (more := await reader.read(LONGEST - len(answer))):
                answer += more
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        status = head.split(b" ")[1:2]
        if not status or not status[0].startswith(b"2"):
            line = head.split(b"\r\n")[0] + b" " + body
            raise Refused(f"{method} {path}: {line[:200].decode(errors='replace')}")
        return json.loads(body) if body else None

    def _head(self, method, target, *headers):
        lines = (f"{method} {target} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Authorization: {self.login}")
        return "\r\n".join((*lines, *headers, "", "")).encode()

    async def gone(self, path):
        """Deletes what may have gone by itself."""
        try:
            await self.ask("DELETE", path)
        except (Refused, OSError, asyncio.TimeoutError):
            pass

    def upcoming(self, event, channel_id):
        """Waits for an event. Call it before that can happen."""
        future = asyncio.get_running_loop().create_future()
        self.awaited[event, channel_id] = future
        return future

    def forget(self, channel_id):
        """Nobody waits for events of this channel any more."""
        for key in [key for key in self.awaited if key[1] == channel_id]:
            self.awaited.pop(key).cancel()

    async def events(self):
        """The application's events, until the connection ends; whoever waits for one is told of it first."""
        reader, writer = await asyncio.wait_for(self._open(), PATIENCE_S)
        try:
            async for text in messages(reader, writer):
                event = json.loads(text)
                future = self.awaited.pop((event.get("type"), event.get("channel", {}).get("id")), None)
                if future and not future.done():
                    future.set_result(event)
                yield event
        finally:
            await leave(writer)

    async def _open(self):
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=LONGEST)
        key = base64.b64encode(os.urandom(16)).decode()
        target = f"{self.path}/ari/events?app={urllib.parse.quote(self.app)}"
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
        writer.write(self._head("GET", target, *upgrade, f"Sec-WebSocket-Key: {key}"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        proof = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if " 101 " not in head.split("\r\n")[0] or proof not in head:
            raise Refused(f"no WebSocket of ARI: {head.splitlines()[0][:200]}")
        return reader, writer


async def messages(reader, writer):
    """The texts that a WebSocket brings. Pings are answered."""
    text = b""
    while True:
        try:
            first, second = await reader.readexactly(2)
            size = second & 0x7F
            if size > 125:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            if second & 0x80 or len(text) + size > LONGEST:
                raise Refused("Asterisk's WebSocket cannot be read")
            payload = await reader.readexactly(size)
        except (asyncio.IncompleteReadError, OSError):
            return
        kind = first & 0x0F
        if kind == CLOSE:
            return
        if kind == PING:
            writer.write(frame(PONG, payload[:125]))
        elif kind in (TEXT, CONTINUED):
            text += payload
            if first & 0x80:
                yield text
                text = b""


async def leave(writer):
    """Ends a WebSocket in order, so that Asterisk has no broken one to complain of."""
    writer.write(frame(CLOSE, NORMAL.to_bytes(2, "big")))
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), 1)
    except (OSError, asyncio.TimeoutError):
        pass


def frame(kind, payload):
    """A frame of a client's, which has to be masked; up to 125 bytes."""
    mask = os.urandom(4)
    return bytes([0x80 | kind, 0x80 | len(payload)]) + mask + bytes(b ^ mask[n % 4] for n, b in enumerate(payload))
