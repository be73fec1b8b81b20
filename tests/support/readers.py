"""What the programs that read our files see in them, without the values: two files of one shape say the same things
about other values. A value that broke out of its place changes the shape, or the reader refuses the file."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

from lxml import etree
from pykickstart.errors import KickstartError
from pykickstart.parser import KickstartParser
from pykickstart.version import makeVersion

from tests.support.debian import debconf
from tests.support.rhel import HANDLERS
from tests.support.xl import read_domain

Shape = Hashable


class Unread(AssertionError):
    """A reader refuses a file."""


def of_shell(text: str, _release: str) -> Shape:
    """Bash takes the script apart and prints it its own way; nothing is run. What stands in quotes is left out."""
    done = subprocess.run(
        ["bash", "--norc", "--pretty-print", "/dev/stdin"], input=text, capture_output=True, text=True, check=False
    )
    if done.returncode or done.stderr:
        raise Unread(done.stderr or f"bash: status {done.returncode}")
    return tuple(_words(line) for line in done.stdout.splitlines())


def _words(line: str) -> Shape:
    """Command and number of words, for a line that is words; a line with an open quote counts as it is."""
    try:
        words = shlex.split(line)
    except ValueError:
        return line
    return (words[0].partition("=")[0] if words else "", len(words))


def of_hook(text: str) -> Shape:
    """A script in an answer file: ours is one for a shell, a user's may be anything."""
    try:
        return of_shell(text, "")
    except Unread:
        return "not for a shell"


def of_python(text: str, _release: str) -> Shape:
    compile(text, "hook", "exec")
    return "python"


def of_script(text: str, release: str) -> Shape:
    """By its first line, as the kernel would."""
    first = text.partition("\n")[0]
    return of_python(text, release) if first.startswith("#!") and "python" in first else of_shell(text, release)


def of_xml(text: str, _release: str) -> Shape:
    try:
        root = etree.fromstring(text.encode())
    except etree.XMLSyntaxError as error:
        raise Unread(str(error)) from None
    return tuple(
        (each.tag, tuple(sorted(each.attrib)), bool((each.text or "").strip()), of_embedded(each))
        if isinstance(each.tag, str)
        else "other"
        for each in root.iter()
    )


def of_embedded(element: Any) -> Shape:
    """The script in an element of AutoYaST, which a shell reads in its turn."""
    text = element.text or ""
    return of_hook(text) if element.tag.endswith("}source") else ()


def of_json(text: str, _release: str) -> Shape:
    try:
        return _json(json.loads(text))
    except ValueError as error:
        raise Unread(str(error)) from None


def _json(value: Any) -> Shape:
    if isinstance(value, dict):
        return tuple((key, _json(inner)) for key, inner in sorted(value.items()))
    return tuple(_json(inner) for inner in value) if isinstance(value, list) else type(value).__name__


class _Recorder(KickstartParser):
    """pykickstart, with the words of each command as it split them."""

    def __init__(self, release: str) -> None:
        super().__init__(makeVersion(HANDLERS[release]))  # type: ignore[no-untyped-call]
        self.commands: list[Shape] = []

    def handleCommand(self, lineno: int, args: list[str]) -> Any:
        self.commands.append((args[0], tuple(sorted(word.partition("=")[0] for word in args if word[:2] == "--"))))
        return super().handleCommand(lineno, args)  # type: ignore[no-untyped-call]


def of_kickstart(text: str, release: str) -> Shape:
    parser = _Recorder(release)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parser.readKickstartFromString(text)  # type: ignore[no-untyped-call]
        except KickstartError as error:
            raise Unread(str(error)) from None
    scripts = tuple((each.type, each.inChroot, of_hook(each.script)) for each in parser.handler.scripts)
    of = parser.handler.packages
    packages = tuple(len(each) for each in (of.packageList, of.groupList, of.excludedList, of.excludedGroupList))
    return (tuple(parser.commands), scripts, packages)


