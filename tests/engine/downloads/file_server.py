"""A real HTTP server on a free port that serves files from memory and misbehaves on demand.

It answers Range and If-Range as RFC 9110 asks. `plan` says how the next requests for a path are to
go wrong; requests past the plan are served well. `log` holds every request as it came.
"""

import gzip
import socket
import struct
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


@dataclass(frozen=True)
class Twist:
    """How one answer differs from a good one."""

    status: int | None = None
    """Answered instead of the file, without a body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Set beside or instead of the right ones; an empty value leaves a header out."""
    ignore_range: bool = False
    ignore_if_range: bool = False
    etag: str | None = None
    """What the file's version is called from this request on."""
    corrupt: bool = False
    """One bit in the middle of the body is wrong."""
    compress: bool = False
    """gzip, although identity was asked for."""
    end_after: int | None = None
    """The connection is closed after so many bytes of the body."""
    reset: bool = False
    """It is closed rudely (RST)."""
    stall_after: int | None = None
    """After so many bytes of the body nothing more comes, and the connection stays open."""
    extra: bytes = b""
    """Sent behind the announced body."""


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    path: str
    range: str | None
    if_range: str | None


class FileServer:
    """Serves `files` (by path) while it is entered."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.log: list[Seen] = []
        self.etags: dict[str, str] = {}
        self._plans: dict[str, deque[Twist]] = defaultdict(deque)
        self._closing = threading.Event()
        self._http = _Server(self)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))

    @property
    def port(self) -> int:
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def plan(self, path: str, *twists: Twist) -> None:
        """Say how the next requests for a path go."""
        self._plans[path].extend(twists)

    def seen(self, path: str) -> list[Seen]:
        """Return the requests for one path, in order."""
        return [request for request in self.log if request.path == path]

    def next_twist(self, path: str) -> Twist:
        plan = self._plans[path]
        return plan.popleft() if plan else Twist()

    def etag(self, path: str) -> str:
        return self.etags.get(path) or f'"{sha1(self.files[path]).hexdigest()}"'

    def stall(self) -> None:
        """Wait until the server is closed."""
        self._closing.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    def __init__(self, owner: FileServer) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.owner = owner

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that leaves early, also in the middle, is what many of the tests are about.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep standard error clean."""

    def do_GET(self) -> None:
        asked, if_range = self.headers["Range"], self.headers["If-Range"]
        owner = self.server.owner
        owner.log.append(Seen(self.path, asked, if_range))
        twist = owner.next_twist(self.path)
        if twist.etag is not None:
            owner.etags[self.path] = twist.etag
        if twist.status is not None or self.path not in owner.files:
            self._answer(twist.status or 404, twist, {}, b"")
            return
        data, start = owner.files[self.path], 0
        current = if_range in (None, owner.etag(self.path)) or twist.ignore_if_range
        if asked and current and not twist.ignore_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        headers = {"ETag": owner.etag(self.path)}
        if start >= len(data):
            self._answer(416, twist, {"Content-Range": f"bytes */{len(data)}"}, b"")
        elif start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._answer(206, twist, headers, data[start:])
        else:
            self._answer(200, twist, headers, data)

    def _answer(self, status: int, twist: Twist, headers: dict[str, str], body: bytes) -> None:
        if twist.corrupt:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        if twist.compress:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        headers = {"Content-Length": str(len(body)), **headers, **twist.headers}
        self.send_response(status)
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self._send(twist, body)

    def _send(self, twist: Twist, body: bytes) -> None:
        try:
            self.wfile.write(body[: twist.end_after][: twist.stall_after] + twist.extra)
            self.wfile.flush()
        except ConnectionError:
            self.close_connection = True
            return
        if twist.stall_after is not None:
            self.server.owner.stall()
        if twist.reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if twist.extra or twist.end_after is not None or twist.headers.get("Connection"):
            self.close_connection = True
