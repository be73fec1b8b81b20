"""What a remastered medium is expected to show when it boots, told from the vendor's medium and from what was asked."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from builder.errors import UsageError
from builder.lifecycle.media_proof_memory import LEAST
from builder.lifecycle.media_proof_model import Answer, Expected, ProofRequest
from builder.media.bill import Injected
from builder.media.boot import Menu
from builder.media.errors import MediaError
from builder.media.extract import extract
from builder.media.initrd import members

MOST = 1 << 20
"""Bytes: a bigger file is no answer, but what the answer is about."""
_MOST_FILES = 32
_ARCHIVE, _TRAILER = b"070701", b"TRAILER!!!"


def expectations(
    request: ProofRequest, menus: Iterable[Menu], vendor: Iterable[Menu] | None, answers: Iterable[Answer]
) -> Expected:
    """What was asked for, and the arguments that `menus` have beyond those of the vendor's medium, if there is one."""
    kernel, hypervisor = added_arguments(menus, vendor) if vendor is not None else ((), ())
    return Expected(
        kernel=_joined(request.kernel, kernel),
        hypervisor=_joined(request.hypervisor, hypervisor),
        answers=tuple({answer.path: answer for answer in answers}.values())[:_MOST_FILES],
        texts=request.texts,
    )


def _joined(*parts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(argument for part in parts for argument in part))


def added_arguments(now: Iterable[Menu], before: Iterable[Menu]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Arguments (kernel's, hypervisor's) that every changed entry of every menu got, in their order.

    Only those: which entry will boot, and by which of its menus, is the loader's choice.
    """
    known = {(menu.path, menu.image is None, entry.title): entry for menu in before for entry in menu.entries}
    kernels: list[list[str]] = []
    hypervisors: list[list[str]] = []
    for menu in now:
        for entry in menu.entries:
            old = known.get((menu.path, menu.image is None, entry.title))
            if old is None or old == entry:
                continue
            if entry.arguments != old.arguments:
                kernels.append([word for word in entry.arguments if word not in old.arguments])
            if entry.hypervisor_arguments != old.hypervisor_arguments:
                hypervisors.append([w for w in entry.hypervisor_arguments if w not in old.hypervisor_arguments])
    return _in_all(kernels), _in_all(hypervisors)


def _in_all(rows: list[list[str]]) -> tuple[str, ...]:
    return tuple(word for word in rows[0] if word != "---" and all(word in row for row in rows)) if rows else ()


def read_asked(files: Iterable[Path]) -> Iterator[Answer]:
    """Local files whose content was asked for. Raises UsageError for one that cannot be looked for."""
    for path in files:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a file that was put in") from None
        if len(content) < LEAST:
            raise UsageError(f"{path} has fewer than {LEAST} bytes: they cannot be told from others in a memory",
                             hint="let the installer show it: --expect-text")  # fmt: skip
        yield Answer(path=str(path), content=content, required=True)


def found_answers(iso: Path, injected: Iterable[Injected], work: Path) -> Iterator[Answer]:
    """Files that were put into an initial RAM disk, and those that lie on the medium. `work` is a scratch folder."""
    for number, item in enumerate(injected):
        if item.parts:
            local = work / f"archive-{number}"
            extract(iso, {item.path: local})
            yield from _packed(local.read_bytes(), item.parts)
            local.unlink()
        elif item.how == "added" and LEAST <= item.size <= MOST:
            local = work / f"file-{number}"
            extract(iso, {item.path: local})
            yield Answer(path=item.path, content=local.read_bytes(), required=False)
            local.unlink()


def _packed(archive: bytes, parts: tuple[Injected, ...]) -> Iterator[Answer]:
    """The contents of the plain archives in an initial RAM disk that hold one of `parts`."""
    wanted = {(part.path, part.sha256) for part in parts if LEAST <= part.size <= MOST}
    at = archive.find(_ARCHIVE)
    while at >= 0 and wanted:
        try:
            for file in members(archive[at:]) if at % 4 == 0 else ():
                key = (f"/{file.path}", hashlib.sha256(file.content).hexdigest())
                if key in wanted:
                    wanted.remove(key)
                    yield Answer(path=key[0], content=file.content, required=True)
            at = max(at, archive.find(_TRAILER, at))
        except MediaError:
            pass  # the name of the format, met in something else
        at = archive.find(_ARCHIVE, at + 4)
