"""The stand-in itself: arguments, answers, scripts, and the installation in the real one's phases.

Its log says what the real installer's says at the same points; on the console with rt_answerfile=, else in a file only.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import disks, found, host_files, loader, network, repository, upgrade
from .answers import RULES, AnswerFile, Answers
from .stages import Stages
from .tools import Log, Tools
from .xml_rules import AnswerfileException

LOG = Path("/tmp/install-log")
ROOT = Path("/tmp/root")
AT_EXIT = Path("/run/at-exit")
"""What /init does when this has ended."""
LOADER = Path("/opt/stand-in/loader")
RELEASE = Path("/opt/stand-in/release")
"""A line: release as in the lab file, brand, version, platform version, separated by |."""
_ADDRESSES = ("answerfile", "rt_answerfile", "answerfile_generator")


class WaitsForSomebody(Exception):
    """A screen of the real installer, which nobody would answer."""


@dataclass
class Arguments:
    """Words of dom0's line. Those that the real installer does not know are harmless."""

    given: Mapping[str, str]
    consoles: Sequence[str] = field(default_factory=tuple)

    @classmethod
    def read(cls, line: str) -> Arguments:
        words = [word.partition("=") for word in shlex.split(line)]
        consoles = [value.partition(",")[0] for name, _, value in words if name == "console"]
        return cls({name: value for name, _, value in words}, consoles)

    @property
    def answers(self) -> tuple[str, str]:
        """How the answers come, and from where; both empty when nobody says."""
        return next(((name, self.given[name]) for name in _ADDRESSES if name in self.given), ("", ""))

    @property
    def serial(self) -> bool:
        return bool(self.consoles) and self.consoles[-1].startswith(("hvc", "ttyS"))

    @property
    def network_device(self) -> str:
        """The card to bring up; empty for none."""
        device = self.given.get("network_device", self.given.get("answerfile_device", "")).lower()
        address = self.answers[1]
        return device or ("all" if address and not address.startswith("file://") else "")


