"""Ask nothing of a Discord that has shut this machine out for a while. Knows no route.

Discord's own limits come with a `Via` header, and discord.py waits them out. A 429 without one is
from its front, for an address that asked wrongly 10,000 times in ten minutes; who goes on asking
stays shut out. Source: discord.com/developers/docs, "Rate Limits", "Invalid Request Limit".
"""

import logging
import time

import aiohttp
import discord
import yarl

_log = logging.getLogger(__name__)

REST_S = 60.0
"""How long nothing is asked where the refusal does not say."""
MAX_REST_S = 600.0


class BannedError(aiohttp.ClientError):
    """Nothing was asked, as Discord has just refused to hear anything."""


class Ban:
    """Whether Discord hears this machine, by its last answers; one for all clients of a program."""

    def __init__(self) -> None:
        self._until_s = float("-inf")

    def trace(self) -> aiohttp.TraceConfig:
        """Return what must listen to the requests; it raises BannedError in place of some."""
        trace = aiohttp.TraceConfig()
        trace.on_request_start.append(self._before)
        trace.on_request_end.append(self._after)
        return trace

    @property
    def left_s(self) -> float:
        """How long nothing will be asked from now on; 0 if Discord may be asked."""
        return max(0.0, self._until_s - time.monotonic())

    async def _before(self, _: object, __: object, start: aiohttp.TraceRequestStartParams) -> None:
        if self.left_s and _is_api(start.url):
            msg = f"shut out by Discord for {self.left_s:.0f} s more"
            raise BannedError(msg)

    async def _after(self, _: object, __: object, end: aiohttp.TraceRequestEndParams) -> None:
        if end.response.status != 429 or end.response.headers.get("Via") or not _is_api(end.url):
            return
        rest_s = min(_seconds(end.response.headers.get("Retry-After")) or REST_S, MAX_REST_S)
        if not self.left_s:
            _log.warning(
                "Discord has shut this machine out: it is asked nothing for %.0f s", rest_s
            )
        self._until_s = max(self._until_s, time.monotonic() + rest_s)


def _is_api(url: yarl.URL) -> bool:
    # The gateway stands elsewhere, and hears whom the REST API does not.
    return str(url).startswith(discord.http.Route.BASE)


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
