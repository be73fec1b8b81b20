"""The frame: the verb table, what --help shows, environment variables, completion."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from builder.cli.frame import App, LazyGroup, load, root, wants_color
from builder.cli.labs import complete_lab, complete_node
from builder.cli.onlab import OnLab
from builder.cli.verbs import VERBS, Verb, find


def commands(verbs: tuple[Verb, ...] = VERBS, prefix: str = "") -> Iterator[tuple[str, Verb, click.Command]]:
    for verb in verbs:
        yield f"{prefix}{verb.name}", verb, load(verb)
        yield from commands(verb.children, f"{verb.name} ")


ALL = [pytest.param(verb, command, id=name) for name, verb, command in commands()]


@pytest.fixture
def runner(tmp_path: Path) -> CliRunner:
    places = {f"NESTLAB_{name}": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "RUNTIME")}
    return CliRunner(env={**places, "NO_COLOR": "1"})


def test_verbs_have_names_of_their_own() -> None:
    names = [verb.name for verb in VERBS]
    assert len(set(names)) == len(names)
    assert find("up") is not None
    assert find("nothing") is None


def test_help_lists_every_verb_with_its_line(runner: CliRunner) -> None:
    said = runner.invoke(root, ["--help"]).output
    for verb in VERBS:
        assert verb.name in said
        assert verb.help in " ".join(said.split())


@pytest.mark.parametrize(("verb", "command"), ALL)
def test_every_verb_loads_and_explains_itself(verb: Verb, command: click.Command, runner: CliRunner) -> None:
    done = runner.invoke(command, ["--help"])
    assert done.exit_code == 0
    assert command.help


@pytest.mark.parametrize(("verb", "command"), ALL)
def test_usage_in_the_table_is_what_the_command_takes(verb: Verb, command: click.Command) -> None:
    """The README's table is made from `usage`: the names of the arguments in it must be the command's."""
    if isinstance(command, LazyGroup):
        assert verb.usage == "|".join(child.name for child in verb.children)
        return
    if isinstance(command, OnLab):
        assert verb.usage == f"LAB [{'|'.join(command.commands)} ...]"
        return
    shown = [p.make_metavar(click.Context(command)) for p in command.params if isinstance(p, click.Argument)]
    plain = str.maketrans("[]{}|", "     ")
    arguments = re.sub(r"--\w+( [a-z|-]+)?", "", verb.usage)  # without options
    assert arguments.translate(plain).split() == " ".join(shown).translate(plain).split()


@pytest.mark.parametrize(("verb", "command"), ALL)
def test_every_option_has_a_variable_and_a_help(verb: Verb, command: click.Command) -> None:
    for option in (p for p in command.params if isinstance(p, click.Option)):
        assert option.allow_from_autoenv
        assert option.help
    assert command.context_settings.get("auto_envvar_prefix", "NESTLAB") == "NESTLAB"


@pytest.mark.parametrize(("verb", "command"), ALL)
def test_help_is_written_alike(verb: Verb, command: click.Command, runner: CliRunner) -> None:
    """What options take has a name of its own, the same for the same thing; a default of nothing is not shown."""
    said = runner.invoke(command, ["--help"]).output
    assert '[default: ""]' not in said and "[default: 0]" not in said.partition("--verbose")[2]
    for option in (p for p in command.params if isinstance(p, click.Option)):
        if isinstance(option.type, click.Path):
            kinds = {"FILE", "REPORT", "VENDOR.ISO", "DEVICE"} if option.type.file_okay else {"DIR"}
            assert option.metavar in kinds, option.name


@pytest.mark.parametrize("words", ["net link", "net LAB link", "disk order", "disk some-lab order"])
def test_commands_on_a_lab_explain_themselves_without_one(words: str, runner: CliRunner) -> None:
    done = runner.invoke(root, [*words.split(), "--help"])
    assert done.exit_code == 0
    assert re.search(r"Usage: nestlab (net|disk) LAB (link|order) \[OPTIONS\] NODE", done.output)


def test_an_option_comes_from_the_environment(runner: CliRunner) -> None:
    assert runner.invoke(root, ["ls", "-o", "json"]).output == "[]\n"
    assert runner.invoke(root, ["ls"], env={"NESTLAB_LS_OUTPUT": "json"}).output == "[]\n"
    assert runner.invoke(root, ["image", "ls"], env={"NESTLAB_IMAGE_LS_OUTPUT": "yaml"}).output == "[]\n"
    assert runner.invoke(root, ["down"], env={"NESTLAB_DOWN_ALL": "1"}).exit_code == 0
    assert runner.invoke(root, ["down"]).exit_code == 2


@pytest.mark.parametrize(("verb", "command"), ALL)
def test_variables_are_called_after_options(verb: Verb, command: click.Command, runner: CliRunner) -> None:
    """`--timeout-scale` of `up` is NESTLAB_UP_TIMEOUT_SCALE, whatever the function calls it."""
    context = click.Context(root, info_name="nestlab", auto_envvar_prefix="NESTLAB")
    parents = [group for group in VERBS if verb in group.children]
    prefix = "_".join(["NESTLAB", *(group.name.upper() for group in parents), verb.name.upper()])
    for group in parents:
        parent = root.get_command(context, group.name)
        assert parent is not None
        context = click.Context(parent, info_name=group.name, parent=context)
    assert isinstance(context.command, LazyGroup)
    loaded = context.command.get_command(context, verb.name)
    assert loaded is not None
    for option in (p for p in loaded.params if isinstance(p, click.Option)):
        name = f"{prefix}_{max(option.opts, key=len)[2:].replace('-', '_').upper()}"
        own = click.Context(loaded, info_name=verb.name, parent=context)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(name, "here")
            assert option.resolve_envvar_value(own) == "here", name


def test_a_variable_called_version_is_not_the_option(runner: CliRunner) -> None:
    done = runner.invoke(root, ["ls"], env={"NESTLAB_VERSION": "1.0", "NESTLAB_HELP": "x"})
    assert (done.exit_code, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "environment", "verbosity"),
    [
        ([], {}, 0),
        (["-q"], {}, -1),
        (["-vv"], {}, 2),
        ([], {"NESTLAB_QUIET": "1"}, -1),
        ([], {"NESTLAB_VERBOSE": "2"}, 2),
    ],
)
def test_volume(arguments: list[str], environment: dict[str, str], verbosity: int, runner: CliRunner) -> None:
    seen = []
    group = LazyGroup(name="root", verbs=(), params=root.params, callback=root.callback,
                      context_settings=root.context_settings, invoke_without_command=True)  # fmt: skip

    @group.result_callback()
    @click.pass_obj
    def note(app: App, _result: object) -> None:
        seen.append(app.verbosity)

    done = runner.invoke(group, arguments, env=environment)
    assert done.exit_code == 0, done.output
    assert seen == [verbosity]


def test_a_misspelt_verb_is_guessed(runner: CliRunner) -> None:
    done = runner.invoke(root, ["valdate"])
    assert done.exit_code == 2
    assert "validate" in done.output


def test_completion_of_verbs_imports_none_of_them(runner: CliRunner) -> None:
    done = runner.invoke(root, [], prog_name="nestlab", complete_var="_NESTLAB_COMPLETE", env={
        "_NESTLAB_COMPLETE": "bash_complete", "COMP_WORDS": "nestlab do", "COMP_CWORD": "1",
    })  # fmt: skip
    assert sorted(done.output.split()) == ["plain,doctor", "plain,down"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, runner: CliRunner) -> None:
    said = runner.invoke(root, ["completion", shell]).output
    assert "_NESTLAB_COMPLETE" in said
    assert "nestlab" in said


def test_labs_and_nodes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NESTLAB_STATE", str(tmp_path))
    for node in ("host1", "host2", "other"):
        (tmp_path / "labs/demo/nodes" / node).mkdir(parents=True)
    context, parameter = click.Context(load(find("exec") or VERBS[0])), click.Argument(["lab"])
    assert [item.value for item in complete_lab(context, parameter, "de")] == ["demo", "de"]
    context.params["lab"] = "demo"
    assert [item.value for item in complete_node(context, parameter, "ho")] == ["host1", "host2"]
    context.params["lab"] = "nothing"
    assert complete_node(context, parameter, "") == []


def test_color() -> None:
    assert wants_color({}, stream_is_tty=True)
    assert wants_color({"NO_COLOR": ""}, stream_is_tty=True)
    assert not wants_color({"NO_COLOR": "1"}, stream_is_tty=True)
    assert not wants_color({"TERM": "dumb"}, stream_is_tty=True)
    assert not wants_color({}, stream_is_tty=False)
