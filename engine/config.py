"""Owns the shape of a GPT-2 (ModelConfig). Knows no tensors and no files but config.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import ModelError

CONFIG_NAMES = ("config.json", "hparams.json")


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
        for name in ("n_layer", "n_head", "n_embd", "n_vocab", "n_ctx"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                msg = f"{name} must be a whole number of at least 1, not {value!r}"
                raise ModelError(msg)
        epsilon = self.layer_norm_epsilon
        if type(epsilon) is not float or not 0 < epsilon < 1:
            msg = f"layer_norm_epsilon must be a number between 0 and 1, not {epsilon!r}"
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
        path = next((folder / name for name in CONFIG_NAMES if (folder / name).is_file()), None)
        if path is None:
            msg = f"{folder} is not a model folder: it has no config.json"
            raise ModelError(msg)
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"cannot read {path}: {error}"
            raise ModelError(msg) from error
        if not isinstance(fields, dict):
            msg = f"{path} is not a table of settings"
            raise ModelError(msg)
        return cls._from_fields(fields, path)

    def to_hugging_face(self) -> dict[str, Any]:
        """Return the `config.json` with which `transformers` loads the model."""
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
            "bos_token_id": self.n_vocab - 1,
            "eos_token_id": self.n_vocab - 1,
        }

    @classmethod
    def _from_fields(cls, fields: dict[str, Any], path: Path) -> Self:
        kind = fields.get("model_type", "gpt2")
        activation = fields.get("activation_function", "gelu_new")
        if kind != "gpt2" or activation != "gelu_new":
            msg = f"{path} describes a {kind} with {activation}, and only GPT-2 is run here"
            raise ModelError(msg)
        variants = {
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "reorder_and_upcast_attn": (False,),
            "n_inner": (None, 4 * fields.get("n_embd", 0)),
        }
        for name, released in variants.items():
            if fields.get(name, released[0]) not in released:
                msg = f"{path} sets {name}, which is not part of GPT-2 as OpenAI released it"
                raise ModelError(msg)
        try:
            return cls(
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
