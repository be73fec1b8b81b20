"""Writes the files and README sections that are made from tables in the code; `--check` only compares.

Sections of README.md lie between `<!-- generated: NAME -->` and `<!-- end: NAME -->`.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from builder.cli.verbs import VERBS, Verb
from builder.model.schema import json_schema
from builder.model.units import show_size
from builder.paths import write_atomic
from builder.procedures import PROCEDURES, load_procedure
from builder.procedures.page import index, page
from builder.systems import traits
from ci import markdown
from ci.matrix import matrix
from ci.proof import PROOFS, ROOT, read_claims
from ci.proofs_page import page as proofs_page

README = ROOT / "README.md"
SCHEMA = ROOT / "labs/lab.schema.json"
PAGES = ROOT / "docs/procedures"
PROVEN = ROOT / "docs/proofs.md"


def verbs_table() -> str:
    """Every verb under its heading, groups with their children."""
    rows: list[tuple[str, str]] = []
    section = ""
    for verb in VERBS:
        if verb.section != section:
            section = verb.section
            rows.append((f"**{section}**", ""))
        rows += [_row(child, f"{verb.name} ") for child in verb.children] or [_row(verb)]
    return markdown.table(("Command", "What it does"), rows)


def _row(verb: Verb, prefix: str = "") -> tuple[str, str]:
    usage = f"nestlab {prefix}{verb.name} {verb.usage}".rstrip().replace("|", "\\|")
    return f"`{usage}`", verb.help


def systems_table() -> str:
    rows = []
    for name, row in traits().items():
        releases = ", ".join(f"**{r}**" if r == row.default_release else r for r in row.releases)
        least = [show_size(size) if size else "none" for size in (row.minimum.memory, row.minimum.disk)]
        rows.append((f"`{name}`", row.title, releases, ", ".join(row.sources), *least))
    return markdown.table(("System", "What it is", "Releases", "Comes from", "Least memory", "Least disk"), rows)


SECTIONS: Mapping[str, Callable[[], str]] = {
    "verbs": verbs_table,
    "systems": systems_table,
    "proofs": lambda: matrix(traits(), read_claims()),
}
DRILLED = ("procedures", "procedures-labs")
"""Nightly parts that drill host procedures."""


def with_sections(text: str, sections: Mapping[str, Callable[[], str]]) -> str:
    """The text with every section made anew. Raises ValueError when a marker is missing or doubled."""
    for name, make in sections.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"README.md needs the markers of section '{name}' exactly once")
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n{make()}\n\n{end}{rest.partition(end)[2]}"
    return text


def procedure_pages() -> dict[Path, str]:
    """A page for each host procedure with the last proof of it, and one that lists them."""
    records = [path for name in DRILLED if (path := PROOFS / f"{name}.json").exists()]
    drills = [drill for path in records for drill in json.loads(path.read_text("utf-8"))["figures"]["drills"]]
    found = [load_procedure(name) for name in PROCEDURES]
    return {
        PAGES / "README.md": index(found, drills),
        **{PAGES / f"{procedure.name}.md": page(procedure, drills) for procedure in found},
    }


def generated() -> dict[Path, str]:
    """Every generated file with the content it should have."""
    return {
        README: with_sections(README.read_text("utf-8"), SECTIONS),
        SCHEMA: json.dumps(json_schema(traits()), indent=2) + "\n",
        PROVEN: proofs_page(traits(), read_claims(), sorted(PROOFS.glob("*.json"))),
        **procedure_pages(),
    }


def main(argv: list[str] | None = None) -> int:
    """0: nothing to do, or done; 1: `--check` found a difference."""
    parser = argparse.ArgumentParser(prog="ci/generate.sh", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 when something would change")
    check = parser.parse_args(argv).check
    changed = False
    for path, content in generated().items():
        old = path.read_text("utf-8") if path.exists() else ""
        if old == content:
            continue
        changed = True
        name = str(path.relative_to(ROOT))
        if check:
            sys.stdout.writelines(
                difflib.unified_diff(old.splitlines(True), content.splitlines(True), name, f"{name} (generated)", n=1)
            )
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
            print(f"{name} written")
    if check and changed:
        print("error: generated files differ\n  hint: bash ci/generate.sh", file=sys.stderr)
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
