"""The Debian installer's own pieces judge what it is told: its templates, its reader of answers and partman's scripts.
None of it installs anything."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from builder.systems.debian.installer import TITLES
from builder.systems.debian.judge.questions import KEYMAPS, KEYMAPS_OF, QUESTIONS, WITHOUT_TEMPLATE
from tests.support.debian import CASES, RELEASES, Case
from tests.support.installer import Template, components, in_initrd, initrd, templates

pytestmark = pytest.mark.integration

each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

# Components of Debian 12 that mirrors no longer have: their questions are held against those of 13.
GONE = {"12": ("apt-setup/", "cdrom-detect/", "clock-setup/", "finish-install/", "grub-installer/",
               "partman-auto-raid/", "partman-basic", "partman-efi/", "partman-ext3/", "partman-partitioning/",
               "partman/mount_style", "passwd/", "tasksel/", "time/zone"), "13": ()}  # fmt: skip


@pytest.fixture(scope="session")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {release: initrd(release, tmp_path_factory.mktemp("initrd") / release) for release in RELEASES}


@pytest.fixture(scope="session")
def known(trees: dict[str, Path]) -> dict[str, dict[str, Template]]:
    """Templates by release; where a release's are gone, the newer ones stand in."""
    newer = templates("13", trees["13"])
    older = {name: each for name, each in newer.items() if name.startswith(GONE["12"])}
    return {"12": older | templates("12", trees["12"]), "13": newer}


def questions(text: str) -> list[tuple[str, str, str]]:
    """(question, type, value) of each answer."""
    rows = []
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            _, name, kind, *rest = line.split(None, 3)
            rows.append((name, kind, rest[0] if rest else ""))
    return rows


def fixed(template: Template) -> bool:
    return bool(template.choices) and not any("${" in choice for choice in template.choices)


@each_case
def test_every_question_is_one_of_the_installers(case: Case, known: dict[str, dict[str, Template]]) -> None:
    table = known[case.release]
    asked = questions(case.text)
    assert len(asked) > 55
    for name, kind, value in asked:
        if name in WITHOUT_TEMPLATE:
            continue
        assert name in table, f"there is no question {name}"
        assert kind == table[name].kind, name
        if kind == "boolean":
            assert value in ("true", "false"), name
        if kind == "select" and fixed(table[name]):
            assert value in table[name].choices, name
        if kind == "multiselect" and fixed(table[name]):
            assert {part.strip() for part in value.split(",")} <= set(table[name].choices), name


@pytest.mark.parametrize("release", RELEASES)
def test_keyboards_are_those_of_the_template(release: str, known: dict[str, dict[str, Template]]) -> None:
    choices = known[release]["keyboard-configuration/xkb-keymap"].choices
    assert sorted(choices) == sorted((*KEYMAPS, *KEYMAPS_OF[release]))


@pytest.mark.parametrize("release", RELEASES)
def test_the_judges_table_is_that_of_the_templates(release: str, known: dict[str, dict[str, Template]]) -> None:
    table = known[release]
    wrong = {name: table[name].kind for name in QUESTIONS if name in table and table[name].kind != QUESTIONS[name].kind}
    assert wrong == {}
    assert [name for name in QUESTIONS if name not in table and name not in WITHOUT_TEMPLATE] == []
    for name, question in QUESTIONS.items():
        if name in table and question.values and fixed(table[name]):
            assert set(question.values) <= set(table[name].choices), name
    assert [name for name in WITHOUT_TEMPLATE if name in table] == []


def test_failures_are_known_by_the_titles_of_the_templates(known: dict[str, dict[str, Template]]) -> None:
    told = {template.title for template in known["13"].values()}
    for title in (title for titles in TITLES.values() for title in titles):
        assert any(each.startswith(title) for each in told), title


# The installer's debconf-set-selections with its questions written to a file instead.
_READER = """\
db_set() { printf '%s\\t%s\\n' "$1" "$2" >>/tmp/read; }
db_fset() { :; }
db_register() { :; }
db_subst() { :; }
log() { :; }
logfile=/tmp/log
"""


@pytest.mark.parametrize("name", ["12-bios-plain", "13-bios-lvm", "13-uefi-raid10x4", "13-by-id", "13-full", "13-url"])
def test_the_installers_own_reader_reads_what_debconf_reads(name: str, trees: dict[str, Path]) -> None:
    case = CASES[name]
    tree = trees[case.release]
    program = (tree / "bin/debconf-set-selections").read_text()
    sourced = re.sub(r"^\. /\S+$", "", program, flags=re.MULTILINE)
    (tree / "reader").write_text(sourced.replace("set -e\n", f"set -e\n{_READER}", 1))
    (tree / "preseed.cfg").write_text(case.text)
    (tree / "tmp/read").unlink(missing_ok=True)
    done = in_initrd(tree, "sh /reader /preseed.cfg")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.partition("\t")[::2] for line in (tree / "tmp/read").read_text().splitlines()]
    assert {name: " ".join(value.split()) for name, value in rows} == case.values


