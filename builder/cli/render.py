"""`nestlab render`."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import click

from builder.cli.frame import App, pass_app
from builder.cli.labs import complete_lab, load_lab, planned
from builder.cli.options import templates_option
from builder.cli.output import columns, output_option, show
from builder.errors import LabError, UsageError
from builder.hypervisors.kvm import domain_xml
from builder.lifecycle.plan import LabPlan, NodePlan
from builder.model.plan import File
from builder.model.runtime import DirectBoot, NicPorts, UefiFirmware, Wiring
from builder.paths import fsync_dir, hidden_prefix

# A folder that has it was written by us, and may be replaced as a whole.
MARKER = ".nestlab-render"


@click.command()
@click.argument("lab", metavar="LAB", shell_complete=complete_lab)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="Folder to write; replaced as a whole.")  # fmt: skip
@click.option("--stdout", "one", metavar="NODE:FILE", help="Print this one file.")
@click.option(
    "--accelerator", type=click.Choice(["kvm", "tcg"]), default="kvm", help="What domain.xml is rendered for."
)
@templates_option
@output_option()
@pass_app
def render(
    app: App, *, lab: str, out: Path | None, one: str | None, accelerator: str, templates: Path | None, how: str
) -> None:
    """Write every file that is generated for LAB, a folder per node: answers, image recipe, seed, domain.xml.

    Without --out or --stdout the files are listed. What `up` chooses (ports, paths, keys) is shown by samples.
    """
    refuse_both(out, one)
    made = planned(load_lab(app, lab, limits=False), templates)
    files = {f"{node.name}/{file.path}": file for node in made.nodes for file in node_files(made, node, accelerator)}
    if one is not None:
        print_one(files, one.replace(":", "/", 1), said=one, lister=f"nestlab render {lab}")
        return
    if out is not None:
        write_tree(out, files)
        if not app.quiet:
            click.echo(f"{out} has a folder for each node", err=True)
    rows = [{"node": name.partition("/")[0], "file": name.partition("/")[2], "size": len(file.content.encode()),
             "mode": f"{file.mode:04o}"} for name, file in files.items()]  # fmt: skip
    show(rows, how, lambda: columns(["node", "file", "size", "mode"], [list(row.values()) for row in rows]))


def refuse_both(out: Path | None, one: str | None) -> None:
    if out is not None and one is not None:
        raise click.UsageError("--out and --stdout exclude each other")


def print_one(files: Mapping[str, File], name: str, *, said: str, lister: str) -> None:
    """Print one of the files. Raises UsageError when it is not there; `said` is what the user called it."""
    if name not in files:
        folder, _, rest = name.partition("/")
        alike = [each for each in files if PurePosixPath(each).name == PurePosixPath(name).name]
        meant = [each for each in alike if not rest or each.startswith(f"{folder}/")]
        shown = [each.replace("/", ":", 1) if ":" in said else each for each in meant]
        there = f"there is {' and '.join(shown)}; " if shown else ""
        raise UsageError(f"there is no file {said}", hint=f"{there}{lister} lists the files")
    click.echo(files[name].content, nl=False)


def node_files(made: LabPlan, plan: NodePlan, accelerator: str) -> Iterator[File]:
    """Every generated file of a node, with its path below the node's folder."""
    system = plan.system
    for answer in system.answers:
        yield File(path=f"answers/{answer.name}", content=answer.content, mode=0o600)
    if system.recipe is not None:
        recipe = system.recipe
        yield File(path="image/recipe.json", content=_json(recipe.model_dump(mode="json", exclude={"files"})))
        for file in recipe.files:
            yield file.model_copy(update={"path": f"image/files/{_inside(file.path)}"})
    for file in system.seed:
        yield file.model_copy(update={"path": f"seed/{_inside(file.path)}"})
    if system.media_edits:
        yield File(
            path="media-edits.json", content=_json([edit.model_dump(mode="json") for edit in system.media_edits])
        )
    yield File(path="boot-arguments.json", content=_json(system.boot_args.model_dump(mode="json")))
    yield File(path="boots.json", content=_json([boot.model_dump(mode="json") for boot in system.boots]))
    yield File(path="domain.xml", content=domain_xml(plan.node, sample_wiring(made, plan, accelerator)))


def sample_wiring(made: LabPlan, plan: NodePlan, accelerator: str) -> Wiring:
    """Stand-ins for what `up` chooses: telling paths, ports counted from 20000."""
    node, folder = plan.node, f"/LAB/{plan.name}"
    position = next(at for at, other in enumerate(made.nodes) if other.name == plan.name)
    port = 20000 + 64 * position
    direct = None
    if plan.system.recipe is not None and plan.system.recipe.kind == "initramfs":
        arguments = " ".join(plan.system.boot_args.kernel)
        direct = DirectBoot(kernel="/CACHE/kernel", initrd=f"{folder}/disks/initrd", arguments=arguments)
    uefi = None
    if node.firmware == "uefi":
        uefi = UefiFirmware(code="/OVMF/CODE.fd", variables=f"{folder}/VARS.fd", template="/OVMF/VARS.fd")
    return Wiring.model_validate({
        "lab": made.lab.name, "domain": f"nestlab-{made.lab.name}-{plan.name}",
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"nestlab:{made.lab.name}/{plan.name}")),
        "accelerator": accelerator, "disks": [f"{folder}/disks/{disk.name}.qcow2" for disk in node.disks],
        "console_log": f"{folder}/console.log", "console_socket": f"{folder}/console.sock", "ssh_port": port,
        "nics": [NicPorts(qemu=port + 1 + 2 * n, switch=port + 2 + 2 * n) for n in range(len(node.nics))],
        "direct": direct, "uefi": uefi,
    })  # fmt: skip


def write_tree(out: Path, files: dict[str, File]) -> None:
    """The files below `out`, all or none: made beside it, then put in its place.

    Raises UsageError for a folder that is not empty and that we did not write, LabError for one that cannot be.
    """
    if out.exists() and any(out.iterdir()) and not (out / MARKER).exists():
        raise UsageError(f"{out} has files that are not ours", hint="give an empty or a new folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=out.parent, prefix=hidden_prefix(out)))
    except OSError as error:
        raise LabError(f"{out.parent} cannot be written: {error.strerror}", hint="--out names another folder") from None
    try:
        (made / MARKER).touch()
        for name, file in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content)
            path.chmod(file.mode)
        made.chmod(0o755)
        if out.exists():
            old = Path(tempfile.mkdtemp(dir=out.parent, prefix=f"{hidden_prefix(out)}old."))
            out.rename(old / "tree")
            made.rename(out)
            shutil.rmtree(old)
        else:
            made.rename(out)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    fsync_dir(out.parent)


def _inside(path: str) -> str:
    """An absolute path of the guest as a path below a folder. Raises LabError when it would lead out of it."""
    parts = PurePosixPath(path.lstrip("/")).parts
    if ".." in parts or not parts:
        raise LabError(
            f"a system names the file {path!r}, which leads out of its folder", hint="this is a bug: report it"
        )
    return "/".join(parts)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
