"""Every refusal, by its status: in OpenAI's shape, in a sentence, and to its client's exception."""

import asyncio
import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import openai
import pytest
from pydantic import ValidationError

from engine.http_api.bodies import TokenizeRequest
from tests.engine.http_api.answers import answer_to, head, refusal
from tests.engine.http_api.serving import DEADLINE_S, Served, fake, serving
from tests.engine.support import forever_a


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"temperature": 3}, "temperature: input should be less than or equal to 2, not 3."),
        ({"top_p": 0}, "top_p: input should be greater than 0, not 0."),
        ({"top_k": -1}, "top_k: input should be greater than or equal to 0, not -1."),
        ({"max_tokens": 1024}, "max_tokens: input should be less than or equal to 1023, not 1024."),
        ({"max_tokens": 0}, "max_tokens must be at least 1, not 0, unless echo is true."),
        ({"n": 0}, "n: input should be greater than or equal to 1, not 0."),
        ({"n": 17}, "The request asks for 17 samples (prompts times n), but at most 16 are"),
        ({"logprobs": 21}, "logprobs: input should be less than or equal to 20, not 21."),
        ({"seed": -1}, "seed: input should be greater than or equal to 0, not -1."),
        ({"seed": 2**63 - 1, "n": 2}, "seed + n - 1 must be at most 9223372036854775807."),
        ({"stop": ["a"] * 5}, "stop: "),
        ({"stop": ""}, "stop.0: string should have at least 1 character, not ''."),
        ({"best_of": 3}, "best_of must be n, which is 1, or be left out, not 3."),
        ({"frequency_penalty": 0.5}, "frequency_penalty is not supported: leave it out."),
        ({"presence_penalty": -1}, "presence_penalty is not supported: leave it out."),
        ({"logit_bias": {"50256": -100}}, "logit_bias is not supported: leave it out."),
        ({"suffix": "end"}, "suffix is not supported: leave it out."),
        ({"stream_options": {}}, "stream_options may only be set when stream is true."),
        ({"prompt": 3}, "prompt: must be a string, a list of strings, a list of token ids,"),
        ({"prompt": [1, "a"]}, "prompt: must be a string, a list of strings,"),
        ({"prompt": [257]}, "The prompt cannot be read: token id 257 is outside the vocabulary"),
        ({"temprature": 1}, "temprature: extra inputs are not permitted, not 1."),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_400_for_a_bad_field_with_its_name_its_bound_and_the_value(
    served: Served, fields: dict[str, Any], said: str
):
    status, answer = await served.post("/v1/completions", **{"prompt": "x", **fields})
    assert status == 400
    error = refusal(answer)
    assert error["message"].startswith(said)
    assert error["type"] == "invalid_request_error"


async def test_400_raises_what_openais_client_has_for_it_and_names_the_field(served: Served):
    with pytest.raises(openai.BadRequestError) as caught:
        await served.openai.completions.create(model="tiny", prompt="x", temperature=3)
    assert caught.value.param == "temperature"


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000, b""], ids=lambda b: b[:5])
async def test_400_for_a_body_that_is_no_json_object(served: Served, body: bytes):
    headers = {"Content-Type": "application/json"}
    url = f"{served.url}/v1/completions"
    async with served.session.post(url, data=body, headers=headers) as response:
        assert response.status == 400
        refusal(await response.json())


async def test_400_for_a_body_that_is_not_what_its_headers_say(served: Served):
    headers = head("/v1/completions", 4, "Content-Encoding: gzip")
    answer = await answer_to(served, headers, b"text")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"damaged_body"' in answer


