"""What the bot is told from outside: environment and `.env`, read once. Knows no Discord, no Redis.

Secrets are `SecretStr`: printing the settings shows stars.
"""

from typing import Annotated, Literal

import yarl
from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.label import check_note
from wire.log_lines import LogFormat
from wire.redis_url import SCHEMES

TOKEN_PAGE = "https://discord.com/developers/applications"  # noqa: S105  # an address, no secret


class BotSettings(BaseSettings):
    """The bot's settings. Each is an environment variable `OVID_…`, the token aside."""

    model_config = SettingsConfigDict(
        env_prefix="OVID_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )

    discord_token: Annotated[SecretStr, Field(validation_alias="DISCORD_TOKEN")] = SecretStr("")
    """Of the bot, from Discord's developer portal."""
    redis_url: SecretStr = SecretStr("redis://localhost:6379/0")
    """One server, Sentinels or a Cluster, as docs/operations.md says; it may hold a password."""
    discord_api: str | None = None
    """Where Discord's REST API is, if not at Discord: `http://127.0.0.1:8080/api/v10`."""
    discord_gateway: str | None = None
    """Where Discord's gateway is, if not at Discord: `ws://127.0.0.1:8080/gateway`."""
    max_waiting: Annotated[int, Field(ge=1, le=100_000)] = 200
    """Requests in line; more are refused."""
    max_unfinished_per_user: Annotated[int, Field(ge=1, le=100)] = 2
    label_note: Annotated[str, AfterValidator(check_note)] = ""
    """A line of the operator's own below every label, up to 200 characters."""
    bot_health_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Where `/healthz`, `/readyz` and `/metrics` are answered; 0: any free one; None: nowhere."""
    bot_health_host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """At which address; whoever reaches it may read them."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: LogFormat = "text"
    """JSON for machines."""

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith(SCHEMES):
            msg = f"input should begin with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
            raise ValueError(msg)
        return url

    @field_validator("discord_api", "discord_gateway")
    @classmethod
    def _is_address(cls, url: str | None) -> str | None:
        if url is not None and not _can_be_asked(url):
            msg = "input should be an address like http://127.0.0.1:8080/api/v10"
            raise ValueError(msg)
        return url


def _can_be_asked(url: str) -> bool:
    try:
        address = yarl.URL(url)
    except ValueError:
        return False
    return address.scheme in {"http", "https", "ws", "wss"} and bool(address.host)


class BadSettingsError(Exception):
    """Settings that can't be used; its arguments are sentences, one for each, without secrets."""


def load_settings() -> BotSettings:
    """Read the settings from the environment and `.env`.

    Raises:
        BadSettingsError: One of them can't be used, or `.env` can't be read.
    """
    try:
        return BotSettings()
    except ValidationError as error:
        raise BadSettingsError(*explain_settings(error)) from None
    except UnicodeDecodeError:
        msg = ".env: it is no UTF-8 text."
        raise BadSettingsError(msg) from None
    except OSError as error:
        msg = f".env: it can't be read: {error.strerror}."
        raise BadSettingsError(msg) from None


def explain_settings(error: ValidationError) -> list[str]:
    """Say what is wrong with each bad setting, one sentence each, without showing secrets."""
    sentences = []
    for problem in error.errors(include_url=False):
        field = str(problem["loc"][0]) if problem["loc"] else "settings"
        name = field if field == "DISCORD_TOKEN" else f"OVID_{field.upper()}"
        said = problem["msg"].removeprefix("Value error, ")
        is_secret = field in {"DISCORD_TOKEN", "redis_url"}
        value = "" if is_secret else f", not {problem['input']!r}"
        sentences.append(f"{name}: {said[:1].lower()}{said[1:]}{value}.")
    return sentences
