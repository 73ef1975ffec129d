"""Measures the engine alone: what `python -m engine bench` says of two models."""

from engine.commands.bench import Bench, table
from engine.commands.bench import measure as measure_model


def measure() -> None:
    """Print the speed of the demo model, and of GPT-2 124M with random weights."""
    for settings in (Bench(), Bench(random_weights="124M", rounds=3)):
        print(table(measure_model(settings)))
