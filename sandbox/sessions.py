"""A client's session at the gateway and its connections: numbered events, and frames in order.

Knows neither the world nor what a client may do. Frames are plain text, which clients accept
whatever compression they asked for. Source: discord.com/developers/docs, "Gateway".
"""

import asyncio
import contextlib
import json
import secrets
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum

from aiohttp import web

from sandbox.events import Intents
from sandbox.model import Json

REPLAYED_EVENTS = 1000


class Op(IntEnum):
    """Gateway opcodes."""

    DISPATCH = 0
    HEARTBEAT = 1
    IDENTIFY = 2
    PRESENCE = 3
    VOICE_STATE = 4
    RESUME = 6
    RECONNECT = 7
    REQUEST_MEMBERS = 8
    INVALID_SESSION = 9
    HELLO = 10
    HEARTBEAT_ACK = 11


class Close(IntEnum):
    """Close codes; a client may resume after the first only."""

    UNKNOWN_ERROR = 4000
    UNKNOWN_OPCODE = 4001
    DECODE_ERROR = 4002
    NOT_AUTHENTICATED = 4003
    AUTHENTICATION_FAILED = 4004
    ALREADY_AUTHENTICATED = 4005
    INVALID_SHARD = 4010
    DISALLOWED_INTENTS = 4014


@dataclass(eq=False, repr=False)
class Session:
    """What the gateway keeps of one IDENTIFY: it outlives its connections."""

    intents: Intents
    shard: int
    shard_count: int
    session_id: str = field(default_factory=lambda: secrets.token_hex(16))
    sequence: int = 0
    sent: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=REPLAYED_EVENTS))
    connection: "Connection | None" = None

    def dispatch(self, name: str, data: Json, copies: int = 1) -> None:
        """Number an event, keep it for a resume, and send it if somebody is connected."""
        for _ in range(copies):
            self.sequence += 1
            frame = json.dumps({"op": Op.DISPATCH, "t": name, "s": self.sequence, "d": data})
            self.sent.append((self.sequence, frame))
            if self.connection is not None:
                self.connection.send(frame)


class Connection:
    """One WebSocket: frames leave in the order they were put in."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.session: Session | None = None
        self.is_dead = False
        """Whether nothing gets through any more, though the socket looks open."""
        self._outbox: asyncio.Queue[str] = asyncio.Queue()

    def send(self, frame: str) -> None:
        """Put a frame in line."""
        if not self.is_dead:
            self._outbox.put_nowait(frame)

    def send_op(self, op: Op, data: object = None) -> None:
        """Put a frame that is no event in line."""
        self.send(json.dumps({"op": op, "d": data, "s": None, "t": None}))

    async def write(self) -> None:
        """Send what is in line until the socket closes."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.socket.send_str(await self._outbox.get())
