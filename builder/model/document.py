"""YAML text to plain data that remembers where everything stands and how every number was written.

Scalars mean what YAML 1.2's core schema says: only `true` and `false` are truth values, only digits are numbers, so
that `no`, `on`, `22:10` and `52:54:00:11:22:33` stay text; keys are always text. Made from the parser's events and not
from its composed tree: the C composer calls itself for each level and dies of a deep file, and expands aliases before
anyone can count them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from builder.errors import Problem
from builder.model.words import nearest, written
from builder.model.yamlwords import in_plain_words

MAX_VALUES = 200_000
MAX_DEPTH = 24

Position = tuple[int, int]
Path = tuple[str | int, ...]


class Map(dict[str, Any]):
    """A mapping. `marks` gives for each key where the key and its value start."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, tuple[Position, Position]] = {}


class Seq(list[Any]):
    """A list. `marks` gives where each item starts."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        super().__init__()
        self.marks: list[Position] = []


class WrittenInt(int):
    """A whole number whose spelling is not the shortest one, such as 010."""

    text: str


class WrittenFloat(float):
    """A number whose spelling would be lost, such as 8.10."""

    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """The value of a file, and the findings that did not keep it from being read."""

    root: Any
    problems: tuple[Problem, ...] = ()

    def has(self, path: Path) -> bool:
        value = self.root
        for step in path:
            if isinstance(value, dict) and step in value:
                value = value[str(step)]
            elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
                value = value[step]
            else:
                return False
        return True

    def position(self, path: Path, *, key: bool = False) -> Position:
        """Where the value at `path` starts, or its key; for what is not there, the nearest thing around it."""
        value, found = self.root, (1, 1)
        last = len(path) - 1
        for index, step in enumerate(path):
            if isinstance(value, Map) and step in value.marks:
                at_key, at_value = value.marks[str(step)]
                rest_is_here = index == last or _reaches(value.get(str(step)), path[index + 1])
                found = at_value if rest_is_here and not (key and index == last) else at_key
                value = value.get(str(step))
            elif isinstance(value, Seq) and isinstance(step, int) and step < len(value.marks):
                found, value = value.marks[step], value[step]
            else:
                break
        return found


def _reaches(value: object, step: str | int) -> bool:
    if isinstance(value, Map):
        return step in value.marks
    return isinstance(value, Seq) and isinstance(step, int) and step < len(value.marks)


class Unreadable(Exception):
    """The text is not YAML that can be gone on with."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def read_document(text: str) -> Document:
    """Raises Unreadable. Time and memory are bounded by the text's length: aliases are counted, never expanded."""
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            composer.take(event)
    except yaml.YAMLError as error:
        raise Unreadable(*composer.problems, *in_plain_words(error, text)) from None
    if not composer.started:
        raise Unreadable(Problem("lab-empty", "the file is empty", _EMPTY_HINT, line=1, column=1))
    return Document(composer.root, tuple(composer.problems))


_EMPTY_HINT = "a lab needs at least `name:` and `nodes:`; labs/ has examples"


@dataclass(slots=True)
class _Frame:
    """A container that is still open. `size` counts its values with aliases expanded."""

    container: Map | Seq
    at: Position
    anchor: str | None
    size: int = 1
    key: str | None = None
    key_at: Position = (0, 0)
    skip: bool = False


