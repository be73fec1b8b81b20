"""NetBSD's boot.cfg: `menu=title:command;command`. Its loader copies each command into 80 bytes and cuts every line
at `#`, so a longer or commented command would be lost or worse."""

from __future__ import annotations

from builder.media.errors import MediaError
from builder.media.menus.common import Change, Entry, with_arguments

COMMAND_MAX = 79
FILE_MAX = 32768
_KERNELS = ("boot", "load", "pkboot")


def _menu(line: str) -> tuple[str, list[str]] | None:
    body = line.partition("#")[0]
    if not body.startswith("menu") or "=" not in body:
        return None
    title, colon, commands = body.partition("=")[2].partition(":")
    return (title, [c.strip() for c in commands.split(";")]) if colon else None


def read_netbsd(text: str) -> tuple[Entry, ...]:
    out = []
    for line in text.splitlines():
        menu = _menu(line)
        if menu is None:
            continue
        kernel: list[str] = []
        hypervisor: list[str] = []
        for command in menu[1]:
            words = command.split()
            if words and words[0] in _KERNELS:
                kernel = words[1:] or ["netbsd"]
            elif words and words[0] == "multiboot" and len(words) > 1:
                hypervisor = words[1:]
        if kernel:
            name, arguments = kernel[0], kernel[1:]
            if name.startswith("-"):
                name, arguments = "netbsd", kernel
            out.append(
                Entry(menu[0], name, tuple(arguments), (), *_head(hypervisor), module=bool(hypervisor))
            )  # fmt: skip
    return tuple(out)


def _head(words: list[str]) -> tuple[str, tuple[str, ...]]:
    return (words[0], tuple(words[1:])) if words else ("", ())


def edit_netbsd(text: str, change: Change) -> str:
    if any("#" in argument or ";" in argument for argument in (*change.kernel, *change.hypervisor)):
        raise MediaError("boot.cfg has no way to write '#' or ';' in an argument", hint="leave that argument out")
    out = []
    for line in text.splitlines(keepends=True):
        menu = _menu(line.rstrip("\r\n"))
        if menu is None or not change.applies(menu[0]):
            out.append(line)
            continue
        commands = [_command(command, change) for command in menu[1]]
        if commands == menu[1]:
            out.append(line)
            continue
        out.append(f"menu={menu[0]}:{';'.join(commands)}" + line[len(line.rstrip("\r\n")) :])
    result = "".join(out)
    if _length(result) > FILE_MAX:
        raise MediaError(
            f"boot.cfg may have {FILE_MAX} bytes and would have {_length(result)}", hint="use fewer arguments"
        )
    return result


def _command(command: str, change: Change) -> str:
    words = command.split()
    add: tuple[str, ...] = ()
    if words and words[0] in _KERNELS:
        add = change.kernel
        if len(words) == 1 and add:
            words.append("netbsd")
    elif words and words[0] == "multiboot":
        add = change.hypervisor
    else:
        return command
    lead = 2 if len(words) > 1 and not words[1].startswith("-") else 1
    new = " ".join([*words[:lead], *with_arguments(words[lead:], add, change.remove)])
    if new == " ".join(words):
        return command
    if _length(new) > COMMAND_MAX:
        raise MediaError(
            f"NetBSD's loader takes {COMMAND_MAX} bytes of a command, this one has {_length(new)}: {new!r}",
            hint="use fewer or shorter arguments",
        )
    return new


def _length(text: str) -> int:
    """Bytes, of text that need not be UTF-8."""
    return len(text.encode("utf-8", "surrogateescape"))
