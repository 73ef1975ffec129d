"""Owns `/v1/fine_tuning/jobs`: what may be asked of jobs, and how the answers look."""

import asyncio

from aiohttp import web

from engine.http_api.bodies import FineTuningRequest
from engine.http_api.door import Door, door_key, read_body
from engine.http_api.errors import ApiError
from engine.http_api.job_records import Job
from engine.http_api.models import find_name
from engine.http_api.records import DEFAULT_PAGE, as_list, page


async def create_job(request: web.Request) -> web.Response:
    """Answer `POST /v1/fine_tuning/jobs`."""
    door = request.app[door_key]
    wanted = await read_body(request, FineTuningRequest)
    base = await asyncio.to_thread(find_name, door.pool, wanted.model)
    await asyncio.to_thread(door.files.get, wanted.training_file)
    return web.json_response(door.fine_tuning.create(wanted, base).json_object())


async def list_jobs(request: web.Request) -> web.Response:
    """Answer `GET /v1/fine_tuning/jobs`."""
    jobs = request.app[door_key].fine_tuning.jobs.newest_first()
    chosen, has_more = page(request, jobs, default=DEFAULT_PAGE)
    return as_list([job.json_object() for job in chosen], has_more=has_more)


async def get_job(request: web.Request) -> web.Response:
    """Answer `GET /v1/fine_tuning/jobs/{job_id}`."""
    job = _job(request, request.app[door_key])
    return web.json_response(job.json_object())


async def cancel_job(request: web.Request) -> web.Response:
    """Answer `POST /v1/fine_tuning/jobs/{job_id}/cancel`."""
    door = request.app[door_key]
    cancelled = door.fine_tuning.cancel(_job(request, door))
    return web.json_response(cancelled.json_object())


async def list_events(request: web.Request) -> web.Response:
    """Answer `GET /v1/fine_tuning/jobs/{job_id}/events`."""
    door = request.app[door_key]
    events = door.fine_tuning.jobs.events(_job(request, door).id)
    chosen, has_more = page(request, events, default=DEFAULT_PAGE)
    return as_list([event.json_object() for event in chosen], has_more=has_more)


async def list_checkpoints(request: web.Request) -> web.Response:
    """Answer `GET /v1/fine_tuning/jobs/{job_id}/checkpoints`: none can be used on its own."""
    _job(request, request.app[door_key])
    return as_list([], has_more=False)


def _job(request: web.Request, door: Door) -> Job:
    job_id = request.match_info["job_id"]
    job = door.fine_tuning.jobs.find(job_id)
    if job is None:
        msg = f"There is no fine-tuning job {job_id[:80]!r}."
        raise ApiError(404, msg, code="job_not_found", param="job_id")
    return job
