"""The documented settings: complete, sourced, in the lab file's own spelling, and what the definition carries out."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from builder.hypervisors.kvm import domain_xml
from builder.hypervisors.settings import SETTINGS, Setting, settings
from builder.model.layers import DiskLayer, NodeLayer
from tests.support.kvm_cases import Case, disk, nics, node

ISSUED = {"cpu_model", "memory", "disks.bus", "disks.size", "management_nic", "firmware"}


def test_the_list_is_complete_and_nothing_is_said_twice() -> None:
    rows = settings(system="xcpng", hypervisor="kvm")
    assert [row.key for row in rows] == list(dict.fromkeys(row.key for row in rows))
    assert {row.key for row in rows} == ISSUED
    assert settings(system="nothing") == ()


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: f"{row.system}-{row.hypervisor}-{row.key}")
def test_each_names_its_source_and_is_accepted_by_the_lab_file(row: Setting) -> None:
    assert row.document.startswith("https://") and row.section and row.says
    assert row.date[:4].isdigit() and len(row.date) == len("2026-07-31")
    key = row.key.removeprefix("disks.")
    if key == row.key:
        assert getattr(NodeLayer.model_validate({key: row.value}), key) is not None
    else:
        assert getattr(DiskLayer.model_validate({"size": "1GiB", key: row.value}), key) is not None


def test_the_definition_carries_the_documented_settings_out() -> None:
    value = {row.key: row.value for row in settings(system="xcpng", hypervisor="kvm")}
    size = DiskLayer.model_validate({"size": value["disks.size"]}).size
    memory = NodeLayer.model_validate({"memory": value["memory"]}).memory
    case = Case(
        node(
            cpu_model=value["cpu_model"],
            memory=memory,
            firmware=value["firmware"],
            management_nic=value["management_nic"],
            disks=(disk("root", value["disks.bus"], size=size),),  # type: ignore[arg-type]
            nics=nics("e1000"),
        ),
        {"accelerator": "kvm"},
    )
    root = ET.fromstring(domain_xml(case.node, case.wire()))
    assert root.find("cpu[@mode='host-passthrough']") is not None
    assert root.findtext("memory") == str(8 * 1024 * 1024)
    assert root.find("devices/controller[@model='lsilogic']") is not None
    assert root.find("devices/interface/model[@type='e1000']") is not None
    assert root.find("os/loader") is None and root.find("os/nvram") is None
    assert size == 50 << 30
