"""dom0's virtual CPUs: their number, and whether each stays on its own physical CPU."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from builder.model.host import Host
from builder.procedures.api import Dead, Drill, Evidence, Options, Procedure, Refusal, same
from builder.procedures.asking import ask, fields
from builder.procedures.boot import BootSettings, BootState, BootWay, Grub, XenCmdline


class Asked(Options):
    count: int = Field(ge=1, le=512, description="how many virtual CPUs dom0 gets")
    pin: bool = Field(True, description="each stays on the physical CPU of its number")


class _Vcpus(BootWay[Asked]):
    name = "dom0-vcpus"

    def settings(self, asked: Asked) -> BootSettings:
        pinned = ("dom0_vcpus_pin",) if asked.pin else ()
        return BootSettings(
            xen_keys=("dom0_max_vcpus", "dom0_vcpus_pin"), xen=(f"dom0_max_vcpus={asked.count}", *pinned)
        )

    def survey(self, host: Host, asked: Asked) -> Mapping[str, str]:  # noqa: ARG002
        return {"cpus": fields(ask(host, "xl", "info"))["nr_cpus"]}

    def sample_survey(self) -> Mapping[str, str]:
        return {"update-grub": "yes", "cpus": "16"}

    def judge(self, survey: Mapping[str, str], asked: Asked) -> tuple[Refusal, ...]:
        if asked.count <= int(survey["cpus"]):
            return ()
        return (
            Refusal(
                code="more-than-host",
                message=f"dom0 cannot have {asked.count} virtual CPUs: the host has {survey['cpus']} CPUs",
                hint=f"ask for {survey['cpus']} at most; more than that only makes them wait for each other",
            ),
        )

    def advice(self, state: BootState, asked: Asked) -> tuple[str, ...]:
        if asked.pin and asked.count == int(state.survey["cpus"]) > 1:
            return ("every CPU of the host has a pinned one of dom0's on it: guests share all of them with dom0",)
        return ()

    def seen(self, host: Host, asked: Asked) -> tuple[Evidence, ...]:
        rows = [line.split() for line in ask(host, "xl", "vcpu-list", "0").splitlines()[1:]]
        hard = [" ".join(row[6:]).partition("/")[0].strip() for row in rows]
        # where the host has one CPU, xl calls it all of them
        pinned = asked.pin and int(fields(ask(host, "xl", "info"))["nr_cpus"]) > 1
        wanted = [str(number) for number in range(asked.count)] if pinned else ["all"] * asked.count
        return (
            same("virtual CPUs by xl vcpu-list", asked.count, len(rows)),
            same("CPUs that they may run on", " ".join(wanted), " ".join(hard)),
            same("CPUs that dom0's kernel uses", str(asked.count), ask(host, "nproc").strip()),
        )


PROCEDURE = Procedure(
    name="dom0-vcpus",
    title="Virtual CPUs of dom0",
    summary="dom0 gets a number of virtual CPUs, each on its own physical CPU unless `pin=false`: guests that compute "
    "can then not keep dom0 waiting.",
    options=Asked,
    ways={"xl": _Vcpus(Grub()), "xe": _Vcpus(XenCmdline())},
    sources=(
        "Debian wiki: Xen, Configure dom0 CPUs",
        "NetBSD Xen HowTo: Installation of Xen",
        "xen-command-line(5): dom0_max_vcpus, dom0_vcpus_pin",
    ),
    refuses={
        "no-update-grub": "the host is no Debian host (plain Xen)",
        "more-than-host": "the host has fewer CPUs",
    },
    drill=Drill(options={"count": "1", "pin": "false"}),
    dead=(
        Dead(says="(dom0-cpus 1) in /etc/xen/xend-config.sxp", why="xend is gone; dom0_max_vcpus alone decides"),
        Dead(
            says="a NetBSD dom0 can use no more than one virtual CPU",
            why="dated: NetBSD's XEN3_DOM0 kernel is built with MULTIPROCESSOR",
        ),
    ),
)