_RECIPES = """\
DEVICES=/none
NL='
'
db_get() { case "$1" in partman-auto/cap-ram) RET=1024 ;; *) RET= ;; esac; }
db_metaget() { RET=; }
convert_to_megabytes() { expr 0000000"$1" : '0*\\(..*\\)......$'; }
restore_ifs() { IFS=" 	$NL"; }
longint_le() { [ "$1" -le "$2" ]; }
open_dialog() { :; }
close_dialog() { :; }
read_line() { label=$LABEL; }
. /recipes.sh
decode_recipe /recipe "$1"
free_size=$2
expand_scheme
echo "$scheme"
"""


def expanded(case: Case, tree: Path, stage: str, size: int) -> list[list[str]]:
    """The entries that partman makes of the recipe at that stage, sizes first, in `size` MB."""
    shutil.copy(components(case.release) / "partman-auto/lib/partman/lib/recipes.sh", tree / "recipes.sh")
    (tree / "recipe").write_text(case.values["partman-auto/expert_recipe"])
    for folder in ("none", "proc"):
        (tree / folder).mkdir(exist_ok=True)
    (tree / "proc/meminfo").write_text("MemTotal:        1048576 kB\n")
    done = in_initrd(tree, _RECIPES, stage, str(size))
    assert done.stderr == ""
    return [line.split() for line in done.stdout.splitlines()]


@each_case
def test_partman_makes_of_the_recipe_what_is_meant(case: Case, trees: dict[str, Path]) -> None:
    """On a disk of 50 GB: partitions as the plan has them, the last one taking all the rest, volumes of their sizes."""
    tree = trees[case.release]
    method = case.values["partman-auto/method"]
    label = case.values["partman-partitioning/default_label"]
    made = expanded(case, tree, "lvm" if method == "lvm" else "default", 50_000)
    partitions = [row for row in made if "$lvmok{" not in row]
    kinds = {"raid": ["raid", "raid"], "lvm": ["format", "lvm"], "regular": ["format", "swap", "lvm"]}[method]
    firmware = {"gpt": ["efi"] if case.node.firmware == "uefi" else ["biosgrub"], "msdos": []}[label]
    assert [row[row.index("method{") + 1] for row in partitions] == [*firmware, *kinds]
    volumes = [row for row in expanded(case, tree, "lvm", 50_000) if "$lvmok{" in row]
    taken = sum(int(row[0]) for row in (*partitions[:-1], *(volumes if method == "lvm" else ())))
    assert 50_000 - 3 * len(made) <= taken + int(partitions[-1][0]) <= 50_000
    if method == "regular":
        assert volumes == []
    else:
        assert [row[row.index("lv_name{") + 1] for row in volumes] == ["root", "swap"]
        assert case.values["partman-auto-lvm/guided_size"] == f"{sum(int(row[0]) for row in volumes)} MB"


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.node.raid])
def test_the_installers_script_makes_the_arrays(name: str, trees: dict[str, Path]) -> None:
    """auto-raidcfg itself, with an mdadm that only writes down what it is asked for. 12's is gone: 13's reads both."""
    case = CASES[name]
    tree = trees["13"]
    program = (components("13") / "partman-auto-raid/bin/auto-raidcfg").read_text()
    recipe = case.values["partman-auto-raid/recipe"]
    stubs = f"db_get() {{ case \"$1\" in */recipe) RET='{recipe}' ;; *) RET=0 ;; esac; }}\n"
    stubs += 'db_set() { :; }\ndb_input() { echo asked "$2"; }\ndb_go() { :; }\n'
    changed = program.replace(". /usr/share/debconf/confmodule\n", stubs, 1).replace("/proc/mdstat", "/tmp/mdstat")
    (tree / "auto-raidcfg").write_text(changed)
    (tree / "tmp/mdstat").write_text("")
    (tree / "tmp/arrays").unlink(missing_ok=True)
    (tree / "arrays-stubs").mkdir(exist_ok=True)
    for program_name, text in {
        "mdadm": "#!/bin/sh\necho \"$*\" >>/tmp/arrays\n", "modprobe": "#!/bin/sh\n", "depmod": "#!/bin/sh\n",
        "apt-install": "#!/bin/sh\n", "log-output": "#!/bin/sh\nshift 2\nexec \"$@\"\n", "logger": "#!/bin/sh\n",
    }.items():  # fmt: skip
        (tree / "arrays-stubs" / program_name).write_text(text)
        (tree / "arrays-stubs" / program_name).chmod(0o755)
    done = in_initrd(tree, "PATH=/arrays-stubs:$PATH; sh /auto-raidcfg")
    assert (done.returncode, done.stderr) == (0, "") and "asked" not in done.stdout
    boot, volumes = (tree / "tmp/arrays").read_text().splitlines()
    members = [piece.split()[5].split("#") for piece in recipe.removesuffix(" .").split(" . ")]
    count, level = len(case.node.disks), case.node.raid[0].level
    for line, wanted, on in ((boot, 1, members[0]), (volumes, level, members[1])):
        assert f" -l raid{wanted} -n {count} -x 0 " in line and "missing" not in line
        assert line.split()[-count:] == on


