"""What a proof of a medium awaits, and how it is told that it came. No machine is started here."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.errors import UsageError
from builder.lifecycle.media_proof import masked, secrets_in, writes_to_serial
from builder.lifecycle.media_proof_expect import added_arguments, expectations, read_asked
from builder.lifecycle.media_proof_follow import Watch, has_argument
from builder.lifecycle.media_proof_machine import Setup, proof_folder, reap_proofs
from builder.lifecycle.media_proof_memory import PAGE, GuestMemory, Pages, command_lines, look
from builder.lifecycle.media_proof_model import Answer, BootResult, Expected, ProofRequest, Way
from builder.lifecycle.media_proof_records import compare_fields
from builder.media.boot import Menu
from builder.media.menus import Entry
from builder.paths import Places, locked

WAY = Way(firmware="bios", attached="cd")
ANSWER = b"<installation>\n<hostname>one</hostname>\n</installation>\n"


# -- memory


@pytest.fixture
def memory() -> Iterator[int]:
    """A memory as QEMU's: a memfd of that name, mostly holes, of this very process."""
    fd = os.memfd_create("memory-backend-memfd")
    os.ftruncate(fd, 1 << 30)
    yield fd
    os.close(fd)


def seen(*files: bytes) -> tuple[list[tuple[bool, str]], list[int]]:
    guest = GuestMemory(os.getpid())
    try:
        pages = [Pages(file) for file in files]
        found = look(guest, pages)
        return found.lines, [page.missing for page in pages]
    finally:
        guest.close()


def test_a_command_line_is_found_in_the_kernel_s_log(memory: int) -> None:
    os.pwrite(memory, b"\0\x05[    0.0] Command line: BOOT_IMAGE=/vmlinuz quiet a=b\0\0", 700 << 20)
    os.pwrite(memory, b"(XEN) Command line: com1=115200 x\n", 30 << 20)
    os.pwrite(memory, b"\x016Command line: %s\n\0append a=b\n", 40 << 20)
    assert seen()[0] == [(True, "com1=115200 x"), (False, "BOOT_IMAGE=/vmlinuz quiet a=b")]


def test_memory_that_was_never_touched_stays_so(memory: int) -> None:
    os.pwrite(memory, ANSWER, 512 << 20)
    before = os.fstat(memory).st_blocks
    assert seen(ANSWER)[1] == [0]
    assert os.fstat(memory).st_blocks == before <= 1024


def test_a_file_counts_when_it_fills_whole_pages(memory: int) -> None:
    os.pwrite(memory, b"070701" + ANSWER + b"\0\0070701TRAILER!!!", 64 << 20)  # in an archive
    os.pwrite(memory, ANSWER, (80 << 20) + 100)  # somewhere
    os.pwrite(memory, ANSWER + b"more of the same file\n", 96 << 20)  # the start of another file
    assert seen(ANSWER)[1] == [1]
    os.pwrite(memory, ANSWER, 128 << 20)
    assert seen(ANSWER)[1] == [0]


def test_a_long_file_needs_all_its_pages(memory: int) -> None:
    long = b"".join(b"line %06d\n" % number for number in range(1000))
    os.pwrite(memory, long[:PAGE], 64 << 20)
    assert seen(long)[1] == [2]
    # Pages of a file need not lie side by side.
    os.pwrite(memory, long[2 * PAGE :], 32 << 20)
    os.pwrite(memory, long[PAGE : 2 * PAGE], 16 << 20)
    assert seen(long)[1] == [0]


def test_a_process_without_such_a_memory_is_said_so() -> None:
    with pytest.raises(OSError, match="no memory"):
        GuestMemory(os.getpid())
    assert mmap.PAGESIZE == PAGE


def test_a_format_string_is_no_command_line() -> None:
    assert list(command_lines(b"Kernel command line: %s\0bad Command line: \0")) == []
    assert list(command_lines(b"\0Invalid command line: hid or uid\0Bad Command line: ivrs\0")) == []


