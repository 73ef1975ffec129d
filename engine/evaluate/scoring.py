"""Owns running a model over requests: batches, padding, memory. Knows no task.

Legend: B rows, T tokens per row, C width, V vocabulary, N scored tokens.

Rows are padded on the right. The model is causal, so no real token sees what pads its row, and
no mask is needed: batching changes a score by rounding alone.

Logits are computed only where a token is scored, a chunk at a time, so that however large the
vocabulary they take at most `LOGITS_BYTES`, and the rest of a batch is what bounds its size.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.config import ModelConfig
from engine.evaluate.task import Request, Scores
from engine.memory import available_bytes
from engine.model import GPT2

LOGITS_BYTES = 64 * 2**20
"""Of one chunk in float32; a few copies of it live at a time."""
BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Larger batches take more memory and no less time."""
ACTIVATIONS = 24
"""Numbers alive for each token and each unit of width: an MLP's 4 + 4, attention's 3 + 3 and
copies, the residual stream, and half as many again for what an allocator leaves unused."""
USABLE = 0.5
"""Share of the free memory that a batch may take."""


class Scorer:
    """Gives the log-probabilities of tokens.

    Attributes:
        batch_size: rows in a batch; halved whenever the device runs out of memory.
        device: where the model is.
    """

    def __init__(self, model: GPT2, *, batch_size: int) -> None:
        self._model = model
        self.device = model.wte.weight.device
        self._chunk = max(1, LOGITS_BYTES // (4 * model.config.n_vocab))
        self.batch_size = batch_size

    def score(
        self,
        requests: Sequence[Request],
        *,
        disallowed: Sequence[int] = (),
        report: Callable[[int], object] | None = None,
    ) -> list[Scores]:
        """Score all requests.

        Args:
            requests: no longer than the model's context and one token more.
            disallowed: tokens that `Scores.is_best_allowed` passes over.
            report: called with the number of tokens that were scored since it was last called.

        Returns:
            One for each request, in their order.

        Raises:
            torch.OutOfMemoryError: not even a single row fits.
        """
        # Rows of like length waste little padding, and what does not fit shows at once.
        order = sorted(range(len(requests)), key=lambda index: -len(requests[index].ids))
        mask = torch.zeros(self._model.config.n_vocab, dtype=torch.bool, device=self.device)
        mask[list(disallowed)] = True
        scores: dict[int, Scores] = {}
        while len(scores) < len(order):
            rows = order[len(scores) : len(scores) + self.batch_size]
            batch = self._try([requests[row] for row in rows], mask)
            if batch is None:
                self.batch_size = max(1, len(rows) // 2)
                continue
            scores.update(zip(rows, batch, strict=True))
            if report is not None:
                report(sum(requests[row].num_scored for row in rows))
        return [scores[index] for index in range(len(requests))]

    def _try(self, requests: list[Request], mask: Tensor) -> list[Scores] | None:
        """Score a batch; None: it does not fit, and a smaller one might."""
        try:
            return self._score(requests, mask)
        except torch.OutOfMemoryError:
            if len(requests) == 1:
                raise
        # Only here, behind the handler, is everything that the failed batch held let go.
        torch.cuda.empty_cache()
        return None

    @torch.inference_mode()
    def _score(self, requests: list[Request], mask: Tensor) -> list[Scores]:
        inputs = [request.ids[:-1] for request in requests]
        ids = torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True)  # (B, T)
        hidden = self._model(ids.to(self.device))  # (B, T, C)
        wanted = torch.zeros(ids.shape, dtype=torch.bool)
        for row, request in enumerate(requests):
            wanted[row, request.first - 1 : len(request.ids) - 1] = True
        hidden = hidden[wanted.to(self.device)]  # (N, C)
        targets = torch.cat([request.ids[request.first :] for request in requests])  # (N,)
        lengths = [request.num_scored for request in requests]
        columns = [torch.split(column, lengths) for column in self._judge(hidden, targets, mask)]
        return [Scores(*row) for row in zip(*columns, strict=True)]

    def _judge(self, hidden: Tensor, targets: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Return log-probabilities, best or not, best among the allowed or not: `(N,)` each."""
        parts = []
        for some, chosen in zip(
            torch.split(hidden, self._chunk),
            torch.split(targets.to(self.device), self._chunk),
            strict=True,
        ):
            logits = self._model.logits(some).float()  # (n, V)
            of_chosen = logits.gather(1, chosen[:, None])[:, 0]
            log_probs = of_chosen.double() - logits.logsumexp(dim=1).double()
            best = logits.argmax(dim=1) == chosen
            best_allowed = logits.masked_fill_(mask, -torch.inf).argmax(dim=1) == chosen
            parts.append((log_probs.cpu(), best.cpu(), best_allowed.cpu()))
        return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def fitting_batch_size(
    config: ModelConfig, num_tokens: int, *, device: torch.device, dtype: torch.dtype
) -> int:
    """Return how many rows of that many tokens to start with.

    A token's activations take about `ACTIVATIONS · n_embd` numbers. Once the weights are loaded,
    half of what is still free may go to them; beyond `BATCH_TOKENS` nothing is gained.
    """
    row_bytes = num_tokens * ACTIVATIONS * config.n_embd * dtype.itemsize
    fitting = int(USABLE * available_bytes(device)) // row_bytes
    return max(1, min(fitting, BATCH_TOKENS[device.type] // num_tokens))
