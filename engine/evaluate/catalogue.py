"""Owns the list of tasks: what each is called, where it begins, what its items are."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.evaluate import cloze, lambada, winograd
from engine.evaluate.detokenize import ptb_line, wikitext_line
from engine.evaluate.perplexity import prepare_characters, prepare_words
from engine.evaluate.task import Prepared, Setting


@dataclass(frozen=True, slots=True)
class Task:
    """One evaluation."""

    title: str
    items: str
    """What a limit counts."""
    prepare: Callable[[Path, Setting], Prepared]
    """From a data file to requests."""
    strided: bool = False
    """Whether the text is longer than the context, so that windows move over it."""
    note: str = ""
    """What to bear in mind when the published figures are compared with ours."""


LAMBADA_NOTE = (
    "What others measured suggests that the paper's figures are for the last token, and not the "
    "whole last word, which is harder: compare them with the last two rows as well."
)
WIKITEXT_NOTE = (
    "The paper does not say how far its windows overlap. Without overlap others get 37.37 per word "
    "with 124M, near its WikiText-103, and 19.44 per token with 774M, near its WikiText-2; the two "
    "have the same test set."
)
"""EleutherAI/lm-evaluation-harness, as told in huggingface/transformers, issue 13761, and the
latter's guide to perplexity."""

TASKS: Mapping[str, Task] = {
    "lambada": Task("LAMBADA", "passages", lambada.prepare, note=LAMBADA_NOTE),
    "wikitext2": Task(
        "WikiText-2",
        "lines",
        partial(prepare_words, wikitext_line),
        strided=True,
        note=WIKITEXT_NOTE,
    ),
    "wikitext103": Task(
        "WikiText-103",
        "lines",
        partial(prepare_words, wikitext_line),
        strided=True,
        note=WIKITEXT_NOTE,
    ),
    "ptb": Task("Penn Treebank", "lines", partial(prepare_words, ptb_line), strided=True),
    "enwik8": Task("enwik8", "bytes", prepare_characters, strided=True),
    "text8": Task("text8", "bytes", prepare_characters, strided=True),
    "cbt-cn": Task("Children's Book Test, common nouns", "questions", cloze.prepare),
    "cbt-ne": Task("Children's Book Test, named entities", "questions", cloze.prepare),
    "winograd": Task("Winograd schemas (WSC273)", "schemas", winograd.prepare),
}
"""By the name that the command line knows."""
