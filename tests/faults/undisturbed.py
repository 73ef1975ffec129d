"""What the engine writes when nothing happens: the judge of texts that were written under faults.

It knows records and the model; it has no part in the programs that a test starts.
"""

from collections.abc import Iterable
from pathlib import Path

import torch

from engine.loading import load_engine
from engine.watermark import WatermarkKey
from tests.end_to_end.stack import WATERMARK_KEY
from wire.jobs import Done
from wire.queue import JobRecord


def check_texts(model: Path, records: Iterable[JobRecord]) -> None:
    """Check that each finished text is, to the letter, what the seed in its last word gives."""
    untrue = untrue_texts(model, records)
    assert untrue == [], f"not the texts of their seeds: {untrue}"


def untrue_texts(model: Path, records: Iterable[JobRecord]) -> list[str]:
    """Name the finished jobs whose text is not to the letter what the seed in its last word gives.

    Where nobody chose a seed each attempt draws its own, so a text into which two attempts wrote is
    what no seed gives.
    """
    wanted = {each.job.job_id: each for each in records if isinstance(each.outcome, Done)}
    engine, _ = load_engine(
        model,
        torch.device("cpu"),
        num_slots=8,
        prefill_tokens=512,
        max_waiting=len(wanted),
        watermark=WatermarkKey(bytes.fromhex(WATERMARK_KEY)),
    )
    sequences = {}
    for job_id, record in wanted.items():
        assert isinstance(record.outcome, Done)
        params = record.job.params.model_copy(update={"seed": record.outcome.seed})
        sequences[job_id] = engine.add(record.job.prompt, params)
    while engine.has_work:
        engine.step()
    return [
        job_id
        for job_id, sequence in sequences.items()
        if wanted[job_id].text
        != engine.tokenizer.decode(sequence.token_ids[sequence.num_prompt_tokens :])
    ]
