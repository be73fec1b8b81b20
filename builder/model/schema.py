"""The JSON Schema of lab files, for editors and for judging a file without this program.

It is made from the types that loading uses and from the table of systems. What only the whole lab can tell (unknown
networks, cycles, sums) is beyond a schema; everything that it does refuse, loading refuses as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.model.layers import MEDIUM_ADDRESS, LabLayer
from builder.model.plan import SystemTraits
from builder.model.units import NAME_PATTERN

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_Schema = dict[str, Any]

_EXAMPLE = {
    "name": "two-hosts",
    "networks": {"storage": {"mtu": 9000}},
    "defaults": {"system": "debian", "memory": "4GiB"},
    "nodes": {"host1": {"networks": ["storage"]}, "host2": {"networks": ["storage"], "after": ["host1"]}},
}


def json_schema(systems: Mapping[str, SystemTraits]) -> _Schema:
    """The schema (draft 2020-12). Equal systems give equal schemas, down to the order of keys."""
    schema: _Schema = _clean(LabLayer.model_json_schema())
    definitions: dict[str, _Schema] = schema["$defs"]
    _lab(schema)
    _node(definitions["NodeLayer"], systems)
    definitions |= _installers(definitions["NodeLayer"], systems)
    _nic(definitions["NicLayer"])
    definitions["RaidLayer"]["properties"]["disks"] |= {"minItems": 2, "uniqueItems": True}
    definitions["SourceLayer"] |= {
        "not": {"required": ["image", "medium"]},
        "dependentRequired": {"sha256": ["medium"]},
        "if": {"properties": {"medium": {"pattern": MEDIUM_ADDRESS}}, "required": ["medium"]},
        "then": {"required": ["sha256"]},
    }
    definitions["XenLayer"]["properties"]["pciback_hide"]["uniqueItems"] = True
    head: _Schema = {"$schema": DIALECT, "title": "A nestlab lab file", "description": schema.pop("description")}
    return head | schema | {"examples": [_EXAMPLE]}


def _lab(schema: _Schema) -> None:
    for key in ("networks", "nodes"):
        field = schema["properties"][key]
        named = field.pop("patternProperties")[NAME_PATTERN]
        # A node or a network may stand there by name alone; YAML calls that null.
        field |= {
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": {"anyOf": [named, {"type": "null"}]},
        }
    schema["properties"]["nodes"]["minProperties"] = 1


def _node(node: _Schema, systems: Mapping[str, SystemTraits]) -> None:
    fields = node["properties"]
    releases = dict.fromkeys(release for traits in systems.values() for release in traits.releases)
    fields["system"] = {"description": fields["system"]["description"], "enum": list(systems)}
    fields["release"] = {"description": fields["release"]["description"], "enum": _spellings(list(releases))}
    reference = fields["networks"].pop("items")
    fields["networks"]["items"] = {"anyOf": [{"type": "string", "pattern": NAME_PATTERN}, reference]}
    source = fields["source"]
    fields["source"] = {
        "description": source["description"],
        "anyOf": [{"enum": ["image", "medium"]}, {"$ref": source["$ref"]}],
    }
    node["allOf"] = [
        {
            "if": {"properties": {"system": {"const": name}}, "required": ["system"]},
            "then": {"properties": {"release": {"enum": _spellings(traits.releases)}}},
        }
        for name, traits in systems.items()
    ]


def _installers(node: _Schema, systems: Mapping[str, SystemTraits]) -> dict[str, _Schema]:
    """The definitions of the systems' own `install:` types. A node that names its system gets that system's keys; one
    that has it from `defaults:` may have those of any."""
    made: dict[str, _Schema] = {}
    roots: dict[str, _Schema] = {}
    for name, traits in systems.items():
        if traits.install is not None:
            own = _clean(traits.install().model_json_schema(ref_template=f"#/$defs/{name}.{{model}}"))
            made |= {f"{name}.{inner}": part for inner, part in own.pop("$defs", {}).items()}
            made[f"{name}.install"] = own
            roots[name] = {"$ref": f"#/$defs/{name}.install"}
    field = node["properties"]["install"]
    field.pop("additionalProperties", None)
    if roots:
        field["anyOf"] = list(roots.values())
    for rule, name in zip(node["allOf"], systems, strict=True):
        rule["then"]["properties"]["install"] = roots.get(name, {"maxProperties": 0})
    return made


def _nic(nic: _Schema) -> None:
    fields = nic["properties"]
    fields["trunk"]["uniqueItems"] = True
    fields["trunk"]["items"]["minimum"] = 2
    fields["vlan_addresses"]["propertyNames"] = {"pattern": "^[1-9][0-9]{0,3}$"}
    nic["not"] = {"required": ["vlan", "trunk"], "properties": {"trunk": {"minItems": 1}}}


def _spellings(releases: Sequence[str]) -> list[str | int | float]:
    """Each release as text and, where YAML reads it so, as a number: an editor sees `release: 13` as one."""
    numbers: dict[str | int | float, None] = {}
    for release in releases:
        numbers[release] = None
        if release.isdecimal():
            numbers[int(release)] = None
        elif release.replace(".", "", 1).isdecimal():
            numbers[float(release)] = None
    return list(numbers)


def _clean(part: Any) -> Any:
    """Without generated titles and defaults of null, and with `X or null` as X: an unset key is left out."""
    if isinstance(part, list):
        return [_clean(each) for each in part]
    if not isinstance(part, dict):
        return part
    options = [option for option in part.get("anyOf", ()) if option != {"type": "null"}]
    rest = {key: value for key, value in part.items() if not (key == "default" and value is None)}
    if "anyOf" in part:
        rest.pop("anyOf")
        rest |= options[0] if len(options) == 1 else {"anyOf": options}
    return {
        key: {name: _clean(each) for name, each in value.items()} if key in ("properties", "$defs") else _clean(value)
        for key, value in rest.items()
        if not (key == "title" and isinstance(value, str))
    }
