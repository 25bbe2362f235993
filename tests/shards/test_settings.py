"""Settings read from YAML and words: one way and one wording for both programs."""

from collections.abc import Iterator
from typing import Annotated, Literal

import pytest
from pydantic import Field

from shards.errors import SettingsError, UsageError
from shards.settings import Section, load_settings, setting, settings_of, shown


class Inner(Section):
    width: Annotated[int, Field(ge=16, le=64, multiple_of=2)] = setting(32, "width of a frame, px", resume="fixed")
    rate: Annotated[float, Field(gt=0)] = setting(1.0, "step size")
    until: Annotated[int, Field(gt=0)] | Literal["auto"] = setting("auto", "steps")


class Term(Section):
    name: Literal["one", "other"] = setting(..., "which loss")
    weight: float = setting(1.0, "factor on it")


class Outer(Section):
    seed: int | None = setting(None, "draws the order")
    inner: Inner = Inner()
    terms: list[Term] = setting([Term(name="one")], "losses")

    def contradictions(self) -> Iterator[str]:
        if self.seed == self.inner.width:
            yield "seed: got the width, expected another number. Change one."


def load(*words: str, file: str | None = None, folder=None) -> Outer:
    path = None
    if file is not None:
        path = folder / "mine.yaml"
        path.write_text(file)
    return load_settings(Outer, path, words)


def test_settings_without_a_file_are_the_defaults():
    assert load() == Outer()


def test_words_go_before_the_file_and_later_words_before_earlier_ones(tmp_path):
    found = load(
        "seed=2", "inner.rate=1e-4", "seed=3", file="seed: 1\ninner: {rate: 5, width: 16}", folder=tmp_path
    )
    assert (found.seed, found.inner.rate, found.inner.width) == (3, 0.0001, 16)


def test_words_reach_into_lists():
    assert load("terms=[{name: one},{name: other}]", "terms.1.weight=2").terms[1].weight == 2


def test_all_problems_are_told_at_once_in_one_wording():
    words = [
        "terms=[{name: one}]",
        "sed=3",
        "inner.width=15",
        "inner.rate=0",
        "inner.until=all",
        "inner.wdth=3",
        "terms.0.name=otter",
    ]
    with pytest.raises(SettingsError, match="sed") as caught:
        load(*words)
    assert caught.value.problems == [
        "settings: inner.width: got 15, expected a whole number from 16 to 64, even (width of a frame, px).",
        "settings: inner.rate: got 0, expected a number, more than 0 (step size).",
        "settings: inner.until: got 'all', expected auto or a whole number, 1 or more (steps).",
        "settings: unknown setting `inner.wdth`, did you mean `inner.width`?",
        "settings: terms[0].name: got 'otter', expected one or other (which loss). Did you mean other?",
        "settings: unknown setting `sed`, did you mean `seed`?",
    ]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["inner=3"], r"settings: inner: got 3, expected key: value lines\."),
        (["seed=x"], r"settings: seed: got 'x', expected a whole number or null \(draws the order\)\."),
        (["seed=1.5"], r"seed: got 1.5, expected a whole number"),
        (["terms=[{weight: 1}]"], r"terms\[0\]\.name: got nothing, expected one or other"),
        (["terms=[{name: one, wait: 3}]"], r"unknown setting `terms\[0\].wait`, did you mean `terms\[0\].weight`"),
        (["terms=one"], r"terms: got 'one', expected a list \(losses\)"),
        (["completely.else=1"], r"unknown setting `completely`\. See --help for all\."),
        (["seed=32"], r"settings: seed: got the width, expected another number\. Change one\."),
        (["inner.0.x=1", "seed=[1"], r"seed: cannot be set to '\[1'"),
    ],
)
def test_problem_is_named_with_its_key(words, problem):
    with pytest.raises(SettingsError, match=problem):
        load(*words)


@pytest.mark.parametrize("word", ["seed", "=3", " =3"])
def test_word_that_sets_nothing_is_a_usage_error(word):
    with pytest.raises(UsageError, match=f"{word}: not a setting, expected KEY=VALUE, such as seed=1"):
        load(word)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- a\n- b\n", r"mine\.yaml: got a list, expected key: value lines"),
        ("seed: [1\n", r"mine\.yaml: not readable as YAML: .*\. Fix the file"),
        ("\x00", r"mine\.yaml: not readable as YAML"),
        ("seed: ${nothing}\n", r"mine\.yaml: .*nothing.*\. Fix the reference"),
    ],
)
def test_file_that_holds_no_settings_is_named(tmp_path, text, problem):
    with pytest.raises(SettingsError, match=problem):
        load(file=text, folder=tmp_path)


def test_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read, got No such file or directory"):
        load_settings(Outer, tmp_path / "none.yaml", [])


def test_settings_are_described_by_their_fields():
    found = {one.key: one for one in settings_of(Outer)}
    assert list(found) == ["seed", "inner.width", "inner.rate", "inner.until", "terms"]
    assert found["inner.width"].meaning == "width of a frame, px"
    assert found["inner.width"].expected == "a whole number from 16 to 64, even"
    assert found["inner.width"].marks == {"resume": "fixed"}
    assert [shown(one.default) for one in found.values()] == ["null", "32", "1.0", "auto", "[one]"]