def of_preseed(text: str, _release: str) -> Shape:
    """debconf keeps the values in databases of its own."""
    values, said = debconf(text)
    if said:
        raise Unread(said)
    return tuple(sorted(values))


def of_xl(text: str, _release: str) -> Shape:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "domain"
        file.write_text(text)
        found = read_domain(file)
    if found.complaint:
        raise Unread(found.complaint)
    lists = tuple((key, len(items)) for key, items in sorted(found.lists.items()))
    return (tuple(sorted(found.strings)), tuple(sorted(found.numbers)), lists, len(found.disks))


def of_boot_cfg(text: str, _release: str) -> Shape:
    """bootcfg.c: # ends a line anywhere, the first = ends a key, commands lie between semicolons and have 79 bytes."""
    lines = []
    for line in text.splitlines():
        key, equals, value = line.partition("#")[0].partition("=")
        commands = value.partition(":")[2].split(";") if key == "menu" else [value]
        if any(len(command.strip().encode()) > 79 for command in commands):
            raise Unread(f"a command is too long: {line}")
        lines.append((key if equals else "", len(commands), tuple(c.split()[0] for c in commands if c.split())))
    return tuple(lines)


def of_lines(text: str, _release: str) -> Shape:
    """Files of words: what stands first on each line, and how many words there are. Keys and their values in units and
    settings are words, too."""
    return tuple(_first_and_number(line) for line in text.splitlines())


def of_keys(text: str, _release: str) -> Shape:
    """sshd(8): a key a line; what comes after its second word is a comment."""
    return tuple(len(line.split()[:2]) for line in text.splitlines())


def _first_and_number(line: str) -> Shape:
    words = line.partition("=")[0].split() if "=" in line.split("#", maxsplit=1)[0] else line.split()
    return (len(words), len(line.split()))


Reader = Callable[[str, str], Shape]

# The first that fits the file's path: what kind of file it is, with the system before it.
READERS: tuple[tuple[str, Reader], ...] = (
    (r"rhel:.*/ks\.cfg", of_kickstart),
    (r"debian:.*/preseed\.cfg", of_preseed),
    (r"suse:.*\.xml|xcpng:.*\.xml|.*/etc/libvirt/libxl/.*\.xml|.*/guests/[^/]+/install\.xml", of_xml),
    (r"suse:.*\.json", of_json),
    (r".*/etc/xen/(?!xl\.conf|auto/)[^/]+", of_xl),
    (r".*/boot\.cfg", of_boot_cfg),
    (r"xcpng:.*/(filesystem-populated|installation-complete|installation-start)[-0-9]*(\.sh)?", of_script),
    (r"debian:.*/nestlab/(early|late|partman)([-0-9]*)(\.sh)?", of_script),
    (r".*/usr/local/lib/nestlab/.*|.*\.sh", of_script),
    (r".*/etc/default/.*|.*/etc/rc\.conf", of_shell),
    (r".*/root/\.ssh/authorized_keys", of_keys),
    (r".*/etc/.*", of_lines),
)


def shape(system: str, path: str, content: str, release: str) -> Shape:
    """Raises Unread when the reader of such files refuses this one, and KeyError for a file that nobody reads here."""
    for pattern, reader in READERS:
        if re.fullmatch(pattern, f"{system}:{path}"):
            return reader(content, release)
    raise KeyError(f"{system}: no reader for {path}: add one to tests/support/readers.py")


def files_of(plan: Any) -> Iterator[tuple[str, str]]:
    """Path and content of every file that a plan makes."""
    for answer in plan.answers:
        yield f"/answers/{answer.name}", answer.content
    for edit in plan.media_edits:
        if edit.path:
            yield f"/medium/{edit.path.lstrip('/')}", edit.content
    for file in (*(plan.recipe.files if plan.recipe else ()), *plan.seed):
        yield file.path, file.content
