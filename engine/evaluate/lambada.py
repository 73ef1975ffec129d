"""Owns the LAMBADA task: the last word of a passage, as OpenAI published and scored it.

The file holds one JSON object a line, `{"text": …}`. The last word is what stands behind the last
white space, together with that white space: the tokens of " word". Nothing stands before the
passage, not even an end of text, as in the measurements that others published.

A word counts as predicted when each of its tokens is the most likely one, given the true tokens
before it: what greedy decoding would write. For the stop-word filter, which the paper describes
in one sentence (section 3.3), the tokens that spell a stop word are passed over where the word
begins; a longer word that begins with such a token is thereby lost too, which is rare.

OpenAI's own figures seem to be for the last token, not the whole last word (openai/gpt-2, issue
131; EleutherAI/lm-evaluation-harness, issues 350 and 356), so that is measured as well. With the
released 124M others get 32.56 % and a perplexity of 40.06 for the word (the same, issue 2159) and
46.67 % for the token (huggingface/transformers, issue 13761); the paper says 45.99 % and 35.13.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from codec.bpe import Tokenizer
from engine.evaluate.task import (
    InvalidDataError,
    Metric,
    Prepared,
    Request,
    Scores,
    Setting,
    continuation,
    perplexity,
    read_text,
    share,
)

LAST_WORD = re.compile(r"(?s)(.*\S)(\s+\S+)\s*")
_WORDS = """
    a about above after again against all am an and any are as at be because been before being
    below between both but by can could did do does doing don down during each few for from further
    had has have having he her here hers herself him himself his how i if in into is it its itself
    just me more most my myself no nor not now of off on once only or other our ours ourselves out
    over own s same she should so some such t than that the their theirs them themselves then there
    these they this those through to too under until up very was we were what when where which while
    who whom why will with would you your yours yourself yourselves
"""
STOP_WORDS = frozenset(_WORDS.split())
"""The common English function words; what GPT-2 writes where a sentence goes on."""


def prepare(path: Path, setting: Setting) -> Prepared:
    """Prepare LAMBADA.

    Raises:
        InvalidDataError: a line is not a JSON object with a text of two words.
    """
    lines = [line for line in enumerate(read_text(path).split("\n"), 1) if line[1].strip()]
    requests = [_request(path, *line, setting) for line in lines[: setting.limit]]
    return Prepared(
        requests,
        measure,
        {"passages": len(requests), "scored_tokens": sum(row.num_scored for row in requests)},
        {
            "last_word": "the tokens of what follows the last white space, with that white space",
            "begins_with": "the passage",
            "accuracy": "every token of the word is the most likely one given the true ones before",
            "stop_word_filter": "tokens that spell a stop word are passed over at the word's start",
            "stop_words": len(STOP_WORDS),
            "context": setting.n_ctx,
        },
        disallowed=stop_word_tokens(setting.tokenizer),
    )


def measure(scores: Sequence[Scores]) -> list[Metric]:
    """Turn the scores of last words into accuracies and perplexities."""
    nats = -sum(score.total for score in scores)
    num_tokens = sum(len(score.log_probs) for score in scores)
    last = -sum(float(score.log_probs[-1]) for score in scores)
    every = [bool(score.is_best.all()) for score in scores]
    filtered = [bool(score.is_best_allowed[0] & score.is_best[1:].all()) for score in scores]
    final = [bool(score.is_best[-1]) for score in scores]
    return [
        Metric("accuracy", share(every), "% of last words predicted whole"),
        Metric("accuracy_filtered", share(filtered), "% of them, stop words passed over"),
        Metric("perplexity", perplexity(nats, len(scores)), "per last word"),
        Metric("perplexity_token", perplexity(nats, num_tokens), "per token of the last words"),
        Metric("accuracy_last_token", share(final), "% of last tokens, given all before"),
        Metric("perplexity_last_token", perplexity(last, len(scores)), "per last token"),
    ]


def stop_word_tokens(tokenizer: Tokenizer) -> list[int]:
    """Return the tokens that spell a space and a stop word, in small or capital letters."""
    forms = ((word, word.capitalize(), word.upper()) for word in STOP_WORDS)
    spelled = (tokenizer.encode(f" {form}") for words in forms for form in words)
    return sorted({ids[0] for ids in spelled if len(ids) == 1})


def _request(path: Path, number: int, line: str, setting: Setting) -> Request:
    try:
        text = json.loads(line)["text"]
        match = LAST_WORD.fullmatch(text)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidDataError(path, number, 'expected {"text": "…"} in JSON') from error
    if match is None:
        raise InvalidDataError(path, number, "the text has no word before its last one")
    context, word = (setting.tokenizer.encode(part) for part in match.groups())
    if len(word) > setting.n_ctx:
        problem = f"the last word is {len(word)} tokens long, and the context {setting.n_ctx}"
        raise InvalidDataError(path, number, problem)
    return continuation(context, word, setting.n_ctx)
