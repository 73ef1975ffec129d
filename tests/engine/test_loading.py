"""From a model's name to a running engine: real weights and cache, and what can be missing."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from codec.vocabulary import VocabularyError
from engine import loading
from engine.async_engine import AsyncEngine
from engine.config import ModelConfig
from engine.errors import EngineError, MemoryShortError, ModelError
from engine.llm_engine import LLMEngine
from engine.loading import (
    find_model,
    load_engine,
    model_folders,
    model_name,
    pick_device,
    pick_dtype,
)
from engine.model import GPT2
from engine.sampler import sample
from engine.weights import load_model, save_model
from tests.engine.callers import collect, only_done, text_of
from tests.engine.models import CPU, TINY, make_model
from tests.engine.sampling import row_of
from tests.engine.support import make_params
from tests.wire.support import make_job
from wire.jobs import SamplingParams


def load(folder: Path, *, num_slots: int = 4, prefill_tokens: int = 8) -> LLMEngine:
    engine, _ = load_engine(
        folder, CPU, num_slots=num_slots, prefill_tokens=prefill_tokens, max_waiting=50
    )
    return engine


def write(engine: LLMEngine, requests: Sequence[tuple[str, SamplingParams]]) -> list[str]:
    """Run the requests together; give their texts."""
    texts = {engine.add(prompt, params): "" for prompt, params in requests}
    while engine.has_work:
        for output in engine.step():
            if output.sequence in texts:
                texts[output.sequence] += output.text
    return list(texts.values())


REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    ("a", {"temperature": 0.0}),
    ("some longer prompt than one chunk", {"top_k": 0, "top_p": 0.9}),
    ("other", {"temperature": 0.7, "top_k": 0}),
    ("other", {"repetition_penalty": 1.5, "top_k": 3}),
    ("the last of them all", {"top_k": 5, "top_p": 0.5}),
]


def test_a_request_writes_in_any_company_what_it_writes_alone(saved: Path):
    requests = [
        (prompt, make_params(seed=seed, max_tokens=12 + 3 * seed, **params))
        for seed, (prompt, params) in enumerate(REQUESTS)
    ]
    # One after the other: there is but one slot.
    alone = write(load(saved, num_slots=1), requests)
    assert len(set(alone)) == len(requests)
    assert write(load(saved, num_slots=3), requests) == alone
    assert write(load(saved, num_slots=5, prefill_tokens=3), requests[::-1]) == alone[::-1]


def test_each_token_is_drawn_from_the_full_passes_logits_at_its_place_in_the_reply(saved: Path):
    params = make_params(seed=6, max_tokens=25, top_k=0, repetition_penalty=1.2)
    engine = load(saved)
    sequence = engine.add("hello", params)
    write(engine, [])
    model = load_model(saved, device=CPU, dtype=torch.float32)
    ids = list(b"hello")
    assert sequence.num_completion_tokens > 10
    for place, token_id in enumerate(sequence.token_ids[len(ids) :]):
        with torch.inference_mode():
            logits = model.logits(model(torch.tensor([ids])))[:, -1]
        assert sample(logits, [row_of(params, place, ids)]).item() == token_id
        ids.append(token_id)


def test_a_slot_used_before_writes_what_a_fresh_one_writes(saved: Path):
    engine = load(saved, num_slots=1)
    request = ("hello", make_params(seed=3, max_tokens=30))
    fresh = write(engine, [request])
    write(engine, [("quite another prompt", make_params(seed=4, max_tokens=40))])
    assert write(engine, [request]) == fresh


async def test_a_seed_left_out_is_reported_and_writes_the_text_again(saved: Path):
    async with AsyncEngine(load(saved), "tiny") as engine:
        params = make_params(seed=None, max_tokens=30)
        first = await collect(engine.generate("hi", params))
        seed = only_done(first).seed
        again = await collect(
            engine.generate("hi", params.model_copy(update={"seed": seed})),
        )
        other = await collect(engine.generate("hi", params))
    assert text_of(again) == text_of(first)
    assert text_of(other) != text_of(first)


def test_a_reply_may_fill_the_whole_context(saved: Path):
    engine = load(saved)
    sequence = engine.add("abcd", make_params(max_tokens=60, temperature=0))
    while engine.has_work:
        engine.step()
    assert len(sequence.token_ids) <= TINY.n_ctx
    assert sequence.finish_reason is not None


def test_a_model_with_more_rows_than_tokens_never_writes_past_the_vocabulary(
    saved: Path, vocabulary: Path, tmp_path: Path
):
    padded = make_model(ModelConfig(n_layer=1, n_head=2, n_embd=32, n_vocab=320, n_ctx=64))
    padded.wte.weight[257:] *= 50
    save_model(padded, vocabulary, tmp_path / "padded", dtype=torch.float32)
    engine = load(tmp_path / "padded")
    assert len(write(engine, [("a", make_params(seed=1, top_k=0, max_tokens=50))])[0]) > 0


def test_a_model_is_found_by_name_below_the_models_folder_and_by_path(saved: Path):
    assert find_model("tiny", saved.parent) == saved
    assert find_model(str(saved), Path("nowhere")) == saved


def test_a_model_that_is_nowhere_is_told_with_both_places_and_the_remedy(tmp_path: Path):
    with pytest.raises(ModelError, match=rf"no model 'gone'.*{tmp_path}/gone.*put it into"):
        find_model("gone", tmp_path)


def test_a_model_that_is_nowhere_is_told_which_formats_are_read(tmp_path: Path):
    with pytest.raises(ModelError) as caught:
        find_model("gone", tmp_path)
    for words in ("safetensors", "pytorch_model.bin", "model.ckpt", "encoder.json"):
        assert words in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "/dev/null"], ids=["long", "zero", "device"])
def test_a_name_that_no_folder_can_have_is_a_model_that_is_nowhere(tmp_path: Path, name: str):
    with pytest.raises(ModelError, match="There is no model"):
        find_model(name, tmp_path)


def test_a_folder_that_may_not_be_looked_into_hides_no_other(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree(saved, tmp_path / "notes")
    (tmp_path / "private").mkdir()
    is_file = Path.is_file

    def refuses(path: Path) -> bool:
        # As the kernel does to another user; a test may run as root, to whom nothing is closed.
        if path.parent.name == "private":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuses)
    assert model_folders(tmp_path) == {"notes": tmp_path / "notes"}


def test_a_vocabulary_and_weights_of_two_trainings_are_not_mixed(
    saved: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))

    def trained_again_behind_the_vocabulary(folder: Path, **kind: Any) -> GPT2:
        save_model(make_model(seed=5), vocabulary, folder, dtype=torch.float32)
        return load_model(folder, **kind)

    monkeypatch.setattr(loading, "load_model", trained_again_behind_the_vocabulary)
    with pytest.raises(ModelError, match=f"{folder} was replaced by another model while it was"):
        load(folder)


def test_a_vocabulary_larger_than_the_model_is_refused_with_both_sizes(saved: Path, tmp_path: Path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    table = json.loads((folder / "vocab.json").read_text(encoding="utf-8")) | {"ab": 257}
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(ModelError, match="258 tokens do not fit vocab_size 257"):
        load(folder)


def test_a_model_without_its_vocabulary_is_refused(saved: Path, tmp_path: Path):
    folder = Path(shutil.copytree(saved, tmp_path / "model"))
    (folder / "merges.txt").unlink()
    with pytest.raises(VocabularyError, match=r"merges\.txt is missing"):
        load(folder)


def test_slots_that_do_not_fit_into_memory_are_refused_with_how_many_do(saved: Path):
    with pytest.raises(
        MemoryShortError,
        match=r"The weights and 1000000000 slots need \d+ MiB, .* at most \d+ slots",
    ):
        load(saved, num_slots=10**9)


def test_asking_for_cuda_without_one_is_told_with_the_remedy():
    if torch.cuda.is_available():
        assert pick_device("auto").type == "cuda"
        return
    with pytest.raises(EngineError, match="sees no CUDA device: use cpu or auto"):
        pick_device("cuda")
    assert pick_device("auto") == pick_device("cpu") == CPU


def test_the_cpu_computes_in_float32():
    assert pick_dtype(CPU) == torch.float32


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("models/124M", "124M"),
        ("models/gpt2", "124M"),
        ("hub/openai-community/gpt2-xl", "1558M"),
        ("models/notes", "notes"),
        ("models/gpt2-notes", "gpt2-notes"),
        ("models/notes/", "notes"),
        ("demo", "demo"),
        ("my notes, été", "my-notes-t-"),
        ("é" * 9, "-"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_model_is_called_by_its_folder_or_by_its_release(folder: str, name: str):
    assert model_name(Path(folder)) == name
    # So a job can ask for it by the name that people see.
    assert make_job("1", model=name).model == name


def test_a_folder_given_relatively_is_called_by_where_it_is(
    saved: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(saved)
    assert model_name(Path()) == "tiny"
    monkeypatch.chdir(saved.parent)
    assert model_name(Path("tiny/..")) == saved.parent.name


def test_a_model_of_a_released_shape_is_not_called_by_the_release(saved: Path, tmp_path: Path):
    # As one that was fine-tuned from it.
    fields = {"n_layer": 12, "n_head": 12, "n_embd": 768, "n_ctx": 1024, "vocab_size": 50257}
    config = json.dumps({"model_type": "gpt2", **fields})
    folder = Path(shutil.copytree(saved, tmp_path / "notes"))
    (folder / "config.json").write_text(config, encoding="utf-8")
    assert ModelConfig.from_folder(folder).n_embd == 768
    assert model_name(folder) == "notes"
    assert model_folders(tmp_path) == {"notes": folder}


def test_a_released_model_is_found_by_any_of_its_names(saved: Path, tmp_path: Path):
    folder = Path(shutil.copytree(saved, tmp_path / "gpt2-large"))
    for name in ("774M", "gpt2-large", "openai-community/gpt2-large"):
        assert find_model(name, tmp_path) == folder
    own = Path(shutil.copytree(saved, tmp_path / "774M"))
    assert find_model("774M", tmp_path) == own
    assert model_folders(tmp_path) == {"774M": own}


@pytest.mark.parametrize(("name", "size"), [("gone", "124M"), ("gpt2-xl", "1558M")])
def test_a_model_that_could_be_downloaded_is_told_with_the_command(
    tmp_path: Path, name: str, size: str
):
    with pytest.raises(ModelError, match=f"`python -m engine download {size}` fetches"):
        find_model(name, tmp_path)


def test_only_folders_with_a_config_and_a_usable_name_are_models(saved: Path, tmp_path: Path):
    for name in ("notes", ".hidden", "new.partial", "two words", "x" * 65, "empty"):
        shutil.copytree(saved, tmp_path / name)
    (tmp_path / "empty" / "config.json").unlink()
    old = Path(shutil.copytree(tmp_path / "empty", tmp_path / "openai"))
    (old / "hparams.json").write_text("{}", encoding="utf-8")
    assert model_folders(tmp_path) == {"notes": tmp_path / "notes", "openai": old}
    assert model_folders(tmp_path / "nowhere") == {}
    assert model_folders(saved / "config.json") == {}
