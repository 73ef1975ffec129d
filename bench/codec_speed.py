"""Measures the codec beside tiktoken and OpenAI's algorithm, on one thread.

Times are seconds of CPU of the one thread, so that other work on the machine hardly shows. Rounds
of all of them take turns; a figure is the median of the rounds, with the lowest and the highest.
`bench.codec_texts` says what the texts are. The first pass is with an empty memory, "known kind"
is the second half of a text by who has seen the first half, and "known" is a text seen before.
tiktoken remembers nothing. OpenAI's algorithm is `tests.codec.reference`, on the first 2 MB.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from bench.codec_texts import DATA, WORST, english, mixed_unicode, worst
from codec.bpe import Tokenizer
from codec.pieces import blocks
from codec.vocabulary import find_vocabulary
from engine.train.encoding import encode_all
from tests.codec.conftest import Pair, make_pair
from tests.codec.reference import PublishedEncoder

VOCABULARY = DATA / "gpt2-vocab"
ROUNDS = 5
PUBLISHED_BYTES = 2_000_000
WORST_CHARS = (250_000, 500_000, 1_000_000)
DOCUMENT_CHARS = 5_000


def measure() -> None:
    """Print MB/s of encoding and decoding, the worst pieces, and how encoding a corpus scales."""
    pair = make_pair(VOCABULARY)
    texts = {"English": english(), "mixed Unicode": mixed_unicode()}
    for name, text in texts.items():
        _against_tiktoken(name, text, pair)
    for name, text in texts.items():
        _against_openai(name, text.encode()[:PUBLISHED_BYTES].decode(errors="ignore"))
    _worst_pieces()
    _scaling("".join(texts.values()))


def _against_tiktoken(name: str, text: str, pair: Pair) -> None:
    first_half, *rest = blocks(text, len(text) // 2)
    second_half = "".join(rest)
    times: dict[str, list[float]] = {}
    ids = pair.ours.encode(text)
    assert ids == pair.theirs.encode_ordinary(text)
    for _ in range(ROUNDS):
        fresh = Tokenizer.from_folder(VOCABULARY)
        halved = Tokenizer.from_folder(VOCABULARY)
        halved.encode(first_half)
        actions: dict[str, Callable[[], object]] = {
            "first pass": partial(fresh.encode, text),
            "known kind": partial(halved.encode, second_half),
            "known": partial(pair.ours.encode, text),
            "tiktoken": partial(pair.theirs.encode_ordinary, text),
            "decode": partial(pair.ours.decode, ids),
            "tiktoken decode": partial(pair.theirs.decode, ids),
        }
        for label, action in actions.items():
            times.setdefault(label, []).append(_cpu_s(action))
    sizes = dict.fromkeys(times, len(text.encode())) | {"known kind": len(second_half.encode())}
    print(f"{name}: {len(text.encode()) / 1e6:.1f} MB, {len(ids)} tokens")
    for label, taken in times.items():
        print(f"  {label:<16} {_rates(sizes[label], taken)}")
    ratio = statistics.median(times["tiktoken"]) / statistics.median(times["known"])
    print(f"  known: {ratio:.2f} x tiktoken")


def _against_openai(name: str, text: str) -> None:
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        ours = Tokenizer.from_folder(VOCABULARY)
        published = PublishedEncoder(*find_vocabulary(VOCABULARY))
        for label in ("first pass", "known"):
            times.setdefault(label, []).append(_cpu_s(partial(ours.encode, text)))
            times.setdefault(f"OpenAI's, {label}", []).append(
                _cpu_s(partial(published.encode, text))
            )
    print(f"{name}, the first {len(text.encode()) / 1e6:.1f} MB")
    for label, taken in times.items():
        print(f"  {label:<20} {_rates(len(text.encode()), taken)}")
    for label in ("first pass", "known"):
        ours_s, theirs_s = (statistics.median(times[key]) for key in (label, f"OpenAI's, {label}"))
        print(f"  {label}: {theirs_s / ours_s:.1f} x OpenAI's")


def _worst_pieces() -> None:
    print(f"seconds for {', '.join(map(str, WORST_CHARS))} characters of one kind, first pass")
    for name, alphabet in WORST.items():
        taken = []
        for num_chars in WORST_CHARS:
            tokenizer = Tokenizer.from_folder(VOCABULARY)
            taken.append(_cpu_s(partial(tokenizer.encode, worst(alphabet, num_chars))))
        ratios = ", ".join(f"{b / a:.1f}" for a, b in pairwise(taken))
        print(f"  {name:<18} {', '.join(f'{each:.2f}' for each in taken)}; twice: x {ratios}")


def _scaling(text: str) -> None:
    documents = list(blocks(text, DOCUMENT_CHARS))
    print(f"a corpus of {len(documents)} documents, {len(text.encode()) / 1e6:.1f} MB, wall time")
    for processes in (1, 2):
        tokenizer = Tokenizer.from_folder(VOCABULARY)
        began_s = time.perf_counter()
        encode_all(tokenizer, documents, processes=processes)
        print(f"  {processes} processes: {time.perf_counter() - began_s:.2f} s")


def _cpu_s(action: Callable[[], object]) -> float:
    began_s = time.thread_time()
    action()
    return time.thread_time() - began_s


def _rates(num_bytes: int, taken_s: Sequence[float]) -> str:
    rates = sorted(num_bytes / 1e6 / each for each in taken_s)
    return f"{statistics.median(rates):5.1f} MB/s ({rates[0]:.1f}…{rates[-1]:.1f})"
