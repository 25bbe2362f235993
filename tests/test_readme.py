"""The README is held to the disk: its commands parse, its links and its tree are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from tests.readme import TEXT

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("rocket-prep", "rocket-train")


def _commands() -> Iterator[list[str]]:
    """The words of every call of our programs in a console block."""
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            words = shlex.split(line, comments=True)
            if "--wrap" in words:  # a command in a SLURM script
                words = shlex.split(words[words.index("--wrap") + 1])
            at = [place for place, word in enumerate(words) if word in PROGRAMS]
            if at:
                yield words[at[0] :]


def _program(name):
    if name == "rocket-prep":
        from pipeline.cli import app
    else:
        from trainer.cli import app
    return typer.main.get_command(app)


def test_readme_shows_commands_of_both_programs():
    assert {words[0] for words in _commands()} == set(PROGRAMS)


@pytest.mark.parametrize("words", list(_commands()), ids=" ".join)
def test_readme_commands_parse(words):
    group = _program(words[0])
    with group.make_context(words[0], words[1:]) as context:
        name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
        with command.make_context(name, rest, parent=context):
            pass


@pytest.mark.parametrize("target", re.findall(r"^    make (\w+)$", TEXT, re.MULTILINE))
def test_readme_make_targets_are_in_the_makefile(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT))
def test_readme_links_lead_to_files(target):
    assert (ROOT / target).exists()


def test_readme_shows_the_commands_that_make_runs():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    shown = re.findall(r"^(\.venv/bin/.*)$", TEXT, re.MULTILINE)
    assert len(shown) >= 10
    assert [line for line in shown if f"\t{line}\n" not in makefile] == []


def test_readme_commands_can_be_pasted_into_zsh():
    """zsh takes bare brackets, stars and question marks for patterns, and stops where no file matches."""
    for block in re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL):
        for line in re.findall(r"^\$ (.*)$", block, re.MULTILINE):
            bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
            assert not re.search(r"[\[\]*?]", bare), line


def test_readme_tree_is_the_tree_on_disk():
    (tree,) = re.findall(r"## The house\n.*?```\n(.*?)```", TEXT, re.DOTALL)
    places = re.findall(r"^(\S+)  +\S", tree, re.MULTILINE)
    assert [place for place in places if not (ROOT / place).exists()] == []
    packages = {path.parent.relative_to(ROOT).as_posix() + "/" for path in ROOT.glob("*/**/__init__.py")}
    ours = {place for place in packages if place.split("/")[0] in ("pipeline", "shards", "trainer", "configs")}
    assert ours <= set(places)
