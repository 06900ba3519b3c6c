"""Reads the YAML of rig and calibration files, before the first step of the flow.

Scalars as in YAML 1.2 (`yes`, `on`, `12:30` and `0777` are text, `1e3` is a number), no tags, no
repeated keys, and bounds on size, depth and expanded aliases: the file may come from anywhere.
"""

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from fusion_rt.errors import ConfigError, ConfigErrors

MAX_BYTES = 256 * 1024
MAX_DEPTH = 16
MAX_VALUES = 20_000
"""After expansion of aliases: ten lines of YAML can otherwise stand for billions of values."""

Place = tuple[str | int, ...]
"""Where in a file: the keys and indices that lead there."""


class YamlFile(msgspec.Struct, frozen=True):
    """A file as read: its tree of plain values, and the line that each value stands on."""

    name: str
    raw: bytes
    tree: dict[str, Any]
    lines: dict[Place, int]
    errors: tuple[ConfigError, ...]
    """Repeated keys, tags and the like, which leave a tree that can still be checked."""


def read_yaml(source: Path) -> YamlFile:
    """Read a file that holds one mapping; raises ConfigErrors when there is no tree to look at."""
    name = str(source)
    try:
        raw = _read_bounded(source)
        root = _compose(raw.decode())
    except OSError as error:
        raise _fatal(name, f"expected a readable file, got: {error.strerror}") from error
    except UnicodeDecodeError as error:
        got = f"byte 0x{raw[error.start]:02x} at offset {error.start}"
        raise _fatal(name, f"expected UTF-8 text, got {got}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        raise _fatal(name, f"expected YAML, got an error: {error.problem}", line) from error
    except yaml.YAMLError as error:
        raise _fatal(name, f"expected YAML, got an error: {_first_line(error)}") from error
    if not isinstance(root, MappingNode):
        got = "an empty file" if root is None else "a list or a single value"
        raise _fatal(name, f"expected a mapping of keys to values, got {got}")
    grower = _TreeGrower(name)
    tree = grower.mapping(root, ())
    return YamlFile(name, raw, tree, grower.lines, tuple(grower.errors))


def _read_bounded(source: Path) -> bytes:
    with source.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise _fatal(str(source), f"expected at most {MAX_BYTES // 1024} KiB, got more")
    return raw


class _BoundedLoader(yaml.BaseLoader):
    """Composes nodes without resolving scalars, so that the rules of YAML 1.1 never apply."""

    depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.get_mark()
            raise yaml.MarkedYAMLError(None, None, f"more than {MAX_DEPTH} levels deep", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


_MERGE = "<<"
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map")}


def _compose(text: str) -> Node | None:
    return yaml.compose(text, Loader=_BoundedLoader)


class _TreeGrower:
    """Turns nodes into plain values, and notes lines and errors on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: dict[Place, int] = {}
        self.errors: list[ConfigError] = []

    def value(self, node: Node, at: Place) -> Any:
        self.lines[at] = _line(node)
        self._bound(at)
        if node.tag not in _PLAIN_TAGS:
            self._complain(at, f"expected a plain value, got the tag {node.tag}", "remove the tag")
        if isinstance(node, MappingNode):
            return self.mapping(node, at)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*at, i)) for i, item in enumerate(node.value)]
        return _scalar(node) if isinstance(node, ScalarNode) else None

    def mapping(self, node: MappingNode, at: Place) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._complain(at, "expected a name before the colon, got a list or mapping")
            elif key_node.value in tree:
                place = (*at, key_node.value)
                way_out = f"it is already on line {self.lines[place]}: rename or remove one"
                line = _line(key_node)
                self._complain(place, "expected each key once, got it twice", way_out, line)
            else:
                place = (*at, key_node.value)
                tree[key_node.value] = self.value(value_node, place)
                self.lines[place] = _line(key_node)
        return self._merged(tree, at)

    def _merged(self, tree: dict[str, Any], at: Place) -> dict[str, Any]:
        """The mapping, and what it inherits from another (`<<: *alias`) and does not state."""
        if _MERGE not in tree:
            return tree
        inherited = tree.pop(_MERGE)
        if not isinstance(inherited, dict):
            self._complain((*at, _MERGE), "expected one mapping to inherit from, got another value")
            return tree
        return inherited | tree

    def _bound(self, at: Place) -> None:
        if len(self.lines) > MAX_VALUES or len(at) > MAX_DEPTH:
            limits = f"{MAX_VALUES} values, {MAX_DEPTH} levels deep"
            raise _fatal(self.name, f"expected at most {limits}, got more once aliases expand")

    def _complain(
        self, at: Place, problem: str, way_out: str = "", line: int | None = None
    ) -> None:
        where = line or self.lines.get(at)
        self.errors.append(ConfigError(self.name, place_text(at), problem, way_out, where))


_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,3})?")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


def _scalar(node: ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    if node.style is not None:  # quoted or block: text, whatever it looks like
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text


def place_text(place: Place) -> str:
    """A place as people write it: sensors."camera/front".rate_hz."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if step.isidentifier() else f'"{step}"'
            text += f".{name}" if text else name
    return text


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _fatal(name: str, problem: str, line: int | None = None) -> ConfigErrors:
    return ConfigErrors([ConfigError(name, "", problem, line=line)])
