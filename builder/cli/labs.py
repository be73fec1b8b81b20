"""LAB on the command line: the path of a lab file, or the name of a lab that is up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from builder.cli.frame import App
from builder.errors import LabError, UsageError
from builder.model.lab import Lab
from builder.model.units import NAME_PATTERN
from builder.paths import Places, data_dir

if TYPE_CHECKING:
    from builder.lifecycle.plan import LabPlan
    from builder.model.load import Loaded

_SUFFIXES = (".yaml", ".yml")
_NAME_LINE = re.compile(r"^name:[ \t]+[\"']?([a-z0-9][a-z0-9-]{0,31})[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)


def complete_lab(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labs that are up, and files."""
    places = Places.from_environment(os.environ)
    up = [CompletionItem(name) for name in up_names(places) if name.startswith(incomplete)]
    return [*up, CompletionItem(incomplete, type="file")]


def complete_node(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The nodes of the lab named before."""
    given = ctx.params.get("lab")
    if not isinstance(given, str):
        return []
    places = Places.from_environment(os.environ)
    try:
        names = sorted(path.name for path in (places.lab(lab_id(given)) / "nodes").iterdir())
    except (LabError, OSError):
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def up_names(places: Places) -> list[str]:
    """Names of the labs that have a folder, whatever their state."""
    folder = places.labs()
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def is_file_argument(text: str) -> bool:
    """A path is what looks like one: it has a slash or a YAML suffix. Anything else names a lab that is up."""
    return "/" in text or text.endswith(_SUFFIXES)


def lab_id(text: str) -> str:
    """The lab's name, for verbs that act on what is up. A file is only looked at for its `name:`, so that a lab can
    be taken down although its file has been broken since. Raises UsageError when there is none, and for what cannot be
    a name: a folder is made of it."""
    if not is_file_argument(text):
        if not re.fullmatch(NAME_PATTERN, text):
            hint = "a file has a slash in its path or ends in .yaml; `nestlab ls` has names"
            raise UsageError(f"{text!r} is neither a lab file nor the name of a lab", hint=hint)
        return text
    path = existing(text)
    try:
        found = _NAME_LINE.search(path.read_text("utf-8", errors="replace"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if found is None:
        raise UsageError(f"{path} has no `name:`", hint=f"nestlab validate {path}")
    return found[1]


def running_lab(places: Places, text: str) -> str:
    """The name of a lab that is up. Raises UsageError as `lab_id` does, LabError when it is not up."""
    name = lab_id(text)
    if not places.lab(name).is_dir():
        hint = f"nestlab up {text}" if is_file_argument(text) else "`nestlab ls` lists the labs that are"
        raise LabError(f"lab {name} is not up", hint=hint)
    return name


def existing(text: str) -> Path:
    """The path of a lab file. Raises UsageError when nothing is there, with the place of an example of that name."""
    path = Path(text)
    if path.exists():
        return path
    hint = _shipped(path.name) or f"examples are in {data_dir('labs')}; `nestlab ls` lists the labs that are up"
    raise UsageError(f"there is no lab file {text}", hint=hint)


def _shipped(name: str) -> str:
    """Where the example of that name is, or nothing."""
    found = [path for suffix in ("", *_SUFFIXES) if (path := data_dir("labs") / f"{name}{suffix}").is_file()]
    return f"nestlab ships one of that name: {found[0]}" if found else ""


def load_lab(app: App, text: str, *, limits: bool = True) -> Lab:
    """The lab of a file, checked; or the lab that is up under that name, as it was when it came up.

    `limits`: what this host has counts as well. Raises LabFileError with every problem, LabError for an unknown name.
    """
    if not is_file_argument(text):
        from builder.lifecycle.state import read_lab as read_up

        if not app.places.lab(lab_id(text)).is_dir():
            hint = _shipped(text) or f"a lab file is named by its path, such as ./{text}.yaml"
            raise LabError(f"no lab named {text} is up", hint=f"{hint}; `nestlab ls` lists those that are")
        return read_up(app.places, text)
    return load_file(app, existing(text), limits=limits).lab


def load_file(app: App, path: Path, *, limits: bool) -> Loaded:
    """The lab of a file, with notes. Raises LabFileError with every problem that it has."""
    from builder.cli.limits import host_limits
    from builder.model.load import load_lab as read
    from builder.systems import traits

    return read(path, traits(), limits=host_limits(app.places) if limits else None)


def planned(lab: Lab, templates: Path | None = None) -> LabPlan:
    """The plan of a lab, with a user's templates. Raises UsageError for what its systems refuse."""
    from builder.lifecycle.plan import plan_lab
    from builder.systems import loader

    with blamed_on_input():
        return plan_lab(lab, loader(templates))


@contextmanager
def blamed_on_input() -> Iterator[None]:
    """For what is decided by the lab file, templates and options alone: a refusal is a UsageError there, so that all
    verbs end as `validate` does. Errors that have a status of their own keep it."""
    try:
        yield
    except LabError as error:
        if error.exit_code != LabError.exit_code:
            raise
        raise UsageError(error.message, hint=error.hint) from error


def one_node(app: App, lab: str, node: str | None) -> str:
    """The node that is meant: the given one, or the only one. Raises UsageError when there is no such or a choice."""
    from builder.lifecycle.state import read_plan

    names = [plan.name for plan in read_plan(app.places, lab).nodes]
    if node is None and len(names) == 1:
        return names[0]
    if node in names:
        assert node is not None
        return node
    said = f"lab {lab} has no node {node}" if node else f"lab {lab} has {len(names)} nodes: say which"
    raise UsageError(said, hint=f"its nodes: {', '.join(names)}")