def test_a_hypervisor_s_line_has_its_mark_with_or_without_a_time() -> None:
    said = b"(XEN) [2026-01-02 03:04:05] Command line: x\r\n(XEN) Bootloader: y\r\n[    0.0] Command line: z\r\n"
    assert list(command_lines(said)) == [(True, "x"), (False, "z")]


# -- what was seen


def watch(**expected: object) -> Watch:
    return Watch(Expected.model_validate(expected))


def test_arguments_are_awaited_by_layer() -> None:
    here = watch(kernel=("install", "a=b c"), hypervisor=("noreboot",))
    here.line("(XEN) Command line: install noreboot")
    assert here.kernel_missing() == ["'install' on the kernel's command line", "'a=b c' on the kernel's command line"]
    here.line('[    0.000000] Command line: console=hvc0 reinstall "a=b c"')
    assert here.kernel_missing() == ["'install' on the kernel's command line"]
    here.line('[    0.000000] Kernel command line: console=hvc0 install "a=b c"')
    assert here.kernel_missing() == [] and here.answers_missing() == []
    assert here.kernel_line == 'console=hvc0 install "a=b c"' and here.kernel_where == "console"
    assert here.hypervisor_line == "install noreboot"


def test_torn_copies_of_a_command_line_are_not_what_is_told(memory: int) -> None:
    for at, text in ((1, b"quiet a=b leftover"), (2, b"quiet a=b"), (3, b"quie"), (4, b"quiet a=b")):
        os.pwrite(memory, b"Command line: " + text + b"\0", at << 20)
    here, guest = watch(kernel=("a=b",)), GuestMemory(os.getpid())
    here.memory(guest)
    guest.close()
    assert (here.kernel_line, here.kernel_where, here.kernel_missing()) == ("quiet a=b", "memory", [])


def test_a_panic_is_seen_though_the_console_is_silent(memory: int) -> None:
    os.pwrite(memory, b"\0---[ end Kernel panic - not syncing: %s ]---\0", 1 << 20)
    here, guest = watch(), GuestMemory(os.getpid())
    assert here.memory(guest) is None
    os.pwrite(memory, b"\x01---[ end Kernel panic - not syncing: IO-APIC + timer doesn't work! ]---\0", 2 << 20)
    cause = here.memory(guest)
    guest.close()
    assert cause is not None and cause.name == "kernel-panic"
    assert "IO-APIC" in here.last[-1]


def test_without_expectations_any_kernel_will_do() -> None:
    here = watch()
    assert here.kernel_missing() == ["a kernel that shows its command line"]
    here.line("[    0.000000] Command line: quiet")
    assert here.kernel_missing() == []


def test_a_medium_without_linux_is_proven_by_what_it_shows() -> None:
    here = watch(texts=(r"Memtest\d+",))
    assert here.kernel_missing() == []
    assert here.answers_missing() == [r"/Memtest\d+/ on console or screen"]
    assert here.wants_screen()
    here.line("Memtest86+ v6.10")
    assert here.answers_missing() == []
    here = watch(texts=(r"Memtest\d+",))
    here.shown(" Memtest86+ v6.10 | QEMU TCG CPU", "screen")
    assert here.answers_missing() == [] and not here.wants_screen()


