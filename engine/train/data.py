"""Owns how documents become training blocks. Knows no files and no model.

Documents are joined into one stream, each behind an end-of-text token, as GPT-2 was trained;
the stream is cut into blocks, and every epoch visits all blocks in an order of its own. What stands
in a prompt is read and not learnt: as a target it is masked.

Legend: n tokens of a stream, t tokens of a block, B rows of a batch, T the longest of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from codec.bpe import Tokenizer
from engine.errors import InvalidRequestError
from engine.train.documents import Document
from engine.train.encoding import Ids, encode_all

MASKED = -100
"""The target that cross-entropy leaves out, by PyTorch's convention."""
Row = tuple[Tensor, Tensor]
"""Inputs and targets of one block, `(t,)` int64 each."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Documents joined into one text.

    Attributes:
        ids: `(n,)` int32.
        is_learnt: `(n,)` bool, False for the tokens of prompts.
    """

    ids: Tensor
    is_learnt: Tensor

    @property
    def num_targets(self) -> int:
        """Return how many tokens are predicted and learnt; the first has nothing before it."""
        return int(self.is_learnt[1:].sum())


@dataclass(frozen=True, slots=True)
class Corpus:
    """Streams to train on and to judge by.

    Attributes:
        train: what is learnt.
        held_out: documents that training never sees.
        held_out_bytes: UTF-8 bytes of what is predicted in them.
    """

    train: Stream
    held_out: Stream
    held_out_bytes: int


class Blocks:
    """A stream cut into blocks. Blocks in which there is nothing to learn are left out.

    Args:
        stream: of at least 2 tokens.
        block_tokens: inputs in a block; the last may be shorter.
    """

    def __init__(self, stream: Stream, block_tokens: int) -> None:
        self._stream = stream
        self._block_tokens = block_tokens
        starts = range(0, max(1, len(stream.ids) - 1), block_tokens)
        self._starts = [
            start
            for start in starts
            if stream.is_learnt[start + 1 : start + block_tokens + 1].any()
        ]

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, index: int) -> Row:
        """Return one block; `MASKED` targets are not learnt."""
        piece = slice(self._starts[index], self._starts[index] + self._block_tokens + 1)
        ids = self._stream.ids[piece].long()
        return ids[:-1], ids[1:].masked_fill(~self._stream.is_learnt[piece][1:], MASKED)

    def rows(self, step: int, num_rows: int, *, seed: int) -> list[Row]:
        """Return the blocks of a step.

        They depend on nothing but the arguments, so a resumed run sees the same.
        """
        rows = []
        for place in range(step * num_rows, (step + 1) * num_rows):
            epoch, offset = divmod(place, len(self))
            rows.append(self[int(_order(seed, epoch, len(self))[offset])])
        return rows


def collate(rows: Sequence[Row]) -> Row:
    """Return inputs and targets, `(B, T)` each; shorter rows are padded where nothing is learnt."""
    inputs, targets = zip(*rows, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    return (
        pad(list(inputs), batch_first=True, padding_value=0),
        pad(list(targets), batch_first=True, padding_value=MASKED),
    )


def build_corpus(
    documents: Sequence[Document], tokenizer: Tokenizer, *, held_out_share: float, seed: int
) -> Corpus:
    """Encode documents and set some aside; of a single one, its end.

    Args:
        documents: at least one.
        tokenizer: of the model that is trained.
        held_out_share: share of documents set aside, 0…1; at least one is, and one is not.
        seed: of the choice which.

    Raises:
        InvalidRequestError: there is one document, and it cannot be parted.
    """
    if len(documents) == 1:
        documents = _parted(documents[0], held_out_share)
        chosen = {1}
    else:
        order = np.random.default_rng(seed).permutation(len(documents))
        num_held_out = min(max(1, round(held_out_share * len(documents))), len(documents) - 1)
        chosen = set(order[:num_held_out].tolist())
    # Prompt and answer are encoded apart, as they will be when the model is asked.
    texts = [text for document in documents for text in (document.prompt, document.text)]
    encoded = encode_all(tokenizer, texts)
    pairs = list(zip(encoded[::2], encoded[1::2], strict=True))
    streams = [
        _join(
            [pair for place, pair in enumerate(pairs) if (place in chosen) == held], tokenizer.eot
        )
        for held in (False, True)
    ]
    return Corpus(
        train=streams[False],
        held_out=streams[True],
        held_out_bytes=sum(len(documents[place].text.encode()) for place in chosen),
    )


def _join(pairs: Sequence[tuple[Ids, Ids]], eot: int) -> Stream:
    end = np.array([eot], dtype=np.int32)
    ids: list[Ids] = []
    is_learnt: list[npt.NDArray[np.bool_]] = []
    for prompt, text in pairs:
        ids += [end, prompt, text]
        is_learnt += [np.ones(1, bool), np.zeros(len(prompt), bool), np.ones(len(text), bool)]
    ids.append(end)
    is_learnt.append(np.ones(1, bool))
    return Stream(
        torch.from_numpy(np.concatenate(ids)), torch.from_numpy(np.concatenate(is_learnt))
    )


def _parted(document: Document, held_out_share: float) -> list[Document]:
    """Cut a text in two at the line's end that is nearest to the share held out."""
    wanted = round((1 - held_out_share) * len(document.text))
    ends = [place for place, char in enumerate(document.text) if char == "\n"]
    for end in sorted(ends, key=lambda place: abs(place - wanted)):
        begin, rest = document.text[:end].strip("\n"), document.text[end:].strip("\n")
        if begin.strip() and rest.strip():
            return [Document(begin, document.prompt), Document(rest)]
    msg = (
        "there is one document of one line to train on: at least 2 documents or 2 lines are "
        "needed, since some are held out to judge by"
    )
    raise InvalidRequestError(msg)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng((seed, epoch)).permutation(count)
