"""Owns how the bytes of one piece become ids: by merging. Knows nothing of text.

The next pair to merge is always the one of the lowest rank, the leftmost first among equals.
Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword units".
"""

import heapq
import sys
from collections.abc import Mapping
from itertools import pairwise

from codec.vocabulary import Vocabulary

HEAP_FROM_BYTES = 96
"""Below, looking through all pairs for the best merge is quicker than keeping a heap."""
_NEVER = sys.maxsize
_DEAD = -1


class Merger:
    """The merges of a vocabulary, arranged for speed."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._byte_ids = vocabulary.byte_ids
        self._ranks = {pair: rank for pair, (rank, _) in vocabulary.merges.items()}
        self._merged = dict(vocabulary.merges.values())

    def merge(self, piece: bytes) -> list[int]:
        """Return the ids of a piece, in O(n log n) of its length."""
        ids = [self._byte_ids[byte] for byte in piece]
        if len(ids) < HEAP_FROM_BYTES:
            return merge_short(ids, self._ranks, self._merged)
        return merge_long(ids, self._ranks, self._merged)


def merge_short(
    ids: list[int], ranks: Mapping[tuple[int, int], int], merged: Mapping[int, int]
) -> list[int]:
    """Merge ids in place: quick for few of them, quadratic for many.

    Args:
        ids: of single bytes.
        ranks: the rank of each pair that can be merged.
        merged: the id that each rank's pair becomes.
    """
    found = [ranks.get(pair, _NEVER) for pair in pairwise(ids)]
    while found and (best := min(found)) != _NEVER:
        place = found.index(best)
        ids[place : place + 2] = [merged[best]]
        del found[place]
        if place < len(found):
            found[place] = ranks.get((ids[place], ids[place + 1]), _NEVER)
        if place:
            found[place - 1] = ranks.get((ids[place - 1], ids[place]), _NEVER)
    return ids


def merge_long(
    ids: list[int], ranks: Mapping[tuple[int, int], int], merged: Mapping[int, int]
) -> list[int]:
    """Merge as `merge_short` does, in O(n log n): the next merge comes from a heap.

    Dead ids are linked around and dropped at the end.
    """
    end = len(ids)
    after = list(range(1, end + 1))
    before = list(range(-1, end - 1))
    # One number for rank and place, which orders as the two do and compares quicker.
    heap = [ranks[pair] * end + place for place, pair in enumerate(pairwise(ids)) if pair in ranks]
    heapq.heapify(heap)
    while heap:
        rank, place = divmod(heapq.heappop(heap), end)
        neighbour = after[place]
        # Another merge may have taken either half since this one was pushed.
        if neighbour >= end or ranks.get((ids[place], ids[neighbour])) != rank:
            continue
        ids[place] = merged[rank]
        ids[neighbour] = _DEAD
        after[place] = following = after[neighbour]
        if following < end:
            before[following] = place
        for left, right in ((place, following), (before[place], place)):
            if left >= 0 and right < end:
                found = ranks.get((ids[left], ids[right]))
                if found is not None:
                    heapq.heappush(heap, found * end + left)
    return [token_id for token_id in ids if token_id != _DEAD]
