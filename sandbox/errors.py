"""Discord's refusals: HTTP status, code and JSON shape; knows nothing of when they are due."""

from enum import Enum

from sandbox.model import Json


class Refusal(Enum):
    """The refusals that the sandbox can answer with: status, code, Discord's sentence."""

    UNAUTHORIZED = (401, 0, "401: Unauthorized")
    NOT_FOUND = (404, 0, "404: Not Found")
    UNKNOWN_CHANNEL = (404, 10003, "Unknown Channel")
    UNKNOWN_GUILD = (404, 10004, "Unknown Guild")
    UNKNOWN_MESSAGE = (404, 10008, "Unknown Message")
    UNKNOWN_USER = (404, 10013, "Unknown User")
    UNKNOWN_WEBHOOK = (404, 10015, "Unknown Webhook")
    UNKNOWN_APPLICATION = (404, 10002, "Unknown Application")
    UNKNOWN_INTERACTION = (404, 10062, "Unknown interaction")
    TOO_LARGE = (413, 40005, "Request entity too large")
    ALREADY_ANSWERED = (400, 40060, "Interaction has already been acknowledged.")
    MISSING_ACCESS = (403, 50001, "Missing Access")
    NOT_THE_AUTHOR = (403, 50005, "Cannot edit a message authored by another user")
    EMPTY_MESSAGE = (400, 50006, "Cannot send an empty message")
    CANNOT_MESSAGE_USER = (403, 50007, "Cannot send messages to this user")
    MISSING_PERMISSIONS = (403, 50013, "Missing Permissions")
    INVALID_WEBHOOK_TOKEN = (401, 50027, "Invalid Webhook Token")
    INVALID_FORM = (400, 50035, "Invalid Form Body")
    INVALID_JSON = (400, 50109, "The request body contains invalid JSON.")
    CANNOT_REPLY_WITHOUT_HISTORY = (
        400,
        160002,
        "Cannot reply without permission to read message history",
    )


class DiscordError(Exception):
    """A request that Discord would refuse."""

    def __init__(self, refusal: Refusal, errors: Json | None = None) -> None:
        self.status, self.code, self.message = refusal.value
        self.errors = errors
        super().__init__(self.message)

    @property
    def body(self) -> Json:
        """The answer's JSON."""
        body: Json = {"message": self.message, "code": self.code}
        return body if self.errors is None else {**body, "errors": self.errors}


def invalid_form(path: str, code: str, message: str) -> DiscordError:
    """Make the refusal of one field.

    Args:
        path: The field, its parts joined by dots.
        code: Discord's code, such as `BASE_TYPE_MAX_LENGTH`.
        message: What is wrong with the value.

    >>> invalid_form("embeds.0.title", "BASE_TYPE_REQUIRED", "This field is required").errors
    {'embeds': {'0': {'title': {'_errors': [{'code': 'BASE_TYPE_REQUIRED', \
'message': 'This field is required'}]}}}}
    """
    errors: Json = {"_errors": [{"code": code, "message": message}]}
    for part in reversed(path.split(".")):
        errors = {part: errors}
    return DiscordError(Refusal.INVALID_FORM, errors)
