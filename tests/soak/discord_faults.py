"""Faults of Discord, of the gateway, and of the wire to Redis. Each is over when it returns."""

import asyncio

from sandbox.faults import Scope
from tests.soak.stage import Stage

POST = "POST /channels/{channel_id}/messages"
EDITS = "PATCH *"
SERVER_ERRORS = (500, 502, 503)
COPIES = 6
LOST_SHARE = 0.05


async def answers_lost(stage: Stage) -> None:
    """Let Discord post and edit, and lose its answers."""
    faults = stage.stack.sandbox.faults
    status = stage.chance.choice((None, *SERVER_ERRORS))
    faults.lose(POST, times=stage.chance.randint(1, 4), status=status)
    faults.lose(EDITS, times=stage.chance.randint(1, 6), status=status)
    await _while(stage, 1, 4)


async def server_errors(stage: Stage) -> None:
    """Let Discord's machines fail."""
    faults = stage.stack.sandbox.faults
    for pattern in (POST, EDITS, "GET *"):
        status = stage.chance.choice(SERVER_ERRORS)
        faults.refuse(pattern, status, times=stage.chance.randint(1, 4))
    await _while(stage, 1, 4)


async def rate_limited(stage: Stage) -> None:
    """Let Discord say that it is too much."""
    faults = stage.stack.sandbox.faults
    for pattern in (POST, EDITS):
        faults.refuse(
            pattern,
            429,
            times=stage.chance.randint(1, 4),
            retry_after_s=stage.chance.uniform(0.1, 1),
            scope=stage.chance.choice((*Scope, None)),
        )
    await _while(stage, 1, 4)


async def discord_slow(stage: Stage) -> None:
    """Let Discord take its time."""
    faults = stage.stack.sandbox.faults
    faults.delay(POST, stage.chance.uniform(0.5, 2), times=3)
    faults.delay(EDITS, stage.chance.uniform(0.5, 2), times=5)
    await _while(stage, 1, 4)


async def events_repeated(stage: Stage) -> None:
    """Let the gateway send everything several times."""
    gateway = stage.stack.sandbox.gateway
    gateway.event_copies = COPIES
    await _while(stage, 3, 8)
    gateway.event_copies = 1


async def gateway_dropped(stage: Stage) -> None:
    """Break the connection to the gateway; the session can be resumed."""
    async with stage.no_clicks():
        await stage.stack.sandbox.gateway.drop()


async def gateway_moves(stage: Stage) -> None:
    """Let the gateway ask to be connected to anew."""
    async with stage.no_clicks():
        stage.stack.sandbox.gateway.ask_to_reconnect()
        await asyncio.sleep(1)


async def gateway_invalid(stage: Stage) -> None:
    """Let the gateway call the session invalid, though it can be resumed."""
    async with stage.no_clicks():
        stage.stack.sandbox.gateway.invalidate(resumable=True)
        await asyncio.sleep(1)


async def session_lost(stage: Stage) -> None:
    """Let the gateway forget the session."""
    async with stage.silence():
        stage.stack.sandbox.gateway.invalidate(resumable=False)
        await asyncio.sleep(1)


async def session_dropped(stage: Stage) -> None:
    """Break the connection to the gateway, and forget the session."""
    async with stage.silence():
        await stage.stack.sandbox.gateway.drop(resumable=False)


async def wire_lossy(stage: Stage) -> None:
    """Lose some of what Redis answers."""
    stage.proxy.rate = LOST_SHARE
    await _while(stage, 4, 10)
    stage.proxy.rate = 0.0


async def _while(stage: Stage, least_s: float, most_s: float) -> None:
    await asyncio.sleep(stage.chance.uniform(least_s, most_s))
