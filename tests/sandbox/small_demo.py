"""The demo as people start it, but with stand-ins for engine and bot."""

import argparse
import sys

from sandbox.__main__ import main
from sandbox.processes import Program
from sandbox.server import Sandbox


def programs(sandbox: Sandbox, redis_url: str, options: argparse.Namespace) -> list[Program]:
    """Say how the stand-ins are started."""
    engine = (sys.executable, "-m", "tests.sandbox.small_engine")
    bot = (sys.executable, "-m", "tests.sandbox.small_bot")
    at_sandbox = {
        "DISCORD_TOKEN": sandbox.token,
        "OVID_DISCORD_API": sandbox.api_url,
        "OVID_DISCORD_GATEWAY": sandbox.gateway_url,
    }
    return [
        Program("engine", engine, "engine ready", {"OVID_REDIS_URL": redis_url}),
        Program("bot", bot, "bot ready", at_sandbox),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], programs))