async def test_a_body_full_of_faults_is_refused_at_its_first(served: Served):
    # Each fault that is found costs microseconds, in which the event loop serves nobody.
    with pytest.raises(ValidationError) as caught:
        TokenizeRequest.model_validate({"ids": ["a"] * 1000})
    assert caught.value.error_count() == 1
    status, answer = await served.post("/v1/tokenize", ids=["a"] * 1000)
    assert status == 400
    assert refusal(answer)["message"].startswith("ids.0: input should be a valid integer")


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "1" + "0" * 5000])
async def test_400_for_a_number_that_is_none(served: Served, value: str):
    body = f'{{"temperature": {value}}}'.encode()
    answer = await answer_to(served, head("/v1/completions", len(body)), body)
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/files"])
async def test_408_for_a_body_that_never_comes_and_nothing_is_kept_of_it(models: Path, path: str):
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        + b"x" * 300_000
    )
    async with serving(models, stall_s=0.2) as server:
        headers = head(path, 10**6).replace(b"application/json", b"multipart/form-data; boundary=b")
        if path == "/v1/completions":
            headers, form = head(path, 10**6), b'{"prompt": "'
        answer = await answer_to(server, headers, form)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"body_timeout"' in answer
    assert not [each for each in (models / ".files").iterdir() if each.name != "jobs"]


async def test_400_for_a_prompt_that_is_too_long_with_the_code_that_clients_look_for(
    served: Served,
):
    with pytest.raises(openai.BadRequestError, match=r"60 tokens .* 16 are asked .* 64") as caught:
        await served.openai.completions.create(model="tiny", prompt=["short", "x" * 60])
    assert caught.value.code == "context_length_exceeded"


async def test_404_for_an_unknown_model_names_those_that_are_here(served: Served):
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError, match=r"'grand'.*tiny") as caught:
            await served.openai.completions.create(model="grand", prompt="x", stream=stream)
        assert caught.value.code == "model_not_found"
    for path in ("grand", "../tiny", "a/b", "..%2ftiny"):
        async with served.session.get(f"{served.url}/v1/models/{path}") as response:
            assert response.status == 404
            refusal(await response.json())


async def test_404_for_an_unknown_file_job_or_route(served: Served):
    for raises in (
        served.openai.files.retrieve("file-" + "0" * 24),
        served.openai.files.content("jobs"),
        served.openai.files.delete("..%2f..%2ftiny"),
        served.openai.fine_tuning.jobs.retrieve("ftjob-1"),
        served.openai.fine_tuning.jobs.cancel("ftjob-1"),
        served.openai.fine_tuning.jobs.create(model="tiny", training_file="file-1"),
        served.openai.chat.completions.create(model="tiny", messages=[]),
    ):
        with pytest.raises(openai.NotFoundError):
            await raises
    async with served.session.get(served.url) as response:
        assert response.status == 404
        assert refusal(await response.json())["code"] == "unknown_url"


async def test_405_for_another_method_says_which_is_right(served: Served):
    async with served.session.get(f"{served.url}/v1/completions") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        refusal(await response.json())


@pytest.mark.parametrize("chunked", [False, True])
async def test_413_for_a_body_above_the_bound(models: Path, chunked: bool):
    async with serving(models, max_body_bytes=1000) as server:
        with pytest.raises(openai.APIStatusError) as caught:
            await server.openai.completions.create(model="tiny", prompt="x" * 1000)
        assert caught.value.status_code == 413

        async def in_chunks():
            for _ in range(10):
                yield b'{"prompt":"' + b"x" * 100

        headers = {"Content-Type": "application/json"}
        url = f"{server.url}/v1/completions"
        async with server.session.post(url, data=in_chunks(), headers=headers) as response:
            assert response.status == 413
            assert refusal(await response.json())["code"] == "body_too_large"


@pytest.mark.parametrize("path", ["completions", "tokenize", "fine_tuning/jobs", "files"])
async def test_415_for_another_media_type(served: Served, path: str):
    headers = {"Content-Type": "text/plain"}
    url = f"{served.url}/v1/{path}"
    async with served.session.post(url, data=b'{"prompt":"x"}', headers=headers) as response:
        assert response.status == 415
        assert "text/plain" in refusal(await response.json())["message"]


