import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.errors import ConfigErrors
from fusion_rt.yaml_file import MAX_BYTES, YamlFile, place_text, read_yaml


def read(tmp_path: Path, text: str | bytes) -> YamlFile:
    source = tmp_path / "a.yaml"
    source.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(source)


def error_of(tmp_path: Path, text: str) -> str:
    (error,) = read(tmp_path, text).errors
    return str(error).removeprefix(f"{tmp_path}/")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("12:30", "12:30"),
        ("0777", "0777"),
        ("2026-01-31", "2026-01-31"),
        ("1_000", "1_000"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("'5'", "5"),
        ("true", True),
        ("~", None),
        ("", None),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("9" * 30, "9" * 30),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    got = read(tmp_path, f"a: {text}").tree["a"]
    assert (got, type(got)) == (value, type(value))


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    file = read(tmp_path, "a:\n  b: 1\n  c:\n    - 2\n    - 3\n")
    assert file.lines[("a", "b")] == 2
    assert file.lines[("a", "c", 1)] == 5


def test_a_merged_mapping_gives_what_the_entry_does_not_state(tmp_path: Path) -> None:
    file = read(tmp_path, "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n")
    assert file.tree["b"] == {"p": 1, "q": 3}
    assert not file.errors


def test_a_repeated_key_is_told_with_both_lines(tmp_path: Path) -> None:
    assert error_of(tmp_path, "s:\n  a/b: 1\n  a/b: 2\n") == (
        'a.yaml:3: s."a/b": expected each key once, got it twice; '
        "it is already on line 2: rename or remove one"
    )


def test_a_tag_is_refused_and_nothing_is_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    error = error_of(tmp_path, f"a: !!python/object/apply:os.mkdir ['{marker}']")
    assert "a.yaml:1: a: expected a plain value, got the tag tag:yaml.org,2002:python/" in error
    assert not marker.exists()


def test_a_list_as_a_key_is_refused(tmp_path: Path) -> None:
    assert "expected a name before the colon" in error_of(tmp_path, "a: {[1, 2]: 3}")


@pytest.mark.parametrize("merged", ["[*x, *x]", "5"])
def test_merging_something_else_than_one_mapping_is_refused(tmp_path: Path, merged: str) -> None:
    assert error_of(tmp_path, f"a: &x {{p: 1}}\nb: {{<<: {merged}}}\n") == (
        'a.yaml:2: b."<<": expected one mapping to inherit from, got another value'
    )


def test_what_is_merged_may_itself_merge(tmp_path: Path) -> None:
    text = "a: &x {p: 1, q: 1}\nb: &y {<<: *x, q: 2, r: 2}\nc: {<<: *y, r: 3}\n"
    assert read(tmp_path, text).tree["c"] == {"p": 1, "q": 2, "r": 3}


def test_a_mapping_that_merges_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="16 levels deep, got more once aliases expand"):
        read(tmp_path, "a: &a {<<: *a}")


def test_names_with_line_breaks_and_terminal_codes_are_quoted_on_one_line(tmp_path: Path) -> None:
    error = error_of(tmp_path, '"a\\nb\\e[31m": 1\n"a\\nb\\e[31m": 2\n')
    assert r'a.yaml:2: "a\nb\x1b[31m": expected each key once' in error


YAML_LIKE = st.text(alphabet="ab:-[]{}&*!<>|#'\"?%@\\ \n\t,.1e~=", max_size=200)


@given(text=YAML_LIKE)
@settings(max_examples=300)
def test_any_text_is_read_or_refused_line_by_line(text: str) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        Path(file.name).write_text(text)
        try:
            errors = read_yaml(Path(file.name)).errors
        except ConfigErrors as error:
            errors = error.errors
    assert all("\n" not in str(error) for error in errors)


def test_bad_syntax_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"a\.yaml:2: expected YAML, got an error: mapping val"):
        read(tmp_path, "a: 1\nb: c: d\n")


def test_a_tab_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"a\.yaml:2: expected YAML, got an error: found char"):
        read(tmp_path, "a:\n\tb: 1\n")


def test_a_control_character_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="expected YAML, got an error: unacceptable") as caught:
        read(tmp_path, "a: \x01")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigErrors, match=r"expected a mapping of keys to values, got "):
        read(tmp_path, text)


def test_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"expected a mapping .*, got a list or a single value"):
        read(tmp_path, "- a\n- b\n")


def test_a_second_document_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"a\.yaml:2: expected YAML, got an error: but found an"):
        read(tmp_path, "a: 1\n---\nb: 2\n")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match=r"b\.yaml: expected a readable file, got: No such file"):
        read_yaml(tmp_path / "b.yaml")


def test_a_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="expected a readable file, got: Is a directory"):
        read_yaml(tmp_path)


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="expected UTF-8 text, got byte 0xff at offset 3"):
        read(tmp_path, b"a: \xff\n")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="expected at most 256 KiB, got more"):
        read(tmp_path, "#" * (MAX_BYTES + 1))


@pytest.mark.parametrize("text", ["a: " + "[" * 10_000, "a: " + "{a: " * 50])
def test_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigErrors, match="got an error: more than 16 levels deep"):
        read(tmp_path, text)


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(ConfigErrors, match=r"expected at most 20000 values.* once aliases expand"):
        read(tmp_path, "\n".join(lines))


def test_an_alias_that_contains_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="16 levels deep, got more once aliases expand"):
        read(tmp_path, "a: &a [*a]")


def test_places_are_written_as_people_write_them() -> None:
    assert place_text(("sensors", "camera/front", "rate_hz")) == 'sensors."camera/front".rate_hz'
    assert place_text(("a", 2)) == "a[2]"
