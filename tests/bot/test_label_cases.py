"""The promises of the label, on ten thousand replies made to break them.

`OVID_LABEL_CASES=1000000 python -m pytest tests/bot/test_label_cases.py --timeout=0` tries more.
"""

import os
from itertools import islice

from tests.bot.label_cases import cases, check

NUM_CASES = int(os.environ.get("OVID_LABEL_CASES", "10000"))


def test_every_reply_is_labelled_whole_inert_and_cut_between_characters():
    num_parts = [check(case) for case in islice(cases(1), NUM_CASES)]
    assert len(num_parts) == NUM_CASES
    assert sum(parts > 1 for parts in num_parts) > NUM_CASES / 8
