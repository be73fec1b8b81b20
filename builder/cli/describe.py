"""Verbs that describe lab files: schema, systems, settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from builder.cli.output import columns, output_option, show, terminal_width
from builder.errors import UsageError
from builder.model.units import show_size

if TYPE_CHECKING:
    from builder.hypervisors.setting import Setting


@click.command()
def schema() -> None:
    """Print the JSON Schema of lab files, for editors.

    \b
    nestlab schema > lab.schema.json, and as first line of the lab file:
    # yaml-language-server: $schema=lab.schema.json
    """
    from builder.model.schema import json_schema
    from builder.systems import traits

    click.echo(json.dumps(json_schema(traits()), indent=2))


@click.command()
@output_option()
def systems(how: str) -> None:
    """List the systems that a node can run, with their documented minima.

    MEDIUM FROM is the variable that can name the installation medium of the default release; -o json has all.
    """
    from builder.model.lab import medium_variable
    from builder.systems import traits

    media = {
        t.name: {release: medium_variable(t.name, release) for release in t.releases if "medium" in t.sources}
        for t in traits().values()
    }
    found = [trait.model_dump(mode="json") | {"media": media[trait.name]} for trait in traits().values()]
    show(found, how, lambda: columns(
        ["system", "what", "releases", "sources", "memory", "disk", "medium from"],
        [[t.name, t.title, " ".join(t.releases), " ".join(t.sources), show_size(t.minimum.memory),
          show_size(t.minimum.disk) if t.minimum.disk else "-", media[t.name].get(t.default_release, "-")]
         for t in traits().values()],
    ))  # fmt: skip


@click.command()
@click.option("--documented", is_flag=True, help="What documents ask for, L0 by L0 and system by system, with sources.")
@click.option("--on", "hypervisor", metavar="L0", help="Of the documented settings, those of this L0.")
@output_option()
def settings(documented: bool, hypervisor: str | None, how: str) -> None:
    """List every setting: of a lab file, with where it stands, the system that has it if not all do, what it takes, its
    default and its meaning, and those of the L0s that `export` sets; with what documents ask for on each L0. What may
    stand in a node may stand under `defaults:` too, for all nodes.

    -o json has each documented value with document, section and date, what contradicts it and its proof. --documented
    lists these alone, one a line.
    """
    if documented or hypervisor is not None:
        show_documented(hypervisor, how)
        return
    from builder.hypervisors.documented import SETTINGS
    from builder.model.schema import json_schema
    from builder.systems import traits

    keys = [row for row in walk(json_schema(traits())) if not row["setting"].startswith("defaults.")]
    own = {row.key for row in SETTINGS} - {documented_key(row["setting"]) for row in keys}
    keys += [{"setting": key, "system": "-", "takes": "-", "default": "-",
              "meaning": f"{_maker(key)}, not of a lab file"}
             for key in dict.fromkeys(row.key for row in SETTINGS) if key in own]  # fmt: skip
    found = [row | _documented(documented_key(row["setting"]), proven=how != "table") for row in keys]
    show(found, how, lambda: columns(
        ["setting", "system", "takes", "default", "documented", "meaning"],
        [[row["setting"], row["system"], row["takes"], row["default"], _by_l0(row["documented"]), row["meaning"] or "-"]
         for row in found], terminal_width(),
    ))  # fmt: skip


def _documented(key: str, *, proven: bool) -> dict[str, Any]:
    """The documented rows of a setting, each `proven` with its proof, and what was tried of it: reading the records
    takes time."""
    from builder.cli.tried import tried
    from builder.hypervisors.documented import SETTINGS

    rows = [row for row in SETTINGS if row.key == key]
    if not proven:
        return {"documented": [row.model_dump(mode="json") for row in rows]}
    found = tried(key)
    return {"documented": [_with_proof(row) for row in rows]} | ({"tried": found} if found else {})


def _with_proof(row: Setting) -> dict[str, Any]:
    from builder.cli.proofs import proof_of_row

    return row.model_dump(mode="json") | {"proof": proof_of_row(row)}


def documented_key(setting: str) -> str:
    """What the table of documented settings calls a key of a lab file."""
    return setting.removeprefix("defaults.").replace("nodes.*.", "").replace("[]", "")


def _maker(key: str) -> str:
    return "checked by doctor" if key.startswith("kvm.") else "set by export"


def _by_l0(rows: Any) -> str:
    """Documented values in short: `kvm lsilogic, xen ide`."""
    values = {row["hypervisor"]: row["value"] for row in reversed(rows) if row["rule"] != "refused"}
    return ", ".join(f"{l0} {value}" for l0, value in reversed(values.items())) or "-"


def show_documented(hypervisor: str | None, how: str) -> None:
    """The documented settings of one L0, or of all. Raises UsageError for an L0 that has none."""
    from builder.hypervisors.documented import SETTINGS

    known = list(dict.fromkeys(row.hypervisor for row in SETTINGS))
    if hypervisor is not None and hypervisor not in known:
        raise UsageError(f"no settings are documented for {hypervisor}", hint=f"known: {', '.join(known)}")
    rows = [row for row in SETTINGS if hypervisor in (None, row.hypervisor)]
    show(None if how == "table" else [_with_proof(row) for row in rows], how, lambda: columns(
        ["on", "release", "system", "setting", "rule", "value", "says"],
        [[row.hypervisor, "/".join(row.releases) or "any", row.system, row.key, row.rule, row.value, row.says]
         for row in rows], terminal_width(),
    ))  # fmt: skip


def walk(whole: dict[str, Any]) -> Iterator[dict[str, str]]:
    """One row per key of a JSON Schema, nested keys joined by dots, `*` for a name and `[]` for an item of a list.
    `system` is the one whose installer alone takes it: its definitions in the schema are named after it."""
    yield from _walk(whole, whole, "", ())


def _walk(whole: dict[str, Any], part: dict[str, Any], path: str, above: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for name, field in part.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        system = next((name.partition(".")[0] for name in above if "." in name), "-")
        yield {"setting": here, "system": system, "takes": _takes(whole, field), "default": _default(field),
               "meaning": str(field.get("description", ""))}  # fmt: skip
        yield from _below(whole, field, here, above)
    extra = part.get("additionalProperties")
    if isinstance(extra, dict):
        yield from _below(whole, extra, f"{path}.*" if path else "*", above)


def _below(whole: dict[str, Any], field: dict[str, Any], here: str, above: tuple[str, ...]) -> Iterator[dict[str, str]]:
    for option in _options(field):
        name = option.get("$ref", "").rpartition("/")[2]
        if name and name not in above:
            yield from _walk(whole, whole["$defs"][name], here, (*above, name))
        elif option.get("type") == "array" and isinstance(option.get("items"), dict):
            yield from _below(whole, option["items"], f"{here}[]", above)
        elif option.get("type") == "object":
            yield from _walk(whole, option, here, above)


def _options(field: dict[str, Any]) -> list[dict[str, Any]]:
    found = field.get("anyOf") or field.get("oneOf") or field.get("allOf") or [field]
    return [option for option in found if option.get("type") != "null"]


def _takes(whole: dict[str, Any], field: dict[str, Any]) -> str:
    return " or ".join(dict.fromkeys(_kind(whole, option) for option in _options(field)))


def _kind(whole: dict[str, Any], option: dict[str, Any]) -> str:
    if "$ref" in option:
        return _kind(whole, whole["$defs"][option["$ref"].rpartition("/")[2]])
    if "enum" in option:
        return "|".join(dict.fromkeys(str(value) for value in option["enum"]))
    if "const" in option:
        return str(option["const"])
    if option.get("type") == "array":
        return f"list of {_takes(whole, option['items'])}" if isinstance(option.get("items"), dict) else "list"
    if option.get("type") == "object":
        return "mapping"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "true|false"}.get(
        str(option.get("type")), "text"
    )


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "-" if value in (None, [], {}, "") else json.dumps(value) if isinstance(value, dict | list) else str(value)
