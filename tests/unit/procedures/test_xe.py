"""The XCP-ng dialect: every call judged by xe's own rules, and the way from a state to another and back."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from builder.procedures import PROCEDURES, load_procedure, xe
from builder.procedures.api import Reboot, Remove, State, Write, steps
from builder.procedures.engine import Engine
from builder.procedures.errors import Failed, Refused
from builder.procedures.options import parse_options
from builder.procedures.vif_lock import Lock
from tests.support.fake_host import FakeHost, world
from tests.support.xe_rules import problems

HOST = "4f9b2c5e-0000-4000-8000-000000000001"
POOL = "4f9b2c5e-0000-4000-8000-000000000002"
VM = "4f9b2c5e-0000-4000-8000-000000000003"
OTHER = "4f9b2c5e-0000-4000-8000-000000000004"
INVENTORY = {"/etc/xensource-inventory": f"PRODUCT_VERSION='8.3.0'\nINSTALLATION_UUID='{HOST}'\n"}

# Of each procedure: states other than its sample, and options, that lead to all the calls it can make.
CASES: list[tuple[str, dict[str, str], dict[str, object]]] = [
    ("dom0-memory", {"size": "4GiB"}, {}),
    ("dom0-vcpus", {"count": "2"}, {}),
    ("debug-mode", {}, {}),
    ("nic-quirk", {}, {}),
    ("serial-console", {}, {}),
    ("pci-hide", {"devices": "03:00.0,0000:04:00.1"}, {}),
    ("maintenance", {}, {}),
    ("maintenance", {"guests": "move"}, {}),
    ("maintenance", {"force": "true", "then": "restart"}, {}),
    (
        "maintenance",
        {"ha": "off", "then": "shutdown"},
        {"ha": "true", "heartbeats": ("SR-UUID", "SR-UUID-2"), "failures": "1", "pool": POOL},
    ),
    ("guest-autostart", {"guest": "web"}, {}),
    ("guest-memory", {"guest": "web", "size": "512MiB"}, {}),
    ("remote-syslog", {"server": "192.0.2.1"}, {}),
    ("pci-assign", {"guest": VM, "devices": "03:00.0"}, {}),
    ("guest-migrate", {"guest": "web", "to": "beta"}, {}),
    (
        "guest-migrate",
        {"guest": "web", "to": "beta", "storage": "copy", "password_file": "/root/pw"},
        {"one_pool": False, "storage": "SR-UUID-2", "networks": {"lan": "NETWORK-UUID-2"}},
    ),
    ("vif-tx-off", {"guest": "web"}, {}),
    ("raid-storage", {"level": "5", "disks": "sdb,sdc,sdd"}, {}),
    ("raid-policy", {"policy": "ppl"}, {}),
    ("raid-sr", {}, {}),
    ("raid-save", {}, {}),
    ("raid-restore", {}, {}),
    ("secure-boot", {"guest": "web"}, {}),
    ("vif-lock", {"guest": "web", "ipv4": "192.0.2.1,192.0.2.2", "ipv6": "fd00::1", "closed": "true"}, {}),
    ("vlan-trunk", {"card": "eth1"}, {}),
    ("nested-virt", {"guest": "web"}, {}),
    ("nested-virt", {"guest": "web"}, {"key": "exp-nested-hvm"}),
    ("tls-certificate", {"certificate": "/root/a.crt", "key": "/root/a.key", "chain": "/root/c.crt"}, {}),
    ("tls-certificate", {"certificate": "/root/a.crt", "key": "/root/a.key"}, {"has_reset": False}),
]
XEN_CMDLINE = {"--set-xen", "--delete-xen", "--set-dom0", "--delete-dom0"}


def way_of(name: str) -> Any:
    return load_procedure(name).ways["xe"]


def test_every_procedure_with_this_dialect_is_judged() -> None:
    with_xe = {name for name in PROCEDURES if "xe" in load_procedure(name).ways}
    # these call other tools
    assert {name for name, *_ in CASES} == with_xe - {
        "log-rotation", "secure-boot-certs", "vif-queue", "guest-tools", "host-update",
    }  # fmt: skip


@pytest.mark.parametrize("release", ["8.2", "8.3"])
@pytest.mark.parametrize(("name", "options", "changes"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_every_call_is_one_that_xe_takes(
    release: str, name: str, options: dict[str, str], changes: dict[str, object]
) -> None:
    way = way_of(name)
    asked = parse_options(load_procedure(name), options)
    before: State = way.sample.model_copy(update=changes)
    if name == "tls-certificate" and release == "8.2":
        before = before.model_copy(update={"has_reset": False})
    done = way.actions(before, asked)
    assert done
    after = changed(name, before)
    undone = way.undo(after, before, asked)
    assert undone
    for call in (*done, *undone):
        if isinstance(call, Write | Remove | Reboot):
            continue
        if call.argv[0] == "xe":
            assert problems(call.argv[1:], release) == [], call
        elif call.argv[0] == "timeout":
            assert call.argv[2] == "xe" and problems(call.argv[3:], release) == [], call
        elif call.argv[0] == "sh" and "xe vm-" in call.argv[2]:
            inner = re.findall(r"\bxe (vm-[^;|)]*)", call.argv[2].replace("$0", call.argv[3]))
            assert [problems(shlex.split(each), release) for each in inner] == [[], []], call
        elif call.argv[:3] == ("sh", "-c", 'exec xe "$@" remote-password="$(cat "$0")"'):
            assert problems([*call.argv[4:], "remote-password=x"], release) == [], call
        elif call.argv[0].endswith("xen-cmdline"):
            assert call.argv[1] in XEN_CMDLINE
            assert len(call.argv) > 2
        else:
            assert call.argv[0] in {"sh", "mdadm", "mkdir", "rm", "rmdir"}, call


def changed(name: str, before: Any) -> Any:
    """The state that the procedure leads to."""
    updates: dict[str, dict[str, object]] = {
        "maintenance": {"enabled": "false", "guests": (), "ha": "false"},
        "guest-autostart": {"key": "true", "pool_key": "true"},
        "guest-memory": {"low": 512 << 20, "high": 512 << 20},
        "guest-migrate": {"where": "TARGET-UUID", "theirs": way_of("guest-migrate").sample.mine},
        "vif-tx-off": {"vifs": {"VIF-UUID": "off"}},
        "raid-storage": {"array": "1:2:3:4", "line": "ARRAY /dev/md0 UUID=1:2:3:4"},
        "raid-policy": {"policy": "ppl"},
        "raid-sr": {"srs": ("SR-UUID",), "pbd": "PBD-UUID", "attached": "true", "device": "/dev/md0"},
        "raid-save": {"copies": way_of("raid-save").sample.files},
        "raid-restore": {"files": dict.fromkeys(way_of("raid-restore").sample.files, "ARRAY"), "detached": ()},
        "remote-syslog": {"server": "192.0.2.1"},
        "pci-assign": {"value": "0/0000:03:00.0"},
        "secure-boot": {"secure": "true"},
        "vif-lock": {"default": "disabled", "lock": Lock(mode="locked", ipv4=("192.0.2.1",), ipv6=("fd00::1",))},
        "vlan-trunk": {"mtu": "1504"},
        "nested-virt": {"value": "true", "nic": "e1000", "low": 2 << 30},
        "tls-certificate": {"shown": "33:44"},
    }
    boot = {"running": {"xen dom0_mem": "dom0_mem=4096M,max:4096M"}, "configured": {}}
    return before.model_copy(update=updates.get(name, boot))


def test_boot_arguments_are_set_key_by_key_and_brought_back() -> None:
    host = XcpHost()
    engine = Engine(world(host), sleep=lambda _: None)
    procedure = load_procedure("dom0-vcpus")
    done = engine.run("dom0", procedure, parse_options(procedure, {"count": "2"}))
    assert done.actions[0] == "/opt/xensource/libexec/xen-cmdline --set-xen dom0_max_vcpus=2"
    assert done.actions[1] == "/opt/xensource/libexec/xen-cmdline --set-xen dom0_vcpus_pin"
    assert host.xen == {"dom0_max_vcpus": "dom0_max_vcpus=2", "dom0_vcpus_pin": "dom0_vcpus_pin"}
    assert engine.run("dom0", procedure, parse_options(procedure, {"count": "2"})).result == "unchanged"
    assert engine.undo("dom0", procedure).result == "undone"
    assert host.xen == {"dom0_max_vcpus": "dom0_max_vcpus=1-16"}


class XcpHost(FakeHost):
    """xen-cmdline keeps keys; a restart takes them over. Its answers: `key=value`, or an empty line."""

    def __init__(self) -> None:
        super().__init__({}, {**INVENTORY, "/proc/cmdline": "root=LABEL=root-x ro"}, dialect="xe")
        self.xen = {"dom0_max_vcpus": "dom0_max_vcpus=1-16"}
        self.running = dict(self.xen)
        self.on_reboot = self._start
        self.answers = {
            "/opt/xensource/libexec/xen-cmdline --get-xen": lambda argv: self.xen.get(argv[2], "") + "\n",
            "/opt/xensource/libexec/xen-cmdline --set-xen": self._set,
            "/opt/xensource/libexec/xen-cmdline --delete-xen": lambda argv: self.xen.pop(argv[2], "") and "",
            "xl info": lambda _: f"nr_cpus : 16\nxen_commandline : {' '.join(self.running.values())}\n",
            "xl vcpu-list": "Name ID VCPU CPU State Time(s) Affinity\nDomain-0 0 0 0 r-- 1.0 0 / all\n"
            "Domain-0 0 1 1 r-- 1.0 1 / all\n",
            "nproc": "2\n",
            "xe vm-list": "\n",
            "xapi-wait-init-complete": "",
        }

    def _set(self, argv: Any) -> str:
        self.xen[argv[2].partition("=")[0]] = argv[2]
        return ""

    def _start(self) -> None:
        self.running = dict(self.xen)


def test_the_pools_key_stays_while_other_guests_need_it() -> None:
    way = way_of("guest-autostart")
    asked = parse_options(load_procedure("guest-autostart"), {"guest": "web"})
    after = way.sample.model_copy(update={"key": "true", "pool_key": "true", "others": True})
    assert steps(way.undo(after, way.sample, asked)) == [
        "xe vm-param-remove uuid=VM-UUID param-name=other-config param-key=auto_poweron"
    ]


def test_a_lone_host_cannot_move_its_guests() -> None:
    way = way_of("maintenance")
    asked = parse_options(load_procedure("maintenance"), {"guests": "move"})
    codes = [r.code for r in way.refusals(way.sample.model_copy(update={"hosts": 1}), asked)]
    codes += [r.code for r in way.refusals(way.sample.model_copy(update={"prevent": "VM-UUID : nested"}), asked)]
    assert codes == ["only-host", "not-mobile"]


def test_maintenance_leaves_service_and_comes_back() -> None:
    state = {"enabled": "true", "vms": VM}

    def shut(_: object) -> str:
        state["vms"] = ""
        return ""

    host = FakeHost(
        {
            f"xe host-param-get uuid={HOST} param-name=name-label": "host-1\n",
            f"xe host-param-get uuid={HOST} param-name=enabled": lambda _: state["enabled"] + "\n",
            "xe host-list": f"{HOST}\n",
            "xe pool-list": f"{POOL}\n",
            f"xe pool-param-get uuid={POOL} param-name=ha-enabled": "false\n",
            "xe vm-list": lambda _: state["vms"] + "\n",
            "xe host-disable": lambda _: state.update(enabled="false") or "",
            "xe host-enable": lambda _: state.update(enabled="true") or "",
            "xe vm-shutdown": shut,
            "xe vm-start": lambda _: state.update(vms=VM) or "",
        },
        INVENTORY,
        dialect="xe",
    )
    engine = Engine(world(host), sleep=lambda _: None)
    procedure = load_procedure("maintenance")
    assert engine.run("dom0", procedure, parse_options(procedure, {})).result == "applied"
    assert engine.run("dom0", procedure, parse_options(procedure, {})).result == "unchanged"
    assert engine.undo("dom0", procedure).result == "undone"
    assert state == {"enabled": "true", "vms": VM}


# XAPI as far as a guest's end goes. A file says whether it runs; `$0.how`, what becomes of a force. XAPI refuses one
# for a guest that is halted (hard_shutdown in xapi_vm_lifecycle.ml), and xe ends with 1 then, as for every refusal.
XE = """#!/bin/sh
echo "$*" >>"$0.asked"
case "$*" in
"vm-param-get uuid=@VM@ param-name=power-state") cat "$0.power" ;;
"vm-shutdown uuid=@VM@ force=true")
    [ "$(cat "$0.power")" = running ] || exit 1
    case "$(cat "$0.how")" in
    goes) echo halted >"$0.power" ;;
    late) echo halted >"$0.power"; exit 1 ;;
    *) exit 1 ;;
    esac ;;
