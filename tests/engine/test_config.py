"""Configurations: what was published is read, what is no GPT-2 is refused with the reason."""

import json
from pathlib import Path

import pytest

from engine.config import ModelConfig
from engine.errors import ModelError
from tests.engine.models import TINY

PUBLISHED = Path(__file__).parent / "data" / "published"
SIZES = {"124M": (12, 768), "355M": (24, 1024), "774M": (36, 1280), "1558M": (48, 1600)}
NUM_PARAMETERS = {
    "124M": 124_439_808,
    "355M": 354_823_168,
    "774M": 774_030_080,
    "1558M": 1_557_611_200,
}
HUGGING_FACE = {"gpt2": "124M", "gpt2-medium": "355M", "gpt2-large": "774M", "gpt2-xl": "1558M"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fields = TINY.to_hugging_face()
    (tmp_path / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    return tmp_path


def set_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(stored | fields), encoding="utf-8")


def assert_is_release(config: ModelConfig, size: str) -> None:
    assert (config.n_layer, config.n_embd) == SIZES[size]
    assert (config.n_vocab, config.n_ctx, config.head_dim) == (50257, 1024, 64)
    assert config.layer_norm_epsilon == 1e-5
    assert config.num_parameters == NUM_PARAMETERS[size]


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_hugging_faces_configs_are_read(name: str, tmp_path: Path):
    (tmp_path / "config.json").write_bytes((PUBLISHED / f"{name}.json").read_bytes())
    assert_is_release(ModelConfig.from_folder(tmp_path), HUGGING_FACE[name])


@pytest.mark.parametrize("size", SIZES)
def test_openais_hparams_are_read(size: str, tmp_path: Path):
    (tmp_path / "hparams.json").write_bytes((PUBLISHED / f"hparams-{size}.json").read_bytes())
    assert_is_release(ModelConfig.from_folder(tmp_path), size)


def test_what_is_written_is_read_again(folder: Path):
    assert ModelConfig.from_folder(folder) == TINY


@pytest.mark.parametrize(
    "fields",
    [
        {"n_inner": None},
        {"n_inner": 128},
        {"scale_attn_weights": True},
        {"reorder_and_upcast_attn": False},
    ],
    ids=str,
)
def test_a_setting_that_says_what_gpt2_does_anyway_is_taken(
    folder: Path, fields: dict[str, object]
):
    set_config(folder, **fields)
    assert ModelConfig.from_folder(folder) == TINY


@pytest.mark.parametrize("content", ["{", "", "[]", "null", "[" * 10**5, b"\xff"], ids=repr)
def test_a_damaged_config_is_named(folder: Path, content: str | bytes):
    written = content.encode() if isinstance(content, str) else content
    (folder / "config.json").write_bytes(written)
    with pytest.raises(ModelError, match=r"config\.json"):
        ModelConfig.from_folder(folder)


def test_a_config_of_absurd_size_is_not_read(folder: Path):
    with (folder / "config.json").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelError, match=r"config\.json: it has 1099511627776 bytes, and at most"):
        ModelConfig.from_folder(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"model_type": "llama"}, "describes a 'llama'"),
        ({"activation_function": "relu"}, "with 'relu'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "sets scale_attn_by_inverse_layer_idx"),
        ({"n_inner": 100}, "sets n_inner"),
        ({"n_layer": 0}, "n_layer must be a whole number of at least 1, not 0"),
        ({"n_head": "2"}, "n_head must be a whole number of at least 1, not '2'"),
        ({"n_embd": 32.0}, "n_embd must be a whole number of at least 1, not 32.0"),
        ({"n_head": 3}, r"n_embd \(32\) must be a multiple of n_head \(3\)"),
        ({"n_layer": 10**9}, "n_layer must be at most 1000, not 1000000000"),
        ({"n_positions": 10**4000}, "n_ctx must be at most 16777216, not 10000"),
        ({"n_embd": [[1] * 99]}, r"n_embd must be a whole number of at least 1, not \[\[1, 1"),
        ({"layer_norm_epsilon": "tiny"}, "layer_norm_epsilon must be .*not 'tiny'"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_config_of_no_gpt2_is_refused_with_the_reason(
    folder: Path, fields: dict[str, object], said: str
):
    set_config(folder, **fields)
    with pytest.raises(ModelError, match=rf"config\.json.*{said}"):
        ModelConfig.from_folder(folder)


def test_a_config_that_lacks_a_field_names_it(folder: Path):
    (folder / "config.json").write_text('{"n_layer": 2, "n_head": 2}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json does not say 'n_embd'"):
        ModelConfig.from_folder(folder)


@pytest.mark.parametrize("name", [*TINY.to_hugging_face(), "n_inner", "scale_attn_weights"])
def test_a_field_of_any_kind_is_taken_or_refused_in_one_sentence(folder: Path, name: str):
    path = folder / "config.json"
    fields = json.loads(path.read_text(encoding="utf-8"))
    for odd in ("null", '"x"', "[]", "{}", "-1", "0", "2.5", "true", "NaN", "1e999", "9" * 4000):
        path.write_text(json.dumps(fields | {name: "ODD"}).replace('"ODD"', odd), encoding="utf-8")
        said = refusal(folder)
        assert said is None or said.startswith(str(path))
        assert said is None or len(said) < 300


def refusal(folder: Path) -> str | None:
    try:
        assert ModelConfig.from_folder(folder) == TINY
    except ModelError as error:
        return str(error)
    return None
