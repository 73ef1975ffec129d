"""The sandbox as one object: world, REST, gateway, faults and people on one loopback port."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from typing import Self

from aiohttp import web

from sandbox.cdn import Cdn
from sandbox.events import NO_INTENTS, Intents
from sandbox.faults import Faults
from sandbox.gateway import Gateway
from sandbox.http_api import BASE, Exchange, HttpApi
from sandbox.interactions import Interactions
from sandbox.limits import DISCORD_LIMITS, Limit, RateLimiter
from sandbox.payloads import View
from sandbox.people import People
from sandbox.rest import Rest
from sandbox.rules import ATTACHMENT_BYTES, ATTACHMENTS
from sandbox.world import Clock, World

HOST = "127.0.0.1"
TOKEN = "sandbox-token-of-a-bot-that-exists-only-here"  # noqa: S105
CLOSE_WITHIN_S = 1.0


class Sandbox(People):
    """A Discord on a free loopback port, for one bot.

    ```python
    async with Sandbox() as sandbox:
        # point a bot at sandbox.api_url, sandbox.gateway_url and sandbox.token
        await sandbox.bot_ready.wait()
        said = await sandbox.say(sandbox.alice, sandbox.general, f"{sandbox.bot_user.mention} hi")
        reply = await sandbox.wait_for_reply(said)
    ```

    Args:
        clock: Seconds that only grow; decides when tokens, nonces and rate limits end.
        limits: Requests allowed for each route; `{}` allows all.
        privileged: The privileged intents that are switched on for the bot.
        guild_locale: The language of the server.
    """

    def __init__(
        self,
        *,
        clock: Clock = time.monotonic,
        limits: Mapping[str, Limit] = DISCORD_LIMITS,
        privileged: Intents = NO_INTENTS,
        guild_locale: str = "en-US",
    ) -> None:
        super().__init__(World(clock, guild_locale))
        self.token = TOKEN
        self.bot_ready = asyncio.Event()
        """Set when a READY has been sent and commands are registered; clear it to wait anew."""
        self.faults = Faults()
        self.gateway = Gateway(
            self.world,
            token=self.token,
            view=self._view,
            allowed=privileged,
            url=lambda: self.gateway_url,
            on_ready=self._look_ready,
        )
        self._port = 0
        self._privileged = privileged
        rest = Rest(self.world, self._rest_view, lambda: self.gateway_url, self._look_ready)
        routes = [*rest.routes(), *Interactions(self.world, self._rest_view).routes()]
        limiter = RateLimiter(clock, limits)
        self._api = HttpApi(routes, token=self.token, faults=self.faults, limiter=limiter)
        self._cdn = Cdn(self.world, self.faults)
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=CLOSE_WITHIN_S)

    @property
    def api_url(self) -> str:
        """Where the REST routes are."""
        return f"http://{HOST}:{self._port}{BASE}"

    @property
    def gateway_url(self) -> str:
        """Where the gateway is."""
        return f"ws://{HOST}:{self._port}/gateway"

    @property
    def recorder(self) -> deque[Exchange]:
        """The last requests and answers, oldest first."""
        return self._api.exchanges

    def _view(self, intents: Intents) -> View:
        reads_content = Intents.MESSAGE_CONTENT in intents
        return View(self.world, reads_content, f"http://{HOST}:{self._port}")

    def _rest_view(self) -> View:
        # REST goes by what is switched on for the bot, not by what a session asked for.
        return self._view(self._privileged)

    def _look_ready(self) -> None:
        if self.gateway.num_connected and self.world.commands:
            self.bot_ready.set()
        self.world.wake()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=(ATTACHMENTS + 1) * ATTACHMENT_BYTES)
        self._api.add_to(app)
        app.router.add_get("/gateway", self.gateway.accept)
        self._cdn.add_to(app)
        return app

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.faults.clear()
        await self.gateway.drop()
        await self._runner.cleanup()
