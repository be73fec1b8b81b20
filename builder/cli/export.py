"""`nestlab export`."""

from __future__ import annotations

import re
from pathlib import Path

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import blamed_on_input, complete_lab, load_lab, planned
from builder.cli.output import columns, output_option, show
from builder.cli.render import print_one, refuse_both, write_tree
from builder.errors import UsageError
from builder.hypervisors import EXPORTERS, load_exporter
from builder.hypervisors.fit import check
from builder.hypervisors.l0 import Exporter, Site
from builder.hypervisors.readme import readme
from builder.lifecycle.plan import LabPlan
from builder.model.lab import Lab
from builder.model.plan import File, Finding

TESTS = "xcp-ng-tests"
_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\[^\\]")


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.option("--to", "target", type=click.Choice([*EXPORTERS, TESTS]), required=True, help="What it is to run on.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder to write; replaced as a whole.")  # fmt: skip
@click.option("--stdout", "one", metavar="FILE", help="Print this one file.")
@click.option("--at", "folder", metavar="DIR", help="Where disks and media are on the L0.")
@click.option("--uplink", metavar="NAME", help="Bridge, network or switch of the L0 for the management cards.")
@click.option("--storage", metavar="NAME", help="Storage of the L0 (xe, proxmox).")
@click.option("--l0", "release", metavar="RELEASE", default="", show_default=False,
              help="Release of the L0; of vmx: esxi, workstation.")  # fmt: skip
@click.option("--cpu", type=click.Choice(["intel", "amd"]), help="Whose processor the L0 has.")
@click.option("--bus", metavar="NAME", help="Disk controller instead of the documented one.")
@click.option("--nic", metavar="NAME", help="Network card instead of the documented one.")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    metavar="NODE,...",
    help="Hosts of a pool, its master first; with xcp-ng-tests alone. Without it, names tell: a1, a2, b1.",
)
@output_option()
@pass_app
def export(
    app: App, /, *, lab: str, target: str, out: Path | None, one: str | None, how: str, pools: tuple[str, ...],
    **choices: str | None,
) -> None:  # fmt: skip
    """Write all that it takes to run LAB on another hypervisor: definitions, and scripts that make disks, media and
    networks, start the nodes, take the media out and remove everything. README.md has the order.

    Without --out or --stdout the files are listed. What the documents refuse is an error that quotes them; what they
    advise against, or what differs, is told and stands in README.md. `nestlab settings --documented` lists all of it.

    xcp-ng-tests is no hypervisor: it is told the hosts, disks, cards and storage that its tests may use.

    \b
    nestlab export labs/debian-dom0.yaml --to xl --out my-export/
    pytest $(nestlab export LAB --to xcp-ng-tests) tests/storage/ext
    """
    refuse_both(out, one)
    if target == TESTS:
        from builder.cli.export_tests import export_tests

        _refuse_choices(choices)
        export_tests(app, load_lab(app, lab, limits=False), pools=pools, out=out, one=one, how=how)
        return
    if pools:
        raise click.UsageError(f"--pool is for --to {TESTS}")
    plan = planned(load_lab(app, lab, limits=False))
    exporter = load_exporter(target)
    with blamed_on_input():
        site = site_of(exporter, plan.lab, {key: value for key, value in choices.items() if value})
        files, findings = exported(exporter, plan, site)
    for finding in findings:
        click.echo(f"{finding.severity}: {finding.message} [{finding.code}]{_hint(finding)}", err=True)
    if one is not None:
        print_one(files, one, said=one, lister=f"nestlab export {lab} --to {target}")
        return
    if out is not None:
        write_tree(out, files)
        if not app.quiet:
            click.echo(f"{out / 'README.md'} says in which order they are used", err=True)
    rows = [{"file": name, "size": len(file.content.encode()), "mode": f"{file.mode:04o}"}
            for name, file in files.items()]  # fmt: skip
    show(rows, how, lambda: columns(["file", "size", "mode"], [list(row.values()) for row in rows]))


def _refuse_choices(choices: dict[str, str | None]) -> None:
    given = [name for name, value in choices.items() if value]
    if given:
        raise click.UsageError(f"{TESTS} is no hypervisor: it has no {', '.join(given)}")


def site_of(exporter: Exporter, lab: Lab, changes: dict[str, str]) -> Site:
    """The usual places of the L0 with these changes. Raises UsageError for a folder that is not absolute there."""
    usual = exporter.l0.site.model_dump() | {"folder": exporter.l0.site.folder.format(lab=lab.name)}
    site = Site.model_validate(usual | changes)
    windows = exporter.l0.target == "hyperv"
    if not (_WINDOWS.match(site.folder) if windows else site.folder.startswith("/")):
        like = "C:\\labs" if windows else "/srv/labs"
        raise UsageError(f"--at {site.folder}: a whole path of the L0 is needed", hint=f"write it as {like}")
    return site.model_copy(update={"folder": site.folder.rstrip("\\/")})


def exported(exporter: Exporter, plan: LabPlan, site: Site) -> tuple[dict[str, File], tuple[Finding, ...]]:
    """Every file by its path, and what is to be told. Raises UsageError with all that the L0 cannot host."""
    findings = (*_unmoved(plan), *check(exporter, plan.lab, site))
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        told = "\n".join(f"{finding.message} [{finding.code}]{_hint(finding)}" for finding in errors)
        raise UsageError(f"{exporter.l0.title} cannot host this lab:\n{told}")
    files = {file.path: file for file in exporter.export(plan.lab, site)}
    switch_off = {node.name: node.system.boots[0].phases[-1].signal == "power-off" for node in plan.nodes}
    text = readme(exporter, plan.lab, site, files, findings, switch_off)
    return {"README.md": File(path="README.md", content=text)} | files, findings


def _unmoved(plan: LabPlan) -> list[Finding]:
    return [
        Finding(code="l0-direct", severity="error", where=node.name,
                message=f"{node.name}: {node.node.system} is a kernel in memory, without a disk to be moved")
        for node in plan.nodes if node.system.recipe is not None and node.system.recipe.kind == "initramfs"
    ]  # fmt: skip


def _hint(finding: Finding) -> str:
    return f"\n  hint: {finding.hint}" if finding.hint else ""
