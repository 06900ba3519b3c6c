"""Our description of the kernel's structures is the C compiler's."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from fusion_rt.camera import v4l2_abi as abi

HEADER = Path("/usr/include/linux/videodev2.h")
STRUCTS = {
    "v4l2_capability": abi.Capability,
    "v4l2_format": abi.Format,
    "v4l2_pix_format": abi.PixFormat,
    "v4l2_fmtdesc": abi.FormatDescription,
    "v4l2_frmsizeenum": abi.FrameSize,
    "v4l2_frmivalenum": abi.FrameInterval,
    "v4l2_streamparm": abi.StreamParameters,
    "v4l2_captureparm": abi.CaptureParameters,
    "v4l2_requestbuffers": abi.RequestBuffers,
    "v4l2_buffer": abi.Buffer,
    "v4l2_control": abi.Control,
}
THEIR_NAMES = {
    ("v4l2_frmsizeenum", "size"): "discrete",
    ("v4l2_frmivalenum", "interval"): "discrete",
}
REQUESTS = (
    *("QUERYCAP", "ENUM_FMT", "S_FMT", "REQBUFS", "QUERYBUF", "QBUF", "DQBUF", "STREAMON"),
    *("STREAMOFF", "S_PARM", "G_CTRL", "ENUM_FRAMESIZES", "ENUM_FRAMEINTERVALS"),
)
CONSTANTS = {
    "V4L2_BUF_TYPE_VIDEO_CAPTURE": abi.CAPTURE,
    "V4L2_MEMORY_MMAP": abi.MMAP,
    "V4L2_FIELD_ANY": abi.FIELD_ANY,
    "V4L2_CAP_VIDEO_CAPTURE": abi.CAP_VIDEO_CAPTURE,
    "V4L2_CAP_STREAMING": abi.CAP_STREAMING,
    "V4L2_CAP_DEVICE_CAPS": abi.CAP_DEVICE_CAPS,
    "V4L2_FRMSIZE_TYPE_DISCRETE": abi.DISCRETE,
    "V4L2_FRMIVAL_TYPE_DISCRETE": abi.DISCRETE,
    "V4L2_BUF_FLAG_ERROR": abi.FLAG_ERROR,
    "V4L2_BUF_FLAG_TIMESTAMP_MASK": abi.FLAG_TIMESTAMP_MASK,
    "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC": abi.FLAG_TIMESTAMP_MONOTONIC,
    "V4L2_BUF_FLAG_TSTAMP_SRC_MASK": abi.FLAG_SOURCE_MASK,
    "V4L2_BUF_FLAG_TSTAMP_SRC_SOE": abi.FLAG_SOURCE_START_OF_EXPOSURE,
    "V4L2_CID_EXPOSURE_AUTO": abi.CONTROL_EXPOSURE_AUTO,
    "V4L2_CID_EXPOSURE_ABSOLUTE": abi.CONTROL_EXPOSURE_ABSOLUTE,
    "V4L2_EXPOSURE_MANUAL": abi.EXPOSURE_MANUAL,
    "V4L2_PIX_FMT_YUYV": abi.fourcc("YUYV"),
    "V4L2_PIX_FMT_MJPEG": abi.fourcc("MJPG"),
    "V4L2_PIX_FMT_NV12": abi.fourcc("NV12"),
    "V4L2_PIX_FMT_BGR24": abi.fourcc("BGR3"),
    "V4L2_PIX_FMT_GREY": abi.fourcc("GREY"),
}


def expected() -> dict[str, int]:
    """What the C program is to print, by expression."""
    found: dict[str, int] = {f"VIDIOC_{name}": getattr(abi, name) for name in REQUESTS}
    found |= CONSTANTS
    for name, ours in STRUCTS.items():
        found[f"sizeof(struct {name})"] = ctypes.sizeof(ours)
        for field, *_ in ours._fields_:
            if not field.startswith("reserved") and field != "request_fd":
                theirs = THEIR_NAMES.get((name, field), field)
                offset = getattr(ours, field).offset
                found[f"offsetof(struct {name}, {theirs})"] = offset
    return found


@pytest.mark.skipif(
    not HEADER.exists() or not shutil.which("cc"), reason=f"no C compiler or no {HEADER}"
)
def test_sizes_offsets_and_numbers_are_those_of_the_kernel_s_header(tmp_path: Path) -> None:
    wanted = expected()
    lines = [f'printf("%llu\\n", (unsigned long long)({one}));' for one in wanted]
    head = "#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\n"
    (tmp_path / "abi.c").write_text(f"{head}int main(void) {{{''.join(lines)}return 0;}}")
    subprocess.run(["cc", "-o", tmp_path / "abi", tmp_path / "abi.c"], check=True)
    said = subprocess.run([tmp_path / "abi"], capture_output=True, text=True, check=True)
    got = dict(zip(wanted, map(int, said.stdout.split()), strict=True))
    assert {one: (got[one], ours) for one, ours in wanted.items() if got[one] != ours} == {}


def test_letters_that_cannot_be_shown_are_dots() -> None:
    assert abi.letters(abi.fourcc("YUYV")) == "YUYV"
    assert abi.letters(0x01594247) == "GBY."
