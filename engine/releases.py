"""Owns the table of the released GPT-2s: names, files, sizes, SHA-256. Knows no network, no disk.

The files are those of Hugging Face's repositories, each at one commit, so that what a name stands
for never changes. Every file of every release is pinned; where the hashes come from:

- `model.safetensors`: the Git LFS object ids, which are SHA-256, as at least two independent public
  records of these commits state them.
- `vocab.json` and `merges.txt`: the same bytes as OpenAI's `encoder.json` and `vocab.bpe`, whose
  hashes `openai/tiktoken:tiktoken_ext/openai_public.py` pins.
- `config.json`: public records, and written again from its known content to the same hash.

Sizes only say how much room is needed and how far a download is; the hash alone judges. Those of
the weights of 774M and 1558M are computed from the layout of safetensors files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.errors import InvalidRequestError

ORGANISATION = "openai-community"


@dataclass(frozen=True, slots=True)
class ReleasedFile:
    """One file of a release; `sha256` in hexadecimal."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Release:
    """One released model: name, place and commit, and its files in the order of fetching."""

    name: str
    repository: str
    revision: str
    files: tuple[ReleasedFile, ...]

    def url(self, file: ReleasedFile, mirror: str) -> str:
        """Return where a file is, below the base URL of Hugging Face or of a mirror of it."""
        return f"{mirror.rstrip('/')}/{self.repository}/resolve/{self.revision}/{file.name}"


def _release(
    name: str, repository: str, revision: str, config: tuple[int, str], weights: tuple[int, str]
) -> Release:
    files = (
        ReleasedFile(
            "vocab.json",
            1_042_301,
            "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
        ),
        ReleasedFile(
            "merges.txt",
            456_318,
            "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        ),
        ReleasedFile("model.safetensors", *weights),
        # Last, since a folder that has it passes for a model.
        ReleasedFile("config.json", *config),
    )
    return Release(name, f"{ORGANISATION}/{repository}", revision, files)


RELEASES: Mapping[str, Release] = {
    release.name: release
    for release in (
        _release(
            "124M",
            "gpt2",
            "607a30d783dfa663caf39e06633721c8d4cfcd7e",
            (665, "0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4"),
            (548_105_171, "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707"),
        ),
        _release(
            "355M",
            "gpt2-medium",
            "6dcaa7a952f72f9298047fd5137cd6e4f05f41da",
            (718, "ef1a44d889ad1a0acc7731c78134f1b87d2d222f110e97dd10fd4117331caf22"),
            (1_519_984_962, "fc5a354a19255ad494f3d71549390baca1ccf61d1d822b9408971705c687c9cd"),
        ),
        _release(
            "774M",
            "gpt2-large",
            "32b71b12589c2f8d625668d2335a01cac3249519",
            (666, "7fccdcfd6622055342a734c663ee0b61ff4fd697f42467595df0bf4448c8c170"),
            (3_247_159_078, "5f47f3e12f91cd33b662ce7e433b6150ad5512b5884a2cee961b50e9c3bbebce"),
        ),
        _release(
            "1558M",
            "gpt2-xl",
            "15ea56dee5df4983c59b2538573817e1667135e2",
            (689, "be48115d52314bc27327e160bf10197760db02ea689d10adb24db4102edf7a8a"),
            (6_431_829_962, "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a"),
        ),
    )
}
"""What can be downloaded, by the name that Ovid uses."""


def find_release(name: str, releases: Mapping[str, Release] = RELEASES) -> Release:
    """Return the release called by size or by its Hugging Face name, in whatever case.

    >>> [find_release(name).name for name in ("124m", "GPT2-Medium", "openai-community/gpt2-xl")]
    ['124M', '355M', '1558M']

    Raises:
        InvalidRequestError: there is no such release; the sentence lists them.
    """
    asked = name.strip().lower()
    for release in releases.values():
        repository = release.repository.lower()
        if asked in (release.name.lower(), repository, repository.rpartition("/")[2]):
            return release
    known = ", ".join(
        f"{release.name} ({release.repository.rpartition('/')[2]})" for release in releases.values()
    )
    msg = f"There is no release {name!r} of GPT-2: choose one of {known}."
    raise InvalidRequestError(msg)
