"""The door of HTTP: any bytes to any route of a real server with a tiny model, to the answer.

Every answer is a good one, or a refusal in OpenAI's shape; never a fault of the server's.
"""

import json
import tempfile
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from engine.config import ModelConfig
from engine.weights import save_model
from tests.engine.http_api.answers import refusal
from tests.engine.http_api.serving import Served, serving
from tests.engine.marked import KEY
from tests.engine.models import make_model
from tests.engine.support import N_VOCAB, write_vocabulary
from tests.fuzz.discord_cut import logged_errors
from tests.fuzz.door import UNHURRIED, Door, Try
from tests.fuzz.json_cases import ANY_JSON, ANY_TEXT, changed
from tests.fuzz.raw_http import FRAMINGS, Answer, Sent, exchange, raw_request
from tests.threads import num_threads

SHAPE = ModelConfig(n_layer=1, n_head=1, n_embd=8, n_vocab=N_VOCAB, n_ctx=24)
STALL_S = 0.05
"""How long the server waits for the rest of a body: a case that breaks off costs as much."""
READY_EVERY = 100

COMPLETION: dict[str, Any] = {
    "model": "tiny",
    "prompt": "Once",
    "max_tokens": 3,
    "temperature": 1.0,
    "top_p": 1.0,
    "n": 1,
    "best_of": 1,
    "stop": ["x"],
    "seed": 7,
    "logprobs": 2,
    "echo": True,
    "top_k": 5,
    "stream": False,
    "repetition_penalty": 1.0,
    "user": "u",
    "suffix": "",
    "logit_bias": {},
}
JOB: dict[str, Any] = {
    "model": "tiny",
    "training_file": "file-0123456789abcdef01234567",
    "suffix": "notes",
    "hyperparameters": {"n_epochs": 1},
    "seed": 1,
    "metadata": {"a": "b"},
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 1}}},
}
STREAM = COMPLETION | {"stream": True, "stream_options": {"include_usage": True}}
BODIES: dict[str, tuple[Any, ...]] = {
    "/v1/completions": (COMPLETION, STREAM, {"prompt": [1, 2]}, {"prompt": ["a", "b"], "n": 2}),
    "/v1/tokenize": ({"text": "né"}, {"ids": [1, 2, 256]}),
    "/v1/verify": ({"text": "words " * 30},),
    "/v1/fine_tuning/jobs": (JOB,),
    "/v1/fine_tuning/jobs/ftjob-1/cancel": ({},),
}
PATHS = (
    *BODIES,
    *("/v1/models", "/v1/models/tiny", "/v1/models/a%2F..%2Fb", "/v1/files", "/v1/files/file-1"),
    *("/v1/files/file-0123456789abcdef01234567/content", "/v1/files/%2e%2e", "/v1/files?limit=0"),
    *("/v1/files?after=x&order=asc", "/v1/fine_tuning/jobs?limit=1e3", "/healthz", "/readyz"),
    *("/v1/fine_tuning/jobs/x/events", "/v1/fine_tuning/jobs/x/checkpoints", "/", "//", "/v1"),
)
KINDS = (
    *("application/json", "application/json; charset=utf-16", "APPLICATION/JSON", "text/plain", ""),
    *(
        "multipart/form-data; boundary=b",
        "multipart/form-data",
        "application/x-www-form-urlencoded",
    ),
)
HEADERS = (
    *("Content-Encoding: gzip", "Content-Encoding: deflate", "Content-Encoding: br", "Accept: x/y"),
    *("Content-Encoding: zstd", "Content-Encoding: x", "Expect: 100-continue", "Expect: x"),
    *("Authorization: Bearer x", "Origin: http://evil.example", "Origin: null", "Range: bytes=9-"),
    *("Connection: Upgrade\r\nUpgrade: websocket", "Accept-Encoding: gzip", "X: " + "x" * 9000),
    *("Content-Type: text/plain", "Cookie: a=\xff", "If-Modified-Since: x", "Host: evil.example"),
)
PARTS = (
    *("--b\r\n", "--b--\r\n", "\r\n", "--", "--c\r\n", "Content-Disposition: form-data; "),
    *('name="purpose"', 'name="file"; filename="a.txt"', 'name="file"; filename="a.jsonl"', "; "),
    *("fine-tune", "Some words.\n", '{"text": "x"}\n', "filename*=utf-8''%ff", 'name="x"'),
    *(
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Encoding: gzip\r\n",
        "Content-Length: 9\r\n",
    ),
    *("Content-Type: multipart/mixed; boundary=c\r\n", "Content-Type: text/plain\r\n", "x" * 300),
)
WHOLE_FORM = (
    '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
    "Words.\r\n--b--\r\n"
)


