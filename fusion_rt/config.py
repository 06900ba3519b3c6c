"""Turns a YAML tree into frozen structs, before the first step of the flow.

Finds everything that is wrong at once, each with file, line, place, what was expected and what
came. A struct's own `__post_init__` says what holds between its fields, by raising ValueError.
"""

import difflib
import types
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import inspect

from fusion_rt.errors import ConfigError, ConfigErrors
from fusion_rt.yaml_file import Place, YamlFile, place_text

T = TypeVar("T")


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.errors = list(file.errors)

    def add(self, place: Place, problem: str, way_out: str = "") -> None:
        """Note one problem at the line of `place`, or of what should have held it."""
        known = next(
            (place[:n] for n in range(len(place), 0, -1) if place[:n] in self.file.lines), ()
        )
        line = self.file.lines.get(known)
        self.errors.append(ConfigError(self.file.name, place_text(place), problem, way_out, line))

    def as_error(self) -> ConfigErrors:
        """All of them to raise, in the order of the file."""
        return ConfigErrors(sorted(self.errors, key=lambda error: error.line or 0))


def checked(tree: object, expected: type[T], place: Place, problems: Problems) -> T | None:
    """`tree` as a struct or value of type `expected`; None when that added to `problems`."""
    before = len(problems.errors)
    _check(tree, expected, place, problems)
    return None if len(problems.errors) > before else msgspec.convert(tree, expected)


def known_names(got: str, known: Iterable[str]) -> str:
    """The way out for an unknown name: the likeliest one that was meant, and all there are."""
    names = sorted(known)
    close = difflib.get_close_matches(got, names, n=1)
    meant = f'did you mean "{close[0]}"? ' if close else ""
    return f"{meant}known: {', '.join(names) or 'none'}"


def shown(value: object) -> str:
    """A value from a YAML tree as a message shows it: short, and in the words of YAML."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    if isinstance(value, bool):
        text = text.lower()
    return text if len(text) <= 60 else f"{text[:56]} ..."


def _check(tree: object, expected: Any, place: Place, problems: Problems) -> None:
    bare, meaning, is_optional = _without_wrapping(expected)
    if bare is Any or (tree is None and is_optional):
        return
    if not _is_struct(bare) and get_origin(bare) is not dict:
        _check_value(tree, bare, meaning, place, problems)
    elif not isinstance(tree, dict):
        problems.add(place, f"expected a mapping, got {shown(tree)}", meaning)
    elif _is_struct(bare):
        _check_fields(tree, bare, place, problems)
    else:
        for key, value in tree.items():
            _check(value, get_args(bare)[1], (*place, key), problems)


def _check_fields(
    tree: dict[str, Any], struct: type[msgspec.Struct], place: Place, problems: Problems
) -> None:
    before = len(problems.errors)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    hints = get_type_hints(struct, include_extras=True)
    for key in (key for key in tree if key not in fields):
        problems.add((*place, key), "unknown field", known_names(key, fields))
    for name, field in fields.items():
        if name in tree:
            _check(tree[name], hints[field.name], (*place, name), problems)
        elif field.required:
            _, meaning, _ = _without_wrapping(hints[field.name])
            expected = _described(inspect.type_info(hints[field.name]), name)
            problems.add((*place, name), f"expected {expected}, got nothing", meaning)
    if len(problems.errors) == before:
        try:
            msgspec.convert(tree, struct)
        except msgspec.ValidationError as error:  # its __post_init__
            problems.add(place, str(error))


def _check_value(
    tree: object, expected: Any, meaning: str, place: Place, problems: Problems
) -> None:
    try:
        msgspec.convert(tree, expected)
    except msgspec.ValidationError:
        wanted = _described(inspect.type_info(expected), str(place[-1]) if place else "")
        problems.add(place, f"expected {wanted}, got {shown(tree)}", meaning)


def _without_wrapping(expected: Any) -> tuple[Any, str, bool]:
    """The type inside `Annotated[...]` and `| None`, its described meaning, and whether None fits.

    Constraints stay: the innermost `Annotated` of a value is kept.
    """
    meaning, is_optional = "", False
    if get_origin(expected) in (Union, types.UnionType):
        others = [arg for arg in get_args(expected) if arg is not type(None)]
        if len(others) == 1:
            expected, is_optional = others[0], True
    if get_origin(expected) is Annotated:
        inner, *notes = get_args(expected)
        metas = [note for note in notes if isinstance(note, msgspec.Meta)]
        meaning = next((meta.description for meta in metas if meta.description), "")
        if get_origin(inner) is dict or _is_struct(inner):
            expected = inner
    return expected, meaning, is_optional


def _is_struct(expected: Any) -> bool:
    return isinstance(expected, type) and issubclass(expected, msgspec.Struct)


_UNITS = ("_hz", "_ms", "_s", "_m", "_px", "_deg", "_mps")
_NOUNS: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.StrType: "text",
    inspect.DateType: "a date such as 2026-01-31",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}


def _described(info: inspect.Type, name: str) -> str:
    """What a field called `name` takes, for people; its unit comes from its name."""
    if isinstance(info, inspect.Metadata):
        return _described(info.type, name)
    if isinstance(info, inspect.UnionType):
        kinds = [kind for kind in info.types if not isinstance(kind, inspect.NoneType)]
        return " or ".join(_described(kind, name) for kind in kinds)
    if isinstance(info, inspect.StrType) and info.pattern:
        return f"text that matches {info.pattern}"
    if isinstance(info, inspect.LiteralType):
        return f"one of {', '.join(str(value) for value in info.values)}"
    if isinstance(info, inspect.TupleType):
        return f"a list of {len(info.item_types)}, each {_described(info.item_types[0], name)}"
    if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        return f"a list, each {_described(info.item_type, name)}"
    noun = _NOUNS.get(type(info), "another type")
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        return " ".join(part for part in (noun, _bounds(info), _unit(name)) if part)
    return noun


def _bounds(info: inspect.IntType | inspect.FloatType) -> str:
    limits = ((">=", info.ge), (">", info.gt), ("<=", info.le), ("<", info.lt))
    bounds = [f"{sign} {_number(limit)}" for sign, limit in limits if limit is not None]
    return " and ".join(bounds)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _unit(name: str) -> str:
    return next((suffix[1:].replace("hz", "Hz") for suffix in _UNITS if name.endswith(suffix)), "")
