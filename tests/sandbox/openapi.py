"""Checks what a bot and the sandbox said to each other against Discord's own document.

The document is not kept in this repository; `load` finds it beside the checkout or says that it
is absent. Two things that it leaves out are added: unknown fields are refused (it closes 1 of its
444 object schemas), and the text of a message has at most 2000 characters (it allows 4000).
"""

import copy
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema_rs

from sandbox.http_api import Exchange

DOCUMENT = Path(__file__).resolve().parents[2].parent / "shared" / "discord" / "openapi.json"
CONTENT_CHARS = 2000
ABSENT = f"Discord's OpenAPI document is not at {DOCUMENT.name} beside this checkout"

# Where discord.py 2.7.1 sends more or something else than the document says, and Discord takes it.
INTEGER_SNOWFLAKE = {"type": "integer"}
DISCORD_PY = {
    "MessageReferenceRequest": {
        "guild_id": INTEGER_SNOWFLAKE,
        "channel_id": INTEGER_SNOWFLAKE,
        "message_id": INTEGER_SNOWFLAKE,
    },
    "CreatePrivateChannelRequest": {"recipient_id": INTEGER_SNOWFLAKE},
    "MessageEditRequestPartial": {"tts": {"type": "boolean"}},
    "IncomingWebhookUpdateRequestPartial": {"tts": {"type": "boolean"}},
    "IncomingWebhookUpdateForInteractionCallbackRequestPartial": {"tts": {"type": "boolean"}},
    "ApplicationCommandUpdateRequest": {"nsfw": {"type": "boolean"}},
    "RichEmbed": {"flags": {"type": "integer"}},
    # Files are numbered from 0 in the request that uploads them.
    "MessageAttachmentRequest": {"id": INTEGER_SNOWFLAKE},
}
# Where the document differs from what Discord answers: codes of single fields are words.
DISCORD = {"Error": {"code": {"type": "string", "pattern": "^[A-Z_]+$"}}}


class Checker:
    """Validates exchanges against a document; compiles each schema once, when first needed."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = copy.deepcopy(document)
        schemas = self._document["components"]["schemas"]
        for deviations in (DISCORD_PY, DISCORD):
            for name, fields in deviations.items():
                properties = schemas[name]["properties"]
                for field, also in fields.items():
                    known = properties.get(field)
                    properties[field] = {"anyOf": [known, also]} if known else also
        _close(self._document)
        self._validators: dict[str, jsonschema_rs.Validator] = {}

    def problems(self, exchanges: Iterable[Exchange]) -> list[str]:
        """List everything that breaks the document, each with the request it happened in."""
        return [
            f"{exchange.method} {exchange.route} -> {exchange.status}: {problem}"
            for exchange in exchanges
            for problem in self._check(exchange)
        ]

    def breaches(self, schema: str, instance: Any) -> list[str]:
        """List what of a payload breaks one of the document's schemas, which is named."""
        return self._validate(schema, {"$ref": f"#/components/schemas/{schema}"}, instance)

    def _check(self, exchange: Exchange) -> list[str]:
        path = self._document["paths"].get(exchange.route)
        operation = (path or {}).get(exchange.method.lower())
        if operation is None:
            return ["Discord's document has no such route"]
        key = f"{exchange.method} {exchange.route}"
        found = self._check_request(key, operation, exchange)
        found += _check_query(
            [*path.get("parameters", []), *operation.get("parameters", [])], exchange.query
        )
        # A cut connection has no answer, and a failing Discord promises none.
        if 0 < exchange.status < 500:
            found += self._check_response(key, operation, exchange)
        return found

    def _check_request(self, key: str, operation: dict[str, Any], exchange: Exchange) -> list[str]:
        body = exchange.request
        if "requestBody" not in operation:
            return ["a body where none belongs"] if body is not None else []
        if body is None:
            return ["no body where one belongs"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        return self._validate(f"{key} request", schema, body) + _check_content(body)

    def _check_response(self, key: str, operation: dict[str, Any], exchange: Exchange) -> list[str]:
        status = exchange.status
        responses = operation["responses"]
        response = responses.get(str(status)) or (responses["4XX"] if status >= 400 else None)
        if response is None:
            return [f"Discord never answers {status} here"]
        if "$ref" in response:
            response = self._document["components"]["responses"][response["$ref"].split("/")[-1]]
        if "content" not in response:
            return [] if exchange.response is None else ["an answer where none belongs"]
        schema = response["content"]["application/json"]["schema"]
        return self._validate(f"{key} response {status}", schema, exchange.response)

    def _validate(self, key: str, schema: dict[str, Any], instance: Any) -> list[str]:
        if key not in self._validators:
            whole = {**schema, "components": self._document["components"]}
            self._validators[key] = jsonschema_rs.validator_for(whole)
        return [
            f"{'.'.join(map(str, error.instance_path)) or 'body'}: {error.message[:300]}"
            for error in self._validators[key].iter_errors(instance)
        ]


def _close(node: Any) -> None:
    """Refuse unknown fields everywhere, also where objects are put together with `allOf`."""
    if isinstance(node, list):
        for each in node:
            _close(each)
    elif isinstance(node, dict):
        for each in node.values():
            _close(each)
        if isinstance(node.get("properties"), dict) and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        if node.get("type") == "object" and "allOf" in node:
            node["allOf"] = [_opened(each) for each in node["allOf"]]
            node["unevaluatedProperties"] = False


def _opened(part: dict[str, Any]) -> dict[str, Any]:
    if part == {"$ref": "#/components/schemas/Error"}:
        fields = {"code": {"type": "integer"}, "message": {"type": "string"}}
        return {"type": "object", "properties": fields, "required": ["code", "message"]}
    return {key: value for key, value in part.items() if key != "additionalProperties"}


def _check_query(parameters: list[dict[str, Any]], query: Iterable[str]) -> list[str]:
    known = {each["name"] for each in parameters if each["in"] == "query"}
    return [f"unknown query parameter {name!r}" for name in query if name not in known]


def _check_content(body: Any) -> list[str]:
    if not isinstance(body, dict):
        return []
    content = (body.get("data") or body).get("content")
    if not isinstance(content, str) or len(content) <= CONTENT_CHARS:
        return []
    return [f"content has {len(content)} characters"]


def load() -> Checker | None:
    """Make a checker, or None where the document is absent."""
    if not DOCUMENT.exists():
        return None
    return Checker(json.loads(DOCUMENT.read_text()))
