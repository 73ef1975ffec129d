"""Owns the sum of what training takes in memory, before it takes it. Knows no tensors.

Legend: P weights of the model, A of them that train, L layers, C width, V vocabulary, B rows of a
batch, T tokens of a block.

- weights: `4 P` bytes, and with adapters theirs.
- gradients: `4 A`; optimizer: `8 A`, AdamW's two moments.
- activations: what the way forward keeps for the way back. A block keeps `16 B T C` numbers: 1 each
  for what enters it, the two layer norms' outputs, the attention's output and the residual between
  (5), queries, keys and values (3), and the perceptron's inner layer before and after GELU (8). The
  attention's own matrix is never kept. The head takes `4 B T V` float32 numbers: logits, their
  log-softmax, and the gradients of both.
- recomputing (gradient checkpointing): `B T C` for each block, one block's `16 B T C` and as much
  for its gradients, and the head of one row.

In mixed precision a block's numbers take 44 bytes for each `B T C` and not 64, since what goes into
residual and layer norm stays in float32; and the weights are held a second time in half.
"""

from dataclasses import dataclass

from engine.config import ModelConfig
from engine.memory import MIB

FLOAT_BYTES = 4
BLOCK_BYTES = 64
BLOCK_BYTES_MIXED = 44
HEAD_COPIES = 4
ADAPTER_WIDTHS = (1 + 3) + (1 + 1) + (1 + 4) + (4 + 1)
"""Inputs and outputs of a block's four linear layers, in widths of the model."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a run takes on its device, the text and the program aside."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.weights + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        return (
            f"{self.total // MIB} MiB (weights {self.weights // MIB}, "
            f"gradients {self.gradients // MIB}, optimizer {self.optimizer // MIB}, "
            f"activations {self.activations // MIB})"
        )


def footprint(
    config: ModelConfig,
    *,
    rows: int,
    block_tokens: int,
    recomputes: bool,
    lora_rank: int | None,
    is_mixed: bool,
) -> Footprint:
    """Add up what a run takes.

    Args:
        config: shape of the model.
        rows: B, blocks that one process computes at once.
        block_tokens: T.
        recomputes: whether gradient checkpointing is on.
        lora_rank: of the adapters; None: all weights train.
        is_mixed: whether activations are in half precision.

    >>> gpt2 = ModelConfig(n_layer=12, n_head=12, n_embd=768, n_vocab=50257)
    >>> print(footprint(gpt2, rows=4, block_tokens=1024, recomputes=False, lora_rank=None,
    ...                 is_mixed=False))
    7343 MiB (weights 474, gradients 474, optimizer 949, activations 5445)
    """
    width, layers = config.n_embd, config.n_layer
    adapters = (lora_rank or 0) * ADAPTER_WIDTHS * width * layers
    trained = adapters if lora_rank else config.num_parameters
    block = rows * block_tokens * width * (BLOCK_BYTES_MIXED if is_mixed else BLOCK_BYTES)
    head = HEAD_COPIES * rows * block_tokens * config.n_vocab * FLOAT_BYTES
    if recomputes:
        activations = layers * rows * block_tokens * width * FLOAT_BYTES + 2 * block + head // rows
    else:
        activations = layers * block + head
    halves = 2 * config.num_parameters if is_mixed else 0
    return Footprint(
        weights=FLOAT_BYTES * (config.num_parameters + adapters),
        gradients=FLOAT_BYTES * trained,
        optimizer=2 * FLOAT_BYTES * trained,
        activations=activations + halves,
    )
