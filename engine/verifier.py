"""Owns what it takes to verify texts while an engine serves: vocabularies, keys, one at a time.

Knows neither queue nor HTTP; both doors share one.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from codec.bpe import Tokenizer
from codec.vocabulary import VocabularyError, find_vocabulary
from engine.errors import InvalidRequestError, ModelError, NoKeyError
from engine.verify import verify
from engine.watermark import WatermarkKey
from wire.verdicts import Verified

log = logging.getLogger(__name__)

Stamp = tuple[tuple[str, int, int, int], ...]
"""What tells a vocabulary's files from those that are there after a replacement."""


class Vocabularies:
    """The tokenizers of model folders, each vocabulary once, read anew when its files change."""

    def __init__(self) -> None:
        self._digests: dict[Stamp, bytes] = {}
        self._tokenizers: dict[bytes, Tokenizer] = {}

    def of(self, folders: Iterable[Path]) -> list[Tokenizer]:
        """Return the tokenizers of folders. A folder without a whole vocabulary is left out.

        Raises:
            ModelError: there is none at all.
        """
        digests: dict[Stamp, bytes] = {}
        tokenizers: dict[bytes, Tokenizer] = {}
        for folder in folders:
            try:
                paths = find_vocabulary(folder)
                stamp = tuple(map(_stamp, paths))
                digest = self._digests.get(stamp) or _digest(paths)
                known = tokenizers.get(digest) or self._tokenizers.get(digest)
                tokenizers[digest] = known or Tokenizer.from_files(*paths)
                digests[stamp] = digest
            except (OSError, VocabularyError) as error:
                log.warning("what the model in %s wrote cannot be verified: %s", folder, error)
        self._digests, self._tokenizers = digests, tokenizers
        if not tokenizers:
            msg = "There is no model here, and without its vocabulary a text cannot be verified."
            raise ModelError(msg)
        return list(tokenizers.values())


class Verifier:
    """Say whether texts were written here.

    Args:
        folders: gives the models that may have written them; it may read the disk.
        keys: the current one and old ones; none where nothing was ever marked.
    """

    def __init__(
        self, folders: Callable[[], Iterable[Path]], keys: Sequence[WatermarkKey] = ()
    ) -> None:
        self._folders = folders
        self._keys = tuple(keys)
        self._vocabularies = Vocabularies()
        # Beside a model that writes, one thread of this is enough; and one that nobody waits for
        # any more goes on to its end, so that askers who leave must not make room for another.
        self._thread = ThreadPoolExecutor(1, "verifying")

    async def verify(self, text: str) -> Verified:
        """Look for the mark, off the event loop.

        Args:
            text: as it was pasted.

        Raises:
            NoKeyError: there is no key.
            ModelError: there is no vocabulary.
            InvalidRequestError: the text holds a lone surrogate.
        """
        if not self._keys:
            msg = "This engine has no watermark key, so it cannot tell what it wrote."
            raise NoKeyError(msg)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._verify, text)

    def _verify(self, text: str) -> Verified:
        tokenizers = self._vocabularies.of(self._folders())
        try:
            return verify(text, tokenizers, self._keys)
        except ValueError as error:
            raise InvalidRequestError(f"{error}.") from error


def _stamp(path: Path) -> tuple[str, int, int, int]:
    stat = path.stat()
    return str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns


def _digest(paths: Iterable[Path]) -> bytes:
    return b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