class Installer:
    def __init__(self, arguments: Arguments, log: Log) -> None:
        self.release, brand, version, platform = RELEASE.read_text().strip().split("|")
        self.product = host_files.Product(brand, version, platform)
        self.arguments = arguments
        self.log = log
        self.tools = Tools(log)
        self.stages = Stages(self.tools, Path("/tmp/scripts"))
        self.target: tuple[str, Sequence[disks.Part]] | None = None

    def go(self) -> None:
        """Everything from the greeting to the log on the host. Raises WaitsForSomebody only."""
        self.log(f"{self.product.brand} Setup - Version {self.product.version} (nestlab's stand-in, for tests only)")
        if self.release != "8.2":
            self.log("Installer Version stand-in")
        self.log(f"Command line args: {dict(self.arguments.given)}")
        way, address = self.arguments.answers
        if RULES[self.release].needs_install and way and "install" not in self.arguments.given:
            self.log("No operation specified for answerfile - dropping back to interactive mode.")
            raise WaitsForSomebody("nobody said install")
        if not way:
            raise WaitsForSomebody("there is no answer file")
        if self.arguments.network_device:
            network.bring_up(self.tools, self.arguments.network_device, self.arguments.given.get("network_config", ""))
        found.link_disks()
        self.log("Starting installation/upgrade/restore")
        try:
            if {"no-gpgcheck", "no-repo-gpgcheck"} & set(self.arguments.given):
                raise RuntimeError("Using answerfile, gpgcheck settings on CLI would be ignored.  "
                                   "Set them inside answerfile instead.")  # fmt: skip
            self._install(self._read(way, address))
        except WaitsForSomebody:
            raise
        except Exception as error:
            self._failed(error)
        else:
            self.stages.run("installation-complete", "0")
        self._save_log()

    def _failed(self, error: Exception) -> None:
        self.log("INSTALL FAILED.")
        self.log("A fatal exception occurred:")
        self.log("".join(traceback.format_exception(error)))
        self.tools.tries("umount", ROOT / "boot/efi")
        self.tools.tries("umount", ROOT / "var/log")
        self.tools.tries("umount", ROOT)
        try:
            self.stages.run("installation-complete", "1")
        except RuntimeError as another:
            self.log(f"Logging failed: {another}")
        self.log(f"An unrecoverable error has occurred.  The error was:\n\n{error}.")

    def _read(self, way: str, address: str) -> Answers:
        """Scripts of installation-start run also when the answers were refused."""
        if way == "answerfile_generator":
            done = self.stages.script(address, "answerfile", 0)
            if done.returncode:
                raise AnswerfileException(f"Generator script failed:\n\n{done.stderr}")
            file = AnswerFile(done.stdout, self.release)
        else:
            self.log(f"Fetching answerfile from {address}")
            self.tools.fetch(address, Path("/tmp/answerfile"))
            file = AnswerFile(Path("/tmp/answerfile").read_bytes(), self.release)
        answers, refused = Answers(""), None
        try:
            self.stages.scripts = file.scripts()
            self.log("Processing XML answerfile setup.")
            _, prompt = file.setup()
            if prompt and way != "rt_answerfile":
                raise WaitsForSomebody("the answers ask for a confirmation")
            self.log(f"Processing XML answerfile for {file.operation}.")
            answers = file.answers(found.machine(self.tools))
        except WaitsForSomebody:
            raise
        except Exception as error:
            refused = error
        self.stages.run("installation-start")
        if refused is not None:
            raise refused
        return answers

    def _install(self, answers: Answers) -> None:
        uefi = Path("/sys/firmware/efi").exists()
        if answers.mode == "restore":
            self.log("Starting actual restore")
            parts = existing_layout(answers.primary_disk, uefi=uefi)
            upgrade.put_back(self.tools, answers.primary_disk, parts)
            self.target = answers.primary_disk, parts
            self._start_bios(parts, answers.primary_disk)
            self.log("The restore operation completed successfully.")
            return
        self.log("Starting actual installation")
        self.log("INPUT ANSWERS DICTIONARY:")
        for name, value in vars(answers).items():
            self.log(f"{name} := {'< not printed >' if name == 'root_password' else value}")
        suffix, disk = new_suffix(), answers.primary_disk
        self.log("DISPATCH: NEW PHASE: Preparing for installation...")
        if answers.ntp == "none":
            raise TypeError("unsupported operand type(s): nobody gave a time to set")
        disks.create_arrays(self.tools, answers.raid)
        for source in answers.sources:
            with repository.opened(self.tools, source, Path("/tmp/sources")):
                pass
        if answers.mode == "upgrade":
            parts = existing_layout(disk, uefi=uefi)
            upgrade.back_up(self.tools, disk)
        else:
            parts = disks.layout(uefi=uefi, storage=answers.sr_on_primary)
            if answers.preserve_first == "true":
                raise RuntimeError("this stand-in keeps no partition")
            disks.write_table(self.tools, disk, parts)
            for guest in answers.guest_disks:
                if guest != disk:
                    disks.wipe(guest)
        self.target = disk, parts
        disks.make_file_systems(self.tools, disk, parts, suffix, keep_logs=answers.mode == "upgrade")
        self._fill(answers, parts, suffix, uefi=uefi)
        self.log("The installation completed successfully.")

    def _fill(self, answers: Answers, parts: Sequence[disks.Part], suffix: str, *, uefi: bool) -> None:
        number = {part.role: part.number for part in parts}
        disk = answers.primary_disk
        self.tools.run("mount", "-t", "ext4", disks.partition(disk, 1), made(ROOT))
        self.tools.run("mount", "-t", "ext4", disks.partition(disk, number["logs"]), made(ROOT / "var/log"))
        if uefi:
            self.tools.run("mount", "-t", "vfat", disks.partition(disk, number["boot"]), made(ROOT / "boot/efi"))
        self.log("DISPATCH: NEW PHASE: Reading package information...")
        with repository.opened(self.tools, answers.sources[0], Path("/tmp/sources")) as folder:
            self.tools.run("tar", "-x", "-f", folder / repository.ROOT, "-C", ROOT)
        self.log("DISPATCH: NEW PHASE: Completing installation...")
        self._configure(answers, parts, suffix, uefi=uefi)
        self.stages.run("filesystem-populated", str(ROOT))
        for point in (*((ROOT / "boot/efi",) if uefi else ()), ROOT / "var/log", ROOT):
            self.tools.run("umount", point)

    def _configure(self, answers: Answers, parts: Sequence[disks.Part], suffix: str, *, uefi: bool) -> None:
        disk, storage = answers.primary_disk, any(part.role == "storage" for part in parts)
        uuids, memory = host_files.new_uuids(), loader.memory_of_dom0(found.memory())
        if answers.mode == "upgrade":
            old = upgrade.carry_over(self.tools, disk, ROOT)
            uuids, memory = old.uuids, max(memory, old.memory)
        else:
            host_files.write_names(ROOT, answers)
            host_files.write_network(ROOT, answers)
            host_files.write_time(ROOT, answers)
            host_files.write_storage(ROOT, answers, disks.partition(disk, 3))
            host_files.set_password(self.tools, ROOT, *answers.root_password)
            host_files.set_services(ROOT, answers.services)
        host_files.write_fstab(ROOT, parts, suffix)
        host_files.write_inventory(ROOT, self.product, disk, storage=storage, memory=memory, uuids=uuids)
        kernel = next((ROOT / "lib/modules").iterdir()).name
        menu = loader.Menu(
            brand=self.product.brand, label=f"root-{suffix}", xen=(ROOT / "boot/xen-version").read_text().strip(),
            kernel=kernel, memory=memory, cpus=cpus(), serial=xen_port(self.arguments),
            boot_serial=self.arguments.serial, raid=bool(disks.members(disk)),
        )  # fmt: skip
        config = ROOT / ("boot/efi/EFI/xenserver/grub.cfg" if uefi else "boot/grub/grub.cfg")
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(loader.menu_text(menu))
        if uefi:
            loader.install_uefi(ROOT / "boot/efi", LOADER)
        else:
            self._start_bios(parts, disk)

    def _start_bios(self, parts: Sequence[disks.Part], disk: str) -> None:
        boot = next(part for part in parts if part.role == "boot")
        if boot.kind == disks.BIOS_BOOT:
            device = disks.partition(disk, boot.number)
            loader.install_bios(disks.members(disk) or [disk], loader.start_of(device), LOADER, device)

    def _save_log(self) -> None:
        """On the host, below /var/log/installer."""
        if self.target is None:
            return
        disk, parts = self.target
        logs = next(part for part in parts if part.role == "logs")
        with self.tools.mounted(disks.partition(disk, logs.number), Path("/tmp/logs"), kind="ext4") as folder:
            (made(folder / "installer") / "install-log").write_bytes(LOG.read_bytes())


