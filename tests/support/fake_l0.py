"""The programs of L0s that cannot be had here (xl, xe, qm, pvesh, esxcli, vim-cmd, vmkfstools, vmrun, vdiskmanager,
virsh, ip): stand-ins that write every call down and remember what was made, so that scripts can be run again and again.

They are fakes: they know the few commands of the exported scripts, end with an error for any other, and prove nothing
about the real ones but that these are called in an order in which they could work. Calls of xe are judged by
`xe_rules`, which is not made of the code that writes them.
"""

# ruff: noqa: T201 - these are programs, and print what programs print

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from tests.support import fake_vmware, fake_xe

State = dict[str, Any]
NAMES = (
    "xl", "xe", "qm", "pvesh", "virsh", "ip", "esxcli", "vim-cmd", "vmkfstools", "vmrun", "vmware-vdiskmanager",
    "hostname", "sleep",
)  # fmt: skip


def install(folder: Path) -> dict[str, str]:
    """The stand-ins in a folder of their own, and the environment to run scripts with."""
    programs = folder / "bin"
    programs.mkdir()
    root = Path(__file__).resolve().parents[2]
    for name in NAMES:
        path = programs / name
        command = f"PYTHONPATH={shlex.quote(str(root))} exec {shlex.quote(sys.executable)} -S -m tests.support.fake_l0"
        path.write_text(f'#!/bin/sh\n{command} {name} "$@"\n')
        path.chmod(0o755)
    (folder / "state.json").write_text("{}")
    (folder / "log").mkdir()
    # A host that nests, whatever this machine does: what its kernel would tell.
    parameters = folder / "module/kvm_intel/parameters"
    parameters.mkdir(parents=True)
    (parameters / "nested").write_text("Y\n")
    (folder / "cpuinfo").write_text("flags\t\t: fpu vmx ept\n")
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "FAKE_L0": str(folder),
        "XL_LOGS": str(folder / "log"),
        "PVE_INTERFACES": str(folder / "interfaces"),
        "SYS_MODULE": str(folder / "module"),
        "CPUINFO": str(folder / "cpuinfo"),
        "LIMIT": "3",
        "PAUSE": "1",
    }


def calls(folder: Path, name: str) -> list[list[str]]:
    """Every call of one program, without its name."""
    log = folder / "calls"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line[1:] for line in lines if line[0] == name]


def state(folder: Path) -> State:
    found: State = json.loads((folder / "state.json").read_text())
    return found


def fail_once(folder: Path, *words: str, at: int = 1) -> None:
    """Lets one call fail, with nothing done: the one of that number among those that begin with these words (without
    words, among those of the L0's own programs)."""
    (folder / "fault").write_text(json.dumps({"words": words, "left": at}))


def _fails(folder: Path, argv: list[str]) -> bool:
    file = folder / "fault"
    if not file.exists() or argv[0] in ("sleep", "hostname"):
        return False
    fault = json.loads(file.read_text())
    if argv[: len(fault["words"])] == fault["words"]:
        fault["left"] -= 1
        file.write_text(json.dumps(fault))
        return bool(fault["left"] == 0)
    return False


def xl(words: list[str], now: State) -> int:
    """A domain that was made from install.cfg ends when it has been listed twice: `xl-end` is the reason of that, and
    how many bytes the installer has written. The list and the log are as xl_info.c and xl_vmcontrol.c write them."""
    running: dict[str, int] = now.setdefault("xl", {})
    if words[0] == "create":
        text = Path(words[-1]).read_text()
        name = next(line for line in text.splitlines() if line.startswith("name = ")).split('"')[1]
        assert name not in running, "it runs already"
        running[name] = 2 if words[-1].endswith("install.cfg") else -1
        disk = next(line for line in text.splitlines() if "access=rw" in line)
        now.setdefault("xl-disks", {})[name] = disk.partition("target=")[2].removesuffix('",')
        (Path(os.environ["XL_LOGS"]) / f"xl-{name}.log").write_text(f"Waiting for domain {name} (domid 7) to die\n")
        return 0
    if words[0] == "list":
        print("Name                                        ID   Mem VCPUs\tState\tTime(s)")
        for each in [each for each, asked in running.items() if asked == 0]:
            _end(each, now)
        for each, asked in running.items():
            print(f"{each:<40} {7:5d} {8192:5d} {2:5d}     -b----  {1.5:8.1f}")
            running[each] = asked - 1 if asked > 0 else asked
        return 0
    name = words[1]
    if words[0] == "destroy":
        del running[name], now["xl-disks"][name]
        return 0
    return 0 if words[0] == "cd-eject" and name in running else 2


def _end(name: str, now: State) -> None:
    del now["xl"][name]
    end, path = now.get("xl-end", {"reason": 1, "bytes": 32 << 20}), now["xl-disks"].pop(name)
    if end["bytes"]:
        with Path(path).open("r+b") as disk:
            os.posix_fallocate(disk.fileno(), 0, end["bytes"])
    if end["reason"] is not None:
        with (Path(os.environ["XL_LOGS"]) / f"xl-{name}.log").open("a") as log:
            log.write(f"Domain 7 has shut down, reason code {end['reason']} 0x{end['reason']:x}\n")