def _cut(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    for place, num_lost, put_in in edits:
        at = place % (len(data) + 1)
        data = data[:at] + put_in + data[at + num_lost :]
    return data


edits = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 9), st.binary(max_size=4)), max_size=3
)
strange = st.sampled_from(
    (
        *(
            b"[" * 60_000,
            b'{"a":' * 9000,
            b"\xff\xfe{\0}\0",
            b"\xef\xbb\xbf{}",
            b"nul",
            b"1" * 9000,
        ),
        *(b'{"prompt":"a","prompt":"b","max_tokens":1}', b'{"text":"\\ud800"}', b"\0", b"{}\n{}"),
        *(b'{"max_tokens":NaN}', b'{"temperature":1e999}', b'{"ids":[' + b"1," * 9000 + b"1]}"),
    )
)
forms = st.one_of(
    st.lists(st.sampled_from(PARTS), max_size=14).map(lambda parts: "".join(parts).encode()),
    st.builds(_cut, st.just(WHOLE_FORM.encode()), edits),
)


def _bodies(path: str) -> st.SearchStrategy[bytes]:
    whole = st.sampled_from(BODIES.get(path, ({},)))
    texts = st.one_of(whole, changed(whole), changed(whole), ANY_JSON).map(
        lambda value: json.dumps(value).encode()
    )
    return st.one_of(texts, texts, texts, st.builds(_cut, texts, edits), strange, st.binary())


framings = st.sampled_from((*("length",) * 12, *FRAMINGS))
headers = st.lists(st.sampled_from(HEADERS), max_size=2).map(tuple)
some_headers = st.one_of(st.just(()), st.just(()), headers)
json_posts = st.sampled_from(tuple(BODIES)).flatmap(
    lambda path: st.builds(
        Sent,
        st.just("POST"),
        st.just(path),
        st.sampled_from(("application/json",) * 9 + KINDS),
        some_headers,
        _bodies(path),
        framings,
    )
)
uploads = st.builds(
    Sent,
    st.just("POST"),
    st.just("/v1/files"),
    st.sampled_from(("multipart/form-data; boundary=b",) * 9 + KINDS),
    some_headers,
    forms,
    framings,
)
others = st.builds(
    Sent,
    st.sampled_from(
        ("GET", "GET", "GET", "DELETE", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "X")
    ),
    st.one_of(
        st.sampled_from(PATHS), st.sampled_from(PATHS), ANY_TEXT.map(lambda text: f"/{text}")
    ),
    st.sampled_from(KINDS),
    headers,
    st.one_of(st.just(b""), forms, strange),
    framings,
)
CASES = st.one_of(json_posts, json_posts, uploads, others)


def _check(sent: Sent, answer: Answer) -> None:
    assert answer.status < 500, answer
    kind = answer.headers.get("content-type", "")
    # What is no HTTP, or expects what nobody can do, aiohttp refuses before any route is asked.
    if answer.status == 417 or "x-request-id" not in answer.headers:
        assert answer.status in {400, 417}, answer
        return
    if sent.method == "HEAD":
        return
    if answer.status >= 400:
        said = refusal(json.loads(answer.body))
        assert said["type"] == "invalid_request_error"
    elif kind.startswith("text/event-stream"):
        *events, end, nothing = answer.body.decode().split("\n\n")
        assert (end, nothing) == ("data: [DONE]", "") or "error" in end, answer.body
        for event in events:
            json.loads(event.removeprefix("data: "))
    else:
        assert answer.status == 200
        answered = json.loads(answer.body)
        if answered.get("object") == "text_completion":
            assert answered["machine_generated"]
            assert answered["label"]


class _Server:
    """A server, and what it logs as errors."""

    def __init__(self, served: Served, errors: list[str]) -> None:
        self._served = served
        self._errors = errors
        self._num_cases = 0

    async def attempt(self, sent: Sent) -> None:
        """Send one request."""
        self._errors.clear()
        _check(sent, await exchange(self._served.port, raw_request(sent)))
        assert not self._errors, self._errors
        self._num_cases += 1
        if self._num_cases % READY_EVERY == 0:
            await self.check_it_is_ready()

    async def check_it_is_ready(self) -> None:
        """See that all places are free: nothing that was asked is still being written."""
        while True:
            status, said = await self._served.post("/v1/completions", n=16, max_tokens=1)
            if status != 429:
                assert status == 200, said
                return


@contextmanager
def _unwarned() -> Iterator[None]:
    # aiohttp warns of headers that it cannot read.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@asynccontextmanager
async def _opened() -> AsyncIterator[Try]:
    with (
        num_threads(1),
        tempfile.TemporaryDirectory() as folder,
        logged_errors() as errors,
        _unwarned(),
    ):
        models = Path(folder)
        write_vocabulary(models)
        save_model(make_model(SHAPE), models, models / "tiny", dtype=torch.float32)
        async with serving(models, keys=[KEY], stall_s=STALL_S) as served:
            server = _Server(served, errors)
            yield server.attempt
            await server.check_it_is_ready()


DOOR = Door("http", CASES, _opened)


@UNHURRIED
def test_whatever_is_sent_is_answered_or_refused_in_openais_shape():
    DOOR.try_cases()
