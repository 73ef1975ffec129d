"""Owns `/v1/files`: uploads as they arrive, and what is done with files that are here."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, web

from engine.http_api.door import Door, door_key
from engine.http_api.errors import ApiError
from engine.http_api.files import PURPOSE
from engine.http_api.options import MIB
from engine.http_api.records import LONGEST_PAGE, as_list, page

CHUNK_BYTES = 256 * 1024
MAX_PURPOSE_BYTES = 256


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
    async with _upload(request, door) as upload:
        if upload.purpose != PURPOSE:
            msg = f"purpose must be {PURPOSE!r}, not {upload.purpose!r}."
            raise ApiError(400, msg, param="purpose")
        if upload.content is None:
            msg = "file is missing: the form must have a part of that name, with a file name."
            raise ApiError(400, msg, param="file")
        record = await asyncio.to_thread(door.files.keep, upload.content, upload.filename)
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
async def _upload(request: web.Request, door: Door) -> AsyncIterator[_Upload]:
    """Take in a form; what it brought is cleared away unless the store has kept it."""
    upload = _Upload()
    try:
        try:
            async for part in await request.multipart():
                await _take_part(part, upload, door)
        except ValueError as error:
            msg = "The form cannot be read: it is cut off or damaged."
            raise ApiError(400, msg) from error
        yield upload
    finally:
        if upload.content is not None:
            await asyncio.to_thread(door.files.discard, upload.content)


async def _take_part(part: object, upload: _Upload, door: Door) -> None:
    if not isinstance(part, BodyPartReader):
        msg = "A form within the form cannot be read."
        raise ApiError(400, msg)
    if part.name == "purpose" and upload.purpose is None:
        given = await part.read_chunk(MAX_PURPOSE_BYTES)
        upload.purpose = given.decode(errors="replace")
    elif part.name == "file" and upload.content is None:
        upload.filename = part.filename or ""
        upload.content = await asyncio.to_thread(door.files.begin, upload.filename)
        await _save(part, upload.content, door.options.max_upload_bytes)
    else:
        msg = f"The form must have the parts purpose and file once each, not {part.name!r}."
        raise ApiError(400, msg)


async def _save(part: BodyPartReader, path: Path, max_bytes: int) -> None:
    num_bytes = 0
    file = await asyncio.to_thread(path.open, "wb")
    try:
        while chunk := await part.read_chunk(CHUNK_BYTES):
            num_bytes += len(chunk)
            if num_bytes > max_bytes:
                msg = f"The file is too large: at most {max_bytes / MIB:g} MiB are taken."
                raise ApiError(413, msg, code="file_too_large", param="file")
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
