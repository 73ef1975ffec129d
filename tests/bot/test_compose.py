"""What compose.yaml asks the programs, done without Docker."""

import re
import sys
from asyncio import create_subprocess_exec
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis

from bot.health import BotHealth, health_server
from bot.metrics import BotMetrics
from bot.queue_watch import QueueWatch
from bot.settings import BotSettings
from sandbox.server import Sandbox
from tests.bot.support import Engine, running_bot
from tests.bot.test_health import until_ready
from wire.queue import JobQueue

COMPOSE = Path(__file__).resolve().parents[2] / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


async def status_of(check: list[str], **environment: str) -> int:
    """Run a health check as Docker does, with a proxy in its environment."""
    assert check[:2] == ["CMD", "python"]
    nowhere = "http://127.0.0.1:1"
    child = await create_subprocess_exec(
        sys.executable, *check[2:], env={**environment, "http_proxy": nowhere}
    )
    return await child.wait()


@pytest.mark.parametrize("name", ["bot", "engine", "engine-gpu"])
def test_each_program_is_asked_and_listens_where_it_is_asked(services: dict[str, Any], name: str):
    service = services[name]
    setting = "OVID_BOT_HEALTH_PORT" if name == "bot" else "OVID_HEALTH_PORT"
    assert 0 < int(service["environment"][setting]) < 65536
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["depends_on"]["redis"] == {"condition": "service_healthy"}


def test_the_example_of_settings_names_each_that_compose_reads():
    read = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text(encoding="utf-8")))
    example = COMPOSE.with_name(".env.example").read_text(encoding="utf-8")
    assert "OVID_SLOTS" in read
    assert read <= set(re.findall(r"^(?:# )?(\w+)=", example, re.MULTILINE))


def test_the_bot_knows_every_setting_that_compose_gives_it(services: dict[str, Any]):
    given = {name.removeprefix("OVID_").lower() for name in services["bot"]["environment"]}
    assert given <= set(BotSettings.model_fields)


async def test_the_check_passes_only_while_the_program_is_ready(
    services: dict[str, Any], sandbox: Sandbox, redis_url: str, redis: Redis, engine: Engine
):
    check = services["bot"]["healthcheck"]["test"]
    async with QueueWatch(JobQueue(redis)) as watch, running_bot(sandbox, redis_url) as client:
        health = BotHealth(watch)
        async with health_server(health, BotMetrics(), "127.0.0.1", 0) as port:
            assert await status_of(check, OVID_BOT_HEALTH_PORT=str(port)) == 1
            health.client = client
            await until_ready(f"http://127.0.0.1:{port}")
            assert await status_of(check, OVID_BOT_HEALTH_PORT=str(port)) == 0
            assert await status_of(check, OVID_HEALTH_PORT=str(port)) == 0
        assert await status_of(check, OVID_BOT_HEALTH_PORT=str(port)) == 1
