"""Findings of the type layer, in the words of the person who wrote the file and at the place where they wrote."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from builder.model import layers, units
from builder.model.document import Path
from builder.model.report import Report
from builder.model.words import describe, listing, nearest, shorten, shown, written

_Words = tuple[str, str, str]

# Nobody reads more, and each costs a search for what may have been meant.
MOST_EXPLAINED = 200

# What a text that matches no pattern should have looked like, by the pattern.
_PATTERNS: Mapping[str, _Words] = {
    units.NAME_PATTERN: (
        "lab-name",
        "is not a name",
        "use 1 to 32 lower-case letters, digits and hyphens, with no hyphen at either end",
    ),
    units.ARGUMENT_PATTERN: (
        "lab-argument",
        "is not one boot argument",
        "write one word such as iommu=no-intremap, without spaces, quotes, $, backslash or ; | & < >",
    ),
    units.BDF_PATTERN: ("lab-bad-value", "is not a PCI address", "write it as 00:19.0 or 0000:00:19.0, lower case"),
    layers.EXPIRES_PATTERN: ("lab-bad-value", "is not a lifetime", "write 30m, 12h, 7d or never"),
    layers.COM1_PATTERN: ("lab-bad-value", "is not a serial line setting", "write it as 115200,8n1"),
    layers.CONSOLE_PATTERN: ("lab-bad-value", "is not a console list", "write it as com1 or com1,vga"),
    layers.LOGLVL_PATTERN: (
        "lab-bad-value",
        "is not a log level of Xen",
        "write none, error, warning, info, debug or all, or two of them as error/all",
    ),
    units.BRIDGE_PATTERN: (
        "lab-bad-value",
        "is not a bridge name",
        "use a letter, then letters and digits, 15 at most, such as xenbr0",
    ),
    layers.FOLDER_PATTERN: (
        "lab-bad-value",
        "is not a folder of the node",
        "write it from the root on, in letters, digits, dots, hyphens and underscores, such as /srv/nfs",
    ),
    layers.PACKAGE_PATTERN: (
        "lab-bad-value",
        "is not a Debian package",
        "write its name alone, in lower case",
    ),
    layers.SHA256_PATTERN: (
        "lab-bad-value",
        "is not a sha256",
        "write the 64 hexadecimal digits that sha256sum prints",
    ),
}

_EXAMPLES = {
    "name": "name: my-lab",
    "nodes": "nodes: {host1: {system: debian}}",
    "size": "size: 50GiB",
    "network": "network: lan",
    "level": "level: 1",
    "disks": "disks: [disk0, disk1]",
    "by": "by: debootstrap",
}

# Words that other tools use for what has another name here.
_SYNONYMS = {
    "vcpus": "cpus", "vcpu": "cpus", "cpu": "cpus", "cores": "cpus", "ram": "memory", "mem": "memory",
    "nics": "networks", "interfaces": "networks", "os": "system", "distribution": "system", "version": "release",
    "disk": "disks", "vlans": "trunk", "ip": "addresses", "address": "addresses", "bios": "firmware",
    "uefi": "firmware", "boot": "firmware", "depends_on": "after", "dom0_mem": "dom0_memory", "iso": "medium",
    "cmdline": "arguments", "args": "arguments", "append": "arguments", "title": "name", "lifetime": "expires",
    "ttl": "expires", "hosts": "nodes", "vms": "nodes", "machines": "nodes", "block_size": "sector",
}  # fmt: skip


def explain(
    error: ValidationError, report: Report, *, base: Path = (), model: type[BaseModel] = layers.LabLayer
) -> None:
    """Add each finding of the type layer to the report. `model` is the type of what stands at `base` in the file."""

    def keys_at(path: Path) -> type[BaseModel] | None:
        return model_at(path[len(base) :], model)

    details = error.errors(include_url=False)
    report.left_out += len(details[MOST_EXPLAINED:])
    for detail in details[:MOST_EXPLAINED]:
        loc = detail["loc"]
        path: Path = (*base, *(step for step in loc if step != "[key]"))
        is_key = bool(loc) and loc[-1] == "[key]"
        code, message, hint = _words(detail, path, keys_at)
        at_key = is_key or detail["type"] in ("extra_forbidden", "missing")
        report.add(code, message, hint, path[:-1] if detail["type"] == "missing" else path, key=at_key)


def _words(detail: Any, path: Path, keys_at: Callable[[Path], type[BaseModel] | None]) -> _Words:
    kind, value = detail["type"], detail["input"]
    context = {**detail.get("ctx", {}), "keys_at": keys_at, "is_key": detail["loc"][-1:] == ("[key]",)}
    fault = context.get("error")
    if isinstance(fault, units.BadValue):
        return fault.code, f"{_label(path)}: {fault.message}", fault.hint
    if kind in _KINDS:
        return _KINDS[kind](path, value, context)
    return "lab-bad-value", f"{_label(path)} cannot be {describe(value)}", "`nestlab schema` shows what may stand here"


def _unknown_key(path: Path, _value: object, context: Mapping[str, Any]) -> _Words:
    key = str(path[-1])
    model = context["keys_at"](path[:-1])
    known = list(model.model_fields) if model else []
    near = _SYNONYMS.get(key.lower().replace("-", "_"))
    near = near if near in known else nearest(key, known)
    if near:
        hint = f"did you mean {near}?"
    elif "install" not in path and (home := _home_of(key, model)) is not None:
        hint = f"{key} belongs under {home}:"
    else:
        hint = f"keys that may stand here: {listing(known)}"
    return "lab-unknown-key", f"unknown key {shorten(key)} in {place(path[:-1])}", hint


def _home_of(key: str, model: type[BaseModel] | None) -> str | None:
    """The mapping of the node, or the part of the lab, that a known key belongs to."""
    homes: Mapping[str, type[BaseModel]] = {
        "xen": layers.XenLayer,
        "source": layers.SourceLayer,
        "defaults": layers.NodeLayer,
    }
    for name, home in homes.items():
        if home is not model and key in home.model_fields:
            return name
    return None


def _missing(path: Path, _value: object, _context: Mapping[str, Any]) -> _Words:
    key = str(path[-1])
    example = _EXAMPLES.get(key) if key != "name" or len(path) == 1 else None
    return "lab-missing-key", f"{place(path[:-1])} lacks {key}", f"add {example or key + ': ...'}"


def _number(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    if context["is_key"]:
        words = f"{_label(path[:-1])}: the key {shorten(str(value))} is not a whole number"
        return "lab-wrong-type", words, "write a VLAN of the trunk, such as 100: [10.0.100.1/24]"
    hint = "write a number such as 2"
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
        hint = f"write it without quotes: {value}"
    elif isinstance(value, float):
        hint = "write it without a fraction"
    return "lab-wrong-type", f"{_label(path)} takes a whole number, found {describe(value)}", hint


def _truth(path: Path, value: object, _context: Mapping[str, Any]) -> _Words:
    meant = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}
    near = meant.get(value.lower(), value.lower()) if isinstance(value, str) else ""
    hint = f"write {near}, without quotes" if near in ("true", "false") else "write true or false"
    return "lab-wrong-type", f"{_label(path)} takes true or false, found {describe(value)}", hint


def _text(path: Path, value: object, _context: Mapping[str, Any]) -> _Words:
    scalar = isinstance(value, bool | int | float)
    hint = f"put it in quotes: '{shown(written(value))}'" if scalar else "write one word or a text in quotes"
    return "lab-wrong-type", f"{_label(path)} takes text, found {describe(value)}", hint


def _pattern(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    code, message, hint = _PATTERNS[context["pattern"]]
    if code == "lab-name" and isinstance(value, str) and len(value) > 32:
        message = f"is {len(value)} characters long"
    label = f"the name of a {str(path[-2])[:-1]}" if context["is_key"] else _label(path)
    return code, f"{label}: {shorten(str(value))} {message}", hint


def _length(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    if not value:
        return "lab-empty-value", f"{_label(path)} is empty", "give a value or remove the line"
    limit = context.get("max_length")
    return "lab-bad-value", f"{_label(path)}: the text is {len(str(value))} characters long", f"{limit} at most"


def _too_many(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    count = len(value) if isinstance(value, list | tuple | dict) else "too many"
    return "lab-too-many", f"{_label(path)} has {count} entries", f"write {context['max_length']} or less"


def _choice(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
    seen = shorten(value) if isinstance(value, str) else describe(value)
    near = nearest(written(value), known)
    hint = f"did you mean {near}?" if near else f"write one of {listing(known)}"
    return "lab-bad-value", f"{_label(path)}: {seen} is none of {listing(known)}", hint


def _too_small(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    return (
        "lab-bad-value",
        f"{_label(path)} is {shown(written(value))}, which is too small",
        f"write {context['ge']} or more",
    )


def _too_big(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    return (
        "lab-bad-value",
        f"{_label(path)} is {shown(written(value))}, which is too big",
        f"write {context['le']} or less",
    )


def _mapping(path: Path, value: object, context: Mapping[str, Any]) -> _Words:
    model = context["keys_at"](path)
    keys = f"`key: value` lines, with keys from: {listing(list(model.model_fields))}" if model else "`name:` lines"
    return "lab-wrong-type", f"{_label(path)} takes a mapping, found {describe(value)}", f"put {keys} under it"


def _list(path: Path, value: object, _context: Mapping[str, Any]) -> _Words:
    hint = "begin each item with '- '"
    if isinstance(value, str | int | float):
        hint = f"write it as [{shown(written(value))}]"
    return "lab-wrong-type", f"{_label(path)} takes a list, found {describe(value)}", hint


_KINDS: Mapping[str, Callable[[Path, object, Mapping[str, Any]], _Words]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "int_type": _number,
    "int_parsing": _number,
    "int_parsing_size": _number,
    "bool_type": _truth,
    "string_type": _text,
    "string_pattern_mismatch": _pattern,
    "string_too_long": _length,
    "string_too_short": _length,
    "too_long": _too_many,
    "literal_error": _choice,
    "greater_than_equal": _too_small,
    "less_than_equal": _too_big,
    "model_type": _mapping,
    "model_attributes_type": _mapping,
    "dict_type": _mapping,
    "tuple_type": _list,
}


def _label(path: Path) -> str:
    """The key a finding is about, with the number of the item in a list: `cpus`, `trunk[0]`."""
    if not path:
        return "the file"
    if isinstance(path[-1], int):
        return f"{_label(path[:-1])}[{path[-1]}]"
    return shorten(str(path[-1])) if path[:-1] in (("nodes",), ("networks",)) else shown(str(path[-1]))


def place(path: Path) -> str:
    """A part of the file in words: `node 'a'`, `disk 1 of node 'a'`, `xen of defaults`."""
    if not path:
        return "the lab file"
    if len(path) == 2 and path[0] in ("nodes", "networks"):
        return f"{str(path[0])[:-1]} {shorten(str(path[1]))}"
    if path in (("defaults",), ("nodes",), ("networks",)):
        return f"`{path[0]}`"
    if isinstance(path[-1], int):
        item = {"disks": "disk", "networks": "card", "raid": "array", "guests": "guest"}.get(str(path[-2]), "item")
        return f"{item} {path[-1] + 1} of {place(path[:-2])}"
    return f"`{shown(str(path[-1]))}` of {place(path[:-1])}"


def model_at(path: Path, root: type[BaseModel] = layers.LabLayer) -> type[BaseModel] | None:
    """The model whose keys may stand at a path below `root`, or None where no fixed keys stand."""
    found: Any = root
    for step in path:
        if isinstance(found, type) and issubclass(found, BaseModel):
            field = found.model_fields.get(str(step))
            found = _bare(field.annotation) if field else None
        elif get_origin(found) is dict:
            found = _bare(get_args(found)[1])
        elif get_origin(found) is tuple:
            found = _bare(get_args(found)[0])
        else:
            return None
    return found if isinstance(found, type) and issubclass(found, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """An annotation without its constraints and without `| None`."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            annotation = next(each for each in get_args(annotation) if each is not type(None))
        else:
            return annotation
