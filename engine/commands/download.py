"""Owns the `download` command: a released GPT-2 becomes a model folder."""

import sys
from collections.abc import Mapping
from typing import ClassVar, NoReturn

from pydantic import HttpUrl
from pydantic_settings import CliPositionalArg
from tqdm import tqdm

from engine.download import HUGGING_FACE, MIB, download, have_bytes, is_whole, verify
from engine.errors import EngineError
from engine.fetch import Patience
from engine.releases import RELEASES, Release, find_release
from engine.settings import Command

LICENCE = (
    "GPT-2 is OpenAI's, under a modified MIT licence, which asks you to use it responsibly and to "
    "clearly indicate that your content was created using GPT-2 (Ovid's label does)."
)


class Download(Command):
    """Fetch a released GPT-2: 124M, 355M, 774M or 1558M."""

    releases: ClassVar[Mapping[str, Release]] = RELEASES
    patience: ClassVar[Patience] = Patience()

    model: CliPositionalArg[str]
    """124M, 355M, 774M or 1558M, or the Hugging Face name, such as gpt2-medium."""
    mirror: HttpUrl = HttpUrl(HUGGING_FACE)
    """Base URL to fetch from, laid out as Hugging Face's."""
    verify: bool = False
    """Check the SHA-256 of a model that is already there."""

    def run(self) -> None:
        """Fetch the model, and say where it is and what to do with it.

        Raises:
            EngineError: it cannot be had; the sentence says why.
        """
        release = find_release(self.model, self.releases)
        folder = self.models / release.name
        try:
            if is_whole(release, folder):
                if self.verify:
                    verify(release, folder)
                checked = " and every SHA-256 is right" if self.verify else ""
                print(f"{folder} is there already{checked}: nothing to do.")
                return
            self._download(release)
        except KeyboardInterrupt:
            print("Stopped: the same command goes on from here.")
            raise
        except OSError as error:
            msg = f"{error.filename or folder}: {error.strerror or error}."
            raise EngineError(msg) from error
        print(f"GPT-2 {release.name} is in {folder}.\n{LICENCE}")
        print(f"To use it: OVID_MODEL={release.name} python -m engine serve")

    def _download(self, release: Release) -> None:
        total = sum(file.size_bytes for file in release.files)
        have = have_bytes(release, self.models)
        kept = f", of which {have // MIB} MiB are there already" if have else ""
        print(
            f"GPT-2 {release.name}, {total // MIB} MiB{kept}, from {self.mirror.host}:", flush=True
        )
        with tqdm(
            desc=release.name,
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
            disable=None,
        ) as bar:
            progress = _BarAndLines(bar)
            mirror = str(self.mirror)
            download(release, self.models, progress, mirror=mirror, patience=self.patience)


class _BarAndLines:
    """A progress bar on a terminal, and lines in either case."""

    def __init__(self, bar: "tqdm[NoReturn]") -> None:
        self._bar = bar

    def advance(self, num_bytes: int) -> None:
        self._bar.update(num_bytes)

    def say(self, line: str) -> None:
        self._bar.write(line)
        # Whoever reads a log wants to see it now.
        sys.stdout.flush()
