"""Point discord.py at another Discord than Discord's own. Knows nothing of what is said there."""

import discord
import yarl


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