async def test_429_when_all_places_are_taken_and_room_again_when_one_is_free(models: Path):
    async with serving(models, load=fake(), max_requests=2, num_slots=1) as server:
        stream = await server.openai.completions.create(
            model="tiny", prompt="endless", n=2, stream=True
        )
        with pytest.raises(openai.RateLimitError, match="2 of 2 samples") as caught:
            await server.openai.completions.create(model="tiny", prompt="x")
        assert caught.value.response.headers["Retry-After"] == "1"
        assert caught.value.code == "rate_limit_exceeded"
        await stream.close()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    await server.openai.completions.create(model="tiny", prompt="x", max_tokens=1)
                    return
                except openai.RateLimitError:
                    await asyncio.sleep(0.01)


async def test_500_tells_nothing_of_the_fault_and_logs_nothing_of_the_prompt(
    models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    async with serving(models) as server:
        engine = await server.engine()

        def broken(prompt: str, max_tokens: int) -> list[int]:
            raise KeyError(prompt)

        monkeypatch.setattr(engine, "encode", broken)
        with pytest.raises(openai.InternalServerError) as caught:
            await server.openai.completions.create(model="tiny", prompt="a private matter")
    assert caught.value.status_code == 500
    assert refusal({"error": caught.value.body})["type"] == "server_error"
    assert "KeyError" in caplog.text
    assert "in broken" in caplog.text
    assert "private" not in caplog.text
    assert "private" not in str(caught.value)


def dies_at(prompt: str, after: int) -> Any:
    def next_token(held: Sequence[int]) -> int:
        if bytes(held).startswith(prompt.encode()) and len(held) >= len(prompt) + after:
            raise RuntimeError("the device is lost")
        return forever_a(held)

    return next_token


async def test_507_when_the_disk_is_full_and_nothing_is_kept(
    served: Served, models: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, record: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    file = await served.openai.files.create(file=("a.txt", b"text"), purpose="fine-tune")
    monkeypatch.setattr("engine.http_api.files.write_record", full)
    monkeypatch.setattr("engine.http_api.job_records.write_record", full)
    with pytest.raises(openai.InternalServerError, match="disk is full") as caught:
        await served.openai.files.create(file=("b.txt", b"text"), purpose="fine-tune")
    assert (caught.value.status_code, caught.value.code) == (507, "disk_full")
    with pytest.raises(openai.InternalServerError, match="disk is full"):
        await served.openai.fine_tuning.jobs.create(model="tiny", training_file=file.id)
    assert [job async for job in served.openai.fine_tuning.jobs.list()] == []
    kept = {each.name for each in (models / ".files").iterdir()}
    assert kept == {file.id, "jobs"}


async def test_503_when_the_engine_dies_and_for_who_comes_then(models: Path):
    async with serving(models, load=fake(dies_at("poison", 0))) as server:
        for prompt in ("poison", "next"):
            with pytest.raises(openai.InternalServerError) as caught:
                await server.openai.completions.create(model="tiny", prompt=prompt)
            assert caught.value.status_code == 503
            assert caught.value.code == "engine_stopped"
        async with server.session.get(f"{server.url}/readyz") as response:
            assert response.status == 503
        async with server.session.get(f"{server.url}/healthz") as response:
            assert response.status == 503


async def test_a_stream_whose_engine_dies_ends_with_an_error_and_not_with_done(models: Path):
    async with serving(models, load=fake(dies_at("poison", 3))) as server:
        stream = await server.openai.completions.create(model="tiny", prompt="poison", stream=True)
        text = "".join([(await anext(stream)).choices[0].text for _ in range(3)])
        with pytest.raises(openai.APIError, match="engine has stopped") as caught:
            await anext(stream)
    assert text == "aaa"
    assert caught.value.code == "engine_stopped"


async def test_503_for_a_model_that_is_damaged(models: Path):
    async with serving(models) as server:
        damaged = models / "damaged"
        damaged.mkdir()
        (damaged / "config.json").write_text("{}", encoding="utf-8")
        with pytest.raises(openai.InternalServerError) as caught:
            await server.openai.completions.create(model="damaged", prompt="x")
    assert caught.value.status_code == 503
    assert caught.value.code == "model_unavailable"
