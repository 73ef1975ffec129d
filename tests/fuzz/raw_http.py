"""HTTP as bytes: requests that no client would send, and their answers. Knows no route."""

import asyncio
from typing import NamedTuple

FRAMINGS = ("length", "short", "long", "none", "chunked", "odd chunks", "both")
"""How a request says where its body ends."""


class Sent(NamedTuple):
    """One request."""

    method: str
    path: str
    kind: str
    headers: tuple[str, ...]
    body: bytes
    framing: str


def raw_request(sent: Sent) -> bytes:
    lines = [f"{sent.method} {sent.path} HTTP/1.1", "Connection: close"]
    lines += [] if any(each.startswith("Host") for each in sent.headers) else ["Host: localhost"]
    lines += [f"Content-Type: {sent.kind}"] if sent.kind else []
    body, length = sent.body, len(sent.body)
    match sent.framing:
        case "length":
            lines.append(f"Content-Length: {length}")
        case "short":
            lines.append(f"Content-Length: {length // 2}")
        case "long":
            lines.append(f"Content-Length: {length + 5}")
        case "chunked" | "both":
            lines.append("Transfer-Encoding: chunked")
            lines += [f"Content-Length: {length}"] if sent.framing == "both" else []
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (length, body) if body else b"0\r\n\r\n"
        case "odd chunks":
            lines.append("Transfer-Encoding: chunked")
            body = b"%x;a=b\r\n%s\r\n-1\r\n" % (length, body)
        case _:
            pass
    head = "\r\n".join([*lines, *sent.headers, "", ""])
    return head.encode("utf-8", "surrogatepass") + body


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(port: int, raw: bytes) -> Answer:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(head[0].split()[1])
            if status != 100:
                break
        named = (line.partition(":") for line in head[1:] if line)
        fields = {name.lower(): value.strip() for name, _, value in named}
        body = b"" if raw.startswith(b"HEAD ") else await _read_body(reader, fields)
        return Answer(status, fields, body)
    finally:
        writer.close()


async def _read_body(reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    if fields.get("transfer-encoding") != "chunked":
        return await reader.read()
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body