@dataclass(slots=True)
class _Composer:
    root: Any = None
    started: bool = False
    problems: list[Problem] = field(default_factory=list)
    frames: list[_Frame] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            frame = self.frames.pop()
            if frame.anchor is not None:
                self.anchors[frame.anchor] = (frame.container, frame.size)
            self._place(frame.container, frame.at, frame.size)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            if self.started:
                self._stop("lab-documents", "a second document starts here (---)", "one lab per file", _position(event))
            self.started = True

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        at = _position(event)
        frame = self.frames[-1] if self.frames else None
        text = event.value
        if event.style == '"' and not text.isprintable() and not text.replace("\n", "").replace("\t", "").isprintable():
            self._note("lab-control", f"{text!a} holds a character that cannot be printed", "remove it", at)
            text = "".join(c for c in text if c.isprintable())
        if frame is not None and frame.key is None and isinstance(frame.container, Map):
            if event.anchor is not None:
                self.anchors[event.anchor] = (text, 1)
            self._key(frame, text, at)
            return
        self._check_tag(event.tag, at)
        value = _core(text) if event.implicit[0] and event.tag is None else text
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        self._place(value, at, 1)

    def _key(self, frame: _Frame, key: str, at: Position) -> None:
        assert isinstance(frame.container, Map)
        frame.key, frame.key_at = key, at
        if key in frame.container.marks:
            first = frame.container.marks[key][0]
            frame.skip = True
            where = self._path()[:-1]
            what: dict[Path, str] = {("nodes",): "two nodes are called", ("networks",): "two networks are called"}
            code = "lab-duplicate-name" if where in what else "lab-duplicate-key"
            said = f"{what.get(where, 'the key')} {key!r}" + ("" if where in what else " is given twice")
            self._note(
                code, f"{said}; the first is at line {first[0]}, column {first[1]}", "rename or remove one of them", at
            )
        elif key == "<<":
            frame.skip = True
            self._note("lab-merge-key", "`<<` merges nothing in YAML 1.2", "put what nodes share under `defaults:`", at)

    def _open(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent) -> None:
        at = _position(event)
        self._no_complex_key(at)
        self._check_tag(event.tag, at)
        if len(self.frames) >= MAX_DEPTH:
            self._stop("lab-depth", f"nested more than {MAX_DEPTH} levels deep", "a lab needs 8 levels at most", at)
        container = Map() if isinstance(event, yaml.MappingStartEvent) else Seq()
        self.frames.append(_Frame(container, at, event.anchor))
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)

    def _alias(self, event: yaml.AliasEvent) -> None:
        at, name = _position(event), str(event.anchor)
        if any(frame.anchor == name for frame in self.frames) and name not in self.anchors:
            self._stop("lab-alias-loop", f"*{name} stands inside &{name}: it would hold itself", "remove it", at)
        if name not in self.anchors:
            near = nearest(name, self.anchors)
            hint = f"did you mean *{near}?" if near else f"write &{name} at the value that is meant, above this line"
            self._stop("lab-alias-unknown", f"*{name} stands for nothing: no &{name} comes before it", hint, at)
        value, size = self.anchors[name]
        frame = self.frames[-1] if self.frames else None
        if frame is not None and frame.key is None and isinstance(frame.container, Map):
            if isinstance(value, Map | Seq):
                self._no_complex_key(at)
            self._key(frame, written(value), at)
        else:
            self._place(value, at, size)

    def _place(self, value: Any, at: Position, size: int) -> None:
        """Put a finished value where it belongs."""
        if not self.frames:
            self.root = value
            return
        frame = self.frames[-1]
        frame.size += size
        if frame.size > MAX_VALUES:
            self._stop(
                "lab-too-large",
                f"more than {MAX_VALUES:,} values once aliases are filled in",
                "this looks like an alias bomb; a lab of 1,000 nodes has about 40,000",
                at,
            )
        if isinstance(frame.container, Seq):
            frame.container.append(value)
            frame.container.marks.append(at)
            return
        assert frame.key is not None
        if not frame.skip:
            frame.container[frame.key] = value
            frame.container.marks[frame.key] = (frame.key_at, at)
        frame.key, frame.skip = None, False

    def _no_complex_key(self, at: Position) -> None:
        frame = self.frames[-1] if self.frames else None
        if frame is not None and frame.key is None and isinstance(frame.container, Map):
            self._stop("lab-yaml-key", "a list or a mapping stands where a key should be", "keys are plain words", at)

    def _check_tag(self, tag: str | None, at: Position) -> None:
        if tag not in (None, "!", "tag:yaml.org,2002:str"):
            self._note("lab-tag", f"the tag {tag} is not used in lab files", "remove the tag", at)

    def _path(self) -> Path:
        return tuple(
            frame.key if isinstance(frame.container, Map) and frame.key is not None else len(frame.container)
            for frame in self.frames
        )

    def _note(self, code: str, message: str, hint: str, at: Position) -> None:
        self.problems.append(Problem(code, message, hint, self._path(), *at))

    def _stop(self, code: str, message: str, hint: str, at: Position) -> None:
        raise Unreadable(*self.problems, Problem(code, message, hint, self._path(), *at))


def _position(event: yaml.Event) -> Position:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


_CORE = re.compile(
    r"(?P<null>~|null|Null|NULL|)\Z|(?P<true>true|True|TRUE)\Z|(?P<false>false|False|FALSE)\Z"
    r"|(?P<int>[-+]?[0-9]{1,400}|0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400})\Z"
    r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,3})?)\Z"
)


def _core(text: str) -> Any:
    """The value of an unquoted scalar under YAML 1.2's core schema (without .inf and .nan, which no key takes)."""
    match = _CORE.match(text)
    if match is None:
        return text
    if match["int"] is not None:
        number = int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        return number if str(number) == text else _keep(WrittenInt(number), text)
    if match["float"] is not None:
        return _keep(WrittenFloat(text), text) if len(text) < 400 else text
    return None if match["null"] is not None else match["true"] is not None


def _keep(number: Any, text: str) -> Any:
    number.text = text
    return number
