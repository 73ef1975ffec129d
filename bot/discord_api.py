"""Point discord.py at a Discord, its own or another, and log in. Knows no message."""

import aiohttp
import discord
import yarl

REQUEST_LIMIT_S = 30.0


def use_discord_at(api: str | None, gateway: str | None) -> None:
    """Send REST calls to `api` and open the gateway at `gateway`; None keeps Discord's own.

    It holds for the whole process, since discord.py keeps these addresses in its classes.

    Args:
        api: Such as `http://127.0.0.1:8080/api/v10`.
        gateway: Such as `ws://127.0.0.1:8080/gateway`.
    """
    if api is not None:
        discord.http.Route.BASE = api.rstrip("/")
        discord.Asset.BASE = str(yarl.URL(api).origin())
    if gateway is not None:
        discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(gateway)


def bound_requests(client: discord.Client) -> None:
    """Give up a request that nobody answers within `REQUEST_LIMIT_S`; aiohttp waits five minutes.

    It holds from the login on, and not for what discord.py waits between two tries.
    """
    # discord.py makes the session itself and takes no bound for it.
    session: aiohttp.ClientSession = client.http._HTTPClient__session  # type: ignore[attr-defined]  # noqa: SLF001
    session._timeout = aiohttp.ClientTimeout(total=REQUEST_LIMIT_S)  # noqa: SLF001


async def log_in(client: discord.Client, token: str) -> None:
    """Log in, as `discord.Client.login` does.

    Raises:
        discord.LoginFailure: Discord does not take the token.
        discord.DiscordException: It refuses otherwise, or something else answers in its place.
        aiohttp.ClientError, OSError: It cannot be reached.
    """
    try:
        await client.login(token)
    except (aiohttp.ClientError, OSError):
        # A certificate that is not believed is a ValueError too.
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        # discord.py takes whatever it is told, a proxy's page too, for what it asked about.
        if client.application is not None:
            raise
        msg = "something else answers in its place"
        raise discord.ClientException(msg) from error
