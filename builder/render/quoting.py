"""How a value is written so that one particular reader reads it back unchanged. Also the templates' filters."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from builder.errors import LabError

_GRUB_SPECIAL = re.compile(r"""([\\"'{}|&$;<>#])""")
_KICKSTART_PLAIN = re.compile(r"[A-Za-z0-9@%+=:,./_$*\[\]~^!{}-]+")
_XL_FORBIDDEN = re.compile(r'["\n\r]')


def shell(value: object) -> str:
    """One word of a POSIX shell."""
    return shlex.quote(str(value))


def shell_double(value: object) -> str:
    """What goes between double quotes in a shell file, as in NAME="...": nothing in it is expanded."""
    text = str(value)
    if "\n" in text:
        raise LabError(f"{text!r} holds a line break", hint="write it on one line")
    return re.sub(r'([\\"$`])', r"\\\1", text)


def grub_words(arguments: Iterable[str]) -> str:
    """Arguments as words of a GRUB command: GRUB's script reader takes every character as it stands."""
    return " ".join(_grub_word(argument) for argument in arguments)


def _grub_word(argument: str) -> str:
    if not argument or any(character.isspace() for character in argument):
        # GRUB passes an argument with a space on with quotes of its own, which the Linux command line then keeps.
        raise LabError(
            f"the argument {argument!r} is empty or holds a space, which GRUB cannot pass on unchanged",
            hint="write an argument without spaces",
        )
    return _GRUB_SPECIAL.sub(r"\\\1", argument)


def xl_string(value: object) -> str:
    """A string of xl.conf or a guest's xl configuration, with its quotes. That language has no escapes at all."""
    text = str(value)
    if _XL_FORBIDDEN.search(text):
        raise LabError(
            f"{text!r} cannot be written in an xl configuration: it holds a double quote or a line break",
            hint="leave these characters out",
        )
    return f'"{text}"'


def vmx_string(value: object) -> str:
    """A value of a .vmx file, with its quotes. What it cannot hold is written as a pipe and two hex digits."""
    text = str(value)
    return '"' + re.sub(r'[|"\x00-\x1f\x7f]', lambda found: f"|{ord(found[0]):02X}", text) + '"'


def powershell(value: object) -> str:
    """A literal string of PowerShell, which takes five characters as a single quote. Raises LabError for control
    characters: the language could hold them, and a reader would not see what the script does."""
    text = str(value)
    if not text.isprintable():
        raise LabError(
            f"{text!r} cannot stand in a script: it holds a line break or another control character",
            hint="leave that character out",
        )
    return "'" + re.sub("(['\u2018\u2019\u201a\u201b])", r"\1\1", text) + "'"


def kickstart(value: object) -> str:
    """One word of a kickstart line, as shlex reads it. Raises LabError for what no line can carry."""
    text = str(value)
    if not text.isprintable():
        raise LabError(
            f"{text!r} cannot stand in a kickstart: it holds a line break or another control character",
            hint="leave that character out",
        )
    if _KICKSTART_PLAIN.fullmatch(text):
        return text
    return f'"{text}"' if '"' not in text and "\\" not in text else shlex.quote(text)


def preseed(value: object) -> str:
    """The value of a line for debconf. It is taken as it stands to the end of the line: no quote or escape means
    anything, and a backslash at the end joins the next line to it. Raises LabError for what no line can carry."""
    text = str(value)
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise LabError(
            f"{text!r} cannot stand in a preseed file: it holds a line break or another control character, or has a "
            "space or a backslash at its end",
            hint="leave that character out",
        )
    return text


def comment(value: object, prefix: str = "# ") -> str:
    """Text of any number of lines as comment lines."""
    return "\n".join(f"{prefix}{line}".rstrip() for line in str(value).splitlines())


FILTERS: Mapping[str, Callable[..., Any]] = {
    "shell": shell,
    "shell_double": shell_double,
    "grub_words": grub_words,
    "xl_string": xl_string,
    "ks": kickstart,
    "preseed": preseed,
    "comment": comment,
}
