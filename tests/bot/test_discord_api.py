"""Logging in: what goes wrong is told apart."""

import ssl
from typing import Any, NoReturn

import aiohttp
import discord
import pytest

from bot.discord_api import log_in, use_discord_at
from sandbox.server import Sandbox


class Broken(discord.Client):
    """A client with a fault of its own."""

    async def setup_hook(self) -> None:
        msg = "a fault of our own"
        raise TypeError(msg)


async def test_a_fault_of_our_own_is_not_blamed_on_discord(sandbox: Sandbox):
    use_discord_at(sandbox.api_url, sandbox.gateway_url)
    async with Broken(intents=discord.Intents.none()) as client:
        with pytest.raises(TypeError, match="a fault of our own"):
            await log_in(client, sandbox.token)


async def test_a_certificate_that_is_not_believed_is_said_as_such(sandbox: Sandbox):
    class Suspicious(aiohttp.TCPConnector):
        """Believes no certificate."""

        async def connect(self, req: aiohttp.ClientRequest, *_: Any, **__: Any) -> NoReturn:
            why = ssl.SSLCertVerificationError(1, "self-signed certificate")
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, why)

    use_discord_at(sandbox.api_url, sandbox.gateway_url)
    connector = Suspicious()
    async with discord.Client(intents=discord.Intents.none(), connector=connector) as client:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="self-signed"):
            await log_in(client, sandbox.token)
