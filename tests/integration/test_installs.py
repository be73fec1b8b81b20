"""What is kept of installations, whatever is killed at whatever moment: steps done by hand, no machine is started."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from builder.errors import UsageError
from builder.events import EventLog
from builder.images.overlays import backing_of
from builder.images.store import ImageStore
from builder.lifecycle.effects import Effects
from builder.lifecycle.isos import find_media
from builder.lifecycle.plan import plan_lab
from builder.lifecycle.request import UpOptions
from builder.lifecycle.state import LabFolder, StepRecord
from builder.lifecycle.steps import Step
from builder.media.extract import extract
from builder.model.load import parse_lab
from builder.paths import Places
from tests.support.tiny_installer.medium import tiny_medium
from tests.support.tiny_installer.system import TRAITS, TinyInstaller

pytestmark = pytest.mark.integration

BEFORE = ("medium", "identity", "remaster", "disks")


class Keeper:
    """The steps of one node, as a keeper that has just started does them. `killed` gives the one after it."""

    def __init__(
        self, places: Places, lab: str, *, reinstall: bool = False, source: str = "", firmware: str = "bios",
        **install: str,
    ) -> None:  # fmt: skip
        self.places, self.lab, self.install = places, lab, install
        said = ", ".join(f"{key}: {value}" for key, value in install.items())
        text = (
            f"name: {lab}\ndefaults: {{source: {{medium: {source or tiny_medium()}}}, firmware: {firmware}}}\n"
            f"nodes: {{a: {{system: tiny-installer, install: {{{said}}}}}}}\n"
        )
        found, _ = find_media(parse_lab(text.encode(), {TRAITS.name: TRAITS}).lab, places, {})
        # The card's address is made from the lab's name: these are to be the same machine.
        node = found.node("a").model_copy(update={"management_mac": "52:54:00:00:00:01"})
        self.plan = plan_lab(found.model_copy(update={"nodes": (node,)}), lambda _name: TinyInstaller())
        self.folder = LabFolder(places, lab)
        self.effects = Effects(places, lab, self.folder, EventLog(lab).emit)
        self.effects.use(self.plan, UpOptions(reinstall=("a",) if reinstall else ()))

    def step(self, name: str) -> Step:
        return next(step for step in self.plan.steps if step.id == f"a/{name}")

    def do(self, *names: str) -> None:
        """Each step as `up` does it: not again when it was done and its effect is there."""
        for name in names:
            step, work = self.step(name), self.effects.work(self.step(name))
            recorded = step.kind == "live" and step.id in self.folder.records("a")
            if recorded and work.is_done(step):
                continue
            if recorded:
                work.undo(step)
            if step.kind == "cached" or not work.is_given(step):
                work.do(step, threading.Event())
            self.record(name)

    def record(self, name: str, state: Literal["begun", "done"] = "done") -> None:
        if self.step(name).kind == "live":
            self.folder.record(self.step(name), StepRecord(key=self.step(name).key, state=state))

    def is_done(self, name: str) -> bool:
        return self.effects.work(self.step(name)).is_done(self.step(name))

    def killed(self, **changes: Any) -> Keeper:
        self.effects.close()
        return Keeper(self.places, self.lab, **{**self.install, **changes})

    @property
    def disk(self) -> Path:
        return self.folder.node("a") / "disks/disk0.qcow2"

    @property
    def key(self) -> Path:
        return self.folder.node("a") / "ssh/id_ed25519"

    @property
    def progress(self) -> Path:
        return self.folder.node("a") / "disks/installation"

    def write(self) -> None:
        """What an installation does: it ends with something on the disk."""
        subprocess.run(["qemu-io", "-c", "write -q -P 7 0 64k", self.disk], check=True)
        self.progress.write_text("ended\n")
        self.record("boot:install")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "state", tmp_path / "cache", tmp_path / "run")


def installed(places: Places, lab: str = "one") -> Keeper:
    keeper = Keeper(places, lab)
    keeper.do(*BEFORE)
    keeper.write()
    keeper.do("keep")
    return keeper


def images(places: Places) -> list[Path]:
    return [image.disks[0] for image in ImageStore(places.cache).ls() if image.kind == "installed"]


def test_an_installed_disk_becomes_an_image_and_the_node_an_overlay_on_it(places: Places) -> None:
    keeper = installed(places)
    (image,) = images(places)
    assert backing_of(keeper.disk) == image
    assert image.parent.stat().st_mode & 0o777 == 0o700
    assert (image.parent / "id_ed25519").stat().st_mode & 0o777 == 0o600
    clone = Keeper(places, "two")
    clone.do(*BEFORE)
    assert backing_of(clone.disk) == image
    assert clone.key.read_text() == keeper.key.read_text()
    assert all(clone.effects.work(clone.step(name)).is_given(clone.step(name)) for name in ("boot:install", "keep"))
    assert not (clone.folder.node("a") / "medium").exists()
    assert clone.is_done("boot:install")


def test_what_the_firmware_wrote_down_belongs_to_the_image(places: Places) -> None:
    keeper = Keeper(places, "one", firmware="uefi")
    keeper.do(*BEFORE)
    keeper.disk.with_name("uefi-vars.fd").write_bytes(b"an entry")
    keeper.write()
    keeper.do("keep")
    clone = Keeper(places, "two", firmware="uefi")
    clone.do(*BEFORE)
    assert clone.disk.with_name("uefi-vars.fd").read_bytes() == b"an entry"
    assert not clone.disk.with_name("uefi-vars.fd").samefile(images(places)[0].with_name("uefi-vars.fd"))


def test_a_medium_from_an_address_is_downloaded_once(places: Places) -> None:
    medium = tiny_medium()
    digest = hashlib.sha256(medium.read_bytes()).hexdigest()
    handler = functools.partial(SimpleHTTPRequestHandler, directory=medium.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        source = f"'http://127.0.0.1:{server.server_port}/{medium.name}', sha256: {digest}"
        keeper = Keeper(places, "one", source=source)
        keeper.do(*BEFORE)
        server.shutdown()
    kept = places.cache / f"media/{digest}.iso"
    assert backing_of(keeper.folder.node("a") / "medium/medium.qcow2") == kept
    again = Keeper(places, "two", source=source)  # nobody serves it any more
    again.do("medium")
    assert again.step("medium").key == keeper.step("medium").key == Keeper(places, "three").step("medium").key


def test_other_answers_are_another_installation(places: Places) -> None:
    installed(places)
    other = Keeper(places, "two", end="reboot")
    other.do(*BEFORE)
    assert backing_of(other.disk) is None
    assert not other.is_done("boot:install")


def test_an_image_in_use_is_not_pruned(places: Places) -> None:
    keeper = installed(places)
    assert ImageStore(places.cache).prune(0) == ()
    keeper.effects.close()
    assert len(ImageStore(places.cache).prune(0)) == 1


def test_killed_after_the_image_was_made_and_before_the_node_knew(places: Places) -> None:
    """The disk is then the image's own file: it must never be started from."""
    keeper = installed(places)
    (image,) = images(places)
    keeper.disk.unlink()
    keeper.disk.hardlink_to(image)
    (keeper.folder.node("a") / "origin").write_text("own\n")
    keeper.folder.record(keeper.step("keep"), None)
    again = keeper.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install"), "a finished installation is not repeated"
    again.do("keep")
    assert backing_of(again.disk) == image
    assert not again.disk.samefile(image)


