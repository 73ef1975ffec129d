"""A corpus on several processes: the ids of one process, in order, and no hang when one dies."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from codec.batch import start
from codec.bpe import Tokenizer
from engine.errors import EngineError, InvalidRequestError
from engine.train import encoding
from engine.train.encoding import encode_all

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "models" / "demo"
TEXTS = ["", "One.", "Two words\n\nand a  strînge   one\t.", "字" * 300, "word " * 200, " \n " * 90]
DEADLINE_S = 60


class Killed(Tokenizer):
    """A tokenizer whose process is killed at work, as by the kernel when memory runs out."""

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


class Slow(Tokenizer):
    """A tokenizer that tells that it works, and takes its time."""

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        sys.stdout.write(f"{os.getpid()} works\n")
        sys.stdout.flush()
        time.sleep(0.2)
        return super().encode(text)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_folder(DEMO)


def test_two_processes_give_the_ids_of_one_in_the_order_of_the_texts(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    # Small enough that long texts are cut, short ones share a batch, and batches overtake others.
    monkeypatch.setattr(encoding, "BATCH_CHARS", 40)
    texts = [*TEXTS, *(f"text {number} of many" for number in range(60)), *TEXTS]
    expected = [tokenizer.encode(text) for text in texts]
    for processes in (1, 2):
        found = encode_all(tokenizer, texts, processes=processes)
        assert [ids.tolist() for ids in found] == expected
        assert all(ids.dtype == np.int32 and ids.ndim == 1 for ids in found)


def test_a_long_text_is_shared_out_in_batches_of_equal_size(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(encoding, "BATCH_CHARS", 100)
    texts = ["word " * 1000, *["short"] * 50]
    batches = list(encoding._batches(texts))
    sizes = [sum(len(part) for _, part in batch) for batch in batches]
    assert min(sizes[:-1]) >= 100
    assert max(sizes) <= 110
    joined = [""] * len(texts)
    for place, part in (each for batch in batches for each in batch):
        joined[place] += part
    assert joined == texts


def test_little_text_starts_no_process(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object, **kwargs: object) -> None:
        pytest.fail("a process was started")

    monkeypatch.setattr(encoding, "ProcessPoolExecutor", refuse)
    assert [ids.tolist() for ids in encode_all(tokenizer, TEXTS)] == list(
        map(tokenizer.encode, TEXTS)
    )
    assert encode_all(tokenizer, []) == []


def test_an_encoding_process_imports_the_codec_and_nothing_of_the_engine(tokenizer: Tokenizer):
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=start, initargs=(tokenizer,)
    ) as pool:
        loaded = pool.submit(eval, "sorted(__import__('sys').modules)").result(DEADLINE_S)
    assert "codec.bpe" in loaded
    assert {"torch", "numpy", "engine", "pydantic", "tqdm"}.isdisjoint(loaded)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_lone_surrogate_is_refused_with_its_text_and_place(
    tokenizer: Tokenizer, processes: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "BATCH_CHARS", 20)
    texts = ["fine", "a text of which the end \udc80 is not fine", "fine"]
    with pytest.raises(InvalidRequestError, match=r"text 2: character 24 is .*\(U\+DC80\)"):
        encode_all(tokenizer, texts, processes=processes)


def test_a_process_that_is_killed_is_an_error_and_no_hang(tokenizer: Tokenizer):
    killed = Killed(tokenizer._vocabulary)
    with pytest.raises(EngineError, match="one of 2 encoding processes was killed"):
        encode_all(killed, TEXTS, processes=2)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_running_when_the_parent_is_stopped(sent: signal.Signals):
    script = (
        "from pathlib import Path\n"
        "from engine.train import encoding\n"
        "from tests.engine.test_encoding import DEMO, Slow\n"
        "encoding.BATCH_CHARS = 1\n"
        "encoding.encode_all(Slow.from_folder(DEMO), ['some text'] * 10_000, processes=2)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout is not None
        # Both have started: a child that is stopped while it starts would complain.
        working: set[str] = set()
        while len(working) < 2:
            line = parent.stdout.readline()
            assert line, parent.communicate(timeout=DEADLINE_S)[1]
            working.add(line)
        # As a terminal does, Ctrl-C goes to the children too.
        if sent == signal.SIGINT:
            os.killpg(parent.pid, sent)
        else:
            parent.kill()
        # The pipes close when the last process that writes to them has ended.
        _, complaints = parent.communicate(timeout=DEADLINE_S)
    if sent == signal.SIGINT:
        assert parent.returncode == -signal.SIGINT
        assert complaints.count("Traceback") == 1, complaints
