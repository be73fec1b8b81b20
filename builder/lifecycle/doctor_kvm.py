"""Doctor's rows about hardware acceleration. None is fatal: without KVM a lab runs on emulation, several times slower.

Each step from the CPU to a booted guest has a row of its own, because each has another cure.
"""

from __future__ import annotations

import stat

from builder.lifecycle.doctor_ground import Finding, Ground, Needs

_FLAGS = {"vmx": ("Intel VT-x", "kvm_intel", "ept"), "svm": ("AMD-V", "kvm_amd", "npt")}
_TRUE = ("Y", "1")


def cpu_flag(ground: Ground) -> str | None:
    """`vmx`, `svm`, or None when the CPU shows neither."""
    for line in (ground.read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("flags"):
            found = set(line.partition(":")[2].split())
            return next((flag for flag in _FLAGS if flag in found), None)
    return None


def cpu(ground: Ground, _: Needs) -> Finding:
    if ground.read("/proc/cpuinfo") is None:
        return Finding("unknown", "/proc/cpuinfo cannot be read")
    flag = cpu_flag(ground)
    if flag is not None:
        return Finding("ok", f"{_FLAGS[flag][0]} ({flag})")
    virtual = " hypervisor" in (ground.read("/proc/cpuinfo") or "")
    cure = (
        "turn on nested virtualization for this virtual machine where it runs (libvirt: <cpu mode='host-passthrough'/>)"
        if virtual
        else "turn on VT-x or AMD-V (SVM) in this machine's firmware setup"
    )
    return Finding("warn", "neither vmx nor svm", f"# {cure}")


def device(ground: Ground, _: Needs) -> Finding:
    path = ground.path("/dev/kvm")
    if not path.exists():
        if ground.in_container():
            return Finding("warn", "no /dev/kvm", "# start the container with --device /dev/kvm")
        flag = cpu_flag(ground)
        module = _FLAGS[flag][1] if flag else "kvm"
        return Finding("warn", "no /dev/kvm", ground.as_root(f"modprobe {module}"))
    if ground.may_use(path):
        return Finding("ok", "/dev/kvm can be read and written")
    info = path.stat()
    lines = []
    if stat.S_IMODE(info.st_mode) & 0o060 != 0o060 or info.st_gid == 0:
        lines.append(ground.as_root("chgrp kvm /dev/kvm && chmod 0660 /dev/kvm"))
    user = ground.environ.get("USER") or "$(id -un)"
    lines.append(ground.as_root(f"usermod -aG kvm {user}") + "    # then log in again")
    return Finding(
        "warn", f"/dev/kvm may not be used by this user (mode {stat.S_IMODE(info.st_mode):04o})", "\n".join(lines)
    )


def _module(ground: Ground) -> tuple[str, str] | None:
    """The loaded KVM module of the CPU's maker and its name for second-level paging."""
    return next((row[1:] for row in _FLAGS.values() if ground.exists(f"/sys/module/{row[1]}")), None)


def _reload(ground: Ground, module: str, setting: str) -> str:
    users = ground.read(f"/sys/module/{module}/refcnt") or "0"
    busy = "" if users == "0" else f": {users} in use right now"
    now = ground.as_root(f"modprobe -r {module} && modprobe {module} {setting}")
    good = ground.as_root(f"echo 'options {module} {setting}' > /etc/modprobe.d/nestlab-{module}.conf")
    return f"{now}    # for now; only with no VM running{busy}\n{good}    # for good"


def nested(ground: Ground, _: Needs) -> Finding:
    """Only matters for what runs inside the nodes: Xen itself boots without, its HVM guests do not."""
    found = _module(ground)
    if found is None:
        return Finding("unknown", "neither kvm_intel nor kvm_amd is loaded")
    module, _paging = found
    value = ground.read(f"/sys/module/{module}/parameters/nested")
    if value is None:
        return Finding("unknown", f"{module} does not tell")
    if value in _TRUE:
        return Finding("ok", f"{module} nested={value}")
    return Finding("warn", f"{module} nested={value}: nodes get no {'vmx' if module == 'kvm_intel' else 'svm'}",
                   _reload(ground, module, "nested=1"))  # fmt: skip


def paging(ground: Ground, _: Needs) -> Finding:
    found = _module(ground)
    if found is None:
        return Finding("unknown", "neither kvm_intel nor kvm_amd is loaded")
    module, name = found
    value = ground.read(f"/sys/module/{module}/parameters/{name}")
    if value is None:
        return Finding("unknown", f"{module} does not tell")
    if value in _TRUE:
        return Finding("ok", f"{module} {name}={value}")
    return Finding("warn", f"{module} {name}={value}", _reload(ground, module, f"{name}=1 nested=1"))