def test_killed_before_the_image_was_made(places: Places) -> None:
    keeper = Keeper(places, "one")
    keeper.do(*BEFORE)
    keeper.write()
    key = keeper.key.read_text()
    again = keeper.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install") and again.key.read_text() == key
    again.do("keep")
    assert len(images(places)) == 1


def test_an_image_of_another_lab_with_other_keys_does_not_take_the_place_of_ones_own_disks(places: Places) -> None:
    slow = Keeper(places, "slow")
    slow.do(*BEFORE)
    installed(places, "quick")
    slow.write()
    slow.do("keep")
    assert backing_of(slow.disk) is None
    again = slow.killed()
    again.do(*BEFORE)
    assert again.is_done("boot:install") and backing_of(again.disk) is None
    assert again.key.read_text() == slow.key.read_text()


def test_a_clone_whose_image_is_gone_is_installed(places: Places) -> None:
    """The lab's keeper was killed, and somebody made room meanwhile."""
    installed(places).effects.close()
    clone = Keeper(places, "two")
    clone.do(*BEFORE)
    clone.effects.close()
    assert ImageStore(places.cache).prune(0)
    again = Keeper(places, "two")
    again.do("medium")
    assert not again.is_done("identity") and not again.is_done("disks")


def test_an_installation_that_was_cut_off_gets_blank_disks_and_a_listener(places: Places) -> None:
    keeper = Keeper(places, "one")
    keeper.do(*BEFORE)
    keeper.write()
    keeper.progress.write_text("begun\n")
    again = keeper.killed()
    again.do("medium", "identity")
    assert not again.is_done("remaster"), "the listener of the killed keeper is gone"
    again.do("remaster", "disks")
    assert not again.is_done("boot:install")
    before = again.disk.stat().st_size
    again.effects._installs.begin(again.plan.node("a"))
    assert again.disk.stat().st_size < before
    assert again.progress.read_text() == "begun\n"


