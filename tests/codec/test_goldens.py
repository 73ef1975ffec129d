"""GPT-2's ids as other projects have written them down."""

import ast
import re
from pathlib import Path

import pytest

from tests.codec.conftest import Pair

GOLDENS = Path(__file__).resolve().parents[3] / "shared" / "data" / "tokenizer-goldens"
LLAMA_CPP = GOLDENS / "llama.cpp" / "ggml-vocab-gpt-2.gguf"
TEST_PLANS = GOLDENS / "gpt-tokenizer" / "TestPlans.txt"
PLAN = re.compile(
    r"EncodingName: (\S+)\nSample: (.*?)\nEncoded: (\[.*?\])(?=\n|\Z)", flags=re.DOTALL
)


@pytest.fixture(scope="module", autouse=True)
def _goldens() -> None:
    if not GOLDENS.is_dir():
        pytest.skip(f"the frozen ids are not in {GOLDENS}")


def read(path: Path) -> str:
    # Not read_text: it would turn carriage returns into line feeds.
    return path.read_bytes().decode()


def test_the_strings_of_llama_cpp_get_their_ids(gpt2: Pair):
    strings = read(Path(f"{LLAMA_CPP}.inp")).split("\n__ggml_vocab_test__\n")
    lines = read(Path(f"{LLAMA_CPP}.out")).split("\n")
    expected = [[int(number) for number in line.split()] for line in lines[: len(strings)]]
    assert len(strings) >= 40
    assert [gpt2.ours.encode(string) for string in strings] == expected


def test_the_r50k_samples_of_gpt_tokenizer_get_their_ids(gpt2: Pair):
    plans = [
        (sample, ast.literal_eval(ids))
        for name, sample, ids in PLAN.findall(read(TEST_PLANS))
        if name == "r50k_base"
    ]
    assert len(plans) >= 10
    assert [gpt2.ours.encode(sample) for sample, _ in plans] == [ids for _, ids in plans]
    assert [gpt2.ours.decode(ids) for _, ids in plans] == [sample for sample, _ in plans]
