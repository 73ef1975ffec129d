"""Where uploaded files are fetched from, with faults to order; knows no REST route and no token.

Source: discord.com/developers/docs, "Uploading Files"; the two paths are those of Discord's CDN.
"""

import asyncio

from aiohttp import web

from sandbox.faults import Faults
from sandbox.model import Attachment
from sandbox.world import World

ON_MESSAGES = "/attachments/{channel_id}/{attachment_id}/{filename}"
IN_OPTIONS = "/ephemeral-attachments/{channel_id}/{attachment_id}/{filename}"
"""Files that a person gave to a command; the number is the application's."""


class Cdn:
    """Serves the files on messages and in command options to whoever knows their address."""

    def __init__(self, world: World, faults: Faults) -> None:
        self._world = world
        self._faults = faults

    def add_to(self, app: web.Application) -> None:
        """Serve both paths; faults are ordered by them, as `GET /attachments/*`."""
        for path in (ON_MESSAGES, IN_OPTIONS):
            app.router.add_get(path, self._serve)

    async def _serve(self, request: web.Request) -> web.Response:
        plan = self._faults.take("GET", request.path)
        await asyncio.sleep(plan.delay_s)
        if plan.gate is not None:
            await plan.gate.wait()
        fault = plan.refuse or plan.instead
        if fault is not None:
            return web.Response(status=fault.status, headers=fault.headers)
        if plan.cut and request.transport is not None:
            request.transport.abort()
        found = self._find(request.match_info["attachment_id"])
        if found is None:
            raise web.HTTPNotFound
        return web.Response(body=found.data, headers={"Content-Type": found.content_type})

    def _find(self, attachment_id: str) -> Attachment | None:
        on_messages = (
            each for message in self._world.messages.values() for each in message.attachments
        )
        given = (each for asked in self._world.interactions.values() for each in asked.files)
        both = (*on_messages, *given)
        return next((each for each in both if str(each.id) == attachment_id), None)
