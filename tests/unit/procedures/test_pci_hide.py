"""PCI devices kept for guests where xen-pciback is a module: on a Debian dom0 that starts with what its initrd says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from builder.errors import LabError
from builder.procedures import load_procedure, pciback
from builder.procedures.boot import BootWay
from builder.procedures.engine import Engine, Outcome
from builder.procedures.errors import Failed, Refused, Unproven
from builder.procedures.options import parse_options
from builder.procedures.pci_hide import _CARDS, _VITAL, HideState
from builder.procedures.pciback import LOAD, OPTIONS, WAIT
from tests.support.fake_dom0 import GRUB_D, SETTINGS, FakeDom0
from tests.support.fake_host import FakeHost, world

FIRST, CARD, OTHER, DISK = "0000:00:03.0", "0000:00:04.0", "0000:00:05.0", "0000:00:10.0"
THEIRS = "/etc/modprobe.d/xen-pciback.conf"
DROP_IN = f"{GRUB_D}zz-nestlab-pci-hide.cfg"
DIGEST = "/lib/modules/6.12.117+deb13-amd64/modules.softdep"
REBUILD = "update-initramfs -u -k all"
ON_LINE = SETTINGS.replace("loglevel=6", "loglevel=6 xen-pciback.hide=(0000:00:05.0)")


class Debian(FakeDom0):
    """Cards eth0 (the way to the host), eth1 and eth2. Their driver is loaded by the initrd, which has modprobe's
    settings of the time when it was made: what does not wait for xen-pciback there has the device before it."""

    QUESTIONS = (*FakeDom0.QUESTIONS, "xl pci-assignable-list")

    def __init__(self, folder: Path, *, settings: str = SETTINGS, files: Mapping[str, str] | None = None) -> None:
        self.native = {FIRST: "e1000", CARD: "e1000", OTHER: "e1000", DISK: "ahci"}
        self.drivers, self.initrd, self.hide = dict(self.native), dict[str, str](), "(null)"
        self.built_in, self.tools, self.stale = False, list(pciback.TOOLS), False
        super().__init__(folder, settings=settings)
        self.files |= {path: text.encode() for path, text in (files or {}).items()}
        self.files[DIGEST] = b"softdep r8169 pre: realtek\n"
        self.answers |= {
            "sh -c": self._shell,
            "test -e /sys/bus/pci/devices/": lambda argv: int(argv[2].rpartition("/")[2] not in self.drivers),
            "readlink /sys/bus/pci/devices/": lambda argv: f"../../../bus/pci/drivers/{self.drivers[at_of(argv[1])]}\n",
            "xl pci-assignable-list": lambda _: "".join(f"{at} \n" for at in hidden(self)),
            "update-initramfs": lambda _: self._make_initrd(),
        }  # fmt: skip
        self._make_initrd()
        self.start()

    def _make_initrd(self) -> str:
        if not self.stale:
            self.initrd = {path: text.decode() for path, text in self.files.items() if "modprobe.d" in path}
            self.initrd[DIGEST] = self.files[DIGEST].decode()
        return "update-initramfs: Generating /boot/initrd.img-6.12.117+deb13-amd64\n"

    def start(self) -> None:
        super().start()
        if not self.initrd:
            return
        settings = self.settings(self.initrd)
        given = [line.partition("hide=")[2] for line in settings if line.startswith("options ")]
        self.hide = given[-1] if given else "(null)"
        waits: dict[str, bool] = {}
        for line in settings:
            if line.startswith("softdep "):
                waits.setdefault(line.split()[1], "xen-pciback" in line)
        for at, driver in self.native.items():
            named = f"({at})" in self.hide or f"({at.removeprefix('0000:')})" in self.hide
            hidden = named and (waits.get(driver.replace("-", "_")) or (driver == "none" and LOAD in self.files))
            self.drivers[at] = "pciback" if hidden else driver

    def settings(self, files: Mapping[str, str]) -> list[str]:
        """As `modprobe -c` of kmod 30 and 34 prints them, which leave out the space before `post:`: files in the order
        of their names, modules.softdep among them, and the command line behind them all."""
        texts = [files[path] for path in sorted(files, key=lambda path: path.rpartition("/")[2])]
        lines = [line for text in texts for line in text.splitlines() if line.startswith(("options", "softdep"))]
        lines += [f"options xen_pciback hide={word.partition('=')[2]}" for word in self.kernel.split()
                  if word.startswith("xen-pciback.hide=")]  # fmt: skip
        return [line.replace(" xen-pciback hide", " xen_pciback hide").replace(" post:", "post:") for line in lines]

    def cards(self) -> dict[str, str]:
        return dict(
            zip(("eth0", "eth1", "eth2"), [at for at, it in self.drivers.items() if it == "e1000"], strict=False)
        )

    def _shell(self, argv: Sequence[str]) -> str | int:
        script = argv[2]
        if script == _VITAL:
            return f"/sys/devices/pci0000:00/{DISK}/ata1/block/sda\n/sys/devices/pci0000:00/{FIRST}/net/eth0\n"
        if script == _CARDS:
            return "".join(f"{name} {self.cards()[name]}\n" for name in argv[4:] if name in self.cards())
        if "modinfo" in script:
            return "/lib/modules/6.12.117+deb13-amd64/kernel/drivers/xen/xen-pciback/xen-pciback.ko.xz\n"
        if script == pciback._LOOK:
            return self._look(argv[4:])
        if script == pciback._INITRDS:
            now = {path: self.files[path].decode() for path in (WAIT, OPTIONS) if path in self.files}
            return int(any(self.initrd.get(path) != text for path, text in now.items()))
        if script == pciback._JUDGE:
            return 0
        return "/usr/sbin/update-grub\n" if "update-grub" in script else 127

    def _look(self, devices: Sequence[str]) -> str:
        rows = []
        for at in devices:
            if driver := self.drivers.get(at):
                module = {"pciback": "xen_pciback", "none": "none"}.get(driver, "none" if self.built_in else driver)
                rows.append(f"device {at} {module} {driver}")
                rows += [f"would {self.native[at]}"] if self.native[at] not in ("none", "vfio-pci") else []
        now = {path: text.decode() for path, text in self.files.items() if "modprobe.d" in path or path == DIGEST}
        rows += [f"hidden {self.hide}", *(f"tool {tool}" for tool in self.tools), *self.settings(now)]
        return "\n".join(rows) + "\n"


def at_of(path: str) -> str:
    return path.split("/")[5]


def do(host: FakeHost, devices: str = "00:04.0", *, dry_run: bool = False) -> Outcome:
    procedure = load_procedure("pci-hide")
    return engine(host).run("dom0", procedure, parse_options(procedure, {"devices": devices}), dry_run=dry_run)


def undo(host: FakeHost) -> Outcome:
    return engine(host).undo("dom0", load_procedure("pci-hide"))


def engine(host: FakeHost) -> Engine:
    return Engine(world(host), sleep=lambda _: None)


def hidden(host: Debian) -> list[str]:
    return sorted(at for at, driver in host.drivers.items() if driver == "pciback")


def changed(host: Debian) -> list[str]:
    return [line for line in host.changes if "procedures/" not in line and not line.startswith(("install", "grep"))]


@pytest.fixture
def debian(tmp_path: Path) -> Debian:
    return Debian(tmp_path / "grub")


def test_a_device_is_hidden_once_by_modprobe_and_the_initrd_and_given_back(debian: Debian) -> None:
    before = dict(debian.files)
    planned = do(debian, dry_run=True)
    done = do(debian)
    assert (done.result, done.rebooted, done.actions) == ("applied", True, planned.actions)
    assert changed(debian) == [f"write {WAIT}", f"write {OPTIONS}", f"write {LOAD}", REBUILD, "reboot"]
    assert hidden(debian) == [CARD]
    assert b"\nsoftdep e1000 pre: xen-pciback\n" in debian.files[WAIT]
    assert debian.files[OPTIONS].endswith(b"\noptions xen-pciback hide=(0000:00:04.0)\n")
    assert debian.files[LOAD].endswith(b"\nxen-pciback\n")
    assert {each.what for each in done.evidence} == {
        "xen-pciback was loaded to hide", f"driver of {CARD}", f"{CARD} can be given to a guest, by xl"}  # fmt: skip

    debian.changes.clear()
    assert do(debian).result == "unchanged" and debian.changes == []
    done = undo(debian)
    assert (done.result, done.rebooted) == ("undone", True)
    assert {f"xen-pciback has {CARD}", "xen-pciback was loaded to hide"} <= {each.what for each in done.evidence}
    assert hidden(debian) == [] and debian.hide == "(null)"
    assert debian.files == before
    assert undo(debian).result == "nothing"


@pytest.mark.parametrize(("change", "missing"), [
    (lambda text: {path: it for path, it in text.items() if path != WAIT}, "softdep"),
    (lambda text: {**text, OPTIONS: None}, "options"),
])  # fmt: skip
def test_the_host_here_does_need_what_is_written(
    debian: Debian, monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, str]], dict[str, str]], missing: str
) -> None:
    real = pciback.wanted
    monkeypatch.setattr(pciback, "wanted", lambda *words: change(dict(real(*words))))  # type: ignore[arg-type]
    with pytest.raises(Unproven, match=f"driver of {CARD}: expected pciback, seen e1000"):
        do(debian)
    assert missing not in "".join(debian.initrd.values()).replace("softdep r8169", "")


def test_what_a_file_of_others_hides_stays_hidden_and_its_softdeps_stay(tmp_path: Path) -> None:
    """Of two such files the last counts, as before."""
    files = {
        "/etc/modprobe.d/old.conf": "options xen-pciback hide=(0000:00:03.0)\n",
        THEIRS: "options xen-pciback hide=(00:05.0)\nsoftdep e1000 pre: xen-pciback mii post: bonding\n",
    }
    host = Debian(tmp_path / "grub", files=files)
    assert hidden(host) == [OTHER]
    assert do(host, "00:05.0").result == "unchanged" and changed(host) == []
    assert do(host).result == "applied"
    assert (host.hide, hidden(host)) == ("(00:05.0)(0000:00:04.0)", [CARD, OTHER])
    assert b"\nsoftdep e1000 pre: xen-pciback mii post: bonding\n" in host.files[WAIT]
    host.changes.clear()
    assert do(host).result == "unchanged" and host.changes == []
    assert undo(host).result == "undone"
    assert (host.hide, hidden(host)) == ("(00:05.0)", [OTHER])
    assert host.files[THEIRS].decode() == files[THEIRS]


def test_what_the_kernels_command_line_hides_stays_hidden_and_agrees(tmp_path: Path) -> None:
    """As on hosts of a lab with xen.pciback_hide: modprobe has the command line behind all files."""
    files = {THEIRS: "options xen-pciback hide=(0000:00:05.0)\nsoftdep e1000 pre: xen-pciback\n"}
    host = Debian(tmp_path / "grub", settings=ON_LINE, files=files)
    before = host.kernel
    assert hidden(host) == [OTHER]
    done = do(host)
    assert done.result == "applied" and hidden(host) == [CARD, OTHER]
    assert "xen-pciback.hide=(0000:00:05.0)(0000:00:04.0)" in host.kernel.split()
    assert "dom0 kernel started with" in {each.what for each in done.evidence}
    assert do(host).result == "unchanged"
    assert undo(host).result == "undone"
    assert (host.kernel, hidden(host)) == (before, [OTHER])
    assert DROP_IN not in host.files


@pytest.mark.parametrize("settings", [SETTINGS, ON_LINE])
def test_other_devices_take_the_place_of_the_first_ones(tmp_path: Path, settings: str) -> None:
    host = Debian(tmp_path / "grub", settings=settings)
    host.native["0000:00:06.0"] = host.drivers["0000:00:06.0"] = "none"
    do(host, "00:04.0")
    first = set(hidden(host))
    assert do(host, "0000:00:06.0").result == "applied"
    assert set(hidden(host)) == first - {CARD} | {"0000:00:06.0"}
    assert undo(host).result == "undone"
    # on the command line alone it is not hidden: the driver does not wait
    assert hidden(host) == []


def test_a_device_without_a_driver_waits_for_none(debian: Debian) -> None:
    debian.native[OTHER] = debian.drivers[OTHER] = "none"
    assert do(debian, OTHER).result == "applied"
    assert hidden(debian) == [OTHER] and WAIT not in debian.files
    assert undo(debian).result == "undone"


def test_a_driver_that_only_the_first_look_saw_goes_on_waiting(debian: Debian) -> None:
    """One that no modalias names, such as vfio-pci: a hidden device does not tell of it."""
    debian.native[CARD] = debian.drivers[CARD] = "vfio-pci"
    do(debian)
    assert b"\nsoftdep vfio_pci pre: xen-pciback\n" in debian.files[WAIT]
    assert do(debian).result == "unchanged"


def test_a_card_is_named_as_it_was_before(debian: Debian) -> None:
    """Without eth1 the kernel gives its name to the next card."""
    assert do(debian, "eth1").result == "applied"
    assert hidden(debian) == [CARD] and debian.cards()["eth1"] == OTHER
    assert do(debian, "eth1").result == "unchanged"
    assert do(debian, "eth1,00:05.0").result == "applied"
    assert hidden(debian) == [CARD, OTHER]
    assert undo(debian).result == "undone"
    assert debian.cards() == {"eth0": FIRST, "eth1": CARD, "eth2": OTHER}


@pytest.mark.parametrize("failing", ["update-initramfs", "update-grub", "reboot"])
def test_what_stopped_half_way_is_finished_or_taken_back(tmp_path: Path, failing: str) -> None:
    for finish in (True, False):
        host = Debian(tmp_path / "grub", settings=ON_LINE)
        before, kernel = {path: host.files[path] for path in host.files if "modprobe.d" in path}, host.kernel
        started = host.on_reboot
        if failing == "reboot":
            host.on_reboot = lambda: (_ for _ in ()).throw(LabError("the plug was pulled"))
        else:
            answer, host.answers[failing] = host.answers[failing], 1
        with pytest.raises(Failed):
            do(host)
        host.on_reboot = started
        if failing != "reboot":
            host.answers[failing] = answer
        if finish:
            assert do(host).result == "applied" and CARD in hidden(host)
        assert undo(host).result == "undone"
        assert {path: host.files[path] for path in host.files if "modprobe.d" in path} == before
        assert host.kernel == kernel and host.hide == "(0000:00:05.0)"


def test_an_undo_that_stopped_before_the_restart_is_finished(tmp_path: Path) -> None:
    host = Debian(tmp_path / "grub", settings=ON_LINE)
    kernel = host.kernel
    do(host)
    host.on_reboot = lambda: (_ for _ in ()).throw(LabError("the plug was pulled"))
    with pytest.raises(Failed):
        undo(host)
    host.on_reboot = host.start
    assert undo(host).result == "undone" and host.kernel == kernel and CARD not in hidden(host)


def test_an_initrd_that_is_not_made_anew_keeps_the_host_from_restarting(debian: Debian) -> None:
    """update_initramfs=no: update-initramfs says so and ends with 0."""
    debian.stale = True
    with pytest.raises(Failed, match="update_initramfs=no"):
        do(debian)
    assert "reboot" not in debian.changes
    debian.stale = False
    assert undo(debian).result == "undone" and "reboot" not in debian.changes


@pytest.mark.parametrize(("devices", "change", "codes"), [
    ("00:03.0", lambda _: None, ["in-use"]),
    ("eth0,00:10.0", lambda _: None, ["in-use", "in-use"]),
    ("00:04.8,04:0", lambda _: None, ["no-address", "no-address"]),
    ("00:07.0,eth7", lambda _: None, ["no-device", "no-device"]),
    ("eht1", lambda _: None, ["no-device"]),
    ("eth1", lambda host: setattr(host, "built_in", True), ["driver-built-in"]),
    ("eth1", lambda host: host.tools.remove("mkinitramfs"), ["no-initramfs-tools"]),
    ("eth1", lambda host: host.guests.update(web=512), ["guests-run"]),
])  # fmt: skip
def test_reasons_against_it(debian: Debian, devices: str, change: Callable[[Debian], None], codes: list[str]) -> None:
    change(debian)
    with pytest.raises(Refused) as caught:
        do(debian, devices)
    assert [refusal.code for refusal in caught.value.refusals] == codes
    assert debian.changes == []


@pytest.mark.parametrize(("settings", "codes"), [(SETTINGS, []), (ON_LINE, ["no-update-grub"])])
def test_grub_is_needed_where_the_command_line_names_the_driver(
    tmp_path: Path, settings: str, codes: list[str]
) -> None:
    host = Debian(tmp_path / "grub", settings=settings)
    procedure = load_procedure("pci-hide")
    way, asked = procedure.ways["xl"], parse_options(procedure, {"devices": "00:04.0"})
    state = way.look(host, asked)
    state = state.model_copy(update={"survey": {**state.survey, "update-grub": "no"}})
    assert [refusal.code for refusal in way.refusals(state, asked)] == codes


def test_a_word_more_is_told_where_the_rest_is_hidden_already(debian: Debian) -> None:
    do(debian)
    debian.changes.clear()
    with pytest.raises(Refused, match="no network card eht2"):
        do(debian, "00:04.0,eht2")
    assert debian.changes == []
    procedure = load_procedure("pci-hide")
    way = procedure.ways["xe"]
    assert isinstance(way, BootWay)
    kernel = way.settings(parse_options(procedure, {"devices": "00:04.0,eht2"})).kernel
    assert kernel == ("xen-pciback.hide=(0000:00:04.0)(eht2)",)  # what runs is never that: it is refused


def test_where_it_is_built_in_the_command_line_does_it_all(debian: Debian) -> None:
    shell = debian._shell
    debian.answers["sh -c"] = lambda argv: "(builtin)\n" if "modinfo" in argv[2] else shell(argv)
    procedure = load_procedure("pci-hide")
    way, asked = procedure.ways["xl"], parse_options(procedure, {"devices": "00:04.0"})
    state = way.look(debian, asked)
    assert isinstance(state, HideState) and state.module is None
    assert [str(action).partition("\n")[0] for action in way.actions(state, asked)] == [
        f"write {DROP_IN}:", "update-grub",
        "grep -qF -- 'xen-pciback.hide=(0000:00:04.0)' /boot/grub/grub.cfg",
        "reboot  # Xen and dom0's kernel read their arguments at start",
    ]  # fmt: skip
    assert way.undo(way.look(debian, asked), state, asked) == ()
