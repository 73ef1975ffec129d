"""Models go to `transformers` and come back: the same logits, the same ids, whatever the format."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from codec.bpe import Tokenizer
from engine.config import ModelConfig
from engine.model import GPT2
from engine.weights import load_model, save_model
from tests.engine.models import CPU, make_model, random_ids

DEMO = Path(__file__).parents[3] / "models" / "demo"
PADDED = ModelConfig(n_layer=2, n_head=2, n_embd=32, n_vocab=8256, n_ctx=48)
TEXTS = (
    "Hello, I'm a language model,",
    "  two  spaces\n\n\tand a tab ",
    "Grüße aus Köln: 12345 €",
    "日本語 🤖 e\u0301",
    "don't we'll THEY'VE <|endoftext|",
    "\x00\x7f\u00a0\u200b",
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the demo's vocabulary, padded as for a graphics card."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    save_model(make_model(PADDED), DEMO, folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def theirs(transformers: ModuleType, exported: Path) -> Any:
    return transformers.GPT2LMHeadModel.from_pretrained(exported).eval()


@torch.inference_mode()
def assert_same_logits(ours: GPT2, theirs: Any) -> None:
    ids = random_ids(3, PADDED.n_ctx, n_vocab=PADDED.n_vocab)
    expected = theirs(ids).logits
    difference = (ours.logits(ours(ids)) - expected).abs().max()
    assert expected.std() > 0.1
    assert difference < 1e-4, f"the logits differ by up to {difference}"


def load(folder: Path) -> GPT2:
    return load_model(folder, device=CPU, dtype=torch.float32)


def test_what_is_saved_gives_the_same_logits_there(theirs: Any):
    assert_same_logits(make_model(PADDED), theirs)


def test_what_is_saved_leaves_no_weight_to_chance_there(transformers: ModuleType, exported: Path):
    _, told = transformers.GPT2LMHeadModel.from_pretrained(exported, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    assert not told["mismatched_keys"]


@pytest.mark.parametrize("text", TEXTS)
def test_its_vocabulary_gives_the_same_ids_there(
    transformers: ModuleType, exported: Path, text: str
):
    theirs = transformers.GPT2TokenizerFast.from_pretrained(exported)
    ours = Tokenizer.from_folder(exported)
    assert theirs(text)["input_ids"] == ours.encode(text)
    assert theirs.decode(ours.encode(text), clean_up_tokenization_spaces=False) == text


def test_text_ends_there_where_it_ends_here(transformers: ModuleType, exported: Path, theirs: Any):
    eot = Tokenizer.from_folder(exported).eot
    assert eot != PADDED.n_vocab - 1
    assert theirs.config.eos_token_id == theirs.config.bos_token_id == eot
    assert theirs.generation_config.eos_token_id == eot
    assert transformers.GPT2TokenizerFast.from_pretrained(exported).eos_token_id == eot


@pytest.mark.parametrize("size", ["5GB", "200KB"])
def test_what_transformers_saved_gives_its_logits(theirs: Any, tmp_path: Path, size: str):
    theirs.save_pretrained(tmp_path, max_shard_size=size)
    num_files = len(list(tmp_path.glob("*.safetensors")))
    assert num_files > 1 if size == "200KB" else num_files == 1
    assert_same_logits(load(tmp_path), theirs)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_state_dict_that_was_saved_gives_its_logits(
    theirs: Any, tmp_path: Path, new_format: bool
):
    theirs.config.save_pretrained(tmp_path)
    state = theirs.state_dict()
    assert "lm_head.weight" in state
    mask = torch.ones(1, 1, PADDED.n_ctx, PADDED.n_ctx, dtype=torch.uint8).tril()
    state |= {"transformer.h.0.attn.bias": mask, "transformer.h.1.attn.masked_bias": torch.ones(())}
    torch.save(state, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=new_format)
    assert_same_logits(load(tmp_path), theirs)


def test_what_came_from_transformers_goes_back_unchanged(theirs: Any, tmp_path: Path):
    theirs.save_pretrained(tmp_path / "from")
    model = load(tmp_path / "from")
    save_model(model, DEMO, tmp_path / "back", dtype=torch.float32)
    for name, weight in load(tmp_path / "back").named_parameters():
        assert torch.equal(weight, model.get_parameter(name)), name
