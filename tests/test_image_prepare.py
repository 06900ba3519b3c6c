"""Image preparation against its NumPy reference and OpenCV, and what it does with bad input."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_rt.errors import ArrayError, ConfigError
from fusion_rt.preprocess.image_prepare import (
    PIXEL_FORMATS,
    Crop,
    ImagePreparer,
    ImageRecipe,
    plan_image,
)
from tests import numpy_kernels

NORMALIZED = {"mean": (123.7, 116.3, 103.5), "std": (58.4, 57.1, 57.4)}


def random_image(plan, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, plan.source.shape, np.uint8)


def assert_equals_reference(plan) -> None:
    image = random_image(plan)
    ours, reference = ImagePreparer(plan).run(image), numpy_kernels.prepared_image(plan, image)
    exact = int(plan.params["format"]) <= 2  # YUV: the reference rounds floats, the kernel integers
    byte = 1.0 if plan.out.dtype == np.uint8 else float(plan.params["scale"].max())
    np.testing.assert_allclose(ours, reference, atol=1e-5 if exact else byte * 1.001, rtol=1e-6)
    assert ours.shape == plan.out.shape


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("values", [{}, NORMALIZED], ids=["u8", "f32"])
def test_equals_reference(pixel_format, planar, order, values):
    recipe = ImageRecipe(96, 64, planar=planar, order=order, **values)
    assert_equals_reference(plan_image(pixel_format, 160, 90, recipe))


@settings(max_examples=80, deadline=None)
@given(
    pixel_format=st.sampled_from(PIXEL_FORMATS),
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    out=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    letterbox=st.booleans(),
    planar=st.booleans(),
    crop=st.tuples(*[st.floats(0, 1)] * 4),
)
def test_equals_reference_for_any_shape(pixel_format, width, height, out, letterbox, planar, crop):
    width, height = 2 * width, 2 * height
    left, top = int(crop[0] * (width - 1)), int(crop[1] * (height - 1))
    w, h = 1 + int(crop[2] * (width - left - 1)), 1 + int(crop[3] * (height - top - 1))
    recipe = ImageRecipe(*out, letterbox=letterbox, planar=planar)
    assert_equals_reference(plan_image(pixel_format, width, height, recipe, Crop(left, top, w, h)))


def opencv_rgb(pixel_format: str, image: np.ndarray) -> np.ndarray:
    codes = {
        "bgr8": cv2.COLOR_BGR2RGB,
        "mono8": cv2.COLOR_GRAY2RGB,
        "yuyv": cv2.COLOR_YUV2RGB_YUYV,
        "nv12": cv2.COLOR_YUV2RGB_NV12,
    }
    return cv2.cvtColor(image, codes[pixel_format])


@pytest.mark.parametrize(
    ("pixel_format", "most"), [("bgr8", 1), ("mono8", 1), ("yuyv", 4), ("nv12", 4)]
)
def test_agrees_with_opencv(pixel_format, most):
    """Resampled after conversion there, before it here: the same but for rounding and clipping."""
    plan = plan_image(pixel_format, 320, 180, ImageRecipe(112, 64))
    image = cv2.GaussianBlur(random_image(plan), (0, 0), 2)
    rgb = cv2.resize(opencv_rgb(pixel_format, image), (plan.place.width, plan.place.height))
    picture = ImagePreparer(plan).run(image)[0, plan.place.top :][: plan.place.height].astype(int)
    assert np.abs(picture - rgb).max() <= most


def test_letterbox_keeps_the_aspect_ratio_and_pads():
    plan = plan_image("mono8", 100, 50, ImageRecipe(64, 64, pad=7))
    out = ImagePreparer(plan).run(np.full((50, 100), 200, np.uint8))
    assert plan.place == Crop(0, 16, 64, 32)
    assert (out[0, :16] == 7).all()
    assert (out[0, 16:48] == 200).all()
    assert (out[0, 48:] == 7).all()


def test_crop_reads_nothing_outside():
    plan = plan_image("bgr8", 64, 64, ImageRecipe(20, 20, letterbox=False), Crop(16, 16, 32, 32))
    image = np.full((64, 64, 3), 255, np.uint8)
    image[16:48, 16:48] = 3
    assert (ImagePreparer(plan).run(image) == 3).all()


def test_reads_read_only_frames_and_writes_into_the_callers_array():
    plan = plan_image("rgb8", 32, 32, ImageRecipe(16, 16))
    image = random_image(plan)
    image.flags.writeable = False
    out = np.zeros(plan.out.shape, np.uint8)
    assert ImagePreparer(plan).run(image, out=out) is out
    assert out.any()


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((32, 31, 3), np.uint8), r"\(32, 31, 3\) uint8"),
        (np.zeros((32, 32, 3), np.float32), r"\(32, 32, 3\) float32"),
        (np.zeros((32, 64, 3), np.uint8)[:, ::2], ".*strides"),
    ],
)
def test_refuses_other_arrays(image, got):
    preparer = ImagePreparer(plan_image("bgr8", 32, 32, ImageRecipe(16, 16)))
    with pytest.raises(ArrayError, match=rf'image_prepare: "image" expects .*uint8, got {got}'):
        preparer.run(image)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("nv12", 31, 32), "even sides for chroma"),
        (("bgr8", 0, 32), "sides from 1 to 16384"),
        (("jpeg", 32, 32), "one of bgr8, rgb8, mono8, yuyv, nv12"),
    ],
)
def test_refuses_sources_it_cannot_read(arguments, problem):
    with pytest.raises(ConfigError, match=f"image source: expected {problem}"):
        plan_image(*arguments, ImageRecipe(16, 16))


def test_refuses_a_crop_outside_the_image():
    with pytest.raises(ConfigError, match="expected a crop inside the image, got bgr8 32x32"):
        plan_image("bgr8", 32, 32, ImageRecipe(16, 16), Crop(20, 0, 20, 20))


def test_refuses_a_recipe_that_divides_by_zero():
    with pytest.raises(ConfigError, match="image recipe: expected std without zeros"):
        ImageRecipe(16, 16, std=(1, 0, 1))
