"""Doors leave the process as they found it: the tests that come after them share it."""

import importlib
import logging
import signal
from typing import Any

import pytest
import torch

from tests.fuzz.doors import DOORS
from tests.threads import num_threads


def settings_of_this_process() -> dict[str, Any]:
    loggers = [logging.getLogger(), logging.getLogger("bot"), logging.getLogger("engine")]
    return {
        "threads": torch.get_num_threads(),
        "levels": [each.level for each in loggers],
        "handlers": [list(each.handlers) for each in loggers],
        "signals": {each: signal.getsignal(each) for each in signal.valid_signals()},
    }


@pytest.mark.parametrize("name", DOORS)
def test_a_door_leaves_the_process_as_it_found_it(name: str):
    door = importlib.import_module(DOORS[name]).DOOR
    with num_threads(2):
        before = settings_of_this_process()
        with door.attempts():
            pass
        assert settings_of_this_process() == before
