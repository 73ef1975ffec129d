"""Owns how text becomes training blocks. Knows no model.

Documents are joined into one stream, each behind an end-of-text token, as GPT-2 was trained;
the stream is cut into blocks, and every epoch visits all blocks in an order of its own.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from codec.bpe import Tokenizer
from codec.vocabulary import END_OF_TEXT
from engine.errors import InvalidRequestError

TEXT_SUFFIXES = (".txt", ".md", ".jsonl")


@dataclass(frozen=True, slots=True)
class Corpus:
    """Token streams to train on and to judge by.

    Attributes:
        train: `(n,)` int32 ids.
        held_out: `(m,)` int32 ids of documents that training never sees.
        held_out_bytes: UTF-8 bytes of the held-out documents.
    """

    train: Tensor
    held_out: Tensor
    held_out_bytes: int


def read_documents(path: Path) -> list[str]:
    """Read `.txt`, `.md` and `.jsonl` (`{"text": …}`), or every such file of a folder.

    Plain text is split into documents at `<|endoftext|>`.

    Raises:
        InvalidRequestError: nothing readable is there.
    """
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix in TEXT_SUFFIXES)
    else:
        files = [path]
    documents = []
    for file in files:
        try:
            text = file.read_text(encoding="utf-8")
            split = _lines_of_json if file.suffix == ".jsonl" else _split_documents
            documents += split(text)
        except (OSError, ValueError, TypeError, KeyError) as error:
            msg = f"cannot read training text from {file}: {error}"
            raise InvalidRequestError(msg) from error
    documents = [document.strip("\n") for document in documents if document.strip()]
    if len(documents) < 2:
        msg = f"{path} holds {len(documents)} documents, at least 2 are needed (one is held out)"
        raise InvalidRequestError(msg)
    return documents


def build_corpus(
    documents: list[str], tokenizer: Tokenizer, *, held_out_share: float, seed: int
) -> Corpus:
    """Encode documents and set some aside.

    Args:
        documents: at least 2.
        tokenizer: of the model that is trained.
        held_out_share: share of documents set aside, 0…1; at least one is, and one is not.
        seed: of the choice which.
    """
    order = np.random.default_rng(seed).permutation(len(documents))
    num_held_out = min(max(1, round(held_out_share * len(documents))), len(documents) - 1)
    chosen = set(order[:num_held_out].tolist())
    streams: tuple[list[int], list[int]] = [], []
    for place, document in enumerate(tqdm(documents, desc="encoding", unit="doc", disable=None)):
        stream = streams[place in chosen]
        stream.append(tokenizer.eot)
        stream += tokenizer.encode(document)
    for stream in streams:
        stream.append(tokenizer.eot)
    return Corpus(
        train=torch.tensor(streams[False], dtype=torch.int32),
        held_out=torch.tensor(streams[True], dtype=torch.int32),
        held_out_bytes=sum(len(documents[place].encode()) for place in chosen),
    )


def num_blocks(stream: Tensor, block_tokens: int) -> int:
    """Return how many blocks a stream gives; the last one may be cut short."""
    return max(1, -(-(len(stream) - 1) // block_tokens))


def block(stream: Tensor, index: int, block_tokens: int) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of one block, `(t,)` int64 each, `t <= block_tokens`."""
    piece = stream[index * block_tokens : (index + 1) * block_tokens + 1].long()
    return piece[:-1], piece[1:]


def batch(
    stream: Tensor, step: int, *, batch_size: int, block_tokens: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Return the batch of a step, `(B, T)` inputs and targets; `-100` targets are padding.

    It depends on nothing but its arguments, so a resumed run sees the same batches.
    """
    count = num_blocks(stream, block_tokens)
    rows = []
    for place in range(step * batch_size, (step + 1) * batch_size):
        epoch, offset = divmod(place, count)
        order = np.random.default_rng((seed, epoch)).permutation(count)
        rows.append(block(stream, int(order[offset]), block_tokens))
    inputs, targets = zip(*rows, strict=True)
    pad = torch.nn.utils.rnn.pad_sequence
    return (
        pad(list(inputs), batch_first=True, padding_value=0),
        pad(list(targets), batch_first=True, padding_value=-100),
    )


def _split_documents(text: str) -> list[str]:
    return text.split(END_OF_TEXT)


def _lines_of_json(text: str) -> list[str]:
    # Not splitlines: JSON lets other line ends, such as U+2028, stand inside a string.
    texts = [json.loads(line)["text"] for line in text.split("\n") if line.strip()]
    if not all(isinstance(item, str) for item in texts):
        msg = 'every line must be {"text": "…"}'
        raise TypeError(msg)
    return texts
