"""Options that come from the fields of the library's configs."""

from dataclasses import dataclass, fields
from inspect import Parameter
from typing import Annotated, Any, Literal, get_args

import pytest
import typer
from typer.testing import CliRunner

from cprec_lib.cli.evidence import reproduce_options
from cprec_lib.cli.options import (
    LARGEST,
    choice,
    number,
    numbers,
    options_of,
    whole,
    with_options,
    without_options,
)
from cprec_lib.cli.training import train_options
from cprec_lib.evidence.settings import Setting
from cprec_lib.model.config import ModelConfig
from cprec_lib.train.config import TrainConfig
from tests.cli.shell import succeed


@dataclass(frozen=True)
class Config:
    """A config with each type of field."""

    hidden: int
    depth: Annotated[int, "Layers."] = 1
    rate: Annotated[float, "Rate."] = 0.5
    shares: Annotated[tuple[float, ...], "Shares."] = ()
    pair: Annotated[tuple[int, int] | None, "Two."] = None
    deep: Annotated[bool, "Deep."] = False
    kind: Annotated[Literal["a", "b"], "Kind."] = "a"
    column: Annotated[str | int | None, "Column."] = None


def test_each_described_field_is_an_option() -> None:
    options = options_of(Config, leave_out=["rate"], rename={"depth": "layers"})
    assert list(options) == ["layers", "shares", "pair", "deep", "kind", "column"]
    helps = [get_args(option.annotation)[-1].help for option in options.values()]
    assert helps == ["Layers.", "Shares.", "Two.", "Deep.", "Kind.", "Column."]
    assert all(option.default is None for option in options.values())


def test_a_verb_takes_and_explains_them() -> None:
    given: dict[str, Any] = {}

    def verb(name: str, **options: Any) -> None:
        """Do something."""
        given.update(options, name=name)

    app = typer.Typer(rich_markup_mode=None)
    cls = with_options(verb, lambda: options_of(Config))
    app.command(cls=cls)(without_options(verb))
    app.command()(lambda: None)
    words = "verb x --depth 3 --shares 0.1,2 --pair 1,2 --no-deep --kind b --column 0"
    assert CliRunner().invoke(app, words.split()).exit_code == 0
    assert given == {
        **{"name": "x", "depth": 3, "rate": None, "shares": (0.1, 2), "pair": (1, 2)},
        **{"deep": False, "kind": "b", "column": "0"},
    }
    printed = CliRunner().invoke(app, ["verb", "--help"]).stdout
    assert "Do something." in printed and "--depth INTEGER" in printed and "Layers." in printed


def test_options_are_made_only_for_the_verb_that_has_them() -> None:
    def fail() -> dict[str, Parameter]:
        raise AssertionError("the configs were loaded")

    def verb(**options: Any) -> None:
        """Do something."""

    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=with_options(verb, fail))(without_options(verb))
    app.command("other")(lambda: None)
    assert "Do something." in CliRunner().invoke(app, ["--help"]).stdout
    assert CliRunner().invoke(app, ["other"]).exit_code == 0
    assert isinstance(CliRunner().invoke(app, ["verb"]).exception, AssertionError)


def test_train_has_all_fields_of_its_configs() -> None:
    expected = {field.name for config in (ModelConfig, TrainConfig) for field in fields(config)}
    expected |= {"max_len", "split", "split_seed"}
    assert {*train_options()} == expected - {"n_items", "middle"}


def test_reproduce_has_all_fields_of_a_setting() -> None:
    expected = {field.name for field in fields(Setting)}
    assert {*reproduce_options()} == expected - {"learning_rates", "dataset"}


@pytest.mark.parametrize("verb", ["train", "reproduce"])
def test_help_explains_every_option(verb: str) -> None:
    lines = succeed(verb, "--help")
    for name, option in (train_options if verb == "train" else reproduce_options)().items():
        assert f"--{name.replace('_', '-')}" in lines
        text = get_args(option.annotation)[-1].help
        assert text.endswith(".") and text[:12] in " ".join(lines.split())


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), (" ", ()), ("3", (3,)), ("1, 4", (1, 4)), ("0.05,2e3", (0.05, 2000.0))],
)
def test_numbers_between_commas(text: str, expected: tuple[float, ...]) -> None:
    found = numbers(text)
    assert found == expected
    assert [type(number) for number in found] == [type(number) for number in expected]


@pytest.mark.parametrize("text", [",", "1,", "one", "nan", "inf", "1e999", "9" * 30, "1;2"])
def test_other_text_is_no_list_of_numbers(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="not a list of numbers"):
        numbers(text)


def test_a_list_may_have_a_length() -> None:
    assert numbers("1,2", 2) == (1, 2)
    with pytest.raises(typer.BadParameter, match="not a list of 2 numbers"):
        numbers("1", 2)


def test_whole_numbers_seed_a_generator() -> None:
    assert [whole(text) for text in ("0", "7", str(LARGEST))] == [0, 7, LARGEST]
    for text in ("", "-1", "1.0", "1e3", "²", str(LARGEST + 1), "9" * 5000):
        with pytest.raises(typer.BadParameter, match="not a whole number from 0 to"):
            whole(text)


def test_whole_numbers_may_have_limits() -> None:
    assert whole(8000, most=65535) == 8000  # typer passes a default through the parser
    for text in ("0", "65536"):
        with pytest.raises(typer.BadParameter, match="not a whole number from 1 to 65535"):
            whole(text, least=1, most=65535)


def test_a_number_is_one_within_its_limits() -> None:
    assert [number(text) for text in ("-1", "0.5", "2e3")] == [-1, 0.5, 2000]
    for text in ("", "x", "1,5"):
        with pytest.raises(typer.BadParameter, match="is not a number"):
            number(text)
    for text in ("-1", "nan", "inf"):
        with pytest.raises(typer.BadParameter, match=f"does not lie between 0 and {LARGEST}"):
            number(text, least=0)


def test_a_choice_names_the_words() -> None:
    assert choice("a", ("a", "b")) == "a"
    with pytest.raises(typer.BadParameter, match="'c' is none of a, b"):
        choice("c", ("a", "b"))