def test_files_on_the_medium_are_not_waited_for(memory: int) -> None:
    answers = (
        Answer(path="/in-initrd", content=ANSWER, required=True),
        Answer(path="/on-medium", content=ANSWER[::-1], required=False),
    )
    here = watch(answers=answers)
    assert here.answers_missing() == ["/in-initrd in the booted system"]
    assert here.wants_memory() and not watch(texts=("x",)).wants_memory()
    os.pwrite(memory, ANSWER, 8 << 20)
    guest = GuestMemory(os.getpid())
    here.memory(guest)
    guest.close()
    assert here.answers_missing() == []
    assert [(seen.what, seen.where) for seen in here.answers.values()] == [
        ("/in-initrd", "memory"),
        ("/on-medium", None),
    ]


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("Kernel panic - not syncing: No working init found.", "kernel-panic"),
        ("(XEN) Panic on CPU 0:", "xen-panic"),
        ("No bootable device.", "not-bootable"),
        ("Boot failed: Could not read from CDROM (code 0009)", "not-bootable"),
        ("isolinux.bin missing or corrupt.", "loader-broken"),
        ("Could not find kernel image: /vmlinuz", "no-kernel"),
        ("g gone... failed: No such file or directory", "no-kernel"),
    ],
)
def test_lines_that_end_a_boot(line: str, cause: str) -> None:
    found = watch().line(line)
    assert found is not None and found.name == cause and found.cure
    assert watch().line("Kernel command line: panic=-1") is None


def test_an_argument_is_whole() -> None:
    assert has_argument("a install b", "install")
    assert has_argument('x "ks=file:/a b" y', "ks=file:/a b")
    assert not has_argument("reinstall installed install=1", "install")


# -- what is expected


def menu(*entries: Entry, path: str = "/isolinux.cfg", image: int | None = None) -> Menu:
    return Menu(path, "isolinux", "", entries, image)


def test_arguments_that_every_changed_entry_got() -> None:
    before = [menu(Entry("install", "/k", ("quiet",)), Entry("rescue", "/k", ("rescue",))),
              menu(Entry("install", "/k", ("quiet",)), path="/grub.cfg")]  # fmt: skip
    after = [menu(Entry("install", "/k", ("quiet", "ks=x", "only-here")), Entry("rescue", "/k", ("rescue",))),
             menu(Entry("install", "/k", ("ks=x", "---", "quiet")), path="/grub.cfg")]  # fmt: skip
    assert added_arguments(after, before) == (("ks=x",), ())
    assert added_arguments(before, before) == ((), ())


def test_twins_in_boot_images_are_told_from_menus_of_the_tree() -> None:
    entry, longer = Entry("i", "/k", ("a",), (), "/xen", ("x",)), Entry("i", "/k", ("a",), (), "/xen", ("x", "y"))
    before, after = [menu(entry), menu(entry, image=4096)], [menu(longer), menu(longer, image=8192)]
    assert added_arguments(after, before) == ((), ("y",))


def test_what_was_asked_for_is_awaited_beside_what_was_put_in(tmp_path: Path) -> None:
    answers = tmp_path / "answers.xml"
    answers.write_bytes(ANSWER)
    request = ProofRequest(iso=tmp_path / "x.iso", ways=(WAY,), kernel=("b", "a"), files=(answers,), texts=("t",))
    before, after = [menu(Entry("i", "/k"))], [menu(Entry("i", "/k", ("a", "c")))]
    found = expectations(request, after, before, tuple(read_asked(request.files)))
    assert (found.kernel, found.texts) == (("b", "a", "c"), ("t",))
    assert [(a.path, a.content, a.required) for a in found.answers] == [(str(answers), ANSWER, True)]
    assert expectations(request, after, None, ()).kernel == ("b", "a")


@pytest.mark.parametrize("content", [None, b"short"])
def test_files_that_cannot_be_looked_for(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "answers"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match="answers"):
        list(read_asked([path]))


# -- records


def test_ends_may_move_by_what_the_medium_grew() -> None:
    before = ["label: dos", "part : start= 0, size= 100, type=0", "Volume size is: 25"]
    after = ["label: dos", "part : start= 0, size= 108, type=0", "Volume size is: 27"]
    judge = compare_fields("j", before, after, 4096)
    assert (judge.fields, judge.grown, judge.different) == (3, 2, ())


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("size= 100, type=0", "size= 107, type=0"),
        ("size= 100, type=0", "size= 108, type=17"),
        ("size= 100, type=ef", "size= 100, type=ee"),
        ("size= 100", "size= 92"),
    ],
)
def test_anything_else_is_a_difference(old: str, new: str) -> None:
    assert compare_fields("j", [old], [new], 4096).different == (f"{old} -> {new}",)


