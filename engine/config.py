"""Owns the shape of a GPT-2 (ModelConfig). Knows no tensors and no files but config.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import ModelError

CONFIG_NAMES = ("config.json", "hparams.json")
MAX_CONFIG_BYTES = 2**20
"""Some hundred times what was ever published."""
LARGEST = {"n_layer": 1000, "n_head": 2**16, "n_embd": 2**20, "n_vocab": 2**24, "n_ctx": 2**24}
"""Far above any GPT-2: a file that asks for more would exhaust memory before it is found out."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a GPT-2; the field names are those of OpenAI's `hparams.json`."""

    n_layer: int
    n_head: int
    n_embd: int
    n_vocab: int
    n_ctx: int = 1024
    layer_norm_epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name, largest in LARGEST.items():
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                msg = f"{name} must be a whole number of at least 1, not {value!r:.40}"
                raise ModelError(msg)
            if value > largest:
                msg = f"{name} must be at most {largest}, not {value!r:.40}"
                raise ModelError(msg)
        epsilon = self.layer_norm_epsilon
        if type(epsilon) is not float or not 0 < epsilon < 1:
            msg = f"layer_norm_epsilon must be a number between 0 and 1, not {epsilon!r:.40}"
            raise ModelError(msg)
        if self.n_embd % self.n_head:
            msg = f"n_embd ({self.n_embd}) must be a multiple of n_head ({self.n_head})"
            raise ModelError(msg)

    @property
    def head_dim(self) -> int:
        """Return the width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def num_parameters(self) -> int:
        """Return the number of weights, the tied head counted once.

        >>> ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257).num_parameters
        124439808
        """
        width = self.n_embd
        block = 12 * width * width + 13 * width
        return (self.n_vocab + self.n_ctx) * width + self.n_layer * block + 2 * width

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read `config.json` (Hugging Face) or `hparams.json` (OpenAI).

        Raises:
            ModelError: no such file, or it does not describe a GPT-2.
        """
        path = find_config(folder)
        try:
            if path.stat().st_size > MAX_CONFIG_BYTES:
                msg = f"it has {path.stat().st_size} bytes, and at most {MAX_CONFIG_BYTES} are read"
                raise ValueError(msg)
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            msg = f"cannot read {path}: {error}"
            raise ModelError(msg) from error
        if not isinstance(fields, dict):
            msg = f"{path} is not a table of settings"
            raise ModelError(msg)
        return cls._from_fields(fields, path)

    def to_hugging_face(self, *, end_of_text: int | None = None) -> dict[str, Any]:
        """Return the `config.json` with which `transformers` loads the model.

        Args:
            end_of_text: the id of `<|endoftext|>`; left out: the last one, as in OpenAI's release.
                Where the vocabulary is padded to a round number it is another.
        """
        if end_of_text is None:
            end_of_text = self.n_vocab - 1
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "activation_function": "gelu_new",
            "n_layer": self.n_layer,
            "n_head": self.n_head,
            "n_embd": self.n_embd,
            "n_ctx": self.n_ctx,
            "n_positions": self.n_ctx,
            "vocab_size": self.n_vocab,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "bos_token_id": end_of_text,
            "eos_token_id": end_of_text,
        }

    @classmethod
    def _from_fields(cls, fields: dict[str, Any], path: Path) -> Self:
        kind = fields.get("model_type", "gpt2")
        activation = fields.get("activation_function", "gelu_new")
        if kind != "gpt2" or activation != "gelu_new":
            said = f"{kind!r:.40} with {activation!r:.40}"
            msg = f"{path} describes a {said}, and only GPT-2 is run here"
            raise ModelError(msg)
        try:
            config = cls(
                n_layer=fields["n_layer"],
                n_head=fields["n_head"],
                n_embd=fields["n_embd"],
                n_vocab=fields["vocab_size"] if "vocab_size" in fields else fields["n_vocab"],
                n_ctx=fields.get("n_positions", fields.get("n_ctx", 1024)),
                layer_norm_epsilon=fields.get("layer_norm_epsilon", 1e-5),
            )
        except KeyError as error:
            msg = f"{path} does not say {error}"
            raise ModelError(msg) from error
        except ModelError as error:
            msg = f"{path}: {error}"
            raise ModelError(msg) from error
        variants = {
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "reorder_and_upcast_attn": (False,),
            "n_inner": (None, 4 * config.n_embd),
        }
        for name, released in variants.items():
            if fields.get(name, released[0]) not in released:
                msg = f"{path} sets {name}, which is not part of GPT-2 as OpenAI released it"
                raise ModelError(msg)
        return config


def find_config(folder: Path) -> Path:
    """Return the file that makes a folder a model.

    Raises:
        ModelError: there is none.
    """
    for name in CONFIG_NAMES:
        if (folder / name).is_file():
            return folder / name
    msg = f"{folder} is not a model folder: it has no config.json"
    raise ModelError(msg)


RELEASED_SHAPES = {
    "124M": ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257),
    "355M": ModelConfig(n_layer=24, n_head=16, n_embd=1024, n_vocab=50257),
    "774M": ModelConfig(n_layer=36, n_head=20, n_embd=1280, n_vocab=50257),
    "1558M": ModelConfig(n_layer=48, n_head=25, n_embd=1600, n_vocab=50257),
}
"""What OpenAI released."""
