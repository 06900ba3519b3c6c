from typing import Annotated, Any, Literal

import msgspec
import pytest

from fusion_rt.config import Problems, checked, known_names, shown
from fusion_rt.yaml_file import YamlFile


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    low: int = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"expected low <= {self.high}, got {self.low}")


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(pattern="^[a-z]+$", description="lower case letters")]
    rate_hz: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    place_m: tuple[float, float, float] = (0, 0, 0)
    side: Literal["left", "right"] = "left"
    flag: bool = False
    inner: Inner = Inner()
    named: dict[str, Inner] = {}
    anything: Any = None
    numbers: tuple[float, ...] = ()


def problems_of(tree: dict[str, Any]) -> list[str]:
    problems = Problems(YamlFile("f", b"", tree, {}, ()))
    result = checked(tree, Outer, (), problems)
    assert (result is None) == bool(problems.errors)
    return [str(error) for error in problems.errors]


def test_what_fits_becomes_a_struct() -> None:
    tree = {"name": "a", "rate_hz": 5, "named": {"x": {"low": 1}}, "anything": [1, {"b": None}]}
    outer = checked(tree, Outer, (), Problems(YamlFile("f", b"", tree, {}, ())))
    assert outer is not None
    assert outer.named == {"x": Inner(low=1)}


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ({}, "f: name: expected text that matches ^[a-z]+$, got nothing; lower case letters"),
        (
            {"name": "A"},
            'f: name: expected text that matches ^[a-z]+$, got "A"; lower case letters',
        ),
        ({"name": "a", "rate_hz": 0}, "f: rate_hz: expected a number > 0 and <= 1000 Hz, got 0"),
        (
            {"name": "a", "rate_hz": "5"},
            'f: rate_hz: expected a number > 0 and <= 1000 Hz, got "5"',
        ),
        (
            {"name": "a", "rate_hz": True},
            "f: rate_hz: expected a number > 0 and <= 1000 Hz, got true",
        ),
        (
            {"name": "a", "place_m": [1, 2]},
            "f: place_m: expected a list of 3, each a number m, got [1, 2]",
        ),
        ({"name": "a", "side": "up"}, 'f: side: expected one of left, right, got "up"'),
        ({"name": "a", "flag": 1}, "f: flag: expected true or false, got 1"),
        ({"name": "a", "numbers": 5}, "f: numbers: expected a list, each a number, got 5"),
        ({"name": "a", "inner": 5}, "f: inner: expected a mapping, got 5"),
        ({"name": "a", "inner": None}, "f: inner: expected a mapping, got nothing"),
        ({"name": "a", "inner": {"low": 1.5}}, "f: inner.low: expected a whole number, got 1.5"),
        (
            {"name": "a", "named": {"x/y": {"high": []}}},
            'f: named."x/y".high: expected a whole number, got []',
        ),
        (
            {"name": "a", "sied": "left"},
            'f: sied: unknown field; did you mean "side"? known: anything, flag, inner, name, '
            "named, numbers, place_m, rate_hz, side",
        ),
    ],
)
def test_a_problem_says_where_what_and_the_way_out(tree: dict[str, Any], problem: str) -> None:
    assert problems_of(tree) == [problem]


def test_all_problems_are_found_at_once() -> None:
    tree = {"nam": "a", "rate_hz": -1, "inner": {"low": "x"}, "named": {"y": 3}}
    assert len(problems_of(tree)) == 5


def test_fields_that_do_not_fit_together_are_a_problem() -> None:
    tree = {"name": "a", "inner": {"low": 11}}
    assert problems_of(tree) == ["f: inner: expected low <= 10, got 11"]


def test_a_problem_stands_at_the_line_of_what_should_have_held_it() -> None:
    problems = Problems(YamlFile("f", b"", {}, {("a",): 3, ("a", "b"): 4}, ()))
    problems.add(("a", "b", "missing"), "expected it")
    problems.add(("a", "c"), "expected that")
    assert [error.line for error in problems.as_error().errors] == [3, 4]


def test_long_values_are_shown_short() -> None:
    assert shown("x" * 100) == '"' + "x" * 55 + " ..."
    assert shown({"a": 1}) == "a mapping"


def test_known_names_suggest_the_likeliest() -> None:
    assert known_names("lidr", ["lidar", "camera"]) == 'did you mean "lidar"? known: camera, lidar'
    assert known_names("x", []) == "known: none"