*) exit 3 ;;
esac
""".replace("@VM@", VM)


class Ending(FakeHost):
    """A host with a guest whose clean shutdown ends with a status; the shell that forces it is really run."""

    def __init__(self, folder: Path, status: int, how: str = "goes") -> None:
        self._xe = folder / "xe"
        self._xe.write_text(XE)
        self._xe.chmod(0o755)
        self._state, self._status = Path(f"{self._xe}.power"), status
        Path(f"{self._xe}.how").write_text(how)
        self._state.write_text("running\n")
        super().__init__({
            f"xe host-param-get uuid={HOST} param-name=name-label": "host-1\n",
            f"xe host-param-get uuid={HOST} param-name=enabled": "false\n",
            "xe host-list": f"{HOST}\n", "xe pool-list": f"{POOL}\n",
            f"xe pool-param-get uuid={POOL} param-name=ha-enabled": "false\n",
            "xe vm-list": lambda _: f"{VM}\n" if self._state.read_text() == "running\n" else "\n",
            f"timeout 5 xe vm-shutdown uuid={VM}": lambda _: self._shut(),
            "xapi-wait-init-complete": "", "sh -c": self._shell,
        }, INVENTORY, dialect="xe")  # fmt: skip

    def _shut(self) -> str | int:
        if self._status == 0:
            self._state.write_text("halted\n")
        return self._status or ""

    def _shell(self, argv: Sequence[str]) -> str | int:
        path = {"PATH": f"{self._xe.parent}:/usr/bin:/bin"}
        done = subprocess.run(argv, env=path, capture_output=True, text=True, check=False)
        return done.returncode or done.stdout

    @property
    def forced(self) -> bool:
        return "force=true" in Path(f"{self._xe}.asked").read_text()


@pytest.mark.parametrize(("status", "how", "forced"), [
    (0, "goes", False),  # it shut down in time
    (124, "goes", True),  # `timeout` had enough
    (1, "goes", True),  # XAPI: the guest lacks the feature
    (124, "late", True),  # halted while it was asked for
])  # fmt: skip
def test_with_force_a_guest_is_shut_down_and_destroyed_only_where_that_fails(
    tmp_path: Path, status: int, how: str, forced: bool
) -> None:
    host = Ending(tmp_path, status, how)
    procedure = load_procedure("maintenance")
    asked = parse_options(procedure, {"force": "true", "wait": "5"})
    done = Engine(world(host), sleep=lambda _: None).run("dom0", procedure, asked)
    assert done.result == "applied" and done.actions[0] == f"timeout 5 xe vm-shutdown uuid={VM}"
    assert host.forced == forced


@pytest.mark.parametrize(("status", "how"), [(124, "stays"), (127, "goes")])
def test_a_host_does_not_restart_over_a_guest_that_not_even_force_ends(tmp_path: Path, status: int, how: str) -> None:
    host = Ending(tmp_path, status, how)
    procedure = load_procedure("maintenance")
    asked = parse_options(procedure, {"force": "true", "wait": "5", "then": "restart"})
    with pytest.raises(Failed):
        Engine(world(host), sleep=lambda _: None).run("dom0", procedure, asked)
    assert "reboot" not in host.changes


def test_a_guest_of_no_or_of_several_hosts_is_an_error() -> None:
    with pytest.raises(Exception, match="no guest of the name web"):
        xe.vm(FakeHost({"xe vm-list": "\n"}), "web")
    with pytest.raises(Exception, match="2 guests of the name web"):
        xe.vm(FakeHost({"xe vm-list": f"{VM},{OTHER}\n"}), "web")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"matches": "no"}, "not-its-key"),
        ({"bits": "1024"}, "key-size"),
        ({"rsa": "0"}, "key-size"),
        ({"valid": "no"}, "expired"),
        ({"signed": "sha1WithRSAEncryption"}, "signature"),
        ({"chain": "no"}, "chain"),
        ({"bits": ""}, "no-certificate"),
    ],
)
def test_what_xapi_would_not_take_is_refused_before(changes: dict[str, str], code: str) -> None:
    way = way_of("tls-certificate")
    state = way.sample.model_copy(update={"judged": {**way.sample.judged, **changes}})
    asked = parse_options(load_procedure("tls-certificate"), {"certificate": "/a", "key": "/b", "chain": "/c"})
    assert [refusal.code for refusal in way.refusals(state, asked)] == [code]
    assert Refused("dom0", "tls-certificate", way.refusals(state, asked)).refusals[0].code == code
