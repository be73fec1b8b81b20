"""Nodes that install themselves: their medium, the disks it writes, and the image that is kept of them.

A node's disks are either its `own`, written by an installation in this lab, or a clone of an installed image. Which of
both is decided once and stays in the node's folder (`origin`), with the keys that go with it; `disks/installation` says
how far an installation came. So whatever is killed at whatever moment: one that has ended is never repeated, one that
was cut off starts again on blank disks, and no disk is ever met with the keys of another.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.drivers.boot import Signal
from builder.drivers.hooks import HookListener
from builder.errors import LabError, UsageError
from builder.events import Emit, transfer
from builder.images.overlays import backing_of, create_disk, create_overlay
from builder.images.store import Image, ImageStore
from builder.lifecycle.isos import digest_of, download, fits
from builder.lifecycle.plan import NodePlan
from builder.lifecycle.state import FIRMWARE, LabFolder
from builder.lifecycle.steps import Json, Step
from builder.media.author import host_volume, write_volume
from builder.media.edits import Arguments, from_model
from builder.media.plan import plan_edits
from builder.media.sinks import write_qcow2
from builder.model.lab import MediumSource, Node
from builder.model.plan import File
from builder.model.runtime import InstallMedia
from builder.paths import Places, private_dir, write_atomic
from builder.run import need, run

KEYS = ("id_ed25519", "id_ed25519.pub", "host_ed25519", "host_ed25519.pub")
OWN = "own"
Progress = Literal["blank", "begun", "ended"]


@dataclass(frozen=True, slots=True)
class Inserted:
    """What is in the drives of an installation, the vendor's medium that it reads through, and the queue that what its
    scripts report comes out of."""

    media: InstallMedia
    source: Path
    signals: queue.Queue[Signal]

    def forget(self) -> None:
        """What was reported so far: before a power-on, that is of an earlier one."""
        with contextlib.suppress(queue.Empty):
            while True:
                self.signals.get_nowait()


class Installs:
    """The steps of such nodes, for one lab. Thread-safe for different nodes."""

    def __init__(self, places: Places, folder: LabFolder, store: ImageStore) -> None:
        self._places = places
        self._folder = folder
        self._store = store
        self._images: dict[str, Image] = {}
        self._leases: dict[str, int] = {}
        self._hooks: dict[str, _Hooks] = {}
        self._wanted: dict[str, str] = {}
        self._anew: frozenset[str] = frozenset()

    def use(self, reinstall: tuple[str, ...]) -> None:
        """`reinstall` names nodes that do not get a clone, though there is an image."""
        self._anew = frozenset(reinstall)

    def close(self) -> None:
        for node in list(self._leases):
            self._let_go(node)
        for node in list(self._hooks):
            self._hang_up(node)

    def is_clone(self, node: str) -> bool:
        return node in self._images

    # The medium, and the image that there may be of it.

    def has_image(self, plan: NodePlan, step: Step) -> bool:
        return self._store.find(step.key) is not None and not self._wants_anew(plan.name)

    def find(self, plan: NodePlan, step: Step, emit: Emit, stop: threading.Event) -> Json:
        """See that the medium is there, and take the installed image into use where there is one.

        Raises UsageError for a medium that is another by now, HostLacks when it cannot be downloaded.
        """
        self._wanted[plan.name] = step.key
        anew = self._wants_anew(plan.name)
        image = self._store.find(step.key) if self._origin(plan.name) in (None, step.key) and not anew else None
        if image is not None:
            self._hold(plan.name, image)
            return {"image": image.key}
        self._insert(plan.node, emit, stop)
        if anew:  # not before there is something that another can be made of
            self._forget(plan.name, step.key)
        self._let_go(plan.name)
        return {"medium": step.inputs["medium"]}

    def _insert(self, node: Node, emit: Emit, stop: threading.Event) -> None:
        source = _source(node)
        path = Path(source.path)
        if source.url is not None and not path.is_file():
            _download(node, source, emit, stop)
        elif not path.is_file() or digest_of(path, self._places) != source.sha256:
            raise UsageError(f"{node.name}: its medium {path} went away or was changed just now", hint="try again")
        fits(node, path)

    def _wants_anew(self, node: str) -> bool:
        return node in self._anew and self._origin(node) != OWN

    def _forget(self, node: str, key: str) -> None:
        self._let_go(node)
        if self._store.find(key) is not None and not self._store.remove(key):
            raise UsageError(f"the installed image of {node} is in use", hint="take down the labs that have it first")

    def _hold(self, node: str, image: Image) -> None:
        """Take an image into use, instead of another one."""
        held = self._images.get(node)
        if held is None or held.key != image.key:
            self._let_go(node)
            self._leases[node] = self._store.take(image.key)
        self._images[node] = image

    def _let_go(self, node: str) -> None:
        self._images.pop(node, None)
        lease = self._leases.pop(node, None)
        if lease is not None:
            with contextlib.suppress(OSError):
                os.close(lease)

    # Identity: an image is entered with the keys that it was installed with.

    def take_keys(self, plan: NodePlan, folder: Path) -> None:
        """Put the image's keys into `folder`, or nothing where the node is to be installed."""
        image = self._images.get(plan.name)
        if image is not None:
            private_dir(folder)
            for key in image.keys:
                write_atomic(folder / key.name, key.read_bytes(), mode=0o644 if key.suffix == ".pub" else 0o600)
        self._set_origin(plan.name, image.key if image is not None else OWN)

    def has_keys(self, plan: NodePlan) -> bool:
        """Whether the keys are those of the disks: an image may be gone since."""
        image = self._images.get(plan.name)
        return self._origin(plan.name) == (image.key if image is not None else OWN)

    def forget_keys(self, node: str) -> None:
        (self._folder.node(node) / "origin").unlink(missing_ok=True)

    # The medium with the node's answers, and the volume with its own files.

    def remaster(self, plan: NodePlan, own: tuple[File, ...], host: str, port: Callable[[int], int]) -> Json:
        """`host` is the address of the machine that it runs on as the guest sees it, `port` gives the port there that
        leads to one of ours: its scripts report to us there.

        Raises MediaError when the medium cannot take the answers, or there is no room.
        """
        folder = private_dir(self._medium(plan.name))
        system = plan.system
        edits = from_model(system.media_edits, system.answers)
        self._hang_up(plan.name)
        hooks = self._hooks[plan.name] = _Hooks(self._folder.node(plan.name) / "installer.log")
        if any(isinstance(edit, Arguments) and edit.kernel for edit in edits):
            edits = (Arguments(kernel=(hooks.listener.argument(host, port(hooks.listener.port)),)), *edits)
        made = plan_edits(Path(_source(plan.node).path), edits)
        written = write_qcow2(made, folder / "medium.qcow2")
        volume = host_volume(system.volume_label, system.answers, (*system.seed, *own))
        if volume is not None:
            write_volume(volume, folder / "volume.iso")
        return {"written": written.written, "files": len(made.touched), "notes": list(made.notes)}

    def remove_medium(self, node: str) -> None:
        self._hang_up(node)
        shutil.rmtree(self._medium(node), ignore_errors=True)

    def has_medium(self, plan: NodePlan) -> bool:
        """Not where an installation is still to come whose reports would go to a listener of a killed keeper."""
        overlay = self._medium(plan.name) / "medium.qcow2"
        heard = plan.name in self._hooks or self.has_ended(plan)
        return heard and overlay.is_file() and _source(plan.node).path == str(backing_of(overlay))

    def inserted(self, plan: NodePlan) -> Inserted:
        folder = self._medium(plan.name)
        volume = folder / "volume.iso"
        media = InstallMedia(medium=str(folder / "medium.qcow2"), volume=str(volume) if volume.exists() else None)
        return Inserted(media, Path(_source(plan.node).path), self._hooks[plan.name].signals)

    def _hang_up(self, node: str) -> None:
        hooks = self._hooks.pop(node, None)
        if hooks is not None:
            hooks.listener.close()

    # Disks: blank ones, or overlays on the image's.

    def make_disks(self, plan: NodePlan) -> None:
        folder = self._folder.disks(plan.name)
        folder.mkdir(exist_ok=True)
        image = self._images.get(plan.name)
        if image is None:
            self._blank(plan)
            return
        for disk, base in zip(plan.node.disks, image.disks, strict=True):
            create_overlay(base, self._folder.disk(plan.name, disk.name), disk.size)
        if image.firmware is not None:
            shutil.copyfile(image.firmware, folder / FIRMWARE)
        self._set_progress(plan.name, "ended")

    def has_disks(self, plan: NodePlan) -> bool:
        """Whether they are all there, with what they stand on."""
        paths = [self._folder.disk(plan.name, disk.name) for disk in plan.node.disks]
        return all(path.is_file() and ((base := backing_of(path)) is None or base.is_file()) for path in paths)

    def begin(self, plan: NodePlan) -> None:
        """Before a power-on with the medium. An installation that was cut off has left something on the disks."""
        if self._progress(plan.name) != "blank":
            self._blank(plan)
        self._set_progress(plan.name, "begun")

    def end(self, plan: NodePlan) -> None:
        self._hang_up(plan.name)
        self._set_progress(plan.name, "ended")

    def has_ended(self, plan: NodePlan) -> bool:
        return self._progress(plan.name) == "ended"

    def _blank(self, plan: NodePlan) -> None:
        (self._folder.disks(plan.name) / FIRMWARE).unlink(missing_ok=True)
        for disk in plan.node.disks:
            path = self._folder.disk(plan.name, disk.name)
            path.unlink(missing_ok=True)  # qemu-img empties the file that is there, which may be an image's too
            create_disk(path, disk.size)
        self._set_progress(plan.name, "blank")

    # The image that remains of an installation.

    def keep(self, plan: NodePlan) -> Json:
        """Make the node's disks an image, and give the node overlays on it. Where another lab has done so meanwhile,
        with keys of its own, the node keeps its disks. The node must not be running.

        Until the overlays have taken their place, the disks are the image's own files. All that may find no room is
        made before there is an image; `settle` mends what a kill leaves.
        """
        key = self._wanted[plan.name]
        with self._store.building(key) as folder:
            image = self._store.find(key)
            if image is not None and not self._ours(plan, image):
                return {"image": None}
            with self._overlays(plan, key) as overlays:
                if image is None:
                    image = self._publish(plan, key, folder)
                self._stand_on(plan, image, overlays)
        return {"image": key, "size": image.size}

    def settle(self, plan: NodePlan) -> None:
        """Before the installed host is started: see that no disk of it is the image's own file, and that an image it
        stands on is held. Where there is no room for overlays, the image goes rather than the disks.

        Raises what keeps the disks from becoming the node's own, such as another lab that has the image.
        """
        image = self._store.find(self._wanted[plan.name])
        if image is None:
            return
        disks = [self._folder.disk(plan.name, disk.name) for disk in plan.node.disks]
        stands = any(backing_of(path) == base for path, base in zip(disks, image.disks, strict=True))
        if any(path.samefile(base) for path, base in zip(disks, image.disks, strict=True)):
            try:
                with self._overlays(plan, image.key) as overlays:
                    self._stand_on(plan, image, overlays)
            except (LabError, OSError):
                self._let_go(plan.name)
                if stands or not self._store.remove(image.key):
                    raise
        elif stands and not self.is_clone(plan.name):
            self._stand_on(plan, image, {})

    @contextlib.contextmanager
    def _overlays(self, plan: NodePlan, key: str) -> Iterator[dict[Path, Path]]:
        """Overlays on the image, which need not be there yet, beside the disks whose place they are to take; of those
        that have none. What has not taken its place in the end goes away."""
        made: dict[Path, Path] = {}
        tool = need("qemu-img", why="make a node's disks", package="qemu-utils")
        try:
            for disk in plan.node.disks:
                path = self._folder.disk(plan.name, disk.name)
                base = self._store.root / key / path.name
                if backing_of(path) != base:
                    made[path] = path.with_suffix(".new")
                    create_overlay(path, made[path], disk.size)
                    run([tool, "rebase", "-u", "-f", "qcow2", "-b", base.absolute(), "-F", "qcow2", made[path]])
            yield made
        finally:
            for overlay in made.values():
                overlay.unlink(missing_ok=True)

    def _stand_on(self, plan: NodePlan, image: Image, overlays: dict[Path, Path]) -> None:
        self._hold(plan.name, image)
        for path, overlay in overlays.items():
            overlay.rename(path)
        self._set_origin(plan.name, image.key)

    def _publish(self, plan: NodePlan, key: str, folder: Path) -> Image:
        folder.chmod(0o700)
        disks, keys = self._folder.disks(plan.name), self._folder.node(plan.name) / "ssh"
        names = [self._folder.disk(plan.name, disk.name).name for disk in plan.node.disks]
        for name in names:
            _link(disks / name, folder / name)
        for name in KEYS:
            write_atomic(folder / name, (keys / name).read_bytes(), mode=0o600)
        manifest: dict[str, Json] = {"kind": "installed", "disks": names, "keys": KEYS}
        if (disks / FIRMWARE).exists():
            shutil.copyfile(disks / FIRMWARE, folder / FIRMWARE)
            manifest["firmware"] = FIRMWARE
        return self._store.publish(folder, key, manifest | {"release": f"{plan.system.system} {plan.system.release}"})

    def _ours(self, plan: NodePlan, image: Image) -> bool:
        keys = self._folder.node(plan.name) / "ssh"
        return all(key.read_bytes() == (keys / key.name).read_bytes() for key in image.keys)

    # What stays in the node's folder.

    def _medium(self, node: str) -> Path:
        return self._folder.node(node) / "medium"

    def _origin(self, node: str) -> str | None:
        return _said(self._folder.node(node) / "origin")

    def _set_origin(self, node: str, origin: str) -> None:
        write_atomic(self._folder.node(node) / "origin", origin + "\n", mode=0o600)

    def _progress(self, node: str) -> str | None:
        return _said(self._folder.disks(node) / "installation")

    def _set_progress(self, node: str, progress: Progress) -> None:
        write_atomic(self._folder.disks(node) / "installation", progress + "\n", mode=0o600)


class _Hooks:
    """Where the scripts of an installation report to, and the queue that the reports go into."""

    def __init__(self, log: Path) -> None:
        self.signals: queue.Queue[Signal] = queue.Queue()
        self.listener = HookListener(self.signals.put, log=log)


def _source(node: Node) -> MediumSource:
    assert isinstance(node.source, MediumSource)
    return node.source


def _download(node: Node, source: MediumSource, emit: Emit, stop: threading.Event) -> None:
    emit("begin", phase="download")
    download(node, source, progress=transfer(emit, "download"), stop=stop)
    emit("end", phase="download", outcome="ok")


def _said(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None


def _link(source: Path, target: Path) -> None:
    """The same file under another name; where that is another file system, a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        try:
            shutil.copyfile(source, target)
        except OSError as error:
            raise LabError(f"the installed disk cannot be kept at {target}: {error.strerror}",
                           hint="nestlab image prune, or more room for NESTLAB_CACHE") from None  # fmt: skip
