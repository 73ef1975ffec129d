"""Owns getting one file over HTTP: resuming, retrying, waiting. Knows no models, judges no content.

A file grows under the path it is given, and what is there is never asked for again: the next
request names the first byte that is missing (RFC 9110, section 14), and, by If-Range, the version
that the bytes before it came from. An answer that does not fit on to them starts the file over.
"""

import contextlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses as http_phrases
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import requests

from engine.errors import EngineError

CHUNK_BYTES = 2**16
"""Read and written at once; what a broken connection costs at most."""
RANGE_NOT_SATISFIABLE = 416
TRANSIENT_STATUSES = frozenset({408, 429, *range(500, 600)})
TRANSIENT_ERRORS = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
)


class DownloadError(EngineError):
    """A file could not be had; the text is a sentence that says why."""


class Progress(Protocol):
    """Who is told how a download goes."""

    def advance(self, num_bytes: int) -> None:
        """Note that so many bytes more are there, or, below zero, were thrown away."""

    def say(self, line: str) -> None:
        """Show one line."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how often to try.

    `attempts` are counted anew from one that brought `progress_bytes` of content not seen before.
    The waits between them double from `backoff_s` on, less up to a half at random; no wait is
    longer than `longest_wait_s`, also when the server asks for more.
    """

    attempts: int = 8
    backoff_s: float = 1.0
    longest_wait_s: float = 120.0
    connect_s: float = 15.0
    read_s: float = 60.0
    progress_bytes: int = 2**20
    sleep: Callable[[float], None] = time.sleep

    def wait_s(self, attempt: int, asked_s: float) -> float:
        """Return how long to wait after so many failed attempts; the server asked for `asked_s`."""
        backoff_s = self.backoff_s * 2.0 ** (attempt - 1) * random.SystemRandom().uniform(0.5, 1.0)
        return min(max(backoff_s, asked_s), self.longest_wait_s)


class _TransientError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, reason: str, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


def fetch(
    session: requests.Session,
    url: str,
    path: Path,
    *,
    max_bytes: int,
    patience: Patience,
    progress: Progress,
) -> None:
    """Get all that `url` holds into `path`, going on from what is there.

    Returns once the server has said that nothing is missing; what the bytes are worth is for the
    caller to judge. Until then the version that they are of lies beside `path`, as `.etag`.

    Raises:
        DownloadError: the server refuses, sends more than `max_bytes`, or fails too often in a row.
        OSError: the file cannot be written.
    """
    furthest, attempt = size_bytes(path), 0
    while True:
        try:
            with _our_errors(url, patience):
                _attempt(session, url, path, max_bytes, patience, progress)
            break
        except _TransientError as error:
            reason, asked_s = str(error), error.retry_after_s
        if size_bytes(path) >= furthest + patience.progress_bytes:
            furthest, attempt = size_bytes(path), 0
        attempt += 1
        if attempt >= patience.attempts:
            msg = (
                f"{_public(url)}: {reason}; gave up after {attempt} attempts. What has arrived is "
                f"kept: the same command goes on from there."
            )
            raise DownloadError(msg)
        wait_s = patience.wait_s(attempt, asked_s)
        progress.say(f"{url.rpartition('/')[2]}: {reason}; trying again in {wait_s:.1f} s")
        patience.sleep(wait_s)
    _etag_path(path).unlink(missing_ok=True)


def size_bytes(path: Path) -> int:
    """Return the size of a file, 0 where there is none."""
    return path.stat().st_size if path.exists() else 0


def forget(path: Path, progress: Progress) -> None:
    """Throw away what has been fetched into `path`."""
    progress.advance(-size_bytes(path))
    path.unlink(missing_ok=True)
    _etag_path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _our_errors(url: str, patience: Patience) -> Iterator[None]:
    """Say of what goes wrong on the way whether another attempt may go better."""
    try:
        yield
    except TRANSIENT_ERRORS as error:
        raise _TransientError(_reason(error, patience)) from None
    except requests.RequestException as error:
        msg = f"{_public(url)} cannot be fetched ({type(error).__name__}): check the mirror."
        raise DownloadError(msg) from None


