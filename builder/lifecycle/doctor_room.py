"""Doctor's rows about room and surroundings: memory, disk, folders, and what the sandbox around us allows."""

from __future__ import annotations

import stat
from pathlib import Path

from builder.lifecycle.doctor_ground import Finding, Ground, Needs, install, nearest, size_text
from builder.paths import is_locked

LONGEST_ROOT = 40
_ROOT_BELOW_RUNTIME = len("/xxxxxxxx/l")
_LITTLE_SPACE = 5 << 30
_REAP_LIMIT = 0.35


def available_memory(ground: Ground) -> int | None:
    """Bytes that can still be used: what the kernel says, or what a container's limit leaves, whichever is less."""
    for line in (ground.read("/proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) << 10
            break
    else:
        return None
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        limit, used = ground.read(limit_file) or "", ground.read(used_file) or ""
        if limit.isdigit() and used.isdigit():
            free = min(free, max(0, int(limit) - int(used)))
    return free


def memory(ground: Ground, needs: Needs) -> Finding:
    free = available_memory(ground)
    if free is None:
        return Finding("unknown", "/proc/meminfo does not tell")
    if needs.running:
        return Finding("ok", "the lab is up and has its memory")
    seen = f"{size_text(free)} available"
    if needs.memory > free:
        return Finding("missing", f"{seen}, the lab takes {size_text(needs.memory)}",
                       "nestlab ls    # take down what is not needed, or lower `memory:` in the lab file")  # fmt: skip
    return Finding("ok", seen + (f", the lab takes {size_text(needs.memory)}" if needs.memory else ""))


def cores(ground: Ground, needs: Needs) -> Finding:
    have = ground.cores()
    if needs.cpus > have:
        return Finding("warn", f"{have} cores, a node has {needs.cpus}: it will be slow",
                       f"# lower `cpus:` to {have} in the lab file")  # fmt: skip
    return Finding("ok", f"{have} cores")


def disk(ground: Ground, needs: Needs) -> Finding:
    """State and cache may be on one file system: then it has to hold both."""
    wanted: dict[int, tuple[int, Path]] = {}
    for path, size in ((ground.places.state, needs.footprint), (ground.places.cache, needs.build_space)):
        device = ground.device_of(path)
        before = wanted.get(device, (0, path))
        wanted[device] = (before[0] + size, before[1])
    worst = Finding("ok", "")
    shown = []
    for size, path in wanted.values():
        free = ground.free_space(path)
        takes = f", the lab takes about {size_text(size)}" if size else ""
        shown.append(f"{size_text(free)} free for {path}{takes}")
        variable = "NESTLAB_STATE" if path == ground.places.state else "NESTLAB_CACHE"
        if free < size:
            worst = Finding("missing", "", f"export {variable}=/a/folder/with/room")
        elif free < _LITTLE_SPACE and worst.status == "ok":
            worst = Finding("warn", "", f"nestlab image prune\nexport {variable}=/a/folder/with/room")
    return Finding(worst.status, "; ".join(shown), worst.fix)


def media(_: Ground, needs: Needs) -> Finding:
    lost = [medium for medium in needs.media if medium.fix]
    if not lost:
        return Finding("ok", "; ".join(f"{medium.node}: {medium.seen}" for medium in needs.media) or "none is needed")
    fixes = dict.fromkeys(medium.fix for medium in lost)
    return Finding("missing", "; ".join(medium.seen for medium in lost), "\n".join(fixes))


def folders(ground: Ground, _: Needs) -> Finding:
    for variable, path in (("NESTLAB_STATE", ground.places.state), ("NESTLAB_CACHE", ground.places.cache)):
        if not ground.may_make(path):
            return Finding("missing", f"{path} cannot be written", f"export {variable}=/a/folder/of/yours")
    return Finding("ok", f"{ground.places.state}, {ground.places.cache}")


def runtime_folder(ground: Ground, _: Needs) -> Finding:
    """Sockets live here: their names are bounded by the kernel, and nobody else may enter."""
    path = ground.places.runtime
    fix = f"export NESTLAB_RUNTIME=/run/user/{ground.euid}/nestlab"
    length = len(str(path).encode()) + _ROOT_BELOW_RUNTIME
    if length > LONGEST_ROOT:
        return Finding("missing", f"{path} is {length - LONGEST_ROOT} bytes too long for libvirt's sockets", fix)
    if path.exists():
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != ground.euid:
            return Finding("missing", f"{path} belongs to user {info.st_uid}", fix)
    elif not ground.may_make(path):
        return Finding("missing", f"{path} cannot be made", fix)
    return Finding("ok", str(path))


def lingering(ground: Ground, _: Needs) -> Finding:
    """systemd removes /run/user/UID when the user's last session ends, and running labs with it."""
    user = ground.environ.get("USER", "")
    if not str(ground.places.runtime).startswith("/run/user/") or not user:
        return Finding("ok", "the runtime folder outlives the login")
    if ground.exists(f"/var/lib/systemd/linger/{user}"):
        return Finding("ok", f"{user} lingers")
    return Finding("warn", "labs end when you log out", f"loginctl enable-linger {user}")


def encoding(ground: Ground, _: Needs) -> Finding:
    name = ground.encoding()
    if name.lower().replace("-", "") == "utf8":
        return Finding("ok", name)
    return Finding("warn", f"{name}: names and console lines may be shown wrongly", "export LC_ALL=C.UTF-8")


def reaping(ground: Ground, _: Needs) -> Finding:
    """libvirt waits for a killed QEMU to be collected. Keepers collect their own; `down` of a lab whose keeper was
    killed depends on process 1."""
    took = ground.reap_seconds(_REAP_LIMIT)
    if took is not None:
        return Finding("ok", f"process 1 collects orphans within {took * 1000:.0f} ms")
    cure = "# start the container with --init (docker, podman), or with tini -s as its first program"
    if not ground.in_container():
        cure = "# run systemd, or tini -s, as process 1"
    return Finding("warn", f"process 1 ({ground.read('/proc/1/comm') or '?'}) is slow to collect orphans", cure)


def cgroups(ground: Ground, needs: Needs) -> Finding:
    if ground.exists("/sys/fs/cgroup/cgroup.controllers"):
        seen = "version 2"
    elif ground.exists("/sys/fs/cgroup/memory"):
        seen = "version 1"
    else:
        if needs.connection == "system":
            return Finding("warn", "none", ground.as_root("mount -t cgroup2 none /sys/fs/cgroup"))
        return Finding("ok", "none; labs do not use them")
    return Finding("ok", seen)


def confinement(ground: Ground, needs: Needs) -> Finding:
    """Our own libvirt root says security_driver=none; a system libvirtd confines QEMU to the paths it knows."""
    active = []
    if ground.read("/sys/module/apparmor/parameters/enabled") == "Y":
        active.append("AppArmor")
    if ground.read("/sys/fs/selinux/enforce") == "1":
        active.append("SELinux (enforcing)")
    if not active:
        return Finding("ok", "neither AppArmor nor SELinux")
    seen = " and ".join(active)
    if needs.connection == "system" and "SELinux (enforcing)" in active:
        label = (
            f"semanage fcontext -a -t virt_image_t '{ground.places.state}(/.*)?' && restorecon -R {ground.places.state}"
        )
        return Finding("warn", seen, ground.as_root(label))
    return Finding("ok", f"{seen}; labs run outside of it")


def tun(ground: Ground, _: Needs) -> Finding:
    if ground.exists("/dev/net/tun"):
        return Finding("ok", "/dev/net/tun")
    if ground.in_container():
        return Finding("missing", "no /dev/net/tun",
                       "# start the container with --device /dev/net/tun --cap-add NET_ADMIN")  # fmt: skip
    return Finding("missing", "no /dev/net/tun", ground.as_root("mkdir -p /dev/net && mknod /dev/net/tun c 10 200"))


def daemon(ground: Ground, _: Needs) -> Finding:
    absent = [
        name
        for name, paths in (
            ("libvirt-sock", ("/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock")),
            ("virtlogd-sock", ("/run/libvirt/virtlogd-sock",)),
        )
        if not any(ground.exists(path) for path in paths)
    ]
    if not absent:
        return Finding("ok", "libvirtd and virtlogd answer")
    if ground.exists("/run/systemd/system"):
        return Finding("missing", f"no {', '.join(absent)}", ground.as_root("systemctl start virtlogd libvirtd"))
    return Finding("missing", f"no {', '.join(absent)}", ground.as_root("virtlogd -d && libvirtd -d"))


def daemon_access(ground: Ground, _: Needs) -> Finding:
    """Without dbus and polkit it is the group of the socket that lets a user in; that group equals root."""
    for path in (ground.path("/run/libvirt/libvirt-sock"), ground.path("/run/libvirt/virtqemud-sock")):
        if path.exists() and not ground.may_use(path):
            user = ground.environ.get("USER") or "$(id -un)"
            return Finding("missing", f"{path} may not be used by this user",
                           ground.as_root(f"usermod -aG libvirt {user}") + "    # then log in again")  # fmt: skip
    return Finding("ok", "the socket may be used")


def storage_access(ground: Ground, _: Needs) -> Finding:
    """The system libvirtd runs QEMU as another user, who must be able to pass every folder above our files."""
    for start in (ground.places.state, ground.places.cache):
        for folder in (nearest(start), *nearest(start).parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                fix = ground.as_root(f"chmod o+x {folder}") + "\nexport NESTLAB_STATE=/var/tmp/nestlab-state"
                return Finding("missing", f"libvirt's QEMU user cannot pass {folder}", fix)
    return Finding("ok", "libvirt's QEMU user can reach state and cache")


def ownership(ground: Ground, _: Needs) -> Finding:
    """With dynamic ownership libvirtd takes images and media for its own user, and does not give all of them back."""
    text = ground.read("/etc/libvirt/qemu.conf") or ""
    if any(line.replace(" ", "") == "dynamic_ownership=0" for line in text.splitlines()):
        return Finding("ok", "dynamic_ownership = 0")
    line = "echo 'dynamic_ownership = 0' >> /etc/libvirt/qemu.conf && systemctl restart libvirtd"
    return Finding("warn", "libvirtd changes the owner of image files", ground.as_root(line))


def bridges(ground: Ground, _: Needs) -> Finding:
    if ground.which("ip") is None:
        return Finding("missing", "no ip", install(ground, "iproute2"))
    return Finding("ok", "iproute2")


def leftovers(ground: Ground, _: Needs) -> Finding:
    """A lab whose keeper is gone may still have guests that hold images: 'Failed to get "write" lock'."""
    folder = ground.places.labs()
    labs = [path for path in sorted(folder.iterdir()) if path.is_dir()] if folder.is_dir() else []
    dead = [path.name for path in labs if not is_locked(path / "lock")]
    if dead:
        return Finding("warn", f"left by a keeper that was killed: {', '.join(dead)}", "nestlab reap")
    return Finding("ok", "no dead labs")
