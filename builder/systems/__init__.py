"""What can be installed on a node: a folder per system. A new system is one folder and one line in `SYSTEMS`.

Systems are pure: a node goes in, data comes out. Their modules are cheap to import; what rendering needs is loaded when
something is rendered.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from builder.errors import UsageError
from builder.model.plan import System, SystemTraits
from builder.systems.overrides import refuse_templates

if TYPE_CHECKING:
    from builder.model.plan import Cause
    from builder.systems.code import Code
    from builder.systems.dead import DeadSetting
    from builder.systems.living import LivingSetting

SYSTEMS: Mapping[str, str] = {
    "debian": "builder.systems.debian.system:Debian",
    "tiny": "builder.systems.tiny.system:Tiny",
    "rhel": "builder.systems.rhel.system:Rhel",
    "suse": "builder.systems.suse.system:Suse",
    "xcpng": "builder.systems.xcpng.system:Xcpng",
    "netbsd": "builder.systems.netbsd.system:Netbsd",
}


class _Explained(Protocol):
    """The module `explained` of a system."""

    CAUSES: tuple[Cause, ...]
    CODES: Mapping[str, Code]
    DEAD: Mapping[str, DeadSetting]
    LIVING: Mapping[str, LivingSetting]


class _Kind(Protocol):
    traits: SystemTraits

    def __call__(self, overrides: Path | None = None) -> System: ...


def load_system(name: str, overrides: Path | None = None) -> System:
    """The system of that name. `overrides` is a folder with the user's own templates, laid out like `answerfiles/`.

    Raises UsageError for a name that is not in `SYSTEMS`.
    """
    return _kind(name)(overrides)


def loader(overrides: Path | None) -> Callable[[str], System]:
    """`load_system` with a user's templates, or without any.

    Raises UsageError for a folder in which nothing would ever be read, and for a template that is no text.
    """
    if overrides is not None:
        refuse_templates(overrides, SYSTEMS)
    return partial(load_system, overrides=overrides)


def traits() -> dict[str, SystemTraits]:
    """What loading a lab file needs to know of every system, in the order of the table."""
    return {name: _kind(name).traits for name in SYSTEMS}


def codes() -> dict[str, Code]:
    """Every code that a system's judge may give a finding, with its meaning."""
    return {code: row for name in SYSTEMS for code, row in _explained(name).CODES.items()}


def failures() -> dict[str, tuple[Cause, ...]]:
    """By system, why an installation or a boot of its hosts may have failed."""
    return {name: _explained(name).CAUSES for name in SYSTEMS}


def dead_settings() -> list[tuple[str, str, DeadSetting]]:
    """(system, setting, what became of it): what documents still name and nothing reads any more."""
    return [(name, setting, row) for name in SYSTEMS for setting, row in _explained(name).DEAD.items()]


def living_settings() -> list[tuple[str, str, LivingSetting]]:
    """(system, setting, where it is): what documents name and hosts still read."""
    return [(name, setting, row) for name in SYSTEMS for setting, row in _explained(name).LIVING.items()]


def _explained(name: str) -> _Explained:
    folder = SYSTEMS[name].rpartition(".")[0]
    return cast(_Explained, importlib.import_module(f"{folder}.explained"))


def _kind(name: str) -> _Kind:
    if name not in SYSTEMS:
        raise UsageError(f"there is no system '{name}'", hint=f"known: {', '.join(SYSTEMS)}")
    module, _, attribute = SYSTEMS[name].partition(":")
    return cast(_Kind, getattr(importlib.import_module(module), attribute))
