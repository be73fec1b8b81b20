"""The bill of materials: what it lists for every way that a file gets on a medium, and its form.

The form is a strict restatement of what CycloneDX 1.6 asks of the parts in use, written apart from the generator:
unknown keys are refused, which the published schema does too.
"""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest

from builder.media.bill import Injected, changed_paths, cyclonedx, digest, injected
from builder.media.compare import compare
from builder.media.edits import Arguments, Edit, Overlay, Put
from builder.media.initrd import OverlayFile
from builder.media.plan import plan_edits
from builder.media.sinks import write_file
from tests.unit.media import made

_HASHES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["alg", "content"],
        "properties": {"alg": {"const": "SHA-256"}, "content": {"type": "string", "pattern": "^[a-f0-9]{64}$"}},
    },
}
_COMPONENT: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "name"],
    "properties": {
        "type": {"enum": ["file"]},
        "bom-ref": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "mime-type": {"type": "string", "pattern": "^[-+a-z0-9.]+/[-+a-z0-9.]+$"},
        "hashes": _HASHES,
        "properties": {"type": "array", "items": {
            "type": "object", "additionalProperties": False, "required": ["name", "value"],
            "properties": {"name": {"type": "string"}, "value": {"type": "string"}}}},
        "components": {"type": "array", "items": {"$ref": "#/$defs/component"}, "uniqueItems": True},
        "pedigree": {"type": "object", "additionalProperties": False, "properties": {
            "ancestors": {"type": "array", "items": {"$ref": "#/$defs/component"}}}},
    },
}  # fmt: skip
RULES: dict[str, Any] = {
    "$defs": {"component": _COMPONENT},
    "type": "object",
    "additionalProperties": False,
    "required": ["bomFormat", "specVersion"],
    "properties": {
        "$schema": {"const": "http://cyclonedx.org/schema/bom-1.6.schema.json"},
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.6"},
        "serialNumber": {
            "type": "string",
            "pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
        },
        "version": {"type": "integer", "minimum": 1},
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "timestamp": {"type": "string", "format": "date-time"},
                "tools": {"type": "object", "additionalProperties": False, "properties": {
                    "components": {"type": "array", "items": {
                        "type": "object", "additionalProperties": False, "required": ["type", "name"],
                        "properties": {"type": {"const": "application"}, "name": {"type": "string"},
                                       "version": {"type": "string", "maxLength": 1024}}}}}},
                "component": {"$ref": "#/$defs/component"},
            },
        },
        "components": {"type": "array", "items": {"$ref": "#/$defs/component"}, "uniqueItems": True},
    },
}  # fmt: skip


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["bom-ref"]] if "bom-ref" in value else []
        return own + [found for inner in value.values() for found in references(inner)]
    return [found for inner in value for found in references(inner)] if isinstance(value, list) else []


ANSWER = OverlayFile("/answers/host.xml", b"<installation/>")
EDITS: list[Edit] = [
    Put("/answer.xml", b"<a/>"),
    Put("/readme.txt", b"another\n"),
    Arguments(kernel=("answerfile=file:///answer.xml",)),
    Overlay((ANSWER,), how="append"),
]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    initrd = lzma.compress(b"old" * 9000, check=lzma.CHECK_CRC32)
    return made.iso(tmp_path / "vendor.iso", {**made.FILES, "/isolinux/initrd.img": initrd})


def test_every_file_that_differs_is_listed_with_its_digest(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.iso"
    plan = plan_edits(source, EDITS)
    write_file(plan, out)
    found = compare(source, out)
    paths = changed_paths(found)
    assert paths == ("/answer.xml", "/isolinux/initrd.img", "/isolinux/isolinux.cfg", "/readme.txt")
    listed = {item.path: item for item in injected(source, out, paths)}
    assert list(listed) == list(paths)
    for path, item in listed.items():
        content = made.content(out, path)
        assert (item.size, item.sha256) == (len(content), sha256(content))
    assert listed["/answer.xml"].how == "added"
    assert listed["/readme.txt"].how == "changed"
    assert listed["/isolinux/initrd.img"].parts == (
        Injected("/answers/host.xml", "in the initrd", len(ANSWER.content), sha256(ANSWER.content)),
    )
    assert injected(source, plan, [touched.path for touched in plan.touched]) == tuple(listed.values())


@pytest.mark.parametrize("how", ["guarded", "in front", "second"])
def test_files_in_an_initrd_are_found_wherever_they_stand(how: str, tmp_path: Path) -> None:
    files = {**made.FILES, "/isolinux/initrd.img": lzma.compress(b"old" * 9000, check=lzma.CHECK_CRC32)}
    if how == "in front":
        files["/isolinux/initrd.img"] = b"\x02\x21\x4c\x18" + b"packed" * 100
    if how == "guarded":
        files["/boot/grub.cfg"] = (
            b"menuentry x {\n multiboot2 /xen.gz\n module2 /vmlinuz\n module2 /isolinux/initrd.img\n}\n"
        )
    src = made.iso(tmp_path / "src.iso", files)
    plan = plan_edits(src, [Overlay((ANSWER,), how="second" if how == "second" else "append")])
    path = "/nestlab.img" if how == "second" else "/isolinux/initrd.img"
    (item,) = injected(src, plan, [path])
    assert [part.sha256 for part in item.parts] == [sha256(ANSWER.content)]


def test_the_bill_has_the_form_that_others_read(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.iso"
    plan = plan_edits(source, EDITS)
    write_file(plan, out)
    files = injected(source, out, changed_paths(compare(source, out)))
    bill = cyclonedx(digest(source), digest(out), files, when="2026-11-21T12:00:00Z")
    jsonschema.Draft7Validator(RULES).validate(json.loads(json.dumps(bill)))
    about: Any = bill["metadata"]
    assert about["component"]["hashes"][0]["content"] == sha256(out.read_bytes())
    assert about["component"]["pedigree"]["ancestors"][0]["hashes"][0]["content"] == sha256(source.read_bytes())
    assert about["timestamp"] == "2026-11-21T12:00:00Z"
    names = references(bill)
    assert len(names) == len(set(names)) == 2 + len(files) + 1
    assert "timestamp" not in json.dumps(cyclonedx(digest(source), digest(out), files))
    again = cyclonedx(digest(source), digest(plan, name="out.iso"), files, when="2026-11-21T12:00:00Z")
    assert again == bill, "a plan has the bill of the image that it becomes"


def test_nothing_of_this_machine_is_told(source: Path) -> None:
    image = digest(source)
    assert image == digest(source, name="vendor.iso")
    assert str(source.parent) not in json.dumps(cyclonedx(image, image, ()))
