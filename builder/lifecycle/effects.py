"""What each step of a plan does to the world, and how it is undone. Lives in the keeper.

A step's `undo` works after any part of its `do`, and twice; so a crash at any moment is mended by undoing the step
that was under way and doing it again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

from builder.drivers.ssh import LabKeys, generate_keys
from builder.drivers.ssh_l0 import FarUri
from builder.errors import HostLacks, LabError, NodeFailed, TimedOut, UsageError
from builder.events import Emit, about
from builder.images.build import build
from builder.images.hosts import HostInputs, read_host
from builder.images.keys import image_key
from builder.images.overlays import create_disk, create_overlay, write_seed
from builder.images.store import Image, ImageStore
from builder.images.tiny import MANAGEMENT, seed_initrd
from builder.lifecycle.accelerator import AcceleratorVerdict
from builder.lifecycle.booting import Boots
from builder.lifecycle.doctor_ground import connection_of
from builder.lifecycle.far import read_record
from builder.lifecycle.faults import Faults
from builder.lifecycle.install import Installs
from builder.lifecycle.naming import Naming
from builder.lifecycle.panics import with_second_start
from builder.lifecycle.plan import LabPlan, NodePlan
from builder.lifecycle.request import UpOptions
from builder.lifecycle.session import Session
from builder.lifecycle.site import Here, Site
from builder.lifecycle.state import LabFolder
from builder.lifecycle.steps import Json, Step, Work
from builder.lifecycle.there import There
from builder.model.lab import MediumSource
from builder.model.plan import Boot, File
from builder.model.runtime import Accelerator, SshTarget
from builder.paths import Places
from builder.systems.names import HOSTS, hosts_text

# What QEMU's user networking would give by DHCP; told beforehand, it costs no second at boot.
MANAGEMENT_ADDRESS = "10.0.2.15/24"
MANAGEMENT_GATEWAY = "10.0.2.2"
MANAGEMENT_NAMESERVER = "10.0.2.3"


class Effects:
    """The steps' effects for one lab. `use` is called before any step is done, and again for a changed plan."""

    def __init__(self, places: Places, lab_id: str, folder: LabFolder, emit: Emit) -> None:
        self._places = places
        self._lab_id = lab_id
        self._folder = folder
        self._emit = emit
        self._options = UpOptions.model_validate({})
        self._plan: LabPlan | None = None
        self._store = ImageStore(places.cache)
        self._images: dict[str, Image] = {}
        self._leases: dict[str, int] = {}
        self._host_inputs: dict[bool, HostInputs] = {}
        self._verdict: AcceleratorVerdict | None = None
        self._guard = threading.RLock()
        self._site: Site | None = None
        self._boots = Boots(places, lab_id, folder, emit)
        self._installs = Installs(places, folder, self._store)
        self._sessions: dict[str, Session] = {}
        self._naming = Naming()
        self.faults = Faults(self._boots, self._hang_up)
        self._works = {
            "image": Work(do=self._do_image, undo=_nothing, is_done=self._has_image),
            "own-image": Work(do=self._do_own_image, undo=_nothing, is_done=_never),
            "medium": Work(do=self._do_medium, undo=_nothing, is_done=self._has_installed_image),
            "remaster": Work(
                do=self._do_remaster, undo=self._undo_remaster, is_done=self._has_medium, is_given=self._is_clone
            ),
            "keep": Work(do=self._do_keep, undo=_nothing, is_done=_always, is_given=self._is_clone),
            "identity": Work(do=self._do_identity, undo=self._undo_identity, is_done=self._has_identity),
            "disks": Work(do=self._do_disks, undo=self._undo_disks, is_done=self._has_disks),
            "boot": Work(do=self._do_boot, undo=self._undo_boot, is_done=self._has_booted, is_given=self._is_installed),
            "session": Work(do=self._do_session, undo=self._undo_session, is_done=self._has_session),
        }

    @property
    def accelerator(self) -> Accelerator | None:
        return self._verdict.accelerator if self._verdict else None

    def use(self, plan: LabPlan, options: UpOptions) -> None:
        self._plan = plan
        self._options = options
        self._boots.use(options, self._at(options.connect, plan.lab.expires))
        self._installs.use(options.reinstall)
        self.faults.use(plan.lab)
        self._boots.site.cables.networks({network.name: network.mtu for network in plan.lab.networks})

    def memory(self) -> int | None:
        """Bytes that are free for guests where they run; None when that is not told."""
        return self._boots.site.memory()

    def work(self, step: Step) -> Work:
        return self._works[step.name]

    def uses_kvm(self) -> bool:
        """Whether KVM is already known to be what nodes run on."""
        return self._verdict is not None and self._verdict.accelerator == "kvm"

    def is_running(self, node: str) -> bool:
        return self._boots.is_running(node)

    def phase(self, node: str) -> str | None:
        return self._boots.phase(node)

    def ssh_target(self, node: str) -> SshTarget | None:
        return self._boots.target(node)

    def console_socket(self, node: str) -> str | None:
        return self._boots.console_socket(node)

    def close(self) -> None:
        """Let go of libvirt, the switch, ports and image leases. Guests must be gone already. Raises LabError where
        another machine does not let us clean it."""
        try:
            self._boots.close()
        finally:
            self._installs.close()
            for lease in self._leases.values():
                with contextlib.suppress(OSError):
                    os.close(lease)
            self._leases.clear()
            if self._site is not None:
                self._site.close()

    def _at(self, connect: str | None, lifetime: int) -> Site:
        """Where the lab's guests run: the same for as long as anything of it is there, also after a killed keeper."""
        known = read_record(self._places, self._lab_id)
        asked = FarUri.parse(connect) if connect is not None and connection_of(connect) == "remote" else None
        if (known is not None and connect is not None and asked != known) or (self._site and asked and known is None):
            where = known.text if known is not None else "this machine"
            raise UsageError(f"lab {self._lab_id} runs on {where}", hint=f"nestlab down {self._lab_id} first")
        if self._site is None:
            uri = known or asked
            self._site = (
                Here(self._places, self._lab_id, connect)
                if uri is None
                else There(self._places, self._lab_id, uri, lifetime=lifetime)
            )
        return self._site

    def tell_names(self, nodes: list[str]) -> None:
        """See that these nodes know all others by name. Raises LabError for one that cannot be told."""
        self._naming.tell(self._need_plan().lab, lambda node: self._boots.target(node) if node in nodes else None)

    # Images: shared by all labs, never undone.

    def _do_image(self, step: Step, stop: threading.Event) -> Json:
        plan = next(n for n in self._need_plan().nodes if step.id in n.steps)
        assert plan.system.recipe is not None
        host = self._host(disk=plan.system.recipe.kind == "disk")

        tell = about(self._emit, step=step.id)
        image = build(plan.system.recipe, host, self._store, work=self._places.cache / "work", emit=tell, stop=stop)
        with self._guard:
            self._images[step.id] = image
            if step.id not in self._leases:
                self._leases[step.id] = self._store.take(image.key)
        return {"image": image.key}

    def _has_image(self, step: Step) -> bool:
        plan = next(n for n in self._need_plan().nodes if step.id in n.steps)
        assert plan.system.recipe is not None
        host = self._host(disk=plan.system.recipe.kind == "disk")
        return self._store.find(image_key(plan.system.recipe, host)) is not None

    def _do_own_image(self, step: Step, _stop: threading.Event) -> Json:
        path = Path(str(step.inputs["path"]))
        if not os.access(path, os.R_OK) or not path.is_file():
            raise HostLacks(f"the image {path} cannot be read", hint="look at `source: {image: ...}` in the lab file")
        self._images[step.id] = Image(key=step.key, kind="disk", disk=path)
        return {"path": str(path)}

    def _host(self, *, disk: bool) -> HostInputs:
        with self._guard:
            if disk not in self._host_inputs:
                self._host_inputs[disk] = read_host(mirror=self._options.mirror, tools=disk)
            return self._host_inputs[disk]

    # Installations: see install.py. A clone of an installed image needs no medium and no power-on with one.

    def _do_medium(self, step: Step, stop: threading.Event) -> Json:
        return self._installs.find(self._node(step), step, about(self._emit, node=step.node, step=step.id), stop)

    def _has_installed_image(self, step: Step) -> bool:
        return self._installs.has_image(self._node(step), step)

    def _is_clone(self, step: Step) -> bool:
        return self._installs.is_clone(str(step.node))

    def _is_installed(self, step: Step) -> bool:
        return bool(step.inputs["boot"]["medium"]) and self._is_clone(step)

    def _do_remaster(self, step: Step, _stop: threading.Event) -> Json:
        plan = self._node(step)
        keys = generate_keys(self._keys(step), self._boots.site.domain_name(plan.name))
        # The volume's file takes the place of one that the answers may have made.
        known = "".join(f"{key}\n" for key in plan.node.install.get("root_keys", ()))
        own = _own_keys(keys, known + keys.identity_public.read_text())
        return self._installs.remaster(plan, own, MANAGEMENT_GATEWAY, self._boots.site.answer)

    def _undo_remaster(self, step: Step) -> None:
        self._installs.remove_medium(str(step.node))

    def _has_medium(self, step: Step) -> bool:
        return self._installs.has_medium(self._node(step))

    def _do_keep(self, step: Step, _stop: threading.Event) -> Json:
        """A host that was installed well is worth more than its image."""
        plan = self._node(step)
        if not self._boots.site.keeps_disks:
            self._emit("progress", node=step.node, step=step.id, not_kept="its disks are on another machine")
            return {"image": None}
        try:
            return self._installs.keep(plan)
        except (LabError, OSError) as error:
            self._emit("progress", node=step.node, step=step.id, not_kept=str(error))
            return {"image": None}

    # Identity: this node's ssh keys.

    def _keys(self, step: Step) -> Path:
        return self._folder.node(str(step.node)) / "ssh"

    def _do_identity(self, step: Step, _stop: threading.Event) -> Json:
        if _is_installing(self._node(step)):
            self._installs.take_keys(self._node(step), self._keys(step))
        generate_keys(self._keys(step), self._boots.site.domain_name(str(step.node)))
        return None

    def _undo_identity(self, step: Step) -> None:
        shutil.rmtree(self._keys(step), ignore_errors=True)
        self._installs.forget_keys(str(step.node))

    def _has_identity(self, step: Step) -> bool:
        plan = self._node(step)
        fit = not _is_installing(plan) or self._installs.has_keys(plan)
        return fit and (self._keys(step) / "known_hosts").is_file()

    # Disks: an overlay on the image, empty further disks, and the node's seed.

    def _do_disks(self, step: Step, _stop: threading.Event) -> Json:
        plan = self._node(step)
        if _is_installing(plan):
            self._installs.make_disks(plan)
            return None
        image = self._image_of(plan)
        self._folder.disks(plan.name).mkdir(exist_ok=True)
        seed = (*plan.system.seed, *self._own_files(step))
        for number, disk in enumerate(plan.node.disks):
            path = self._folder.disk(plan.name, disk.name)
            if number == 0 and image.disk is not None:
                create_overlay(image.disk, path, disk.size)
            else:
                create_disk(path, disk.size)
        if image.disk is not None and plan.node.disks and plan.system.recipe is not None:
            write_seed(self._folder.disk(plan.name, plan.node.disks[0].name), seed)
        if image.initrd is not None:
            seed_initrd(image.initrd, seed, self._folder.disks(plan.name) / "initrd")
        return None

    def _own_files(self, step: Step) -> tuple[File, ...]:
        keys = generate_keys(self._keys(step), self._boots.site.domain_name(str(step.node)))
        plan = self._node(step)
        given = next((file.content for file in plan.system.seed if file.path == HOSTS), "")
        # No part of the step's key: a node that joins changes the names of all, and none has to be made anew for it.
        hosts = hosts_text(self._need_plan().lab, plan.node, given)
        return (
            *((File(path=HOSTS, content=hosts),) if hosts else ()),
            File(path=MANAGEMENT, content=f"{MANAGEMENT_ADDRESS} {MANAGEMENT_GATEWAY}\n"),
            File(path="/etc/resolv.conf", content=f"nameserver {MANAGEMENT_NAMESERVER}\n"),
            *_own_keys(keys, keys.identity_public.read_text()),
        )

    def _undo_disks(self, step: Step) -> None:
        shutil.rmtree(self._folder.disks(str(step.node)), ignore_errors=True)

    def _has_disks(self, step: Step) -> bool:
        plan = self._node(step)
        return self._folder.disks(plan.name).is_dir() and (not _is_installing(plan) or self._installs.has_disks(plan))

    # Boot: one power-on, followed to the end of its last phase.

    def _do_boot(self, step: Step, stop: threading.Event) -> Json:
        plan = self._node(step)
        self._naming.forget(plan.name)
        image = None if _is_installing(plan) else self._image_of(plan)
        with self._guard:
            if self._verdict is None or not self._verdict.proven:
                kernels = [image.kernel] if image and image.kernel else []
                self._verdict = self._boots.site.accelerator(kernels, stop)
                self._emit("progress", accelerator=self._verdict.accelerator, reason=self._verdict.reason)
        chosen = self._verdict.accelerator

        def start() -> Json:
            if image is None:
                return self._boot_installed(plan, step, chosen, stop)
            direct = image if image.initrd is not None else None
            return self._boots.boot(plan, step, chosen, stop, direct=direct)

        tell = about(self._emit, node=step.node, step=step.id)
        return with_second_start(start, lambda: self._undo_boot(step), accelerator=chosen, emit=tell)

    def _boot_installed(self, plan: NodePlan, step: Step, accelerator: Accelerator, stop: threading.Event) -> Json:
        """A power-on with the medium, or one of the host that it made."""
        if Boot.model_validate(step.inputs["boot"]).medium:
            self._installs.begin(plan)
            seconds = self._boots.boot(plan, step, accelerator, stop, inserted=self._installs.inserted(plan))
            self._installs.end(plan)
            return seconds
        self._installs.settle(plan)
        try:
            return self._boots.boot(plan, step, accelerator, stop)
        except (NodeFailed, TimedOut) as error:
            anew = f"`nestlab up LAB --reinstall {plan.name}` installs it anew"
            error.hint = f"{error.hint}; {anew}" if error.hint else anew
            raise

    def _undo_boot(self, step: Step) -> None:
        self._boots.stop(str(step.node))

    def _has_booted(self, step: Step) -> bool:
        """A power-on that ended (an installation) stays done; the last one is done while its guest runs."""
        plan = self._node(step)
        if step.inputs["boot"]["medium"]:
            return self._installs.has_ended(plan)
        last = [s for s in plan.steps if s.partition("/")[2].startswith("boot")][-1]
        return step.id != last or self._boots.is_running(str(step.node))

    # Session: one shared ssh connection, so that later commands need no key exchange.

    def _do_session(self, step: Step, _stop: threading.Event) -> Json:
        node = str(step.node)
        target = self._boots.target(node)
        if target is None:
            raise LabError(f"{node}: it has no ssh port", hint=f"nestlab up --recreate {node}")
        # The connection dies with the thread that opened it, so that no kill of ours leaves it behind.
        session = Session(target)
        session.start()
        session.usable()
        self._sessions[node] = session
        return None

    def _undo_session(self, step: Step) -> None:
        self._hang_up(str(step.node))

    def _hang_up(self, node: str) -> None:
        session = self._sessions.pop(node, None)
        if session is not None:
            session.end()

    def _has_session(self, step: Step) -> bool:
        session = self._sessions.get(str(step.node))
        return session is not None and session.is_alive()

    def _image_of(self, plan: NodePlan) -> Image:
        return self._images[plan.steps[0]]

    def _node(self, step: Step) -> NodePlan:
        return self._need_plan().node(str(step.node))

    def _need_plan(self) -> LabPlan:
        assert self._plan is not None
        return self._plan


def _is_installing(plan: NodePlan) -> bool:
    return isinstance(plan.node.source, MediumSource)


def _own_keys(keys: LabKeys, authorized: str) -> tuple[File, ...]:
    """What lets the lab in, and by what the lab knows the host."""
    return (
        File(path="/root/.ssh/authorized_keys", content=authorized, mode=0o600),
        File(path="/etc/ssh/ssh_host_ed25519_key", content=keys.host_key.read_text(), mode=0o600),
        File(path="/etc/ssh/ssh_host_ed25519_key.pub", content=keys.host_key_public.read_text()),
    )


def _nothing(_step: Step) -> None:
    """A cached result outlives the lab."""


def _never(_step: Step) -> bool:
    return False


def _always(_step: Step) -> bool:
    return True