def ip(words: list[str], now: State) -> int:
    links: dict[str, dict[str, str]] = now.setdefault("ip", {})
    assert words[0] == "link"
    verb, rest = words[1], words[2:]
    name = rest[rest.index("name") + 1] if "name" in rest else rest[rest.index("dev") + 1]
    if verb == "show":
        return 0 if name in links else 1
    if verb == "add":
        assert name not in links and len(name) <= 15
        links[name] = {"on": rest[rest.index("link") + 1]} if "link" in rest else {}
    elif verb == "set":
        for key in ("mtu", "master"):
            if key in rest:
                links[name][key] = rest[rest.index(key) + 1]
    elif verb == "delete":
        for gone in [each for each, link in links.items() if each == name or link.get("on") == name]:
            del links[gone]
    return 0


def qm(words: list[str], now: State) -> int:
    machines: dict[str, dict[str, str]] = now.setdefault("qm", {})
    verb, number = words[0], words[1] if len(words) > 1 else ""
    if verb == "list":
        print("      VMID NAME                 STATUS     MEM(MB)    BOOTDISK(GB) PID")
        for each, machine in machines.items():
            print(f"{each:>10} {machine['--name']:<20} {machine['status']:<10} 8192 100.00 0")
    elif verb == "create":
        assert number not in machines
        machines[number] = {"status": "stopped", **dict(zip(words[2::2], words[3::2], strict=True))}
    elif verb == "set":
        machines[number].update(zip(words[2::2], words[3::2], strict=True))
    elif verb == "config":
        print("\n".join(f"{key[2:]}: {value}" for key, value in machines[number].items() if key.startswith("--")))
    elif verb == "status":
        print(f"status: {machines[number]['status']}")
    elif verb in ("start", "stop"):
        wanted = "running" if verb == "start" else "stopped"
        assert machines[number]["status"] != wanted
        machines[number]["status"] = wanted
    elif verb == "destroy":
        assert machines.pop(number)["status"] == "stopped"
    else:
        return 2
    return 0


def pvesh(words: list[str], now: State) -> int:
    """Networks are staged in interfaces.new, shown from there, and there until they are set or dropped
    (PVE::API2::Network: network_config, revert_network_changes, reload_network_config)."""
    bridges: dict[str, list[str]] = now.setdefault("pvesh", {})
    new = Path(os.environ["PVE_INTERFACES"] + ".new")
    shown: dict[str, list[str]] = json.loads(new.read_text()) if new.exists() else dict(bridges)
    verb, path = words[0], words[1]
    name = path.partition("/network")[2].removeprefix("/")
    if path == "/cluster/nextid":
        print(100 + len(now.get("qm", {})))
    elif verb == "get" and name in shown:
        options = shown[name]
        told = {"type": "bridge", **({"active": 1} if name in bridges else {})}
        if "--comments" in options:
            told["comments"] = options[options.index("--comments") + 1] + "\n"
        print(json.dumps(told, sort_keys=True, separators=(",", ":")))
    elif verb == "get":
        print("400 Parameter verification failed.\niface: interface does not exist", file=sys.stderr)
        return 255
    elif verb == "create":
        given = words[words.index("--iface") + 1]
        assert given not in shown
        new.write_text(json.dumps({**shown, given: words[2:]}))
    elif verb == "delete" and name:
        del shown[name]
        new.write_text(json.dumps(shown))
    elif verb == "delete":
        new.unlink(missing_ok=True)
    elif verb == "set":
        now["pvesh"] = shown
        new.unlink(missing_ok=True)
    return 0


def virsh(words: list[str], now: State) -> int:
    """Domains and networks by name; what their XML says is judged by libvirt itself, elsewhere."""
    kind = "networks" if words[0].startswith("net-") else "domains"
    known: dict[str, bool] = now.setdefault(kind, {})
    verb, name = words[0].removeprefix("net-"), words[-1]
    if verb == "list":
        print("\n".join(each for each, active in known.items() if active or "--all" in words))
    elif verb == "define":
        text = Path(name).read_text()
        made = text.split("<name>")[1].split("</name>")[0]
        known.setdefault(made, False)
        if "urn:nestlab:export:1" in text:
            now["ours"] = sorted({*now.get("ours", []), made})
    elif verb == "dumpxml":
        print("<domain/>" if name not in now["ours"] else '<nestlab:export xmlns:nestlab="urn:nestlab:export:1"/>')
    elif verb in ("start", "destroy"):
        assert known[words[1]] != (verb == "start"), f"{verb} of {words[1]}"
        known[words[1]] = verb == "start"
    elif verb == "undefine":
        assert known.pop(words[1]) is False
        for kept in ("ours", "ejected"):
            now[kept] = [each for each in now.get(kept, []) if each != words[1]]
    elif verb == "domblklist":
        medium = "-" if words[1] in now.get("ejected", []) else "/x.iso"
        print(f" Target   Source\n------\n hdc      {medium}")
    elif verb == "change-media":
        now["ejected"] = sorted({*now.get("ejected", []), words[1]})
    else:
        return 2
    return 0


def main(argv: list[str]) -> int:
    folder = Path(os.environ["FAKE_L0"])
    name, *words = argv
    with (folder / "calls").open("a") as log:
        log.write(json.dumps(argv) + "\n")
    now = state(folder)
    if _fails(folder, argv):
        print(f"error: {name} failed", file=sys.stderr)
        return 1
    if name == "sleep":
        return 0
    if name == "hostname":
        print("pve")
        return 0
    known = {"xl": xl, "ip": ip, "qm": qm, "pvesh": pvesh, "virsh": virsh, "xe": fake_xe.xe, **fake_vmware.PROGRAMS}
    status = known[name](words, now)
    (folder / "state.json").write_text(json.dumps(now))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
