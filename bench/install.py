"""Measures what each program's dependencies cost to install: seconds and megabytes."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = {"bot": ("bot.lock",), "engine": ("engine.lock", "torch.txt")}


def measure() -> None:
    """Install each program's lock file into an empty environment, without pip's cache."""
    for program, files in PROGRAMS.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            pip = [f"{folder}/bin/python", "-m", "pip", "install", "--quiet", "--no-cache-dir"]
            empty_bytes = _size_bytes(Path(folder))
            began_s = time.perf_counter()
            for file in files:
                subprocess.run(
                    [*pip, "--disable-pip-version-check", "-r", f"requirements/{file}"], check=True
                )
            took_s = time.perf_counter() - began_s
            added = (_size_bytes(Path(folder)) - empty_bytes) / 1e6
        print(f"install {program}: {took_s:.1f} s, {added:.0f} MB")


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
