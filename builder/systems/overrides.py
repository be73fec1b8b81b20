"""A user's folder of templates, before anything is rendered: that something in it will be read, and can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from builder.errors import UsageError
from builder.paths import data_dir

_OF_GUESTS = "guests"
_SHIPPED = ("answerfiles", "kickstarts")
_SHARED = "shared"


def refuse_templates(overrides: Path, systems: Iterable[str]) -> None:
    """Raises UsageError for a folder without templates for any of the systems, for one whose files all have names that
    no template of ours has, for a folder or a broken link of such a name, and for a template that is not UTF-8 text."""
    folders = [overrides / name for name in (*systems, _OF_GUESTS) if (overrides / name).is_dir()]
    if not folders:
        raise UsageError(
            f"{overrides} has templates for no system",
            hint=f"a template stands in a folder of its system there: {overrides}/rhel/ks.cfg; "
            f"folders: {', '.join((*systems, _OF_GUESTS))}",
        )
    for folder in folders:
        theirs, ours = list(_files(folder)), list(_ours(folder.name))
        if theirs and not set(theirs) & set(ours):
            raise UsageError(
                f"{folder / theirs[0]} stands in for no template of ours: nothing would read it",
                hint=f"templates of {folder.name}: {', '.join(ours)}",
            )
        for path in (folder / name for name in ours):
            if (path.is_symlink() or path.exists()) and not path.is_file():
                raise UsageError(f"{path} is no file: ours would be read in its place", hint="put your template there")
        for name in theirs:
            _refuse_bytes(folder / name)


def _ours(system: str) -> Iterator[str]:
    for shipped in _SHIPPED:
        for name in (system, _SHARED):
            yield from _files(data_dir(shipped) / name)


def _files(folder: Path) -> Iterator[str]:
    """Names below the folder, in order; those of editors' own files, which are hidden, are left out."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in name.parts):
            yield str(name)


def _refuse_bytes(template: Path) -> None:
    try:
        template.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{template} is no UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}",
            hint="save it as UTF-8",
        ) from None
    except OSError as error:
        raise UsageError(f"{template} cannot be read: {error.strerror}", hint="mend its permissions") from None
