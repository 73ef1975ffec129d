"""`POST /v1/verify`: what it answers, what it refuses, and that `n` samples all bear the mark."""

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.loading import load_engine
from engine.verify import verify
from tests.end_to_end.stack import REPOSITORY
from tests.engine.http_api.serving import DEADLINE_S, fake, serving
from tests.engine.marked import KEY, OLD, marked_letters
from wire.jobs import MAX_VERIFY_BYTES

SECRET = "a-token-that-nobody-guesses"


async def test_a_text_is_told_with_n_and_p_and_the_sentence_that_the_bot_says(models: Path):
    async with serving(models, load=fake(), keys=(KEY, OLD)) as served:
        status, answer = await served.post("/v1/verify", text=f"> {marked_letters(OLD)}")
        short = (await served.post("/v1/verify", text="Hi."))[1]
    assert status == 200
    assert answer.pop("p_value") < 1e-6
    assert answer.pop("sentence").startswith("This bot wrote it, or a part of it.")
    assert answer == {
        "object": "verification",
        "verdict": "ours",
        "num_scored": 204,
        "key": OLD.fingerprint,
    }
    assert (short["verdict"], short["num_scored"], short["key"]) == ("too_short", 0, None)
    assert short["sentence"].startswith("Too short to tell: about 75 more words are needed.")


async def test_each_of_several_samples_and_a_stream_bear_the_mark(tmp_path: Path):
    (tmp_path / "tiny").symlink_to(REPOSITORY / "models" / "demo")
    load = partial(load_engine, watermark=KEY)
    async with serving(tmp_path, load=load, keys=(KEY,)) as served:
        asked: dict[str, Any] = {"model": "tiny", "prompt": "The ferry", "max_tokens": 60}
        whole, stream = await asyncio.gather(
            served.openai.completions.create(**asked, n=2, seed=1),
            served.openai.completions.create(**asked, stream=True, seed=3),
        )
        streamed = "".join([chunk.choices[0].text async for chunk in stream])
        texts = [*(choice.text for choice in whole.choices), streamed]
        found = [(await served.post("/v1/verify", text=text))[1] for text in texts]
    assert len(set(texts)) == 3
    assert [each["verdict"] for each in found] == ["ours"] * 3


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "text: field required"),
        ({"text": 7}, "text: input should be a valid string, not 7."),
        ({"text": "a", "texts": ["b"]}, "texts: extra inputs are not permitted"),
        (
            {"text": "é" * (MAX_VERIFY_BYTES // 2 + 1)},
            f"text is {MAX_VERIFY_BYTES + 2} bytes long, at most {MAX_VERIFY_BYTES} are taken.",
        ),
    ],
    ids=["nothing", "no text", "several", "too long"],
)
async def test_what_cannot_be_verified_is_refused(models: Path, body: dict[str, Any], said: str):
    async with serving(models, load=fake(), keys=(KEY,)) as served:
        status, answer = await served.post("/v1/verify", **body)
    assert status == 400
    assert answer["error"]["message"].startswith(said)
    assert answer["error"]["type"] == "invalid_request_error"


async def test_a_lone_surrogate_and_a_body_that_is_none_are_refused(models: Path):
    async with serving(models, load=fake(), keys=(KEY,)) as served:
        headers = {"Content-Type": "application/json"}
        for body in (rb'{"text": "a\ud800"}', b'{"text": "a'):
            async with served.session.post(
                f"{served.url}/v1/verify", data=body, headers=headers
            ) as answer:
                assert answer.status == 400
                assert "error" in await answer.json()


async def test_the_longest_text_is_taken_and_a_body_above_the_servers_bound_is_not(models: Path):
    most = 2 * MAX_VERIFY_BYTES
    async with serving(models, load=fake(), keys=(KEY,), max_body_bytes=most) as served:
        others = "x" * (MAX_VERIFY_BYTES - 300)
        status, answer = await served.post("/v1/verify", text=f"{others}\n{marked_letters()}")
        assert (status, answer["verdict"]) == (200, "ours")
        status, answer = await served.post("/v1/verify", text="x" * most)
        assert (status, answer["error"]["code"]) == (413, "body_too_large")


async def test_without_a_key_or_a_vocabulary_the_server_says_what_it_lacks(models: Path):
    async with serving(models, load=fake()) as served:
        status, answer = await served.post("/v1/verify", text=marked_letters())
    assert (status, answer["error"]["code"]) == (503, "no_watermark_key")
    assert answer["error"]["message"].startswith("This engine has no watermark key")
    async with serving(models, load=fake(), keys=(KEY,)) as other:
        (models / "tiny" / "vocab.json").unlink()
        status, answer = await other.post("/v1/verify", text=marked_letters())
    assert status == 503
    assert answer["error"]["message"].startswith("There is no model here")


async def test_only_who_bears_the_token_may_ask(models: Path):
    async with serving(models, load=fake(), keys=(KEY,), token=SECRET) as served:
        status, answer = await served.post("/v1/verify", text=marked_letters())
        assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with served.session.post(
            f"{served.url}/v1/verify", json={"text": marked_letters()}, headers=headers
        ) as answered:
            assert (await answered.json())["verdict"] == "ours"


async def test_while_a_text_is_looked_at_others_are_served_but_no_more_than_there_are_places(
    models: Path, monkeypatch: pytest.MonkeyPatch
):
    has_begun, let_go = threading.Event(), threading.Event()

    def held_up(*args: Any) -> object:
        has_begun.set()
        assert let_go.wait(DEADLINE_S), "it was never let go"
        return verify(*args)

    monkeypatch.setattr("engine.verifier.verify", held_up)
    async with serving(models, load=fake(), keys=(KEY,), max_requests=1) as served:
        asked = asyncio.create_task(served.post("/v1/verify", text=marked_letters()))
        try:
            assert await asyncio.to_thread(has_begun.wait, DEADLINE_S)
            status, answer = await served.post("/v1/verify", text="Hi.")
            assert (status, answer["error"]["code"]) == (429, "rate_limit_exceeded")
        finally:
            let_go.set()
        async with asyncio.timeout(DEADLINE_S):
            assert (await asked)[1]["verdict"] == "ours"


async def test_nothing_of_a_text_is_logged(models: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    async with serving(models, load=fake(), keys=(KEY,)) as served:
        await served.post("/v1/verify", text="secret sentence " * 20)
        await served.post("/v1/verify", text=7, secret="sentence")
    assert "method=POST route=/v1/verify status=200" in caplog.text
    logged = [each for each in caplog.records if each.name.startswith(("engine", "aiohttp"))]
    assert not [each for each in logged if "secret" in each.getMessage()]
    assert KEY.secret.hex() not in caplog.text
