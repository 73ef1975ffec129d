"""Merging: the quick way for long pieces gives what the plain way gives, at a linear cost."""

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.merging import Merger, merge_long, merge_short
from tests.codec.conftest import Pair

pop = heapq.heappop


@settings(max_examples=200, deadline=None)
@given(piece=st.binary(max_size=150), letters=st.text(alphabet="aehinorst", max_size=150))
def test_merging_by_heap_is_merging_by_scan(demo: Pair, piece: bytes, letters: str):
    merger = Merger(demo.ours._vocabulary)
    for each in (piece, letters.encode()):
        ids = [demo.ours._vocabulary.byte_ids[byte] for byte in each]
        by_scan = merge_short(list(ids), merger._ranks, merger._merged)
        assert merge_long(list(ids), merger._ranks, merger._merged) == by_scan
        assert merger.merge(each) == by_scan


def test_merging_by_heap_is_merging_by_scan_whatever_the_merges_are():
    # Ranks in no order: a merge can make a pair that ranks before the one just merged.
    rng = random.Random(7)
    for _ in range(300):
        pairs = [(left, right) for left in range(6) for right in range(6)]
        rng.shuffle(pairs)
        ranks = {pair: rank for rank, pair in enumerate(pairs[:20])}
        merged = {rank: rng.randrange(6) for rank in range(20)}
        ids = [rng.randrange(6) for _ in range(rng.randrange(40))]
        assert merge_long(list(ids), ranks, merged) == merge_short(list(ids), ranks, merged)


def test_a_long_piece_takes_from_the_heap_at_most_three_times_its_length(
    demo: Pair, monkeypatch: pytest.MonkeyPatch
):
    taken: list[int] = []

    def counting(heap: list[int]) -> int:
        taken.append(pop(heap))
        return taken[-1]

    monkeypatch.setattr(heapq, "heappop", counting)
    merger = Merger(demo.ours._vocabulary)
    for alphabet in ("e", "etaoinshrdlu", "0123456789", "\n"):
        taken.clear()
        piece = "".join(random.Random(3).choices(alphabet, k=10_000)).encode()
        assert b"".join(demo.ours._vocabulary.token_bytes[i] for i in merger.merge(piece)) == piece
        assert 0 < len(taken) < 3 * len(piece)
