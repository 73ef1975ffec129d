"""What the documentation says of metrics is what the programs tell, no more and no less."""

import json
import re
from pathlib import Path

import torch

from bot.health import BotHealth, Present
from bot.metrics import BotMetrics
from bot.queue_watch import QueueWatch
from engine.http_api import EngineHealth
from engine.metrics import EngineMetrics
from engine.model_pool import ModelPool
from tests.end_to_end.conftest import DEMO
from wire.queue import JobQueue

DOCS = Path(__file__).resolve().parents[2] / "docs"
NAME = re.compile(r"\b(?:ovid_(?:bot|queue|engine)|process)_[a-z_]+\b")


async def told(redis) -> set[str]:
    """Name the metrics of both programs."""
    bot, engine = BotMetrics(), EngineMetrics()
    bot.register(Present(BotHealth(QueueWatch(JobQueue(redis)))))
    pool = ModelPool(
        DEMO.parent,
        DEMO.name,
        torch.device("cpu"),
        num_slots=1,
        prefill_tokens=16,
        max_waiting=1,
    )
    EngineHealth(pool, engine)
    text = (bot.exposition() + engine.exposition()).decode()
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


async def test_the_documentation_names_every_metric_and_no_other(redis):
    named = set(NAME.findall((DOCS / "observing.md").read_text(encoding="utf-8")))
    known = await told(redis)
    assert named <= known
    ours = {name for name in known if name.startswith("ovid_") and not name.endswith("_created")}
    assert ours <= named


async def test_the_dashboard_asks_for_metrics_that_there_are(redis):
    board = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    named = {name.removesuffix("_bucket") for expr in asked for name in NAME.findall(expr)}
    assert len(named) > 15
    assert named <= await told(redis)
    places = [tuple(panel["gridPos"].values()) for panel in board["panels"]]
    assert len(set(places)) == len(places)
