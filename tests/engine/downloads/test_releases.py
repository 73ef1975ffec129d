"""The table of releases, against what is known of the files."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from engine.config import ModelConfig
from engine.releases import RELEASES, find_release
from tests.engine.downloads.small_release import (
    FILES,
    WEIGHTS,
)

SHARED_VOCABULARY = Path(__file__).resolve().parents[3].parent / "shared/data/gpt2-vocab"


@pytest.mark.parametrize("release", RELEASES.values(), ids=lambda release: release.name)
def test_every_file_of_a_release_is_pinned(release):
    assert [file.name for file in release.files] == list(FILES)
    assert re.fullmatch("[0-9a-f]{40}", release.revision)
    for file in release.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
    assert release.url(release.files[0], "https://huggingface.co/") == (
        f"https://huggingface.co/{release.repository}/resolve/{release.revision}/vocab.json"
    )
    assert find_release(release.repository.upper()) is release


@pytest.mark.parametrize(
    ("name", "n_layer", "n_head", "n_embd", "extra"),
    [
        ("124M", 12, 12, 768, {}),
        ("355M", 24, 16, 1024, {"n_special": 0, "predict_special_tokens": True}),
        ("774M", 36, 20, 1280, {}),
        ("1558M", 48, 25, 1600, {"output_past": True}),
    ],
)
def test_the_pinned_config_is_that_of_a_model_of_the_pinned_size(
    name: str, n_layer: int, n_head: int, n_embd: int, extra: dict[str, object], tmp_path: Path
):
    config = {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.1,
        "bos_token_id": 50256,
        "embd_pdrop": 0.1,
        "eos_token_id": 50256,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": 1024,
        "n_embd": n_embd,
        "n_head": n_head,
        "n_layer": n_layer,
        "n_positions": 1024,
        "resid_pdrop": 0.1,
        "summary_activation": None,
        "summary_first_dropout": 0.1,
        "summary_proj_to_labels": True,
        "summary_type": "cls_index",
        "summary_use_proj": True,
        "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        "vocab_size": 50257,
        **extra,
    }
    text = json.dumps(config, indent=2, sort_keys=True).encode()
    pinned = {file.name: file for file in RELEASES[name].files}
    assert len(text) == pinned["config.json"].size_bytes
    assert hashlib.sha256(text).hexdigest() == pinned["config.json"].sha256
    # The files also hold each layer's causal mask, 1024 by 1024 float32, and up to 1300 bytes of
    # header for a layer.
    (tmp_path / "config.json").write_bytes(text)
    num_parameters = ModelConfig.from_folder(tmp_path).num_parameters
    header = pinned[WEIGHTS].size_bytes - 4 * (num_parameters + n_layer * 1024 * 1024)
    assert 1100 * n_layer < header < 1300 * n_layer


@pytest.mark.skipif(not SHARED_VOCABULARY.exists(), reason="needs OpenAI's vocabulary")
def test_the_pinned_vocabulary_is_openais():
    for release in RELEASES.values():
        pinned = {file.name: file for file in release.files}
        for ours, openais in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
            data = (SHARED_VOCABULARY / openais).read_bytes()
            assert hashlib.sha256(data).hexdigest() == pinned[ours].sha256
            assert len(data) == pinned[ours].size_bytes
