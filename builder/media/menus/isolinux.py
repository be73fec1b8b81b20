"""isolinux and syslinux configuration. Words are parted by spaces and nothing is quoted; a kernel's line is all the
rest of `append`. With mboot.c32 that line is a row of modules between `---`: hypervisor, kernel, initrd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from builder.media.errors import MediaError
from builder.media.menus.common import Change, Entry, is_hypervisor, same_path, with_arguments

_KERNELS = ("kernel", "linux")
LINE_MAX = 2047  # what isolinux keeps of an append line


@dataclass(slots=True)
class _Block:
    """The lines of one `label`, as places in the file. `common` is the `append` in front of all labels, which an
    entry without one of its own gets."""

    title: str
    common: str = ""
    kernel: tuple[int, str] | None = None
    append: tuple[int, str] | None = None
    initrd: tuple[int, str] | None = None
    names: list[str] = field(default_factory=list)


def _blocks(lines: list[str]) -> Iterator[_Block]:
    block: _Block | None = None
    common = ""
    for place, line in enumerate(lines):
        words = line.split(None, 1)
        if not words:
            continue
        key, value = words[0].lower(), words[1].strip() if len(words) > 1 else ""
        if key == "label":
            if block is not None:
                yield block
            block = _Block(value, common, names=[value])
        elif block is None:
            common = value if key == "append" else common
        elif key in _KERNELS:
            block.kernel = (place, value)
        elif key == "append":
            block.append = (place, value)
        elif key == "initrd":
            block.initrd = (place, value)
        elif key == "menu" and value.lower().startswith("label"):
            block.names.append(value[5:].strip().replace("^", ""))
    if block is not None:
        yield block


def _is_mboot(block: _Block) -> bool:
    return block.kernel is not None and block.kernel[1].rsplit("/", 1)[-1].lower().startswith("mboot.c32")


def read_isolinux(text: str) -> tuple[Entry, ...]:
    out = []
    for block in _blocks(text.splitlines()):
        if block.kernel is None:
            continue
        if _is_mboot(block):
            parts = [part.split() for part in f" {block.append[1]} ".split(" --- ")] if block.append else []
            parts = [part for part in parts if part]
            if not parts:
                continue
            if not is_hypervisor(parts[0][0]):
                out.append(Entry(block.title, parts[0][0], tuple(parts[0][1:]), module=True))
                continue
            kernel = parts[1] if len(parts) > 1 else [""]
            initrds = tuple(part[0] for part in parts[2:])
            out.append(
                Entry(block.title, kernel[0], tuple(kernel[1:]), initrds, parts[0][0], tuple(parts[0][1:]), module=True)
            )
            continue
        name = block.kernel[1].split()[0] if block.kernel[1] else ""
        if name.lower().endswith((".c32", ".0", ".bin", ".bs", ".bss", ".com", ".cbt", ".img")):
            continue
        words = (block.append[1] if block.append else block.common).split()
        found = [word[len("initrd=") :] for word in words if word.startswith("initrd=")]
        if block.initrd is not None:
            found.append(block.initrd[1])
        initrds = tuple(path for word in found for path in word.split(",") if path)
        arguments = tuple(word for word in words if not word.startswith("initrd="))
        out.append(Entry(block.title, name, arguments, initrds))
    return tuple(out)


def edit_isolinux(text: str, change: Change) -> str:
    lines = text.splitlines(keepends=True)
    bare = [line.rstrip("\r\n") for line in lines]
    booted = {entry.title for entry in read_isolinux(text)}
    inserts: list[tuple[int, str]] = []
    for block in _blocks(bare):
        if block.title not in booted or not change.applies(*block.names) or block.kernel is None:
            continue
        if _is_mboot(block):
            if block.append is not None:
                _put(lines, block.append[0], _mboot(block.append[1], change))
            continue
        if block.append is not None:
            _put(lines, block.append[0], " ".join(_linux(block.append[1].split(), change)))
        elif (own := _linux(block.common.split(), change)) != block.common.split():
            # An append of its own hides the common one: it must say that too.
            inserts.append((block.kernel[0], "  append " + " ".join(own)))
        if block.initrd is not None:
            _put(lines, block.initrd[0], _second(block.initrd[1], change))
    for place, line in sorted(inserts, reverse=True):
        ending = "\r\n" if lines[place].endswith("\r\n") else "\n"
        if not lines[place].endswith("\n"):
            lines[place] += ending
        lines.insert(place + 1, line + ending)
    return "".join(lines)


def _put(lines: list[str], place: int, value: str) -> None:
    """Give a line another value; indentation, keyword and line end stay."""
    line = lines[place]
    body = line.rstrip("\r\n")
    lead = body[: len(body) - len(body.lstrip())]
    words = body.split(None, 1)
    old = words[1].strip() if len(words) > 1 else ""
    if value == old:
        return
    if len(value) > LINE_MAX:
        raise MediaError(
            f"isolinux reads {LINE_MAX} characters of a line, this one has {len(value)}",
            hint="use fewer or shorter arguments",
        )
    lines[place] = f"{lead}{words[0]} {value}".rstrip() + line[len(body) :]


def _linux(words: list[str], change: Change) -> list[str]:
    words = with_arguments(words, change.kernel, change.remove)
    return [f"initrd={_second(word[7:], change)}" if word.startswith("initrd=") else word for word in words]


def _mboot(value: str, change: Change) -> str:
    parts = [part.split() for part in f" {value} ".split(" --- ")]
    if not parts or not parts[0]:
        return value
    is_xen = is_hypervisor(parts[0][0])
    own = change.hypervisor if is_xen else change.kernel
    parts[0] = [parts[0][0], *with_arguments(parts[0][1:], own, change.remove)]
    if is_xen and len(parts) > 1 and parts[1]:
        parts[1] = [parts[1][0], *with_arguments(parts[1][1:], change.kernel, change.remove)]
    return " --- ".join(" ".join(part) for part in parts)


def _second(value: str, change: Change) -> str:
    paths = value.split(",")
    for initrd, overlay in change.second_initrd:
        if overlay not in paths and any(same_path(path, change.folder, initrd) for path in paths):
            paths.append(overlay)
    return ",".join(paths)
