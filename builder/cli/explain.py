"""`nestlab explain`."""

from __future__ import annotations

import difflib

import click
from click.shell_completion import CompletionItem

from builder.cli.codes import CODES
from builder.cli.output import columns, fields, output_option, show
from builder.errors import UsageError


def _complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(code) for code in CODES if code.startswith(incomplete)]


@click.command()
@click.argument("word", metavar="[CODE|SETTING]", required=False, shell_complete=_complete)
@click.option("--list", "everything", is_flag=True, help="All codes, and settings that nothing reads any more.")
@output_option()
def explain(word: str | None, everything: bool, how: str) -> None:
    """Say what a problem's code means (lab-size), what a setting of the lab file is (xen.dom0_memory, or its last
    part), or what became of one that old documents name (xend-config.sxp)."""
    if everything == (word is not None):
        raise click.UsageError("name a code or a setting, or say --list")
    if word is None:
        found = [*({"code": code, "meaning": meaning} for code, meaning in CODES.items()), *_of_systems(), *_dead()]
        show(found, how, lambda: columns(["code", "meaning"], [list(row.values()) for row in found]))
        return
    code = word.strip("[]")
    rows = (
        [{"code": code, "meaning": CODES[code]}]
        if code in CODES
        else _of_systems(code) or _dead(word) or _settings(word)
    )
    show(rows, how, lambda: "\n\n".join(fields(row) for row in rows))


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
        if word in (name, name.partition(": ")[2])
    ]


def _settings(word: str) -> list[dict[str, str]]:
    """The settings of that name, whole or last part. Raises UsageError when there is none."""
    from builder.cli.describe import walk
    from builder.model.schema import json_schema
    from builder.systems import dead_settings, traits

    rows = list(walk(json_schema(traits())))
    found = [row for row in rows if row["setting"] == word] or [
        row for row in rows if row["setting"].endswith(f".{word}") and not row["setting"].startswith("defaults.")
    ]
    if not found:
        known = [
            *CODES,
            *(name for _, name, _ in dead_settings()),
            *(row["setting"].rpartition(".")[2] for row in rows),
        ]
        near = difflib.get_close_matches(word, known, n=3)
        hint = (
            f"did you mean {', '.join(dict.fromkeys(near))}?"
            if near
            else "`nestlab explain --list`, `nestlab settings`"
        )
        raise UsageError(f"{word} is neither a code nor a setting", hint=hint)
    return [row | _documented(row["setting"]) for row in found]


def _documented(setting: str) -> dict[str, str]:
    """What vendors' documents say about a setting of a node, and what speaks against it."""
    from builder.hypervisors.settings import SETTINGS

    key = setting.replace("nodes.*.", "").replace("[]", "")
    told = {}
    for row in SETTINGS:
        if row.key == key:
            against = f" But: {row.contradicted}" if row.contradicted else ""
            told[f"{row.system} on {row.hypervisor}"] = (
                f"{row.value}: {row.says} ({row.document}, {row.section}, {row.date}).{against}"
            )
    return told
