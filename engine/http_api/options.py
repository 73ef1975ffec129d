"""Owns how the HTTP door is set up: where it listens, who may come in, what its bounds are."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from engine.errors import InvalidRequestError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """How to serve HTTP.

    Attributes:
        models: folder of the models; uploads and jobs are kept in `.files` below it.
        host: name or address to listen at.
        port: 0 takes any that is free.
        token: what callers must bear; None lets everybody in who can reach a loopback address.
        max_requests: samples (prompts times `n`) that may be in flight at once.
        max_body_bytes: of a JSON body.
        max_upload_bytes: of one uploaded file.
        grace_s: on shutdown, how long running replies may finish before they are cut off.
        stall_s: how long a client is waited for that does not read a stream, or send its body.
        finetune_args: options that every fine-tuning process gets, such as `--device cpu`.

    Raises:
        InvalidRequestError: the host is not a loopback address and there is no token.
    """

    models: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: SecretStr | None = None
    max_requests: int = 32
    max_body_bytes: int = MIB
    max_upload_bytes: int = 512 * MIB
    grace_s: float = 5.0
    stall_s: float = 60.0
    finetune_args: tuple[str, ...] = ()

    @property
    def files(self) -> Path:
        """Return the folder of uploads and jobs."""
        return self.models / ".files"

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.get_secret_value():
            msg = "The HTTP token is empty: leave it out or set one."
            raise InvalidRequestError(msg)
        if self.token is None and not is_loopback(self.host):
            msg = (
                f"The HTTP host is {self.host}, which others can reach, and there is no token: "
                "set one (--http-token or OVID_HTTP_TOKEN), or listen at 127.0.0.1."
            )
            raise InvalidRequestError(msg)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches that host.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