def test_fields_that_come_or_go_are_differences() -> None:
    assert compare_fields("j", ["a", "b"], ["a"], 0).different == ("lost: b",)
    assert compare_fields("j", ["a"], ["a", "c"], 0).different == ("new: c",)


# -- the machine


def test_a_path_with_anything_in_it_reaches_qemu_whole(tmp_path: Path) -> None:
    iso = tmp_path / 'a,b "c" d.iso'
    argv = Setup(iso, WAY, tmp_path, "tcg", 512 << 20).argv()
    assert any('a,b \\"c\\" d.iso' in word for word in argv)
    assert argv[argv.index("-cpu") + 1] == "max,-smap", "TCG's SMAP crashes Xen's dom0"
    assert (
        "usb-storage,bus=usb.0,drive=medium,bootindex=0"
        in Setup(iso, Way(firmware="bios", attached="usb"), tmp_path, "kvm", 512 << 20).argv()
    )


def test_menus_that_write_to_the_serial_port_are_not_mirrored() -> None:
    def having(text: str) -> list[Menu]:
        return [Menu("/isolinux.cfg", "isolinux", text, ())]

    assert writes_to_serial(having("default x\nserial 0 115200\n"))
    assert not writes_to_serial(having("# serial console\nlabel serial\n"))


def test_leftovers_are_reaped_and_running_proofs_are_not(tmp_path: Path) -> None:
    places = Places(tmp_path / "s", tmp_path / "c", tmp_path / "r")
    stale, held = places.runtime / "proof-stale", places.runtime / "proof-held"
    for folder in (stale, held, places.runtime / "12345678"):
        folder.mkdir(parents=True)
    code = "import sys, time; from pathlib import Path; from builder.paths import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, held / "lock"], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        assert reap_proofs(places) == ("proof-stale",)
        assert held.is_dir() and (places.runtime / "12345678").is_dir()
    finally:
        holder.kill()
        holder.wait()
        assert holder.stdout is not None
        holder.stdout.close()
    with proof_folder(places) as mine:
        assert not held.exists(), "a new proof takes away what killed ones left"
        assert mine.parent == places.runtime and mine.stat().st_mode & 0o077 == 0
    assert not mine.exists()


def test_passwords_among_boot_arguments_are_not_told() -> None:
    line = "install sshpassword=geheim7 rootpw=x4y ip=dhcp"
    assert [secret.reveal() for secret in secrets_in(line)] == ["geheim7", "x4y"]
    result = BootResult(firmware="bios", attached="cd", outcome="ok", accelerator="tcg", seconds=1,
                        command_line=line, last_lines=("cmdline " + line,))  # fmt: skip
    assert "geheim7" not in masked(result).model_dump_json() and "ip=dhcp" in masked(result).command_line


def test_a_lock_is_what_tells_a_running_proof(tmp_path: Path) -> None:
    places = Places(tmp_path / "s", tmp_path / "c", tmp_path / "r")
    (places.runtime / "proof-x").mkdir(parents=True)
    with locked(places.runtime / "proof-x/lock"):
        assert reap_proofs(places) == ()
    assert reap_proofs(places) == ("proof-x",)


def test_proofs_that_begin_and_end_at_once_do_not_reap_each_other(tmp_path: Path) -> None:
    places = Places(tmp_path / "s", tmp_path / "c", tmp_path / "r")
    lost: list[Path] = []
    seen: list[Path] = []

    def proofs() -> None:
        for _ in range(30):
            with proof_folder(places) as folder:
                seen.append(folder)
                if not (folder / "lock").exists():
                    lost.append(folder)
                reap_proofs(places)

    threads = [threading.Thread(target=proofs) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (lost, len(set(seen))) == ([], 120)
    assert not any(places.runtime.glob("*"))
