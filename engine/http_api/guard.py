"""Owns what every request passes: who may come in, what is logged, how an error is answered.

A log line says which route, which status, how many tokens and how long; never a prompt, a reply
or a token of the caller's.
"""

import asyncio
import hmac
import logging
import secrets
import time
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from engine.http_api.door import door_key
from engine.http_api.errors import ApiError, stopping, translate
from engine.http_api.health import PROBES
from engine.http_api.options import is_loopback
from engine.http_api.summaries import CLIENT_LEFT, summary_key
from wire.log_lines import log_facts

log = logging.getLogger(__name__)

request_id_key = web.RequestKey("request_id", str)


@web.middleware
async def answer_and_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn errors into OpenAI's shape, name the request, and log a line."""
    door = request.app[door_key]
    request[request_id_key] = f"req-{secrets.token_hex(8)}"
    began_s = time.monotonic()
    status = CLIENT_LEFT
    with door.traffic.one_more():
        try:
            response = await _answer(request, handler)
            status = response.status
            return response
        except asyncio.CancelledError:
            # Then the server did not wait for it, as a rule, and not the caller.
            if door.closing.is_set():
                status = _note(request, stopping()).status
            raise
        finally:
            _log(request, status, time.monotonic() - began_s)


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 - the last resort; `translate` logs it
        return _note(request, translate(error)).response()


def _note(request: web.Request, refusal: ApiError) -> ApiError:
    if summary_key in request:
        request[summary_key].error_code = refusal.code
    return refusal


async def name_request(request: web.Request, response: web.StreamResponse) -> None:
    """Let the answer bear the name under which the log has the request."""
    response.headers["X-Request-Id"] = request.get(request_id_key, "")


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let in who may come in, while the server takes requests at all.

    Raises:
        ApiError: 401, 403 or 503.
    """
    door = request.app[door_key]
    if door.options.token is not None:
        if request.path not in PROBES:
            _check_token(request, door.options.token.get_secret_value())
    else:
        _check_it_is_no_web_page(request, door.options.host)
    if door.is_draining and request.path not in PROBES:
        raise stopping()
    return await handler(request)


def _check_token(request: web.Request, token: str) -> None:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    right = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    if scheme.lower() == "bearer" and right:
        return
    said = "The token is wrong." if given else "A token is needed."
    raise ApiError(
        401,
        f"{said} Send it as `Authorization: Bearer TOKEN`.",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _check_it_is_no_web_page(request: web.Request, host: str) -> None:
    """Refuse what a page of another origin can send from a browser on this machine.

    Such a page can let a name of its own point here (then Host is not ours), and it can post
    forms and bodies without asking (then Origin is not ours).
    """
    # Not `request.host`: where the header is missing, that asks the network for a name, and waits.
    given = request.headers.get("Host", "")
    named = _host_name(given)
    if not is_loopback(named) and named != host:
        msg = f"The Host header says {given!r}, which is not this machine's own name."
        raise ApiError(403, msg, code="foreign_host")
    origin = request.headers.get("Origin")
    if origin is not None and origin.partition("://")[2] != given:
        msg = "Requests from web pages of other origins are refused."
        raise ApiError(403, msg, code="foreign_origin")


def _host_name(host: str) -> str:
    """Return a Host header without its port; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _log(request: web.Request, status: int, seconds: float) -> None:
    resource = request.match_info.route.resource
    total_ms = round(1000 * seconds)
    asked: dict[str, str | int | None] = {
        "method": request.method,
        # As the table of routes has it: a path may hold what a person wrote.
        "route": resource.canonical if resource is not None else "(none)",
        "status": status,
    }
    if summary_key in request:
        ending = request[summary_key].ending(status, total_ms)
        log_facts(log, {**ending.facts(request[request_id_key], attempt=1), **asked})
        request.app[door_key].metrics.ended(ending)
    elif request.path not in {*PROBES, "/metrics"}:
        # Whoever watches asks every few seconds, and that would bury the rest.
        log_facts(log, {"request": request[request_id_key], **asked, "total_ms": total_ms})
