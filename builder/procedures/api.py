"""What a host procedure is made of. A procedure decides; the engine does, and keeps what undoing needs.

Each way of doing it (a dialect: `xl` for plain Xen, `xe` for XAPI) has two parts that ask the host, `look` and `check`;
the rest is pure: from the state of the host and what is asked for, to refusals or actions.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator

from builder.model.host import Host, World
from builder.model.lab import Value
from builder.model.units import parse_mib

Dialect = Literal["xl", "xe"]
DIALECTS: Mapping[str, str] = {"xl": "plain Xen (xl and files)", "xe": "XCP-ng / XenServer (xe and host files)"}


def _words(value: Any) -> Any:
    """Text is split at commas; a list is taken as it is."""
    return tuple(filter(None, value.split(","))) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
"""An option that takes several words, written with commas: sdb,sdc,sdd."""


def _bytes(value: Any) -> int:
    """A journal holds sizes in bytes; people write them with a unit."""
    return value if isinstance(value, int) else parse_mib(value)


Mebibytes = Annotated[int, BeforeValidator(_bytes)]
"""An option that is a size in whole MiB, written with a unit: 512MiB."""


class Options(Value):
    """What a procedure can be asked for: every field has a description and, unless it must be given, a default."""


class State(Value):
    """What `look` found. `passing` names the fields that are not the procedure's to bring back: sizes, what runs."""

    passing: ClassVar[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Run:
    """A command. Statuses other than 0 and those in `fine` are failures. `seconds` suits hardware: an emulated host
    gets more. `on` is another node of the lab that it is run on."""

    argv: tuple[str, ...]
    stdin: bytes = b""
    seconds: float = 60
    fine: frozenset[int] = frozenset()
    hint: str = ""
    on: str = ""

    def __str__(self) -> str:
        return _at(self.on) + shlex.join(self.argv)


@dataclass(frozen=True, slots=True)
class Write:
    """A file that appears whole, or not at all. `secret` content is not shown. Without a `mode` a file keeps its own,
    and a new one gets 0644."""

    path: str
    content: str
    mode: int | None = None
    secret: bool = False
    on: str = ""

    def __str__(self) -> str:
        shown = "(not shown)\n" if self.secret else self.content
        body = "".join(f"    {line}\n" for line in shown.splitlines())
        mode = "" if self.mode is None else f", mode {self.mode:04o}"
        return f"{_at(self.on)}write {self.path}{mode}:\n{body}".rstrip("\n")


@dataclass(frozen=True, slots=True)
class Remove:
    """A file goes away; one that is not there is fine."""

    path: str
    on: str = ""

    def __str__(self) -> str:
        return _at(self.on) + shlex.join(["rm", "-f", "--", self.path])


@dataclass(frozen=True, slots=True)
class Hand:
    """What a command prints is the input of a command on another node of the lab: nothing secret among it. `on` and
    `to` name nodes; empty is the one that the procedure is done on."""

    take: tuple[str, ...]
    give: tuple[str, ...]
    on: str = ""
    to: str = ""
    hint: str = ""

    def __str__(self) -> str:
        return f"{_at(self.on)}{shlex.join(self.take)} | {_at(self.to or 'this host')}{shlex.join(self.give)}"


@dataclass(frozen=True, slots=True)
class Reboot:
    """The host restarts, and answers with another boot id before the next action."""

    why: str

    def __str__(self) -> str:
        return f"reboot  # {self.why}"


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The host powers off, by this command, and answers no more. It is the last action, and what was done before is
    looked at before it."""

    argv: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.argv)


Action = Run | Write | Remove | Hand | Reboot | Shutdown


def _at(node: str) -> str:
    return f"on {node}: " if node else ""


def steps(actions: Sequence[Action]) -> list[str]:
    """The actions as people read and paste them."""
    return [str(action) for action in actions]


def run(*argv: str, seconds: float = 60, fine: Sequence[int] = (), hint: str = "", on: str = "") -> Run:
    """A command without input."""
    return Run(argv, seconds=seconds, fine=frozenset(fine), hint=hint, on=on)


def as_it_was(path: str, text: str | None) -> Write | Remove:
    """What brings a file's text back; None for a file that was not there."""
    return Remove(path) if text is None else Write(path, text)


class Evidence(Value):
    """One effect, as seen from outside what was changed: never that a file is there."""

    what: str
    expected: str
    seen: str
    ok: bool


def same(what: str, expected: object, seen: object) -> Evidence:
    """Evidence that two things are equal."""
    return Evidence(what=what, expected=str(expected), seen=str(seen), ok=expected == seen)


def holds(what: str, expected: str, seen: str, ok: bool) -> Evidence:
    """Evidence that something holds; `expected` says what in words."""
    return Evidence(what=what, expected=expected, seen=seen, ok=ok)


class Refusal(Value):
    """Why nothing is done. `code` is stable; `hint` is what would change it."""

    code: str
    message: str
    hint: str


def unmet(rules: Iterable[tuple[bool, str, str, str]]) -> tuple[Refusal, ...]:
    """Refusals for the rules that do not hold; a rule is whether it holds, and a refusal's code, message and hint."""
    return tuple(Refusal(code=code, message=message, hint=hint) for fine, code, message, hint in rules if not fine)


class Dead(Value):
    """What an old document says to do, and why it is explained here and not run."""

    says: str
    why: str


OptionsT = TypeVar("OptionsT", bound=Options)
StateT = TypeVar("StateT", bound=State)


class Way(ABC, Generic[OptionsT, StateT]):
    """How a procedure is done in one dialect. Instances hold no state.

    `state` reads a journal back; `sample` is a host as it may be found, for the documents and their tests. `lasting` is
    False where a restart of the host ends the effect, as documented; `changes` where it is only looked at.
    """

    state: type[StateT]
    sample: StateT
    lasting: bool = True
    changes: bool = True

    def settle(self, host: Host, asked: OptionsT) -> OptionsT:  # noqa: ARG002 - most options stand for themselves
        """What is asked for, with what only the host can tell filled in. Reads only."""
        return asked

    @abstractmethod
    def look(self, host: Host, asked: OptionsT) -> StateT:
        """The state of the host. Reads only. Raises LabError."""

    def see(self, world: World, host: Host, asked: OptionsT) -> StateT:  # noqa: ARG002 - one host is enough for most
        """The state of all that is concerned: a way that needs a second host looks at it as well."""
        return self.look(host, asked)

    def refusals(self, state: StateT, asked: OptionsT) -> tuple[Refusal, ...]:  # noqa: ARG002 - the least is none
        """Every reason not to begin, at once."""
        return ()

    def advice(self, state: StateT, asked: OptionsT) -> tuple[str, ...]:  # noqa: ARG002 - the least is none
        """What documents recommend otherwise; nothing is refused for it."""
        return ()

    @abstractmethod
    def actions(self, state: StateT, asked: OptionsT) -> tuple[Action, ...]:
        """What brings the host from this state to what is asked for; nothing when it is there."""

    @abstractmethod
    def undo(self, state: StateT, before: StateT, asked: OptionsT) -> tuple[Action, ...]:
        """What brings the host from this state back to `before`; nothing when it is there."""

    @abstractmethod
    def check(self, world: World, host: Host, asked: OptionsT) -> tuple[Evidence, ...]:
        """The effects, seen from outside. Raises LabError."""

    def check_undone(self, world: World, host: Host, before: StateT, asked: OptionsT) -> tuple[Evidence, ...]:
        """That the host is as it was: every field that is the procedure's, looked at anew."""
        now = self.see(world, host, asked)
        names = [name for name in type(before).model_fields if name not in before.passing]
        return tuple(same(name.replace("_", " "), getattr(before, name), getattr(now, name)) for name in names)


@dataclass(frozen=True, slots=True)
class Card:
    """An interface of a drill's guest, on this bridge, or on xl's own. `address`, with its prefix, is what the guest
    answers by, `vlans` its addresses by tag, between which it routes; without any, it has no driver for it."""

    bridge: str = ""
    address: str = ""
    vlans: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drill:
    """How a procedure is tried on a host of a lab: what it is asked for there, files that are put in place first so
    that there is something to change, a guest that is made for it, and packages that the host must have beside those of
    every Xen host. `disk` names the option that says which disk that guest writes to. `reason` says why a lab cannot
    try it."""

    options: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    guest: bool = False
    card: Card | None = None
    disk: str = ""
    packages: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Procedure:
    """A procedure: what people read, what it takes, and the ways of doing it.

    `refuses`: each code of a refusal of its own, and when it is given. `subject` names the option whose value tells two
    applications on one host apart (a guest, an array); empty for what a host has once. `bound` names options that
    say what else is touched (a card, a guest's device): while it is applied they stay, since undoing goes by them.
    `stops_guests`: it deals with running guests itself, so a restart needs no host without guests.
    """

    name: str
    title: str
    summary: str
    options: type[Options]
    ways: Mapping[Dialect, Way[Any, Any]]
    sources: tuple[str, ...]
    refuses: Mapping[str, str]
    drill: Drill
    dead: tuple[Dead, ...] = ()
    subject: str = ""
    bound: tuple[str, ...] = ()
    stops_guests: bool = False

    def key(self, asked: Options) -> str:
        """What the journal of this application is called."""
        subject = getattr(asked, self.subject) if self.subject else ""
        return f"{self.name}@{subject}" if subject else self.name
