"""Model folders: whole ones are read whichever way they are written, others refused in words."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine import weights
from engine.checkpoints.opening import Checkpoint, open_checkpoint
from engine.errors import ModelError
from engine.model import GPT2
from engine.weights import load_model, save_model
from tests.engine.models import CPU, OTHER, TINY, make_model
from tests.engine.support import EOT

Tensors = dict[str, Tensor]
FIRST = "transformer.h.0.attn.c_attn.weight"


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A folder of this test's own."""
    return Path(shutil.copytree(saved, tmp_path / "model"))


def load(folder: Path, dtype: torch.dtype = torch.float32) -> GPT2:
    return load_model(folder, device=CPU, dtype=dtype)


def rewrite(folder: Path, change: Callable[[Tensors], Tensors | None]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors = change(tensors) or tensors
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def assert_same_weights(one: GPT2, other: GPT2) -> None:
    wanted = dict(other.named_parameters())
    found = dict(one.named_parameters())
    assert found.keys() == wanted.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, wanted[name]), name


def test_what_is_saved_is_loaded_again_with_every_tensor_used_once(folder: Path):
    stored = load_file(folder / "model.safetensors")
    model = load(folder)
    assert_same_weights(model, make_model())
    assert len(stored) == len(dict(model.named_parameters()))
    assert sum(tensor.numel() for tensor in stored.values()) == TINY.num_parameters


def test_names_may_stand_without_the_prefix(folder: Path):
    rewrite(folder, lambda t: {name.removeprefix("transformer."): t[name] for name in t})
    assert_same_weights(load(folder), make_model())


def test_a_name_with_and_without_the_prefix_is_refused(folder: Path):
    rewrite(folder, lambda t: t | {"ln_f.bias": t["transformer.ln_f.bias"].clone()})
    with pytest.raises(ModelError, match=r"model\.safetensors holds ln_f\.bias twice"):
        load(folder)


def test_a_head_that_repeats_the_embeddings_is_taken(folder: Path):
    rewrite(folder, lambda t: t | {"lm_head.weight": t["transformer.wte.weight"].clone()})
    assert_same_weights(load(folder), make_model())


def test_a_head_of_its_own_is_refused(folder: Path):
    rewrite(folder, lambda t: t | {"lm_head.weight": t["transformer.wte.weight"] + 1})
    with pytest.raises(ModelError, match=r"lm_head\.weight differs from wte\.weight"):
        load(folder)


def test_mask_buffers_of_old_files_are_left_out(folder: Path):
    mask = torch.ones(1, 1, 64, 64).tril()
    masks = {"transformer.h.0.attn.bias": mask, "h.1.attn.masked_bias": torch.tensor(-1e4)}
    rewrite(folder, lambda t: t | masks)
    assert_same_weights(load(folder), make_model())


def test_a_missing_tensor_is_named(folder: Path):
    def lose(tensors: Tensors) -> None:
        del tensors[FIRST]

    rewrite(folder, lose)
    with pytest.raises(ModelError, match=r"lacks h\.0\.attn\.c_attn\.weight .*1 missing, 0 extra"):
        load(folder)


def test_an_extra_tensor_is_named(folder: Path):
    rewrite(folder, lambda t: t | {"transformer.h.2.ln_1.bias": torch.zeros(32)})
    with pytest.raises(
        ModelError, match=r"holds the unknown h\.2\.ln_1\.bias .*0 missing, 1 extra"
    ):
        load(folder)


@pytest.mark.parametrize(
    ("name", "want"),
    [("transformer.wpe.weight", (64, 32)), ("transformer.h.1.mlp.c_fc.bias", (128,))],
)
def test_a_tensor_of_another_shape_is_named_with_both_shapes(
    folder: Path, name: str, want: tuple[int, ...]
):
    rewrite(folder, lambda t: t | {name: torch.zeros(7, 3)})
    with pytest.raises(ModelError) as caught:
        load(folder)
    said = str(caught.value)
    assert name.removeprefix("transformer.") in said
    assert f"has the shape (7, 3), config.json asks for {want}" in said


def test_a_linear_weight_stored_the_wrong_way_round_is_refused(folder: Path):
    rewrite(folder, lambda t: t | {FIRST: t[FIRST].t()})
    with pytest.raises(
        ModelError, match=r"c_attn\.weight has the shape \(96, 32\), .* asks for \(32, 96\)"
    ):
        load(folder)


def test_whole_numbers_are_no_weights(folder: Path):
    rewrite(folder, lambda t: {name: t[name].int() for name in t})
    with pytest.raises(ModelError, match=r"holds torch\.int32, and weights are floating-point"):
        load(folder)


def test_a_head_of_another_shape_is_told_with_both(folder: Path):
    rewrite(folder, lambda t: t | {"lm_head.weight": torch.zeros(257, 31)})
    with pytest.raises(ModelError, match=r"head.* shape \(257, 31\), .* asks for \(257, 32\)"):
        load(folder)


def test_names_and_shapes_of_any_length_are_told_in_few_words(folder: Path):
    rewrite(folder, lambda t: t | {"x" * 10**6: torch.zeros(2)})
    with pytest.raises(ModelError, match=r"holds the unknown x{80} ") as caught:
        load(folder)
    assert len(str(caught.value)) < 400
    rewrite(folder, lambda t: {n: t[n] for n in t if n[0] != "x"} | {FIRST: torch.zeros([1] * 60)})
    with pytest.raises(ModelError, match=r"has the shape \(1, 1,") as caught:
        load(folder)
    assert len(str(caught.value)) < 400


