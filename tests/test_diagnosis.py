import importlib.util
from pathlib import Path

import pytest

from fusion_rt import diagnosis
from fusion_rt.diagnosis import Finding, examine_machine


def networks(patch: pytest.MonkeyPatch, flags: str, *there: str) -> Finding:
    """As found on a processor with these flags, where these runtimes are installed."""
    honest = importlib.util.find_spec
    patch.setattr(diagnosis, "find_spec", lambda name: honest("os") if name in there else None)
    patch.setattr(Path, "read_text", lambda _: f"flags : fpu {flags}\n")
    return diagnosis._networks()


def test_every_check_says_what_it_found() -> None:
    findings = examine_machine()
    assert len({finding.subject for finding in findings}) == len(findings) >= 9
    assert all(finding.found for finding in findings)
    assert all(finding.way_out for finding in findings if finding.verdict != "ok")


@pytest.mark.parametrize(
    ("flags", "there", "way_out"),
    [
        ("avx2", ("onnxruntime", "openvino"), ""),
        ("amx_bf16 amx_int8", ("openvino", "onnxruntime"), "fusion: {backend: openvino"),
        ("amx_bf16 amx_int8", ("onnxruntime",), "pip install 'fusion_rt[openvino]'; fusion"),
    ],
)
def test_the_faster_way_to_run_networks_is_told_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, flags: str, there: tuple[str, ...], way_out: str
) -> None:
    finding = networks(monkeypatch, flags, *there)
    assert finding.verdict == "ok"
    assert finding.way_out.startswith(way_out)
    assert bool(finding.way_out) == bool(way_out)


def test_nothing_to_run_networks_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    assert networks(monkeypatch, "amx_bf16").verdict == "failure"
