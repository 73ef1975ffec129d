"""Owns `/v1/files`: uploads as they arrive, and what is done with files that are here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from aiohttp import BodyPartReader, web

from engine.http_api.door import door_key, in_time
from engine.http_api.errors import ApiError, damaged_body
from engine.http_api.files import PURPOSE, FileStore
from engine.http_api.options import MIB
from engine.http_api.records import LONGEST_PAGE, as_list, page

CHUNK_BYTES = 256 * 1024
MAX_PURPOSE_BYTES = 256

T = TypeVar("T")


@dataclass(slots=True)
class _Upload:
    """What the parts of a form bring, in any order."""

    purpose: str | None = None
    filename: str = ""
    content: Path | None = None


async def upload_file(request: web.Request) -> web.Response:
    """Answer `POST /v1/files`."""
    door = request.app[door_key]
    if request.content_type != "multipart/form-data":
        msg = f"The body must be multipart/form-data, not {request.content_type}."
        raise ApiError(415, msg, code="unsupported_media_type")
    async with _upload(request) as upload:
        if upload.purpose != PURPOSE:
            msg = f"purpose must be {PURPOSE!r}, not {upload.purpose!r}."
            raise ApiError(400, msg, param="purpose")
        if upload.content is None:
            msg = "file is missing: the form must have a part of that name, with a file name."
            raise ApiError(400, msg, param="file")
        record = await _to_its_end(door.files.keep, upload.content, upload.filename)
    return web.json_response(record.json_object())


async def list_files(request: web.Request) -> web.Response:
    """Answer `GET /v1/files`."""
    files = await asyncio.to_thread(request.app[door_key].files.newest_first)
    purpose = request.query.get("purpose", PURPOSE)
    if request.query.get("order", "desc") == "asc":
        files.reverse()
    asked = [record for record in files if record.purpose == purpose]
    chosen, has_more = page(request, asked, default=LONGEST_PAGE)
    return as_list([record.json_object() for record in chosen], has_more=has_more)


async def get_file(request: web.Request) -> web.Response:
    """Answer `GET /v1/files/{file_id}`."""
    files = request.app[door_key].files
    record, _ = await asyncio.to_thread(files.get, request.match_info["file_id"])
    return web.json_response(record.json_object())


async def get_content(request: web.Request) -> web.StreamResponse:
    """Answer `GET /v1/files/{file_id}/content`."""
    files = request.app[door_key].files
    _, content = await asyncio.to_thread(files.get, request.match_info["file_id"])
    # Never shown as a page: what it holds is a stranger's.
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }
    return web.FileResponse(content, headers=headers)


async def delete_file(request: web.Request) -> web.Response:
    """Answer `DELETE /v1/files/{file_id}`."""
    door = request.app[door_key]
    file_id = request.match_info["file_id"]
    if door.fine_tuning.needs(file_id):
        msg = f"The file {file_id} is being trained on: cancel the job, or wait for its end."
        raise ApiError(409, msg, code="file_in_use", param="file_id")
    await asyncio.to_thread(door.files.delete, file_id)
    return web.json_response({"id": file_id, "object": "file", "deleted": True})


@contextlib.asynccontextmanager
async def _upload(request: web.Request) -> AsyncIterator[_Upload]:
    """Take in a form; what it brought is cleared away unless the store has kept it."""
    upload = _Upload()
    try:
        try:
            form = await request.multipart()
            while (part := await in_time(request, form.next())) is not None:
                await _take_part(request, part, upload)
        except ValueError as error:
            raise damaged_body() from error
        yield upload
    finally:
        if upload.content is not None:
            await _to_its_end(request.app[door_key].files.discard, upload.content)


async def _to_its_end(work: Callable[..., T], *args: object) -> T:
    """Work on the disk in a thread; whoever is cancelled meanwhile still waits for its end."""
    working = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        raise


async def _take_part(request: web.Request, part: object, upload: _Upload) -> None:
    door = request.app[door_key]
    if not isinstance(part, BodyPartReader):
        msg = "A form within the form cannot be read."
        raise ApiError(400, msg)
    if part.name == "purpose" and upload.purpose is None:
        given = [chunk async for chunk in _chunks(request, part, MAX_PURPOSE_BYTES, "purpose")]
        upload.purpose = b"".join(given).decode(errors="replace")
    elif part.name == "file" and upload.content is None:
        upload.filename = part.filename or ""
        content = await _to_its_end(_begin, door.files, upload)
        chunks = _chunks(request, part, door.options.max_upload_bytes, "file")
        await _save(chunks, content)
    else:
        msg = f"The form must have the parts purpose and file once each, not {part.name!r}."
        raise ApiError(400, msg)


def _begin(files: FileStore, upload: _Upload) -> Path:
    # Noted in the thread: whoever is cancelled gets no result, and must know what to clear away.
    upload.content = files.begin(upload.filename)
    return upload.content


async def _chunks(
    request: web.Request, part: BodyPartReader, max_bytes: int, field: str
) -> AsyncIterator[bytes]:
    """Yield a part's content as it arrives.

    Raises:
        ApiError: it is longer than it may be (413), or does not go on (408).
    """
    num_bytes = 0
    while chunk := await in_time(request, part.read_chunk(CHUNK_BYTES)):
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            most = f"{max_bytes / MIB:g} MiB" if max_bytes >= MIB else f"{max_bytes} bytes"
            msg = f"The {field} is too large: at most {most} are taken."
            raise ApiError(413, msg, code=f"{field}_too_large", param=field)
        yield chunk


async def _save(chunks: AsyncIterator[bytes], path: Path) -> None:
    file = await asyncio.to_thread(path.open, "wb")
    try:
        async for chunk in chunks:
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
