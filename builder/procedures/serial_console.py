"""Xen, dom0's kernel and a login on the first serial port."""

from __future__ import annotations

from pydantic import Field

from builder.model.host import Host
from builder.procedures.api import Dead, Drill, Evidence, Options, Procedure, holds, same
from builder.procedures.asking import ask
from builder.procedures.boot import BootSettings, BootWay, Grub, XenCmdline


class Asked(Options):
    speed: int = Field(115200, description="bits per second, as the other end of the cable has it")
    screen: bool = Field(True, description="Xen and the kernel write to the screen as well")


class _Serial(BootWay[Asked]):
    name = "serial-console"

    def settings(self, asked: Asked) -> BootSettings:
        screen = ("console=tty0",) if asked.screen else ()
        grub = (
            'GRUB_TERMINAL="console serial"',
            f'GRUB_SERIAL_COMMAND="serial --unit=0 --speed={asked.speed} --word=8 --parity=no --stop=1"',
        )
        return BootSettings(
            xen_keys=("com1", "console"),
            xen=(f"com1={asked.speed},8n1", f"console=com1{',vga' if asked.screen else ''}"),
            kernel_keys=("console",),
            # the last one is what /dev/console is, and where boot messages of services go
            kernel=(*screen, "console=hvc0"),
            grub=grub if isinstance(self.loader, Grub) else (),
        )

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        consoles = {line.split()[0] for line in ask(host, "cat", "/proc/consoles").splitlines() if line.strip()}
        wanted = {"hvc0", "tty0"} if asked.screen else {"hvc0"}
        logins = ask(host, "ps", "-e", "-o", "tty=", "-o", "comm=").split("\n")
        on_hvc0 = [line.split()[1] for line in logins if line.startswith("hvc0 ")]
        return (
            holds("consoles of dom0's kernel", " ".join(sorted(wanted)), " ".join(sorted(consoles)),
                  wanted <= consoles and not any(name.startswith("ttyS") for name in consoles)),
            same("what waits for a login on hvc0", "a process", "a process" if on_hvc0 else "nothing"),
        )  # fmt: skip


PROCEDURE = Procedure(
    name="serial-console",
    title="Serial console",
    summary="GRUB, Xen, dom0's kernel and a login on the first serial port. Xen owns the port: the kernel reaches it "
    "as hvc0, and no program of dom0 may open ttyS0.",
    options=Asked,
    ways={"xl": _Serial(Grub()), "xe": _Serial(XenCmdline())},
    sources=(
        "Debian wiki: Xen, Enable Serial Console",
        "openSUSE xen README: Troubleshooting, serial terminal",
        "NetBSD Xen HowTo: serial console",
        "xen-command-line(5): com1, console",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
    },
    drill=Drill(options={"screen": "true"}),
    dead=(
        Dead(
            says="console=ttyS0, 115200 for dom0's kernel",
            why="under Xen the port is the hypervisor's: dom0's console is hvc0 (and the space breaks the argument)",
        ),
        Dead(
            says="1:2345:respawn:/sbin/getty 38400 hvc0 in /etc/inittab",
            why="systemd starts a login on hvc0 by itself when the kernel has console=hvc0",
        ),
    ),
)
