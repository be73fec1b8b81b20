"""The stand-ins for ESXi's and Workstation's programs. See `fake_l0`."""

# ruff: noqa: T201 - these are programs, and print what programs print

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

State = dict[str, Any]


def switch_off(fakes: Path) -> None:
    """Every machine has switched itself off, as some do at the end of an installation."""
    file = fakes / "state.json"
    now = json.loads(file.read_text())
    for machine in now.get("machines", {}).values():
        machine["power"] = "off"
    file.write_text(json.dumps({**now, "running": []}))


def _starts(file: Path) -> int:
    """A machine that finds the log of its serial port asks whether to append or to replace, and waits. The question is
    in issue 176 of github.com/vmware/ansible-vsphere-gos-validation, the key that answers it in pull request 1769 of
    github.com/vmware/vic. This one ends instead of waiting."""
    keys = dict(re.findall(r'^([\w.:]+) = "(.*)"$', file.read_text(), re.MULTILINE))
    log = file.parent / keys["serial0.fileName"]
    if log.exists() and keys.get("answer.msg.serial.file.open") not in ("Append", "Replace"):
        print(f"The file {log} already exists. Do you want to replace it, or append to it?", file=sys.stderr)
        return 1
    with log.open("a") as console:
        console.write("started\n")
    return 0


def esxcli(words: list[str], now: State) -> int:
    switches: dict[str, dict[str, str]] = now.setdefault("switches", {"vSwitch0": {}})
    groups: dict[str, dict[str, str]] = now.setdefault("groups", {"VM Network": {"vswitch-name": "vSwitch0"}})
    given = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    command = [word for word in words if not word.startswith("--")]
    assert command[:3] == ["network", "vswitch", "standard"]
    table, name = (groups, "portgroup-name") if "portgroup" in command else (switches, "vswitch-name")
    verb = command[-1]
    if verb == "list":
        csv.writer(sys.stdout).writerows([["Name", "Ports"], *([each, "8"] for each in table)])
    elif verb == "add":
        assert given[name] not in table
        assert table is switches or given["vswitch-name"] in switches, f"no switch {given['vswitch-name']}"
        table[given[name]] = {}
    elif verb == "set":
        table[given[name]].update(given)
    elif verb == "remove":
        assert table is groups or not [each for each in groups.values() if each.get("vswitch-name") == given[name]]
        del table[given[name]]
    return 0


def vim_cmd(words: list[str], now: State) -> int:
    machines: dict[str, dict[str, str]] = now.setdefault("machines", {})
    verb = words[0].partition("/")[2]
    if verb == "getallvms":
        print("Vmid   Name   File   Guest OS   Version   Annotation")
        for number, machine in machines.items():
            print(f"{number}   {machine['name']}   [datastore1] {machine['file']}   centos7_64Guest   vmx-10")
    elif verb == "registervm":
        number = str(1 + len(machines))
        found = re.search(r'^displayName = "(.*)"$', Path(words[1]).read_text(), re.MULTILINE)
        assert found
        machines[number] = {"name": found[1], "power": "off", "file": words[1].partition("/volumes/")[2] or words[1]}
        print(number)
    elif verb == "power.getstate":
        power = machines[words[1]]["power"]
        print(f"Retrieved runtime info\n{'Suspended' if power == 'suspended' else f'Powered {power}'}")
    elif verb in ("power.on", "power.off"):
        wanted = verb.removeprefix("power.")
        assert machines[words[1]]["power"] != wanted
        if wanted == "on" and _starts(Path(machines[words[1]]["file"])):
            return 1
        machines[words[1]]["power"] = wanted
    elif verb == "unregister":
        assert machines.pop(words[1])["power"] == "off"
    elif verb == "reload":
        assert machines[words[1]]["power"] == "off"
    else:
        return 2
    return 0


def vmkfstools(words: list[str], now: State) -> int:
    target = Path(words[-1])
    if words[0] == "--deletevirtualdisk":
        target.unlink()
        return 0
    assert words[0] in ("--createvirtualdisk", "--importvirtualdisk") and not target.exists()
    assert words[0] == "--createvirtualdisk" or Path(words[1]).exists()
    target.write_text(" ".join(words))
    return 0


def vmrun(words: list[str], now: State) -> int:
    running: list[str] = now.setdefault("running", [])
    assert words[:2] == ["-T", "ws"]
    if words[2] == "list":
        print("\n".join([f"Total running VMs: {len(running)}", *running]))
    elif words[2] == "start":
        assert Path(words[3]).exists() and words[3] not in running
        if _starts(Path(words[3])):
            return 1
        running.append(words[3])
    elif words[2] == "stop":
        running.remove(words[3])
    else:
        return 2
    return 0


def vdiskmanager(words: list[str], now: State) -> int:
    assert words[0] == "-c" or (words[0] == "-r" and Path(words[1]).exists())
    Path(words[-1]).write_text(" ".join(words))
    return 0


PROGRAMS: dict[str, Callable[[list[str], State], int]] = {
    "esxcli": esxcli, "vim-cmd": vim_cmd, "vmkfstools": vmkfstools, "vmrun": vmrun,
    "vmware-vdiskmanager": vdiskmanager,
}  # fmt: skip
