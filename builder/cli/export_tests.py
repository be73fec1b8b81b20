"""`nestlab export --to xcp-ng-tests`: no definitions, but what that test suite has to be told of a lab's hosts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from builder.cli.frame import App
from builder.cli.output import show
from builder.cli.render import print_one, write_tree
from builder.drivers.ssh import ssh_config
from builder.lifecycle.state import read_status
from builder.model.lab import Lab
from builder.model.plan import File
from builder.model.runtime import SshTarget
from builder.systems.xcp_ng_tests import SuiteArguments, suite_arguments


def export_tests(app: App, lab: Lab, *, pools: tuple[str, ...], out: Path | None, one: str | None, how: str) -> None:
    """Without --out or --stdout, print the options for pytest in one line, so that a shell can put them in place."""
    made = suite_arguments(lab, [pool.split(",") for pool in pools])
    for finding in made.findings:
        click.echo(f"{finding.severity}: {finding.message} [{finding.code}]\n  hint: {finding.hint}", err=True)
    files = {file.path: file for file in _files(app, lab, made)}
    if one is not None:
        print_one(files, one, said=one, lister=f"nestlab export {lab.name} --to xcp-ng-tests -o json")
        return
    if out is not None:
        write_tree(out, files)
    value = made.model_dump(mode="json", exclude={"findings"}) | {"pytest": made.options, "files": list(files)}
    show(value, how, lambda: " ".join(made.options))


def _files(app: App, lab: Lab, made: SuiteArguments) -> list[File]:
    """`ssh_config` knows the hosts of a lab that is up here: the suite calls ssh without a port."""
    files = [
        File(path="pytest.args", content="\n".join(made.options) + "\n"),
        File(path=f"config.{lab.name}.toml", content=made.overlay),
    ]
    targets = _targets(app, lab)
    reached = {host.address: targets[host.node] for pool in made.pools for host in pool if host.node in targets}
    if reached:
        files.append(File(path="ssh_config", content=ssh_config(reached), mode=0o600))
    return files


def _targets(app: App, lab: Lab) -> Mapping[str, SshTarget]:
    status = read_status(app.places, lab.name)
    return {node.name: node.ssh for node in status.nodes if node.ssh is not None} if status else {}
