"""Owns how a release becomes a model folder: room, lock, hashes, one rename. Knows no HTTP.

While it comes in, a model is `NAME.partial`: whole, checked files under their own names, and the
one that is coming in as `FILE.part`. Only when all are there does the folder take its name, so that
a folder `NAME` is always a whole model. Killed at any moment, a download goes on where it stood.
"""

import hashlib
import shutil
from pathlib import Path

import requests

from engine.errors import EngineError, ModelError
from engine.fetch import DownloadError, Patience, Progress, fetch, forget, size_bytes
from engine.locks import alone_in
from engine.releases import Release, ReleasedFile

HUGGING_FACE = "https://huggingface.co"
MIB = 2**20
SPARE_BYTES = MIB
"""What a file may have beyond the size in the table, which is there to stop an endless answer."""


def is_whole(release: Release, folder: Path) -> bool:
    """Tell whether a folder holds every file of a release."""
    return all((folder / file.name).is_file() for file in release.files)


def verify(release: Release, folder: Path) -> None:
    """Compare every file of a model folder with its known SHA-256.

    Raises:
        ModelError: one differs; the sentence has both hashes.
        OSError: one cannot be read.
    """
    for file in release.files:
        found = sha256(folder / file.name)
        if found != file.sha256:
            msg = (
                f"{folder / file.name} has the SHA-256 {found}, but the release's is "
                f"{file.sha256}: move {folder} away and download it again."
            )
            raise ModelError(msg)


def download(
    release: Release,
    models: Path,
    progress: Progress,
    *,
    mirror: str = HUGGING_FACE,
    patience: Patience | None = None,
) -> Path:
    """Fetch a release into its folder below `models`, going on from an earlier call.

    Args:
        release: what to fetch.
        models: the folder of models; made where it is missing.
        progress: is told of bytes and of files.
        mirror: the base URL below which `REPOSITORY/resolve/REVISION/FILE` stands.
        patience: timeouts and retries; left out: those for people.

    Returns:
        The model's folder, whole and checked.

    Raises:
        DownloadError: a file cannot be had, or what comes is not the file that was released.
        EngineError: there is no room, another process is at it, or something else has the name.
        OSError: the disk is full or cannot be written to.
    """
    folder, partial = models / release.name, models / f"{release.name}.partial"
    if folder.exists() and not is_whole(release, folder) and any(folder.iterdir()):
        msg = f"{folder} is there and is not the released {release.name}: move it away first."
        raise EngineError(msg)
    refusal = f"Another process is downloading {release.name} into {models}: wait for it or end it."
    with alone_in(partial, refusal):
        # Another process may have finished while this one came to the lock.
        if is_whole(release, folder):
            shutil.rmtree(partial, ignore_errors=True)
            return folder
        _check_room(release, partial)
        _fetch_missing(release, mirror, partial, patience or Patience(), progress)
        partial.rename(folder)
    return folder


def have_bytes(release: Release, models: Path) -> int:
    """Return how many bytes of a release an earlier call has brought already."""
    partial = models / f"{release.name}.partial"
    return sum(
        size_bytes(partial / file.name) or size_bytes(_part(partial, file))
        for file in release.files
    )


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_missing(
    release: Release, mirror: str, partial: Path, patience: Patience, progress: Progress
) -> None:
    with requests.Session() as session:
        for file in release.files:
            if not (partial / file.name).is_file():
                url = release.url(file, mirror)
                _fetch_checked(session, url, file, partial, patience, progress)


def _fetch_checked(
    session: requests.Session,
    url: str,
    file: ReleasedFile,
    partial: Path,
    patience: Patience,
    progress: Progress,
) -> None:
    part = _part(partial, file)
    found = ""
    # Once more after a wrong hash: the first may have been a resumed download gone wrong.
    for _ in range(2):
        max_bytes = file.size_bytes + SPARE_BYTES
        fetch(session, url, part, max_bytes=max_bytes, patience=patience, progress=progress)
        found = sha256(part)
        if found == file.sha256:
            num_mib = size_bytes(part) / MIB
            part.rename(partial / file.name)
            progress.say(f"{file.name}: {num_mib:.1f} MiB, SHA-256 as released")
            return
        forget(part, progress)
        progress.say(f"{file.name}: wrong SHA-256 {found}, thrown away")
    msg = (
        f"{file.name} has the SHA-256 {found} where it comes from, but the release's is "
        f"{file.sha256}: check the mirror."
    )
    raise DownloadError(msg)


def _part(partial: Path, file: ReleasedFile) -> Path:
    return partial / f"{file.name}.part"


def _check_room(release: Release, partial: Path) -> None:
    total = sum(file.size_bytes for file in release.files)
    need = total - have_bytes(release, partial.parent)
    free = shutil.disk_usage(partial).free
    if need > free:
        msg = (
            f"{release.name} needs {-(-need // MIB)} MiB more in {partial.parent}, but only "
            f"{free // MIB} MiB are free there."
        )
        raise EngineError(msg)
