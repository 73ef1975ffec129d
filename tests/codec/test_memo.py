"""The Memo: what is common stays, whatever else goes by, and its bytes stay below their bound."""

import random
import sys

from codec.memo import MAX_KEY_CHARS, Memo


def held_bytes(memo: Memo) -> int:
    entries = [*memo.items(), *memo._old.items()]
    return (
        sum(sys.getsizeof(text) + sys.getsizeof(ids) for text, ids in entries)
        + sys.getsizeof(memo)
        + sys.getsizeof(memo._old)
    )


def test_a_stream_of_ever_new_words_never_grows_it_beyond_its_bound():
    rng = random.Random(1)
    max_bytes = 200_000
    memo = Memo(lambda text: range(len(text)), max_bytes=max_bytes)
    most_bytes = most_old = 0
    for number in range(20_000):
        text = rng.choice("aé中🤖") * rng.randrange(1, MAX_KEY_CHARS - 8) + str(number)
        assert memo[text] == tuple(range(len(text)))
        most_old = max(most_old, len(memo._old))
        if number % 50 == 0:
            most_bytes = max(most_bytes, held_bytes(memo))
    assert max_bytes / 2 < most_bytes <= max_bytes
    assert most_old > 100


def test_what_is_common_is_computed_once_however_much_else_goes_by():
    computed: dict[str, int] = {}

    def compute(text: str) -> list[int]:
        computed[text] = computed.get(text, 0) + 1
        return [len(text)]

    memo = Memo(compute, max_bytes=100_000)
    common = [f"common{number}" for number in range(20)]
    for number in range(10_000):
        assert memo[common[number % len(common)]] == (len(common[number % len(common)]),)
        memo[f"new{number}"]
    assert [computed[text] for text in common] == [1] * len(common)
    # Each new word costs one computation and no more.
    assert sum(computed.values()) == 10_000 + len(common)
    memo["new5"]
    assert computed["new5"] == 2


def test_long_text_is_not_kept():
    memo = Memo(lambda text: [len(text)], max_bytes=100_000)
    assert memo["x" * MAX_KEY_CHARS] == (MAX_KEY_CHARS,)
    assert memo["x" * (MAX_KEY_CHARS + 1)] == (MAX_KEY_CHARS + 1,)
    assert list(memo) == ["x" * MAX_KEY_CHARS]
