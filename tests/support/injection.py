"""Lab files with a strange value in one place: every text of every system's cases, one after the other."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, cast

from builder.errors import LabError
from builder.model.lab import Guest, Node
from builder.model.load import parse_lab
from builder.model.plan import SystemPlan
from builder.model.schema import json_schema
from builder.model.units import NAME_PATTERN, show_size
from builder.systems import load_system, traits

Path = tuple[str | int, ...]
NODE = "host-a"


def cases(system: str) -> dict[str, Node]:
    """Nodes of that system, by the name of their case. Fails for a system that nobody made cases for."""
    modules = ["tests.support.plain", "tests.support.domains"]
    if traits()[system].install is not None:
        modules.insert(0, f"tests.support.{system}")
    nodes = {
        f"{name}/{key}": case.node
        for name in modules
        for key, case in importlib.import_module(name).CASES.items()
        if case.node.system == system
    }
    assert nodes, f"there are no cases for {system}"
    return nodes


@dataclass(frozen=True)
class Field:
    """A text of a lab file: a place in the lab of a case, and what the schema says of it. `name` has * for a name and
    [] for an item, as `nestlab settings` shows it."""

    case: str
    path: Path
    name: str
    pattern: str | None
    value: str


def lab_file(node: Node, folder: FilePath) -> dict[str, Any]:
    """The lab file that this node is read from. Files that it names are written to the folder."""
    said: dict[str, Any] = {
        "system": node.system,
        "release": node.release,
        "cpus": node.cpus,
        "memory": show_size(node.memory),
        "firmware": node.firmware,
        "machine": node.machine,
        "cpu_model": node.cpu_model,
        "management_nic": node.management_nic,
        "management_mac": node.management_mac,
        "disks": [{**disk.model_dump(), "size": show_size(disk.size)} for disk in node.disks],
        "networks": [_without_nothing(nic.model_dump(mode="json", exclude={"mtu"})) for nic in node.nics],
        "kernel": {"arguments": list(node.kernel.arguments)},
        "source": {key: path for key in ("image", "medium") if key == node.source.kind and (path := node.source.path)}
        or "image",
    }
    if node.raid:
        said["raid"] = [array.model_dump(mode="json") for array in node.raid]
    if traits()[node.system].xen:
        said["xen"] = _without_nothing(node.xen.model_dump(mode="json")) | {
            "dom0_memory": show_size(node.xen.dom0_memory)
        }
    if node.install:
        said["install"] = _with_files(node.install, folder)
    if node.guests:
        said["guests"] = [_guest(guest) for guest in node.guests]
    return {
        "name": "t",
        "description": "any text",
        "networks": {nic.network: {"mtu": nic.mtu} for nic in node.nics},
        "nodes": {NODE: said},
    }


def _without_nothing(said: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if value not in (None, [], {})}


def _guest(guest: Guest) -> dict[str, Any]:
    said = _without_nothing(guest.model_dump(mode="json", exclude={"disks", "made"}))
    said |= {key: show_size(value) for key in ("memory", "maxmem") if (value := getattr(guest, key)) is not None}
    said["disks"] = [
        _without_nothing(
            disk.model_dump(exclude={"size", "path"} if disk.volume else {"size"})
            | {"size": None if disk.size is None else show_size(disk.size)}
        )
        for disk in guest.disks
    ]
    return said if guest.made is None else said | {"make": _without_nothing(guest.made.model_dump(mode="json"))}


def _with_files(value: Any, folder: FilePath) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"path", "content"}:
            name = f"file{len(list(folder.iterdir()))}"
            (folder / name).write_text(value["content"])
            return name
        return {key: _with_files(inner, folder) for key, inner in value.items()}
    return [_with_files(each, folder) for each in value] if isinstance(value, list | tuple) else value


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    elif isinstance(value, str):
        yield path, value


def setting(path: Path) -> str:
    """`nodes.*.networks[].mac`."""
    text = ""
    for index, step in enumerate(path):
        named = index and path[index - 1] in ("nodes", "networks", "devices", "vlan_addresses") and step != 0
        text += "[]" if isinstance(step, int) else f".{'*' if named else step}"
    return text[1:]


class Schema:
    """What may stand at a place, of the lab of one system."""

    def __init__(self, system: str) -> None:
        self._whole = json_schema(traits())
        self._system = system

    def at(self, path: Path) -> dict[str, Any]:
        """The schema of a text, {} where there is none to be found."""
        part: dict[str, Any] = self._whole
        for step in path:
            found = [inner for option in self._options(part) if (inner := self._below(option, step)) is not None]
            if not found:
                return {}
            part = {"anyOf": found}
        texts = [option for option in self._options(part) if option.get("type") == "string" or "enum" in option]
        return texts[0] if texts else {}

    def _options(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in part:
            return self._options(self._whole["$defs"][part["$ref"].rpartition("/")[2]])
        inner = part.get("anyOf") or part.get("oneOf")
        return [each for option in inner for each in self._options(option)] if inner else [part]

    def _below(self, part: dict[str, Any], step: str | int) -> dict[str, Any] | None:
        if isinstance(step, int):
            items: Any = part.get("items")
            return items if isinstance(items, dict) else None
        if step == "install" and "install" in part.get("properties", {}):
            own: dict[str, Any] | None = self._whole["$defs"].get(f"{self._system}.install")
            return own
        extra = part.get("additionalProperties")
        found: Any = part.get("properties", {}).get(step, extra)
        return found if isinstance(found, dict) else None

    def texts(self) -> set[str]:
        """Every setting that takes a free text, under a node of the system."""
        node = self._whole["$defs"]["NodeLayer"]
        return set(self._texts(node, "nodes.*", ()))

    def _texts(self, part: dict[str, Any], name: str, above: tuple[int, ...]) -> Iterator[str]:
        for option in self._options(part):
            if id(option) in above:
                continue
            within = (*above, id(option))
            if option.get("type") == "string" and not {"enum", "const"} & set(option):
                yield name
            if isinstance(option.get("items"), dict):
                yield from self._texts(option["items"], f"{name}[]", within)
            for key in option.get("properties", {}):
                inner = self._below(option, key)
                if inner is not None:
                    yield from self._texts(inner, f"{name}.{key}", within)
            extra = option.get("additionalProperties")
            if isinstance(extra, dict):
                yield from self._texts(extra, f"{name}.*", within)


class Labs:
    """Every text of the labs of one system, each in the first lab that has it and that can be planned."""

    def __init__(self, system: str, folder: FilePath) -> None:
        self.system, self._folder = system, folder
        self._schema = Schema(system)
        self.labs: dict[str, dict[str, Any]] = {}
        self._fields: dict[str, Field] = {}
        for case, node in cases(system).items():
            self._add(case, lab_file(node, folder))
        for case, lab in list(self.labs.items()):
            for name in sorted(self.unreached()):
                grown = copy.deepcopy(lab)
                if _grow(grown["nodes"][NODE], name.split(".")[2:], self._schema):
                    self._add(f"{case} + {name}", grown)

    @property
    def fields(self) -> list[Field]:
        return [self._fields[name] for name in sorted(self._fields)]

    def unreached(self) -> set[str]:
        """Settings that take free text and that none of the labs has."""
        return self._schema.texts() - set(self._fields)

    def plan(self, lab: dict[str, Any]) -> tuple[Node, SystemPlan]:
        """Raises LabError for what the loader or the system refuses."""
        (node,) = parse_lab(as_yaml(lab), traits(), folder=self._folder).lab.nodes
        return node, load_system(self.system).plan(node)

    def _add(self, case: str, lab: dict[str, Any]) -> None:
        found = [field for field in self._fields_of(case, lab) if field.name not in self._fields]
        if not found:
            return
        try:
            self.plan(lab)
        except LabError:
            return  # a case of more than a lab file can say, or of a machine that nobody can build
        self.labs[case] = lab
        self._fields |= {field.name: field for field in found}

    def _fields_of(self, case: str, lab: dict[str, Any]) -> Iterator[Field]:
        for path, value in leaves(lab):
            rule = self._schema.at(path)
            if not {"enum", "const"} & set(rule):
                yield Field(case, path, setting(path), rule.get("pattern"), value)
        for key in ("nodes", "networks"):
            for inner in lab[key]:
                yield Field(case, (key, inner), f"{key}.*", NAME_PATTERN, inner)


# What stands for a setting of that name where the schema has no example.
_EXAMPLES = {"options": "miimon=100", "interpreter": "/bin/sh", "arguments": "a=b c"}
# What a list holds that no case has.
_ITEMS: Mapping[str, Mapping[str, str]] = {"pre_install": {"file": "file0"}}


def _grow(part: Any, steps: list[str], schema: Schema, path: Path = ("nodes", NODE)) -> bool:
    """Put an example of a setting where its place is; False where its surroundings are not there."""
    step, listed = steps[0].removesuffix("[]"), steps[0].endswith("[]")
    if not isinstance(part, dict):
        return False
    if len(steps) == 1:
        rule = schema.at((*path, step, 0) if listed else (*path, step))
        size = "512MiB" if "MiB" in rule.get("pattern", "") else "example"
        example = (rule.get("examples") or [_EXAMPLES.get(step, size)])[0]
        part[step] = [example] if listed else example
        return True
    if step in _ITEMS:
        part.setdefault(step, [dict(_ITEMS[step])])
    inner = part.get(step)
    if not inner:
        return False
    return (
        _grow(inner[0], steps[1:], schema, (*path, step, 0))
        if listed
        else _grow(inner, steps[1:], schema, (*path, step))
    )


def changed(lab: dict[str, Any], field: Field, value: str) -> dict[str, Any]:
    """The lab with another value there. A name changes everywhere, or nothing would fit any more."""
    result: Any = copy.deepcopy(lab)
    if field.name in ("nodes.*", "networks.*"):
        inner = result[field.path[0]]
        inner[value] = inner.pop(field.path[1])
        for nic in result["nodes"].get(NODE, {}).get("networks", ()):
            if field.name == "networks.*" and nic["network"] == field.value:
                nic["network"] = value
        return cast(dict[str, Any], result)
    everywhere = leaves(result["nodes"], ("nodes",)) if field.pattern == NAME_PATTERN else ()
    for path, text in [(field.path, field.value), *everywhere]:
        if text == field.value:
            place = result
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value
    return cast(dict[str, Any], result)


def as_yaml(lab: dict[str, Any]) -> bytes:
    """JSON is YAML; what cannot be printed is escaped."""
    return json.dumps(lab).encode()
