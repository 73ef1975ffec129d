"""The checker itself: that it lets right things through and finds wrong ones."""

from typing import Any

import pytest

from sandbox.http_api import Exchange
from sandbox.payloads import View
from sandbox.world import World
from tests.sandbox.openapi import Checker

MESSAGES = "/channels/{channel_id}/messages"


def exchange(request: Any, **changes: Any) -> Exchange:
    """A posted message, its answer cut off unless `changes` say otherwise."""
    given = {"method": "POST", "route": MESSAGES, "query": {}, "status": 0, "response": None}
    return Exchange(**{**given, **changes}, request=request, at_s=0.0)


def test_what_discord_py_does_differently_passes(checker: Checker):
    reference = {"message_id": 5, "channel_id": 6}
    body = {"content": "x", "message_reference": reference, "embeds": [{"flags": 0}]}
    assert checker.problems([exchange(body)]) == []


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"content": "x" * 2001}, "content has 2001 characters"),
        ({"content": "x", "colour": 3}, "'colour' was unexpected"),
        ({"content": 3}, "content"),
        ({"content": "x", "nonce": "x" * 26}, "nonce"),
        ({"content": "x", "tts": "no"}, "tts"),
        ({"message_reference": {"message_id": 1.5}}, "message_reference"),
        (None, "no body where one belongs"),
    ],
)
def test_a_wrong_request_is_found(checker: Checker, body: Any, found: str):
    problems = checker.problems([exchange(body)])
    assert len(problems) == 1
    assert found in problems[0]


def test_a_wrong_route_status_or_query_is_found(checker: Checker):
    body = {"content": "x"}
    assert checker.problems([exchange(body, route="/nowhere")])
    assert checker.problems([exchange(body, status=204)])
    assert checker.problems([exchange(body, query={"wiat": "1"})])
    assert checker.problems([exchange(body)]) == []


def test_a_wrong_answer_is_found(checker: Checker):
    world = World(clock=lambda: 0.0)
    view = View(world, reads_content=False, cdn_url="http://localhost")
    answer = view.channel(world.general)
    get: dict[str, Any] = {"method": "GET", "route": "/channels/{channel_id}", "status": 200}
    assert checker.problems([exchange(None, **get, response=answer)]) == []

    without = {key: value for key, value in answer.items() if key != "position"}
    assert checker.problems([exchange(None, **get, response=without)])
    assert checker.problems([exchange(None, **get, response={**answer, "colour": 3})])
    assert checker.problems([exchange(None, **get, response={**answer, "id": 3})])


def test_a_refusal_has_discords_shape(checker: Checker):
    field = {"content": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "too long"}]}}
    body = {"code": 50035, "message": "Invalid Form Body"}
    request = {"content": "x"}
    assert (
        checker.problems([exchange(request, status=400, response=body | {"errors": field})]) == []
    )
    assert checker.problems([exchange(request, status=400, response={"message": "no code"})])
    assert checker.problems([exchange(request, status=400, response=body | {"why": "x"})])
    assert checker.problems([exchange(request, status=429, response=body)])
