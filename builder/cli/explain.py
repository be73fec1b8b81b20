"""`nestlab explain`."""

from __future__ import annotations

import difflib
import functools
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from builder.cli.codes import CODES
from builder.cli.failures import causes_listed, causes_named, failures_in
from builder.cli.output import columns, fields, output_option, show, terminal_width
from builder.errors import UsageError
from builder.hypervisors.fit import CODES as L0_CODES

if TYPE_CHECKING:
    from builder.hypervisors.setting import Setting

_WORD = 4
"""Characters of a word that is looked for inside of others."""


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(word) for word in _words() if word.startswith(incomplete) and " " not in word]


@click.command()
@click.argument("word", metavar="[CODE|CAUSE|SETTING]", required=False, shell_complete=_complete)
@click.option("--list", "everything", is_flag=True, help="All codes and causes, and settings that documents name.")
@click.option("--log", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Say why what wrote this console or installer's log failed; the word is its system.")  # fmt: skip
@output_option()
def explain(word: str | None, everything: bool, log: Path | None, how: str) -> None:
    """Say what a problem's code means (lab-size), why a node failed and what to do (no-root, disk-too-small), what a
    setting of the lab file is (xen.dom0_memory, or its last part), why a setting of an L0 is what it is (vhv.enable),
    where one is that documents name (GRUB_CMDLINE_XEN), or what became of it (xend-config.sxp)."""
    if log is not None and not everything:
        rows = failures_in(log, word)
        show(rows, how, lambda: "\n\n".join(fields(row, terminal_width()) for row in rows))
        return
    if everything == (word is not None):
        raise click.UsageError("name a code, a cause or a setting, or say --list")
    if word is None:
        found = _listed()
        show(found, how, lambda: columns(["code", "meaning"], [list(row.values()) for row in found], terminal_width()))
        return
    code = word.strip("[]")
    meaning = CODES.get(code) or L0_CODES.get(code)
    rows = [{"code": code, "meaning": meaning}] if meaning else _of_systems(code) or causes_named(code)
    rows = rows or [*_dead(word), *_living(word), *_settings(word)] or _mentioned(word) or _of_l0s(word)
    if not rows:
        raise _unknown(word)
    show(rows, how, lambda: "\n\n".join(fields(row, terminal_width()) for row in rows))


def _listed() -> list[dict[str, str]]:
    """Everything but the settings of lab files and of L0s, which have verbs of their own."""
    told = {**CODES, **L0_CODES}
    codes = ({"code": code, "meaning": meaning} for code, meaning in told.items())
    return [*codes, *_of_systems(), *causes_listed(), *_dead(), *_living()]


def _words() -> list[str]:
    """What of these can be asked for, without the system that a setting is of."""
    return list(dict.fromkeys(_alone(row["code"]) or row["code"] for row in _listed()))


def _alone(name: str) -> str:
    """A setting's name without the system that it is of; nothing for a name without one."""
    return name.partition(": ")[2]


def _of_systems(code: str | None = None) -> list[dict[str, str]]:
    """Codes of the judges of answer files: all of them, or the one."""
    from builder.systems import codes

    kinds = {True: "The installation would not come out as written.", False: "A warning."}
    rows = {name: {"code": name, "meaning": f"{row.explanation} {kinds[row.error]}", "releases": row.releases,
                   "source": row.source} for name, row in codes().items()}  # fmt: skip
    if code is None:
        return [{"code": name, "meaning": row["meaning"]} for name, row in rows.items()]
    return [rows[code.upper()]] if code.upper() in rows else []


def _dead(word: str | None = None) -> list[dict[str, str]]:
    """Settings that nothing reads any more: all of them, or those of that name."""
    from builder.systems import dead_settings

    rows = {f"{system}: {name}": row for system, name, row in dead_settings()}
    if word is None:
        return [{"code": name, "meaning": f"{row.was} Today: {row.today}"} for name, row in rows.items()]
    return [
        {"setting": name, "was": row.was, "today": row.today, "why": row.why, "source": row.source}
        for name, row in rows.items()
        if word in (name, _alone(name))
    ]


def _living(word: str | None = None) -> list[dict[str, str]]:
    """Settings that documents name and hosts still read: all of them, or those of that name."""
    from builder.systems import living_settings

    rows = {f"{system}: {name}": row for system, name, row in living_settings()}
    if word is None:
        return [{"code": name, "meaning": f"{row.does} In a lab file: {row.lab}."} for name, row in rows.items()]
    return [
        {"setting": name, "does": row.does, "written": f"{row.written} in {row.file}", "lab file": row.lab,
         "source": row.source}
        for name, row in rows.items()
        if word in (name, _alone(name))
    ]  # fmt: skip


def _mentioned(word: str) -> list[dict[str, str]]:
    """Settings of documents that have the word in their name, or in what is told of them."""
    from builder.systems import dead_settings, living_settings

    if len(word) < _WORD:
        return []
    told = [(f"{system}: {name}", row.was) for system, name, row in dead_settings()]
    told += [(f"{system}: {name}", f"{row.does} {row.written}") for system, name, row in living_settings()]
    named = [name for name, _ in told if word.lower() in _alone(name).lower()]
    found = named or [name for name, text in told if word.lower() in text.lower()]
    return [row for name in found for row in (*_dead(name), *_living(name))]


def _settings(word: str) -> list[dict[str, str]]:
    """The settings of the lab file of that name, whole or last part."""
    rows = _walked()
    found = [row for row in rows if row["setting"] == word] or [
        row
        for row in rows
        if plain(row["setting"]).endswith(f".{plain(word)}") and not row["setting"].startswith("defaults.")
    ]
    return [row | _documented(row["setting"]) for row in found]


@functools.cache
def _walked() -> tuple[dict[str, str], ...]:
    """Every setting of the lab file."""
    from builder.cli.describe import walk
    from builder.model.schema import json_schema
    from builder.systems import traits

    return tuple(walk(json_schema(traits())))


def _unknown(word: str) -> UsageError:
    """With the words that look like it."""
    from builder.hypervisors.documented import SETTINGS

    known = [
        *_words(),
        *(row["setting"].rpartition(".")[2] for row in _walked()),
        *(row.key for row in SETTINGS),
    ]
    near = difflib.get_close_matches(word, known, n=3)
    hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "`nestlab explain --list`, `nestlab settings`"
    return UsageError(f"{word} is neither a code, nor a cause, nor a setting", hint=hint)


def plain(setting: str) -> str:
    """A setting's name without the marks of lists: people write disks.bus for disks[].bus."""
    return setting.replace("[]", "")


def _documented(setting: str) -> dict[str, str]:
    """What documents say about a setting of a node, on every L0, and what speaks against it."""
    from builder.cli.describe import documented_key
    from builder.cli.tried import tried
    from builder.hypervisors.documented import SETTINGS

    key = documented_key(setting)
    found = tried(key)
    return {_place(row): _told(row) for row in SETTINGS if row.key == key} | ({"tried": found} if found else {})


def _of_l0s(word: str) -> list[dict[str, str]]:
    """Settings of the L0s' own: by their whole name, or parts of it: `nested` is kvm.nested.intel, too."""
    from builder.hypervisors.documented import SETTINGS

    found: dict[str, dict[str, str]] = {}
    for row in SETTINGS:
        if f".{word}." in f".{row.key}.":
            found.setdefault(row.key, {"setting": row.key})[_place(row)] = _told(row)
    return list(found.values())


def _place(row: Setting) -> str:
    """Where a row holds: `xcpng on kvm, at least`."""
    release = f" {'/'.join(row.releases)}" if row.releases else ""
    rule = {"set": "", "least": ", at least", "advised": ", advised", "allowed": f", {row.value}",
            "refused": f", not {row.value}"}[row.rule]  # fmt: skip
    return f"{row.system} on {row.hypervisor}{release}{rule}"


def _told(row: Setting) -> str:
    from builder.cli.proofs import proof_of_row

    against = f" But: {row.contradicted}" if row.contradicted else ""
    return f"{row.value}: {row.says} ({row.source}).{against} Proof: {proof_of_row(row)}."
