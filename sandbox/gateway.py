"""The gateway: who may connect, what each is sent; knows the world only by its events.

Source: discord.com/developers/docs, "Gateway" and "Gateway Events".
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterator

from aiohttp import WSMsgType, web

from sandbox.events import PRIVILEGED, Intents, guild_of, is_told, needed_intent, payload
from sandbox.model import Guild, Json
from sandbox.payloads import View, user_json
from sandbox.sessions import Close, Connection, Op, Session
from sandbox.world import Event, World

HEARTBEAT_INTERVAL_MS = 41_250
REMEMBERED_HEARTBEATS = 10_000


class CloseConnectionError(Exception):
    """The client did what Discord closes a connection for."""

    def __init__(self, code: Close) -> None:
        super().__init__(code.name)
        self.code = code


class Gateway:
    """Accepts connections and turns the world's events into frames.

    Args:
        world: Whose events are sent.
        token: The bot's token.
        view: How a bot with these intents sees the world.
        allowed: The privileged intents that are switched on for the bot.
        url: Where the gateway is reached.
        on_ready: Called when a READY has been sent.
    """

    def __init__(
        self,
        world: World,
        *,
        token: str,
        view: Callable[[Intents], View],
        allowed: Intents,
        url: Callable[[], str],
        on_ready: Callable[[], None],
    ) -> None:
        self._world = world
        self._token = token
        self._view = view
        self._allowed = allowed
        self._url = url
        self._on_ready = on_ready
        self._held: list[tuple[Session, str, Json]] | None = None
        self.sessions: dict[str, Session] = {}
        self.event_copies = 1
        """How often each event is sent; Discord promises at least once, not exactly once."""
        self.heartbeat_interval_ms = HEARTBEAT_INTERVAL_MS
        """What connections to come are told."""
        self.heartbeats: deque[float] = deque(maxlen=REMEMBERED_HEARTBEATS)
        """When heartbeats came, by the world's clock, oldest first."""
        world.listen(self._on_event)

    @property
    def num_connected(self) -> int:
        """How many sessions somebody is connected to."""
        return sum(session.connection is not None for session in self.sessions.values())

    async def accept(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection until it closes."""
        socket = web.WebSocketResponse(max_msg_size=4096, timeout=1.0)
        await socket.prepare(request)
        connection = Connection(socket)
        connection.send_op(Op.HELLO, {"heartbeat_interval": self.heartbeat_interval_ms})
        writer = asyncio.create_task(connection.write())
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    self._receive(connection, message.data)
        except CloseConnectionError as error:
            await socket.close(code=error.code, message=error.code.name.encode())
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            self._leave(connection)
        return socket

    def _leave(self, connection: Connection) -> None:
        session = connection.session
        if session is None or session.connection is not connection:
            return
        session.connection = None
        # A client that says goodbye with 1000 or 1001 ends its session.
        if connection.socket.close_code in {1000, 1001}:
            self.sessions.pop(session.session_id, None)
        self._world.wake()

    def _receive(self, connection: Connection, text: str) -> None:
        try:
            frame = json.loads(text)
            op, data = Op(frame["op"]), frame.get("d")
        except (ValueError, KeyError, TypeError) as error:
            known = isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError)
            raise CloseConnectionError(
                Close.UNKNOWN_OPCODE if known else Close.DECODE_ERROR
            ) from error
        match op:
            case Op.HEARTBEAT:
                self.heartbeats.append(self._world.clock())
                connection.send_op(Op.HEARTBEAT_ACK)
            case Op.IDENTIFY:
                self._identify(connection, data)
            case Op.RESUME:
                self._resume(connection, data)
            case Op.PRESENCE | Op.VOICE_STATE | Op.REQUEST_MEMBERS:
                if connection.session is None:
                    raise CloseConnectionError(Close.NOT_AUTHENTICATED)
            case _:
                raise CloseConnectionError(Close.UNKNOWN_OPCODE)

    def _identify(self, connection: Connection, data: Json) -> None:
        if connection.session is not None:
            raise CloseConnectionError(Close.ALREADY_AUTHENTICATED)
        if data.get("token") != self._token:
            raise CloseConnectionError(Close.AUTHENTICATION_FAILED)
        intents = Intents(data.get("intents", 0))
        if intents & PRIVILEGED & ~self._allowed:
            raise CloseConnectionError(Close.DISALLOWED_INTENTS)
        shard, shard_count = data.get("shard", (0, 1))
        if not 0 <= shard < shard_count:
            raise CloseConnectionError(Close.INVALID_SHARD)
        session = Session(intents, shard, shard_count, connection=connection)
        connection.session = session
        self.sessions[session.session_id] = session
        self._greet(session)
        self._on_ready()

    def _greet(self, session: Session) -> None:
        guild = self._world.guild
        here = self._serves(session, guild) and self._world.rights.is_in_guild
        ready = {
            "v": 10,
            "user": user_json(self._world.bot),
            "guilds": [{"id": str(guild.id), "unavailable": True}] if here else [],
            "session_id": session.session_id,
            "resume_gateway_url": self._url(),
            "shard": [session.shard, session.shard_count],
            "application": {"id": str(self._world.bot.id), "flags": 0},
        }
        session.dispatch("READY", ready)
        if here and session.intents & Intents.GUILDS:
            session.dispatch("GUILD_CREATE", self._view(session.intents).guild())

    def _resume(self, connection: Connection, data: Json) -> None:
        session = self.sessions.get(str(data.get("session_id")))
        if data.get("token") != self._token:
            raise CloseConnectionError(Close.AUTHENTICATION_FAILED)
        if session is None:
            connection.send_op(Op.INVALID_SESSION, data=False)
            return
        session.connection = connection
        connection.session = session
        for sequence, frame in list(session.sent):
            if sequence > int(data.get("seq") or 0):
                connection.send(frame)
        session.dispatch("RESUMED", {})
        self._world.wake()

    def _serves(self, session: Session, guild: Guild | None) -> bool:
        if guild is None:
            return session.shard == 0
        return (guild.id >> 22) % session.shard_count == session.shard

    def _on_event(self, event: Event) -> None:
        needed = needed_intent(event)
        for session in self.sessions.values():
            view = self._view(session.intents)
            served = self._serves(session, guild_of(event)) and needed in session.intents
            if served and is_told(event, view):
                self._dispatch(session, event.name, payload(view, event))

    def _dispatch(self, session: Session, name: str, data: Json) -> None:
        if self._held is None:
            session.dispatch(name, data, self.event_copies)
        else:
            self._held.append((session, name, data))

    @contextlib.contextmanager
    def reversed_order(self) -> Iterator[None]:
        """Send what happens inside the block at its end, the last event first."""
        held: list[tuple[Session, str, Json]] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
            for session, name, data in reversed(held):
                self._dispatch(session, name, data)

    async def drop(self, *, resumable: bool = True) -> None:
        """Close every connection; without `resumable` the sessions are forgotten too."""
        connections = [s.connection for s in self.sessions.values() if s.connection is not None]
        for session in self.sessions.values():
            session.connection = None
        if not resumable:
            self.sessions.clear()
        for connection in connections:
            await connection.socket.close(code=Close.UNKNOWN_ERROR)

    def fall_silent(self) -> None:
        """Let nothing through any connection there is, heartbeats' answers neither."""
        for session in self.sessions.values():
            if session.connection is not None:
                session.connection.is_dead = True

    def ask_to_reconnect(self) -> None:
        """Send RECONNECT (op 7) to every connection."""
        for session in self.sessions.values():
            if session.connection is not None:
                session.connection.send_op(Op.RECONNECT)

    def invalidate(self, *, resumable: bool) -> None:
        """Send INVALID_SESSION (op 9); without `resumable` the sessions are forgotten."""
        for session in list(self.sessions.values()):
            if session.connection is not None:
                session.connection.send_op(Op.INVALID_SESSION, data=resumable)
        if not resumable:
            self.sessions.clear()