def _attempt(
    session: requests.Session,
    url: str,
    path: Path,
    max_bytes: int,
    patience: Patience,
    progress: Progress,
) -> None:
    position, etag = size_bytes(path), _read_etag(path)
    # Compressed, a range would count other bytes than the file's.
    headers = {"Accept-Encoding": "identity"}
    if position:
        headers["Range"] = f"bytes={position}-"
    if position and etag:
        headers["If-Range"] = etag
    timeout = (patience.connect_s, patience.read_s)
    with session.get(url, headers=headers, stream=True, timeout=timeout) as response:
        if position and response.status_code == RANGE_NOT_SATISFIABLE:
            return
        _refuse_errors(response, url)
        if position and not _continues(response, position, etag):
            forget(path, progress)
            if response.status_code == requests.codes.partial_content:
                msg = "the server sent another part than the one that is missing"
                raise _TransientError(msg)
        _write_etag(path, response.headers.get("ETag", ""))
        _append(response, path, max_bytes, progress)
        total = _range(response)[1]
    if total is not None and size_bytes(path) < total:
        msg = "the server sent less than the rest"
        raise _TransientError(msg)


def _append(response: requests.Response, path: Path, max_bytes: int, progress: Progress) -> None:
    with path.open("ab") as file:
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)
            progress.advance(len(chunk))
            if file.tell() > max_bytes:
                break
        else:
            # A name must not outlive a power cut that its bytes do not.
            file.flush()
            os.fsync(file.fileno())
            return
    forget(path, progress)
    msg = f"{_public(response.url)} sends more than the {max_bytes} bytes that it may have."
    raise DownloadError(msg)


def _refuse_errors(response: requests.Response, url: str) -> None:
    status = response.status_code
    said = f"{status} ({http_phrases.get(status, 'unknown')})"
    if status in TRANSIENT_STATUSES:
        msg = f"the server answered {said}"
        raise _TransientError(msg, _retry_after_s(response.headers.get("Retry-After", "")))
    if status not in (requests.codes.ok, requests.codes.partial_content):
        msg = f"The server answered {said} for {_public(url)}: check the mirror."
        raise DownloadError(msg)


def _continues(response: requests.Response, position: int, etag: str) -> bool:
    """Tell whether the body of an answer fits on to the `position` bytes that are there."""
    return (
        response.status_code == requests.codes.partial_content
        and _range(response)[0] == position
        and "Content-Encoding" not in response.headers
        and (not etag or response.headers.get("ETag", etag) == etag)
    )


def _range(response: requests.Response) -> tuple[int, int | None]:
    """Return the first byte of an answer's body within the file, and the file's size if stated."""
    said = re.fullmatch(
        r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", "")
    )
    if response.status_code != requests.codes.partial_content or said is None:
        return 0, None
    return int(said[1]), None if said[2] == "*" else int(said[2])


def _retry_after_s(said: str) -> float:
    """Return how many seconds a Retry-After asks for: a number or a date; 0 where it is neither."""
    if re.fullmatch(r"\d{1,9}", said):
        return float(said)
    try:
        at = parsedate_to_datetime(said)
    except ValueError:
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _reason(error: requests.RequestException, patience: Patience) -> str:
    # Never the error's own text: it may hold the signed address that a mirror sent us on to.
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return f"no connection within {patience.connect_s:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer within {patience.read_s:g} s"
    if isinstance(error, requests.exceptions.SSLError):
        return "no trusted connection (TLS)"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy did not connect"
    if isinstance(error, requests.ConnectionError) and "Failed to" in str(error):
        return "the server cannot be reached"
    return "the connection broke"


def _public(url: str) -> str:
    """Return an address without the password or the signature that it may hold."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _etag_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.etag")


def _read_etag(path: Path) -> str:
    etag = _etag_path(path)
    return etag.read_text(encoding="latin-1") if etag.exists() else ""


def _write_etag(path: Path, etag: str) -> None:
    # If-Range takes strong validators only (RFC 9110, 13.1.5).
    if etag.startswith('"'):
        _etag_path(path).write_text(etag, encoding="latin-1")
