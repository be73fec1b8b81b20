"""The one table of verbs. `--help`, completion, the README's command table and the dispatcher all read it."""

from __future__ import annotations

from dataclasses import dataclass

# What a verb exits with when it could not even get to the guest: ssh's own convention, so that every other
# status is the guest's.
NOT_THE_GUEST = 255


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. `target` is `module:attribute` of its click command, imported when the verb is used; a verb with
    `children` is a group and has none. `usage` is what follows the name, `section` the heading it is listed under.
    `own_failure` replaces the exit status of our own errors."""

    name: str
    usage: str
    help: str
    section: str
    target: str = ""
    children: tuple[Verb, ...] = ()
    own_failure: int | None = None


WRITING = "Write a lab"
RUNNING = "Run a lab"
INSIDE = "Inside a lab"
MEDIA = "Install media"
HOST = "This host"

VERBS: tuple[Verb, ...] = (
    Verb("validate", "LAB...", "Report every problem of a lab file at once.", WRITING, "builder.cli.validate:validate"),
    Verb("schema", "", "Print the JSON Schema of lab files.", WRITING, "builder.cli.describe:schema"),
    Verb("explain", "CODE|CAUSE|SETTING|--list", "Say what a code, a failure or a setting means.", WRITING,
         "builder.cli.explain:explain"),
    Verb("systems", "", "List the systems a node can run.", WRITING, "builder.cli.describe:systems"),
    Verb("settings", "", "List the settings of a lab file, or those that documents ask for.", WRITING,
         "builder.cli.describe:settings"),
    Verb("plan", "LAB", "Show what `up` would do, without doing it.", WRITING, "builder.cli.plan:plan"),
    Verb("render", "LAB", "Write every file that is generated for a lab.", WRITING, "builder.cli.render:render"),
    Verb("export", "LAB --to xl|xe|vmx|hyperv|libvirt|proxmox|xcp-ng-tests",
         "Write all that runs a lab on another hypervisor.", WRITING, "builder.cli.export:export"),
    Verb("up", "LAB", "Bring a lab up and wait until it is ready.", RUNNING, "builder.cli.running:up"),
    Verb("down", "LAB...", "Take a lab down and leave nothing behind.", RUNNING, "builder.cli.running:down"),
    Verb("status", "LAB", "Show the nodes of a lab and how to reach them.", RUNNING, "builder.cli.running:status"),
    Verb("ls", "", "List the labs that are up.", RUNNING, "builder.cli.running:ls"),
    Verb("reap", "", "Remove what expired or crashed labs left behind.", RUNNING, "builder.cli.running:reap"),
    Verb("test", "LAB [-- PYTEST ARGS]", "Run the checks of a lab's nodes with pytest.", INSIDE,
         "builder.cli.testing:test"),
    Verb("ssh", "LAB [NODE] [-- CMD...]", "Open a shell on a node.", INSIDE, "builder.cli.inside:ssh",
         own_failure=NOT_THE_GUEST),
    Verb("exec", "LAB NODE -- CMD...", "Run a command on a node; its status is ours.", INSIDE,
         "builder.cli.inside:execute", own_failure=NOT_THE_GUEST),
    Verb("console", "LAB [NODE]", "Attach to a node's serial console.", INSIDE, "builder.cli.inside:console"),
    Verb("collect", "LAB", "Put all that tells how a lab fares into one folder.", INSIDE,
         "builder.cli.collect:collect"),
    Verb("net", "LAB [link|cut|join|shape|capture ...]", "Show a lab's networks; take links down, cut, slow, record.",
         INSIDE, "builder.cli.net:net"),
    Verb("disk", "LAB [pull|insert|order ...]", "Show the nodes' disks; pull them, plug them in, mix them up.", INSIDE,
         "builder.cli.disk:disk"),
    Verb("procedure", "ls|show|run|undo|drill", "Do host procedures, see their effect, undo them.", INSIDE, children=(
        Verb("ls", "", "List the procedures.", INSIDE, "builder.cli.procedure:ls"),
        Verb("show", "NAME", "Say what a procedure does, and how.", INSIDE, "builder.cli.procedure:show_"),
        Verb("run", "LAB NODE NAME [KEY=VALUE]...", "Do a procedure on a node, and see its effect.", INSIDE,
             "builder.cli.procedure:run"),
        Verb("undo", "LAB NODE NAME [KEY=VALUE]", "Bring back what was before.", INSIDE, "builder.cli.procedure:undo"),
        Verb("drill", "LAB [NAME]... [KEY=VALUE]...", "Run, restart, undo: try procedures on hosts of a lab.", INSIDE,
             "builder.cli.procedure:drill"),
    )),
    Verb("drill", "raid", "Have hosts lose what they can do without.", INSIDE, children=(
        Verb("raid", "LAB NODE", "Pull each disk of a host's arrays in turn; start without it; build it up.", INSIDE,
             "builder.cli.raid_drill:raid"),
    )),
    Verb("media", "inspect|build|prove|undo|serve|write|volume|pxe", "Installation media that install by themselves.",
         MEDIA, children=(
        Verb("inspect", "ISO", "Say what is on an installation medium.", MEDIA, "builder.cli.media_inspect:inspect"),
        Verb("build", "[LAB NODE]", "Make a medium that installs by itself.", MEDIA,
             "builder.cli.media_build:build"),
        Verb("prove", "ISO", "Boot a medium every way and compare it with its source.", MEDIA,
             "builder.cli.media_prove:prove"),
        Verb("undo", "ISO", "Take a change in place back.", MEDIA, "builder.cli.media_build:undo"),
        Verb("serve", "[LAB [NODE]]", "Serve media over HTTP, one for each node, from one file.", MEDIA,
             "builder.cli.media_serve:serve"),
        Verb("write", "ISO DEVICE", "Write a medium to a USB disk and read it back.", MEDIA,
             "builder.cli.media_write:write"),
        Verb("volume", "[LAB NODE]", "Make a small second medium that holds answers.", MEDIA,
             "builder.cli.media_volume:volume"),
        Verb("pxe", "[LAB NODE]", "Make a folder that a machine installs itself from over the network.", MEDIA,
             "builder.cli.media_pxe:pxe"),
    )),
    Verb("doctor", "[LAB]", "Check this host, with the exact fix for each finding.", HOST, "builder.cli.doctor:doctor"),
    Verb("image", "ls|build|prune", "Golden disk images.", HOST, children=(
        Verb("ls", "", "List the images in the cache.", HOST, "builder.cli.image:ls"),
        Verb("build", "LAB", "Build the images that a lab's nodes boot from.", HOST, "builder.cli.image:build"),
        Verb("prune", "", "Remove images, least recently used first.", HOST, "builder.cli.image:prune"),
    )),
    Verb("completion", "bash|zsh|fish", "Print the completion script of a shell.", HOST,
         "builder.cli.completion:completion"),
)  # fmt: skip


def find(name: str) -> Verb | None:
    """The top-level verb of this name."""
    return next((verb for verb in VERBS if verb.name == name), None)
