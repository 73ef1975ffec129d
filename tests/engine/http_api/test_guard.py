"""Who is let in, by token, host and origin; what is logged of all; and what harms nobody."""

import asyncio
import logging
import socket
from pathlib import Path

import aiohttp
import openai
import pytest
from pydantic import SecretStr

from engine.errors import InvalidRequestError
from engine.http_api import HttpOptions
from tests.engine.http_api.answers import SECRET, answer_to, refusal
from tests.engine.http_api.serving import DEADLINE_S, Served, client_of, serving


async def test_401_without_the_token_and_with_a_wrong_one(models: Path):
    async with serving(models, token=SECRET) as server:
        right = await server.openai.models.list()
        assert [model.id for model in right.data] == ["tiny"]
        for given in (SECRET[:-1], SECRET + "x", "ü", ""):
            headers = {"Authorization": f"Bearer {given}"} if given else {}
            async with server.session.get(f"{server.url}/v1/models", headers=headers) as response:
                assert response.status == 401
                assert response.headers["WWW-Authenticate"] == "Bearer"
                error = refusal(await response.json())
                assert error["code"] == "invalid_api_key"
                assert SECRET[:-1] not in error["message"]
        async with client_of(server.port, "wrong") as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.completions.create(model="tiny", prompt="x")
        # Whatever watches the server needs none.
        async with server.session.get(f"{server.url}/readyz") as response:
            assert (await response.json())["status"] == "ready"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:8000"},
        {"Host": "[::1"},
        {"Host": "localhost.evil.example"},
        {"Host": "localhost."},
        {"Host": "[::ffff:192.0.2.1]"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
    ],
    ids=repr,
)
async def test_403_for_what_a_web_page_could_send(served: Served, headers: dict[str, str]):
    url = f"{served.url}/v1/files"
    async with served.session.post(url, data={"purpose": "x"}, headers=headers) as response:
        assert response.status == 403
        refusal(await response.json())
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "host", ["localhost:8000", "127.0.0.1", "[::1]:80", "[0:0:0:0:0:0:0:1]", "LOCALHOST"]
)
async def test_every_name_of_this_machine_may_be_called_by(served: Served, host: str):
    async with served.session.get(f"{served.url}/v1/models", headers={"Host": host}) as response:
        assert response.status == 200


async def test_a_server_with_a_token_answers_under_any_name(models: Path):
    async with serving(models, token=SECRET) as server:
        headers = {"Host": "gpt2.example.org", "Authorization": f"bearer {SECRET}"}
        async with server.session.get(f"{server.url}/v1/models", headers=headers) as response:
            assert response.status == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_listening_for_others_without_a_token_is_refused(host: str):
    with pytest.raises(InvalidRequestError, match="there is no token"):
        HttpOptions(models=Path(), host=host)
    HttpOptions(models=Path(), host=host, token=SecretStr(SECRET))


def test_an_empty_token_is_refused():
    with pytest.raises(InvalidRequestError, match="token is empty"):
        HttpOptions(models=Path(), token=SecretStr(""))


async def test_the_log_has_a_line_for_a_request_and_nothing_that_was_said(
    models: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    async with serving(models, token=SECRET) as server:
        raw = await server.openai.completions.with_raw_response.create(
            model="tiny", prompt="a private matter", temperature=0
        )
        reply = raw.parse().choices[0].text
        with pytest.raises(openai.NotFoundError):
            await server.openai.files.retrieve("private-file")
        async with server.session.get(f"{server.url}/private") as response:
            assert response.status == 401
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("engine")]
    [line] = [line for line in ours if "/v1/completions" in line]
    request_id = raw.headers["X-Request-Id"]
    assert line.startswith(f"job={request_id} attempt=1 ending=done reason=length ")
    assert " prompt_tokens=16 completion_tokens=16 " in line
    assert any("method=GET route=/v1/files/{file_id} status=404" in line for line in ours)
    assert any("method=GET route=(none) status=401" in line for line in ours)
    for secret in ("private", reply, SECRET):
        assert not any(secret in line for line in ours)


async def test_a_damaged_request_is_logged_without_what_it_said(
    served: Served, caplog: pytest.LogCaptureFixture
):
    headers = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\x00\r\n\r\n"
    answer = await answer_to(served, headers.encode())
    assert b" 400 " in answer.split(b"\r\n")[0]
    assert "BadHttpMessage" in caplog.text
    assert SECRET not in caplog.text


async def test_a_request_that_names_no_host_asks_the_network_for_none(
    served: Served, monkeypatch: pytest.MonkeyPatch
):
    def asked() -> str:
        raise AssertionError

    monkeypatch.setattr(socket, "getfqdn", asked)
    answer = await answer_to(served, b"GET /v1/models HTTP/1.0\r\n\r\n")
    assert b" 403 " in answer.split(b"\r\n")[0]


async def test_a_page_cannot_ask_before_it_sends(served: Served):
    headers = {"Origin": served.url, "Access-Control-Request-Method": "POST"}
    async with served.session.options(f"{served.url}/v1/files", headers=headers) as response:
        assert response.status == 405
        assert not any(name.startswith("Access-Control") for name in response.headers)


async def test_a_damaged_request_harms_nobody_else(served: Served):
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(b"NONSENSE\r\n\r\n")
    async with asyncio.timeout(DEADLINE_S):
        assert b"400" in (await reader.read()).split(b"\r\n")[0]
    writer.close()
    assert isinstance(served.session, aiohttp.ClientSession)
    assert (await served.post("/v1/completions", prompt="x"))[0] == 200