def existing_layout(disk: str, *, uefi: bool) -> tuple[disks.Part, ...]:
    """The partitions of a host that is there: whether it has storage is told by partition 4."""
    return disks.layout(uefi=uefi, storage=Path(disks.partition(disk, 4)).exists())


def new_suffix() -> str:
    """Six letters that make the host's labels its own."""
    return host_files.new_uuids()[0].replace("-", "")[:6]


def made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cpus() -> int:
    return max(1, len(re.findall(r"^processor\s", Path("/proc/cpuinfo").read_text(), re.MULTILINE)))


def xen_port(arguments: Arguments) -> tuple[str, str] | None:
    """The real one asks Xen for its line; here the answer's reader passes it on: com1 at the documented speed."""
    return ("com1", "115200,8n1") if arguments.serial else None


def screen(text: str) -> None:
    """Where the real one has screens."""
    sys.stdout.write(f"stand-in: {text}\n")
    sys.stdout.flush()


def main() -> None:
    """Run by /init. A machine that is to wait for somebody waits."""
    arguments = Arguments.read(Path("/proc/cmdline").read_text())
    AT_EXIT.write_text(arguments.given.get("atexit", "reboot"))
    with LOG.open("a") as file:
        log = Log(file)
        if arguments.answers[0] == "rt_answerfile":
            log.also(sys.stdout)
        else:
            screen(f"the real installer shows its screens here; its log is {LOG}")
        try:
            Installer(arguments, log).go()
        except WaitsForSomebody as why:
            screen(f"a screen of the installer waits for somebody: {why}")
            while True:
                time.sleep(3600)
