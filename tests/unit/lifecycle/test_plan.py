"""Plans: what depends on what, and which change touches which key. Pure; systems are the real ones."""

from __future__ import annotations

from builder.lifecycle.plan import LabPlan, plan_lab
from builder.model.load import parse_lab
from builder.systems import load_system, traits

LAB = """\
name: lab
networks: {lan: {mtu: 9000}}
nodes:
  a: {system: tiny, networks: [lan], disks: [{size: 64MiB}]}
  b: {system: tiny, networks: [lan], after: [a]}
  c: {system: tiny}
"""


def plan(text: str = LAB) -> LabPlan:
    return plan_lab(parse_lab(text.encode(), traits()).lab, load_system)


def keys(made: LabPlan) -> dict[str, str]:
    return {step.id: step.key for step in made.steps if step.kind == "live"}


def changed(text: str) -> set[str]:
    before, after = keys(plan()), keys(plan(text))
    return {name for name in before if before[name] != after.get(name)}


def test_the_same_lab_gives_the_same_plan() -> None:
    assert plan() == plan()
    assert LabPlan.model_validate_json(plan().model_dump_json()) == plan()


def test_nodes_of_one_recipe_share_their_image_step() -> None:
    made = plan()
    images = {node.steps[0] for node in made.nodes}
    assert len(images) == 1
    assert [step.name for step in made.steps].count("image") == 1


def test_a_node_has_its_steps_in_order_and_waits_for_whom_it_names() -> None:
    made = plan()
    names = [step.id for step in made.node_steps("b")]
    assert names[1:] == ["b/identity", "b/disks", "b/boot", "b/session"]
    boot = next(step for step in made.steps if step.id == "b/boot")
    assert set(boot.needs) == {"b/disks", "a/session"}
    assert next(step for step in made.steps if step.id == "c/boot").needs == ("c/disks",)


def test_memory_touches_the_boot_and_not_the_disks() -> None:
    assert changed(LAB.replace("c: {system: tiny}", "c: {system: tiny, memory: 300MiB}")) == {"c/boot", "c/session"}


def test_a_disk_touches_all_from_the_disks_on_and_not_who_comes_after() -> None:
    bigger = changed(LAB.replace("64MiB", "65MiB"))
    assert bigger == {"a/disks", "a/boot", "a/session"}, "b runs, and nobody has changed it"


def test_the_mtu_of_a_network_touches_the_nodes_on_it() -> None:
    touched = changed(LAB.replace("9000", "8000"))
    assert {"a/boot", "b/boot"} <= touched
    assert "c/boot" not in touched


def test_no_path_port_or_time_is_in_a_plan(tmp_path_factory: object) -> None:
    text = plan().model_dump_json()
    assert "/tmp" not in text
    assert "127.0.0.1" not in text


def test_a_file_that_moves_does_not_change_its_plan() -> None:
    assert keys(plan(LAB + "\n# a comment\n")) == keys(plan())


INSTALLED = """\
name: lab
nodes:
  a:
    system: xcpng
    release: 8.3
    memory: 8GiB
    disks: [{size: 100GiB}]
    source: {medium: /iso/x.iso, sha256: 00aa}
    install: {timezone: Etc/UTC}
""".replace("00aa", "a" * 64)


def medium_key(text: str) -> str:
    (step,) = [step for step in plan(text).steps if step.name == "medium"]
    return step.key


def test_a_node_with_a_medium_is_remastered_installed_kept_and_then_started() -> None:
    made = plan(INSTALLED)
    assert [step.id for step in made.node_steps("a")] == [
        "a/medium", "a/identity", "a/remaster", "a/disks", "a/boot:install", "a/keep", "a/boot:disk", "a/session",
    ]  # fmt: skip
    assert [step.kind for step in made.node_steps("a")].count("cached") == 1
    needs = {step.id: set(step.needs) for step in made.steps}
    assert "a/remaster" in needs["a/disks"]
    assert needs["a/boot:disk"] == {"a/keep"}


def test_what_changes_the_installed_image_and_what_does_not() -> None:
    key = medium_key(INSTALLED)
    for old, new in (
        ("a" * 64, "b" * 64),
        ("100GiB", "101GiB"),
        ("{size: 100GiB}", "{size: 100GiB, bus: sata}"),
        ("Etc/UTC", "Europe/Paris"),
        ("  a:", "  b:"),
        ("disks:", "firmware: uefi\n    disks:"),
    ):
        assert medium_key(INSTALLED.replace(old, new)) != key, new
    for old, new in (("/iso/x.iso", "/elsewhere/y.iso"), ("8GiB", "10GiB")):
        assert medium_key(INSTALLED.replace(old, new)) == key, new