_PARTED = """\
db_get() { case "$1" in */new_vg_name) RET=$GROUP ;; */guided_size) RET=$SIZE ;; *) RET= ;; esac; }
db_fget() { RET=true; }
db_set() { :; }
db_subst() { :; }
db_progress() { :; }
db_metaget() { :; }
db_input() { echo asked "$2"; }
db_go() { :; }
open_dialog() { :; }
close_dialog() { :; }
turn=0
read_line() {
	for name in "$@"; do eval "$name="; done
	case "$1" in
	num) turn=$((turn + 1)); [ $((turn % 2)) = 0 ] || { id=0-9; size=9; fs=unknown; } ;;
	esac
}
vg_get_info() { FREEPE=all; }
stop_parted_server() { :; }
restart_partman() { :; }
autopartitioning_failed() { echo failed; exit 1; }
"""


@pytest.mark.parametrize("name", ["12-bios-lvm", "13-uefi-lvm", "12-bios-raid10x4", "13-by-id", "13-full"])
def test_partman_makes_two_volumes_and_leaves_the_rest_to_guests(name: str, trees: dict[str, Path]) -> None:
    """perform_recipe_by_lvm itself, on a group of 90 GB: lvcreate is asked for two sizes, not for all of it."""
    case = CASES[name]
    tree, parts = trees[case.release], components(case.release)
    library = tree / "lib/partman/lib"
    library.mkdir(parents=True, exist_ok=True)
    base = (parts / "partman-base/lib/partman/lib/base.sh").read_text()
    (library / "base.sh").write_text(base.replace(". /usr/share/debconf/confmodule\n", ""))
    shutil.copy(parts / "partman-auto/lib/partman/lib/recipes.sh", library / "recipes.sh")
    lvm = (parts / "partman-lvm/lib/partman/lib/lvm-base.sh").read_text()
    (library / "lvm-base.sh").write_text(f"{lvm}\n{_PARTED}")
    shutil.copy(parts / "partman-auto-lvm/bin/perform_recipe_by_lvm", tree / "perform")
    (tree / "recipe").write_text(case.values["partman-auto/expert_recipe"])
    for folder in ("proc", "volume-stubs", "var/lib/partman/devices"):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "proc/meminfo").write_text("MemTotal:        1048576 kB\n")
    (tree / "tmp/volumes").unlink(missing_ok=True)
    vgs = '#!/bin/sh\ncase "$*" in *extent_size*) echo "  4194.30K" ;; *) echo "  90000000.00" ;; esac\n'
    for program, text in {
        "vgs": vgs, "lvcreate": '#!/bin/sh\necho "$*" >>/tmp/volumes\n', "update-dev": "#!/bin/sh\n",
        "log-output": '#!/bin/sh\nshift 2\nexec "$@"\n',
    }.items():  # fmt: skip
        (tree / "volume-stubs" / program).write_text(text)
        (tree / "volume-stubs" / program).chmod(0o755)
    group, size = (case.values[f"partman-auto-lvm/{key}"] for key in ("new_vg_name", "guided_size"))
    script = f"export PATH=/volume-stubs:$PATH GROUP='{group}' SIZE='{size}'; sh /perform '{group}' /recipe"
    done = in_initrd(tree, script)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "asked partman-auto-lvm/guided_size\n")
    wanted = [
        (row[0], row[row.index("lv_name{") + 1]) for row in expanded(case, tree, "lvm", 90_000) if "$lvmok{" in row
    ]
    made = [line.split() for line in (tree / "tmp/volumes").read_text().splitlines()]
    assert [(words[-2], words[-1]) for words in made] == [(volume, group) for _, volume in wanted]
    for words, (megabytes, _) in zip(made, wanted, strict=True):
        extents = int(words[words.index("-l") + 1])
        assert 0 <= int(megabytes) * 10**6 - extents * 4_194_300 < 4_194_300
