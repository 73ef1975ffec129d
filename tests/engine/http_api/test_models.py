"""Which models are here, their tokens, and that the documentation names every route."""

import re
import shutil
from pathlib import Path

import pytest

from engine.http_api.server import ROUTES
from tests.engine.http_api.serving import Served


async def test_models_are_listed_the_default_first_and_new_ones_as_they_come(
    served: Served, models: Path
):
    assert [model.id async for model in served.openai.models.list()] == ["tiny"]
    shutil.copytree(models / "tiny", models / "another")
    listed = [model async for model in served.openai.models.list()]
    assert [model.id for model in listed] == ["tiny", "another"]
    assert await served.openai.models.retrieve("another") == listed[1]
    completion = await served.openai.completions.create(model="another", prompt="x")
    assert completion.model == "another"


async def test_text_becomes_ids_and_tokens_and_back(served: Served):
    status, answer = await served.post("/v1/tokenize", text="né🤖")
    assert status == 200
    ids = list("né🤖".encode())
    assert answer == {
        "object": "tokenization",
        "model": "tiny",
        "text": "né🤖",
        "ids": ids,
        "tokens": ["n", *(f"bytes:\\x{token_id:02x}" for token_id in ids[1:])],
        "count": 7,
    }
    assert await served.post("/v1/tokenize", ids=ids, model="tiny") == (200, answer)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 400, "exactly one of text and ids must be given."),
        ({"text": "a", "ids": [1]}, 400, "exactly one of text and ids must be given."),
        ({"ids": [257]}, 400, "token id 257 is outside the vocabulary 0…256."),
        ({"text": "a", "model": "grand"}, 404, "There is no model 'grand' here"),
    ],
)
async def test_what_cannot_be_tokenized_is_refused(
    served: Served, body: dict[str, object], status: int, said: str
):
    found, answer = await served.post("/v1/tokenize", **body)
    assert found == status
    assert answer["error"]["message"].startswith(said)


def test_the_documentation_has_a_line_for_every_route_and_for_no_other():
    text = (Path(__file__).resolve().parents[3] / "docs" / "http.md").read_text(encoding="utf-8")
    documented = re.findall(r"^\| `([A-Z]+ /\S+)` \|", text, flags=re.MULTILINE)
    served = [f"{route.method} {route.path.replace(':.+', '')}" for route in ROUTES]
    assert sorted(documented) == sorted(served)