def test_what_happens_to_the_file_later_does_not_reach_the_model(folder: Path):
    model = load(folder)
    path = folder / "model.safetensors"
    path.write_bytes(bytes(path.stat().st_size))
    assert_same_weights(model, make_model())


@pytest.mark.parametrize("keep_bytes", [0, 4, 100, 5000, -1])
def test_a_truncated_file_is_refused_by_name(folder: Path, keep_bytes: int):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep_bytes])
    with pytest.raises(ModelError, match=r"cannot read .*model\.safetensors"):
        load(folder)


def test_missing_weights_are_told_with_the_folder(folder: Path):
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=rf"{folder} holds no weights: model\.safetensors"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_half_precision_file_loads_to_float32(folder: Path, dtype: torch.dtype):
    rewrite(folder, lambda t: {name: t[name].to(dtype) for name in t})
    model = load(folder)
    expected = dict(make_model().named_parameters())
    for name, tensor in model.named_parameters():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, expected[name].to(dtype).float()), name


def test_a_loaded_model_asks_for_no_gradients_and_shares_its_head(folder: Path):
    model = load(folder)
    assert not any(weight.requires_grad for weight in model.parameters())
    hidden = torch.randn(1, 32)
    torch.testing.assert_close(model.logits(hidden), hidden @ model.wte.weight.t())


def test_saving_over_an_older_model_replaces_it(folder: Path, vocabulary: Path):
    newer = make_model(seed=5)
    save_model(newer, vocabulary, folder, dtype=torch.float32)
    assert_same_weights(load(folder), newer)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_model_may_replace_the_one_that_its_vocabulary_is_from(folder: Path):
    (folder / "vocab.json").rename(folder / "encoder.json")
    (folder / "merges.txt").rename(folder / "vocab.bpe")
    newer = make_model(seed=5)
    save_model(newer, folder, folder, dtype=torch.float32)
    assert_same_weights(load(folder), newer)
    names = ["config.json", "merges.txt", "model.safetensors", "vocab.json"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_what_is_saved_can_be_read_by_the_user_that_serves_it(folder: Path):
    modes = {path.name: path.stat().st_mode & 0o444 for path in folder.iterdir()}
    assert set(modes.values()) == {0o444}, modes


def test_what_a_killed_save_left_behind_does_not_matter(folder: Path, vocabulary: Path):
    staging = folder.parent / ".saving" / "model"
    staging.mkdir(parents=True)
    (staging / "junk").write_text("half", encoding="utf-8")
    save_model(make_model(seed=5), vocabulary, folder, dtype=torch.float32)
    assert not staging.parent.exists()
    assert not (folder / "junk").exists()


def test_a_save_leaves_what_another_is_writing(folder: Path, vocabulary: Path):
    other = folder.parent / ".saving" / "other"
    other.mkdir(parents=True)
    save_model(make_model(seed=5), vocabulary, folder, dtype=torch.float32)
    assert other.is_dir()


def test_a_model_that_is_replaced_while_it_is_read_is_not_mixed(
    folder: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
):
    def replaced_behind_the_config(folder: Path) -> Checkpoint:
        save_model(make_model(seed=5), vocabulary, folder, dtype=torch.float32)
        return open_checkpoint(folder)

    monkeypatch.setattr(weights, "open_checkpoint", replaced_behind_the_config)
    with pytest.raises(ModelError, match=f"{folder} was replaced by another model while it was"):
        load(folder)


def test_a_linked_folder_is_replaced_where_it_is(folder: Path, vocabulary: Path, tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(folder)
    newer = make_model(seed=5)
    save_model(newer, vocabulary, link, dtype=torch.float32)
    assert link.is_symlink()
    assert_same_weights(load(folder), newer)


def test_the_end_of_text_of_a_padded_vocabulary_is_named(vocabulary: Path, tmp_path: Path):
    save_model(make_model(OTHER), vocabulary, tmp_path / "model", dtype=torch.float32)
    fields = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert fields["vocab_size"] == 301
    assert (fields["bos_token_id"], fields["eos_token_id"]) == (EOT, EOT) == (256, 256)


@pytest.mark.parametrize("moment", ["before the weights", "in the weights"])
def test_a_save_that_fails_leaves_the_older_model_whole(
    folder: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch, moment: str
):
    def full_disk(tensors: Tensors, path: Path, **_: object) -> None:
        if moment == "in the weights":
            path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "save_file", full_disk)
    with pytest.raises(ModelError, match=f"cannot save the model in {folder}.*No space left"):
        save_model(make_model(seed=5), vocabulary, folder, dtype=torch.float32)
    assert_same_weights(load(folder), make_model())
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_save_that_the_library_cannot_write_is_told_as_one_sentence(
    vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The library has an error of its own for what the disk refuses.
    def elsewhere(tensors: Tensors, path: Path, **_: object) -> None:
        save_file(tensors, path.with_name("gone") / path.name)

    monkeypatch.setattr(weights, "save_file", elsewhere)
    with pytest.raises(ModelError, match=r"cannot save the model in .*: .*No such file"):
        save_model(make_model(), vocabulary, tmp_path / "model", dtype=torch.float32)


def test_a_missing_vocabulary_stops_a_save(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"cannot save the model in .*holds no vocabulary"):
        save_model(make_model(), tmp_path / "empty", tmp_path / "model", dtype=torch.float32)
    assert not (tmp_path / "model").exists()


def test_a_folder_without_a_config_is_no_model_folder(folder: Path):
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=f"{folder} is not a model folder: it has no config"):
        load(folder)
