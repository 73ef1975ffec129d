"""`python -m engine evaluate …` as a person meets it."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from engine.__main__ import main
from engine.errors import ModelError
from engine.evaluate.catalogue import TASKS
from engine.evaluate.command import TaskName
from engine.evaluate.identity import weights_sha256
from engine.evaluate.published import PUBLISHED, released_size
from engine.evaluate.report import as_json, as_table
from engine.evaluate.task import Metric
from tests.engine.evaluate.conftest import Measure
from tests.engine.models import TINY

PTB = " no it was n't black monday \n the dow fell N points \n"


@pytest.fixture
def args(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A short evaluation, run in a folder without settings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ptb.test.txt").write_text(PTB, encoding="utf-8")
    return ["evaluate", "ptb", "--data", "ptb.test.txt", "--model", str(saved), "--device", "cpu"]


def test_the_result_is_a_table_with_the_published_figures_beside_ours(
    args: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main(args) == 0
    said = capsys.readouterr()
    title, _, head, perplexity, *_ = said.out.splitlines()
    assert title == "Penn Treebank: tiny, float32, stride 64 of 64"
    assert head.split()[:5] == ["ours", "124M", "355M", "774M", "1558M"]
    assert perplexity.split()[2:6] == ["65.85", "47.33", "40.31", "35.76"]
    assert said.err == ""


def test_the_json_says_all_that_the_numbers_depend_on(args: list[str], tmp_path: Path, saved: Path):
    assert main([*args, "--json", "out.json", "--stride", "16", "--batch-size", "2"]) == 0
    found = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert found["task"] == "ptb"
    assert (found["partial"], found["limit"]) == (False, None)
    assert found["metrics"]["perplexity"]["published"] == PUBLISHED["ptb"]["perplexity"]
    assert found["protocol"]["stride"] == 16
    assert found["protocol"]["context"] == 64
    weights = hashlib.sha256((saved / "model.safetensors").read_bytes()).hexdigest()
    assert found["model"]["weights_sha256"] == {"model.safetensors": weights}
    assert found["data"]["sha256"] == hashlib.sha256(PTB.encode()).hexdigest()
    assert found["run"]["batch_size"] == 2
    assert found["run"]["precision"] == "float32"
    assert found["versions"]["torch"]


def test_json_to_standard_output_is_json_and_nothing_else(
    args: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([*args, "--json", "-"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["model"]["name"] == "tiny"
    assert "Penn Treebank" in said.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_result_that_cannot_be_written_is_still_shown(
    args: list[str], capsys: pytest.CaptureFixture[str]
):
    assert main([*args, "--json", "/dev/full"]) == 1
    said = capsys.readouterr()
    assert "Penn Treebank" in said.out
    assert said.err == "evaluate: [Errno 28] No space left on device\n"


def test_a_part_of_the_data_is_marked_as_such(args: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([*args, "--limit", "1", "--json", "-"]) == 0
    said = capsys.readouterr()
    assert said.err.startswith("Penn Treebank, PARTIAL: the first 1 lines only")
    found = json.loads(said.out)
    assert (found["partial"], found["limit"], found["counts"]["lines"]) == (True, 1, 1)


@pytest.mark.parametrize(
    ("extra", "status", "sentence"),
    [
        (["--data", "gone.txt"], 1, "data must be a file, and gone.txt is not there"),
        (["--data", "."], 1, "data must be a file, and . is a folder"),
        (["--json", "gone/out.json"], 1, "json must name a file in a folder that exists"),
        (["--stride", "65"], 1, "stride must be between 1 and 64, the model's context, not 65"),
        (["--stride", "0"], 2, "stride: input should be greater than or equal to 1, not '0'."),
        (["--limit", "0"], 2, "limit: input should be greater than or equal to 1, not '0'."),
        (["--model", "gone"], 1, "There is no model 'gone'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    args: list[str],
    extra: list[str],
    status: int,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
):
    assert main([*args, *extra]) == status
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert line.startswith(f"evaluate: {sentence}")
    assert said.out == ""


def test_a_stride_for_a_task_without_windows_is_refused(
    args: list[str], capsys: pytest.CaptureFixture[str]
):
    args[1] = "winograd"
    assert main([*args, "--stride", "8"]) == 2
    assert "stride is for running texts (wikitext2," in capsys.readouterr().err


def test_every_task_has_a_name_on_the_command_line_and_published_figures():
    assert set(get_args(TaskName)) == set(TASKS) == set(PUBLISHED)


def test_a_model_of_a_released_shape_stands_beside_its_own_size_alone(measure: Measure):
    result = measure("ptb", PTB)
    small = replace(result, model={**result.model, "released_size": "124M"})
    assert as_json(small)["metrics"]["perplexity"]["published"] == {"124M": 65.85}
    table = as_table(small)
    assert "65.85" in table
    assert "47.33" not in table
    assert released_size(TINY) is None


def test_a_number_past_all_bounds_is_null_in_json_and_inf_in_the_table(measure: Measure):
    result = replace(measure("ptb", PTB), metrics=[Metric("perplexity", math.inf, "per word")])
    assert json.loads(json.dumps(as_json(result), allow_nan=False))
    assert "inf" in as_table(result)


def test_weights_in_several_files_each_have_their_hash(tmp_path: Path):
    with pytest.raises(ModelError, match="holds no weights"):
        weights_sha256(tmp_path)
    for name in ("model.ckpt.index", "model.ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(name.encode())
    assert list(weights_sha256(tmp_path)) == ["model.ckpt.index", "model.ckpt.data-00000-of-00001"]
    # What is not loaded is not hashed: shards come before TensorFlow's checkpoint.
    shards = ["a.safetensors", "b.safetensors"]
    index = json.dumps({"weight_map": {"wte": shards[1], "wpe": shards[0], "ln_f": shards[1]}})
    contents = {"model.safetensors.index.json": index, shards[0]: "one", shards[1]: "two"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert weights_sha256(tmp_path) == {
        name: hashlib.sha256(content.encode()).hexdigest() for name, content in contents.items()
    }
