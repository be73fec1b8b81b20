"""What can be asked of a medium."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from builder.media.initrd import OverlayFile

if TYPE_CHECKING:
    # At run time this would load pydantic, which costs more than a plan does.
    from builder.model.plan import Answer, MediaEdit

Expect = Literal["new", "old", "any"]
How = Literal["auto", "append", "second", "repack"]
ANSWER_MODE = 0o755  # some answers are scripts that the installer starts; nobody else is on it to read them


@dataclass(frozen=True, slots=True)
class Put:
    """A file of the medium: `content` is its bytes, or a local file's path. `expect` says whether the path may be
    there before; `mode` is the permission bits of a new one. `secret`: the image is then its owner's alone to read."""

    path: str
    content: bytes | Path
    expect: Expect = "any"
    mode: int = 0o444
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Extend:
    """Bytes put behind a file's content as they are."""

    path: str
    content: bytes | Path


@dataclass(frozen=True, slots=True)
class Overlay:
    """Files that the installer finds in its initial RAM disk.

    `initrd` is a path on the medium; None for every initrd that a boot menu names. `how`: `append` makes a longer
    initrd; `second` adds a small one and names it in the menus; `auto` takes a second one where all loaders can;
    `repack` unpacks the initrd and packs it again as it was packed.
    """

    files: tuple[OverlayFile, ...]
    initrd: str | None = None
    how: How = "auto"


@dataclass(frozen=True, slots=True)
class Arguments:
    """Boot arguments by layer, on every entry or on those named by `titles`. `remove`: whole, or up to and with `=`."""

    kernel: tuple[str, ...] = ()
    hypervisor: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()


Edit = Put | Extend | Overlay | Arguments


def from_model(edits: Iterable[MediaEdit], answers: Iterable[Answer] = ()) -> tuple[Edit, ...]:
    """A system's media edits, and those of its answers that go on the medium itself, in the room's own terms.

    Files for the initrd become one overlay, added last.
    """
    out: list[Edit] = []
    inside: list[OverlayFile] = []
    for answer in answers:
        if answer.delivery == "initrd":
            inside.append(OverlayFile(f"/{answer.name}", answer.content.encode(), ANSWER_MODE, secret=True))
        elif answer.delivery == "iso":
            out.append(Put(f"/{answer.name}", answer.content.encode(), secret=True))
    for edit in edits:
        if edit.kind == "initrd":
            inside.append(OverlayFile(edit.path, edit.content.encode(), edit.mode))
        elif edit.kind == "arguments":
            layers = {"kernel": (edit.arguments, ()), "hypervisor": ((), edit.arguments)}
            kernel, hypervisor = layers[edit.layer]
            out.append(Arguments(kernel, hypervisor, edit.remove))
        else:
            expect: Expect = "old" if edit.kind == "replace" else "any"
            out.append(Put(edit.path, edit.content.encode(), expect, edit.mode & 0o555))
    if inside:
        out.append(Overlay(tuple(inside)))
    return tuple(out)
