"""GRUB 2 scripts (and the kernel lines of GRUB legacy's `.conf`), line by line. What boots is found by its command;
conditions and variables are left alone, so an entry inside `if` is edited like any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from builder.media.menus.common import Change, Entry, is_hypervisor, same_path, with_arguments

_LINUX = ("linux", "linuxefi", "linux16", "kernel")
_INITRD = ("initrd", "initrdefi", "initrd16")
_HYPERVISOR = ("multiboot", "multiboot2", "xen_hypervisor")
_MODULE = ("module", "module2", "xen_module")
_BOOTS = re.compile(rf"\s*(?:{'|'.join((*_LINUX, *_INITRD, *_HYPERVISOR, *_MODULE))})\s")
_WORD = re.compile(r"(?:[^\s'\"\\]|\\.|'[^']*'|\"(?:[^\"\\]|\\.)*\")+", re.DOTALL)
_TITLE = re.compile(r"^\s*(?:menuentry|title)\s+(.*)$")
_ID = re.compile(r"(?:--id[ =]|\$menuentry_id_option\s+)(['\"]?)([^'\"\s]+)\1")
_PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+^-]*\Z")


@dataclass(slots=True)
class _Line:
    """A command that boots: the lines it takes, its words as written, and the entry it stands in."""

    first: int
    last: int
    words: list[str]
    names: tuple[str, ...]

    @property
    def command(self) -> str:
        return self.words[0]


def _commands(lines: list[str]) -> Iterator[_Line]:
    names: tuple[str, ...] = ("",)
    place = 0
    while place < len(lines):
        first = place
        text = lines[place].rstrip("\r\n")
        while text.endswith("\\") and not text.endswith("\\\\") and place + 1 < len(lines):
            place += 1
            text = text[:-1] + " " + lines[place].rstrip("\r\n")
        place += 1
        title = _TITLE.match(text)
        if title:
            shown = _WORD.match(title[1])
            own_id = _ID.search(title[1])
            legacy = text.lstrip().startswith("title")
            name = title[1].strip() if legacy else unquote(shown[0]) if shown else ""
            names = (name, own_id[2]) if own_id else (name,)
            # An entry on one line: menuentry "x" { linux ... ; initrd ... } is beyond this reader and left alone.
            continue
        if _BOOTS.match(text) and len(words := _WORD.findall(text)) > 1:
            yield _Line(first, place - 1, words, names)


def unquote(word: str) -> str:
    """A word as GRUB passes it on; variables stay as they are written."""
    out, quote, place = "", "", 0
    while place < len(word):
        char = word[place]
        if quote == "'" and char != "'":
            out += char
        elif char == "\\" and quote != "'" and place + 1 < len(word):
            place += 1
            out += word[place] if not quote or word[place] in '"\\$' else "\\" + word[place]
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        else:
            out += char
        place += 1
    return out


def quote(argument: str) -> str:
    """A word that GRUB passes on as `argument`."""
    if _PLAIN.match(argument) and argument:
        return argument
    return "'" + argument.replace("'", "'\\''") + "'"


@dataclass(slots=True)
class _Draft:
    """An entry that is being read."""

    title: str
    kernel: list[str] = field(default_factory=list)
    hypervisor: list[str] = field(default_factory=list)
    initrds: list[str] = field(default_factory=list)
    module: bool = False

    def entry(self) -> Entry:
        kernel, hypervisor = self.kernel or [""], self.hypervisor or [""]
        return Entry(
            self.title, kernel[0], tuple(kernel[1:]), tuple(self.initrds), hypervisor[0], tuple(hypervisor[1:]),
            self.module,
        )  # fmt: skip


def read_grub(text: str) -> tuple[Entry, ...]:
    drafts: list[_Draft] = []
    for line in _commands(text.splitlines()):
        rest = _operands([unquote(word) for word in line.words])
        title = line.names[0]
        if not rest:
            continue
        if line.command in _LINUX:
            drafts.append(_Draft(title, kernel=rest))
        elif line.command in _HYPERVISOR and not is_hypervisor(rest[0]):
            drafts.append(_Draft(title, kernel=rest, module=True))
        elif line.command in _HYPERVISOR:
            drafts.append(_Draft(title, hypervisor=rest, module=True))
        elif drafts and drafts[-1].title == title:
            _load(drafts[-1], line.command, rest)
    return tuple(draft.entry() for draft in drafts if draft.kernel)


def _load(draft: _Draft, command: str, rest: list[str]) -> None:
    """What is loaded behind a kernel or a hypervisor: of the hypervisor's modules the first is the kernel."""
    if command in _INITRD:
        draft.initrds += rest
    elif draft.module and not draft.kernel:
        draft.kernel = rest
    elif draft.hypervisor:
        draft.initrds.append(rest[0])


def _operands(words: list[str]) -> list[str]:
    rest = words[1:]
    while rest and rest[0].startswith("--"):
        rest = rest[1:]
    return rest


def edit_grub(text: str, change: Change) -> str:
    lines = text.splitlines(keepends=True)
    title, awaits_kernel = "", False
    replaced: dict[int, str] = {}
    dropped: set[int] = set()
    for line in _commands(lines):
        if line.names[0] != title:
            title, awaits_kernel = line.names[0], False
        words = None
        if line.command in _HYPERVISOR:
            awaits_kernel = is_hypervisor(next(iter(_operands(line.words)), ""))
            words = _with(line.words, change.hypervisor if awaits_kernel else change.kernel, change.remove)
        elif line.command in _LINUX or (line.command in _MODULE and awaits_kernel):
            awaits_kernel = False
            words = _with(line.words, change.kernel, change.remove)
        elif line.command in _INITRD:
            words = _second(line.words, change)
        if words is None or words == line.words or not change.applies(*line.names):
            continue
        head = lines[line.first]
        lead = head[: len(head) - len(head.lstrip())]
        tail = lines[line.last]
        replaced[line.first] = lead + " ".join(words) + tail[len(tail.rstrip("\r\n")) :]
        dropped |= set(range(line.first + 1, line.last + 1))
    return "".join(replaced.get(place, line) for place, line in enumerate(lines) if place not in dropped)


def _with(words: list[str], add: tuple[str, ...], remove: tuple[str, ...]) -> list[str]:
    lead = len(words) - len(_operands(words)) + 1
    plain = {unquote(word): word for word in words[lead:]}
    # Arguments that stay keep their own spelling: quotes and variables in them mean something.
    wanted = with_arguments([unquote(word) for word in words[lead:]], add, remove)
    return [*words[:lead], *(plain.get(argument, quote(argument)) for argument in wanted)]


def _second(words: list[str], change: Change) -> list[str]:
    out = list(words)
    for initrd, overlay in change.second_initrd:
        hits = [word for word in _operands(words) if same_path(unquote(word), change.folder, initrd)]
        if hits:
            device = hits[0].partition(")")[0] + ")" if hits[0].startswith("(") else ""
            if device + overlay not in out:
                out.append(device + overlay)
    return out
