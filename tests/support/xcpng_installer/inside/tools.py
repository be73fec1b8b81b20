"""The log that people follow, programs that are run, and files that are fetched."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Log:
    """Lines go to every place at once. Secrets are not logged by those who call."""

    def __init__(self, *places: TextIO) -> None:
        self._places = list(places)

    def also(self, place: TextIO) -> None:
        self._places.append(place)

    def __call__(self, text: str) -> None:
        for place in self._places:
            print(f"INFO     [{time.strftime('%Y-%m-%d %H:%M:%S')}] {text}", file=place, flush=True)


class Tools:
    """Runs programs, with what they say in the log. `RuntimeError` is how a failed one ends the installation."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def run(self, *argv: str | Path, stdin: str | None = None, ok: Sequence[int] = (0,)) -> str:
        words = [str(word) for word in argv]
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode not in ok:
            self.log(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
            raise RuntimeError(f"Error running: {' '.join(words)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def tries(self, *argv: str | Path) -> bool:
        """Whether it succeeded."""
        words = [str(word) for word in argv]
        return subprocess.run(words, capture_output=True, check=False, stdin=subprocess.DEVNULL).returncode == 0

    @contextmanager
    def mounted(self, device: str | Path, point: Path, *, options: str = "", kind: str = "") -> Iterator[Path]:
        point.mkdir(parents=True, exist_ok=True)
        self.run("mount", *(("-t", kind) if kind else ()), *(("-o", options) if options else ()), device, point)
        try:
            yield point
        finally:
            self.run("umount", point)

    def fetch(self, address: str, target: Path) -> None:
        """Bring a file of file://, http:// or ftp://. The real one knows nfs:// and https:// as well, and signs in."""
        if address.startswith("file://"):
            target.write_bytes(Path(address.removeprefix("file://")).read_bytes())
        elif address.startswith(("http://", "ftp://")):
            self.run("wget", "-q", "-T", "30", "-O", target, address)
        else:
            raise RuntimeError(f"Unknown source type: this stand-in does not fetch {address}")
