"""GPT-2's own vocabulary and the demo's, each beside a tiktoken encoding of the same merges."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import tiktoken
from hypothesis import strategies as st

from codec.bpe import Tokenizer
from codec.vocabulary import END_OF_TEXT, VocabularyError, find_vocabulary, read_vocabulary

ROOT = Path(__file__).resolve().parents[2]
GPT2_FOLDER = ROOT.parent / "shared" / "data" / "gpt2-vocab"
DEMO_FOLDER = ROOT / "models" / "demo"
# As in tiktoken_ext.openai_public, which cannot be asked without a download.
R50K_PATTERN = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""


@dataclass(frozen=True)
class Pair:
    """One vocabulary, read by us and by tiktoken."""

    ours: Tokenizer
    theirs: tiktoken.Encoding


def make_pair(folder: Path) -> Pair:
    vocabulary = read_vocabulary(*find_vocabulary(folder))
    eot = vocabulary.eot
    ranks = {token: rank for rank, token in enumerate(vocabulary.token_bytes) if rank != eot}
    theirs = tiktoken.Encoding(
        folder.name,
        pat_str=R50K_PATTERN,
        mergeable_ranks=ranks,
        special_tokens={END_OF_TEXT: eot},
        explicit_n_vocab=len(vocabulary.token_bytes),
    )
    return Pair(Tokenizer(vocabulary), theirs)


@pytest.fixture(scope="session")
def gpt2() -> Pair:
    if not GPT2_FOLDER.is_dir():
        pytest.skip(f"GPT-2's vocabulary is not in {GPT2_FOLDER}")
    return make_pair(GPT2_FOLDER)


@pytest.fixture(scope="session")
def demo() -> Pair:
    try:
        return make_pair(DEMO_FOLDER)
    except VocabularyError as error:
        pytest.skip(str(error))


TRICKY = "'’sSdmtlvre \t\n\r\x0b\x0c\x1c\x1f\x85\xa0\u200b\u3000" + (
    "019½²٣theand.,!?-#<|>e\u0301é日本Ждиनम\u094d🤖👩\u200d👧\x00\ufffd\U00010400"
)
"""Contractions, white space, digits, letters of many scripts, marks, controls, beyond U+FFFF."""


def texts(max_chars: int = 24) -> st.SearchStrategy[str]:
    return st.one_of(
        st.text(alphabet=TRICKY, max_size=max_chars),
        st.text(alphabet="aehinorst '", max_size=max_chars),
        st.text(max_size=max_chars),
    )