def test_reinstall_forgets_the_image_once(places: Places) -> None:
    installed(places).effects.close()
    anew = Keeper(places, "two", reinstall=True)
    assert not anew.is_done("medium")
    anew.do(*BEFORE)
    assert images(places) == [] and backing_of(anew.disk) is None
    anew.write()
    anew.do("keep")
    again = anew.killed()
    again.do(*BEFORE)
    assert len(images(places)) == 1 and again.is_done("boot:install")


def test_reinstall_does_not_take_an_image_from_others(places: Places) -> None:
    installed(places)
    anew = Keeper(places, "two", reinstall=True)
    with pytest.raises(UsageError, match="in use"):
        anew.do("medium")


def test_a_medium_that_was_exchanged_meanwhile_is_not_installed_from(places: Places) -> None:
    keeper = Keeper(places, "one")
    lab = keeper.plan.lab
    source = lab.nodes[0].source.model_copy(update={"sha256": "0" * 64})
    node = keeper.plan.nodes[0].model_copy(update={"node": lab.nodes[0].model_copy(update={"source": source})})
    keeper.effects.use(keeper.plan.model_copy(update={"nodes": (node,)}), UpOptions())
    with pytest.raises(UsageError, match="changed just now"):
        keeper.do("medium")


def test_keys_come_on_the_volume_and_nowhere_else(places: Places) -> None:
    keeper = Keeper(places, "one", root_keys=f"['ssh-ed25519 {'A' * 68} me']")
    keeper.do(*BEFORE)
    folder = keeper.folder.node("a") / "medium"
    volume = folder / "volume.iso"
    assert volume.stat().st_mode & 0o777 == 0o600
    authorized = _content(volume, "/seed/root/.ssh/authorized_keys").decode().splitlines()
    assert [line.split()[2] for line in authorized] == ["me", "nestlab"]
    private = (keeper.folder.node("a") / "ssh/host_ed25519").read_bytes()
    assert _content(volume, "/seed/etc/ssh/ssh_host_ed25519_key") == private
    assert private.splitlines()[2] not in (folder / "medium.qcow2").read_bytes()
    assert "PRIVATE" not in keeper.plan.model_dump_json()


def _content(volume: Path, path: str) -> bytes:
    target = volume.with_name("content")
    extract(volume, {path: target})
    return target.read_bytes()
