import shutil
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime import (
    Bundle,
    BundleError,
    EngineError,
    FallbackWarning,
    ImageError,
    Manifest,
    Picture,
    Restorer,
    SizeContract,
    Target,
    TargetError,
    list_targets,
    usable_cores,
    write_bundle,
)
from runtime.picture import to_uint8

FloatArray = NDArray[np.float32]
MakeBundle = Callable[..., Bundle]
MakeModel = Callable[..., bytes]
SLUG = "cpu-onnxruntime-fp32-1t"


def _image(height: int, width: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng([seed, height, width]).random((3, height, width), dtype=np.float32)


@pytest.fixture
def identity(make_bundle: MakeBundle, make_model: MakeModel) -> Restorer:
    return Restorer.load(make_bundle("identity", make_model(kernel="identity")), SLUG)


@pytest.fixture
def doubling(make_bundle: MakeBundle, make_model: MakeModel) -> Restorer:
    return Restorer.load(make_bundle("doubling", make_model(kernel="identity", scale=2), scale=2), SLUG)


@pytest.fixture
def blurring(make_bundle: MakeBundle, make_model: MakeModel) -> Restorer:
    # Every output pixel depends on all input pixels up to two to each side.
    size = SizeContract(multiple=1, minimum=4, tile=(16, 16), overlap=8, scale=1)
    return Restorer.load(make_bundle("blurring", make_model(radius=2), size=size), SLUG)


def test_it_opens_bundles_paths_and_names(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    for what in (bundle, bundle.folder, str(bundle.folder)):
        for where in (SLUG, Target.parse(SLUG)):
            restorer = Restorer.load(what, where)
            assert restorer.bundle == bundle
            assert restorer.target == Target("cpu", "onnxruntime", "fp32", 1)
    assert Restorer.load(bundle).target == Target("cpu", "onnxruntime", "fp32", usable_cores())


def test_auto_is_the_default_and_never_silent_about_another_target(
    make_bundle: MakeBundle, make_model: MakeModel
) -> None:
    usual = make_bundle("usual", make_model(kernel="identity"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Restorer.load(usual).target == Restorer.load(usual, "auto").target
    far = make_bundle("far", make_model(kernel="identity"), default_target="cuda-nothing-fp32")
    with pytest.warns(
        FallbackWarning, match=r"runs on cpu-onnxruntime-fp32-\dt .*not on its default cuda-nothing-fp32"
    ):
        restorer = Restorer.load(far)
    np.testing.assert_allclose(restorer.restore_array(_image(20, 21)), _image(20, 21), atol=1e-6)


def test_a_named_target_never_falls_back(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    with pytest.raises(BundleError, match="no int8 file"):
        Restorer.load(bundle, "cpu-onnxruntime-int8")
    absent = [status.slug for status in list_targets() if not status.available and status.slug.endswith("-fp32")]
    for slug in absent:
        with pytest.raises(TargetError, match="not available here"):
            Restorer.load(bundle, slug)
    assert absent or shutil.which("nvidia-smi")  # a planted fault needs a target that is missing


def test_each_precision_runs_its_own_file(
    make_manifest: Callable[..., Manifest], make_model: MakeModel, tmp_path: Path
) -> None:
    models = {"fp32": "model.onnx", "int8": "model-int8.onnx"}
    files = {
        "model.onnx": make_model(kernel="identity"),
        "model-int8.onnx": make_model(kernel="identity", quantized=True),
    }
    bundle = write_bundle(tmp_path / "b", make_manifest(models=models), files)
    image = _image(20, 20)
    np.testing.assert_allclose(Restorer.load(bundle, SLUG).restore_array(image), image, atol=1e-6)
    rounded = Restorer.load(bundle, "cpu-onnxruntime-int8-1t").restore_array(image)
    np.testing.assert_allclose(rounded, np.rint(image * 255) / 255, atol=1e-6)
    assert np.abs(rounded - image).max() > 1e-3


@pytest.mark.parametrize("target", ["cuda-openvino-fp32", Target("cpu", "onnxruntime", "fp8", 1), "nonsense"])
def test_a_target_that_does_not_exist_is_refused(make_bundle: MakeBundle, target: Target | str) -> None:
    with pytest.raises(TargetError, match="cpu-onnxruntime-fp32"):
        Restorer.load(make_bundle(), target)


def test_a_bundle_that_is_not_sound_is_refused(make_bundle: MakeBundle) -> None:
    bundle = make_bundle()
    bundle.model_path("fp32").write_bytes(b"tampered")
    with pytest.raises(BundleError, match="damaged"):
        Restorer.load(bundle.folder, SLUG)


def test_a_bundle_whose_model_is_none_is_refused(make_bundle: MakeBundle) -> None:
    with pytest.raises(EngineError, match="refused"):
        Restorer.load(make_bundle(model=b"not a model"), SLUG)


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 17, 40])
@pytest.mark.parametrize("height", [1, 4, 15, 16, 33])
def test_any_size_comes_back_exactly(identity: Restorer, doubling: Restorer, height: int, width: int) -> None:
    image = _image(height, width)
    np.testing.assert_allclose(identity.restore_array(image), image, atol=1e-6)
    twice = image.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(doubling.restore_array(image), twice, atol=1e-6)
    assert identity.restore(Picture.from_float(image)).rgb.shape == image.shape


def test_the_answer_is_clipped(make_bundle: MakeBundle, make_model: MakeModel) -> None:
    restorer = Restorer.load(make_bundle("r", make_model(radius=2)), SLUG)
    image = _image(30, 30) * np.float32(100)
    result = restorer.restore_array(image)
    assert result.min() == 0.0
    assert result.max() == 1.0


def test_tiles_do_not_show(blurring: Restorer, make_bundle: MakeBundle, make_model: MakeModel) -> None:
    whole = SizeContract(multiple=1, minimum=4, tile=(64, 64), overlap=8, scale=1)
    reference = Restorer.load(make_bundle("whole", make_model(radius=2), size=whole), SLUG)
    image = _image(50, 61)
    np.testing.assert_allclose(blurring.restore_array(image), reference.restore_array(image), atol=1e-6)


def test_gray_stays_gray(blurring: Restorer) -> None:
    picture = Picture.from_float(_image(20, 24), gray=True)
    gray = picture.rgb
    result = blurring.restore(picture)
    assert result.gray
    assert (result.rgb[0] == result.rgb[1]).all()
    assert (result.rgb[0] == result.rgb[2]).all()
    # the model itself answers a gray picture with colours; their luma is kept
    colours = blurring.restore_array(gray)
    assert np.abs(colours[0] - colours[1]).max() > 0.01
    luma = np.tensordot([0.299, 0.587, 0.114], colours, axes=1)
    np.testing.assert_allclose(result.rgb[0], luma, atol=0.51 / 255)


def test_white_gray_stays_white(identity: Restorer) -> None:
    result = identity.restore(Picture.from_float(np.ones((3, 9, 9), dtype=np.float32), gray=True))
    assert to_uint8(result.rgb).min() == 255
    assert result.rgb.max() <= 1.0


def test_profile_and_alpha_are_kept(identity: Restorer) -> None:
    alpha = _image(20, 24)[0]
    result = identity.restore(Picture.from_float(_image(20, 24), alpha=alpha, icc=b"profile"))
    assert result.icc == b"profile"
    assert result.alpha is not None
    np.testing.assert_array_equal(to_uint8(result.alpha), to_uint8(alpha))


def test_alpha_is_resized_for_super_resolution(doubling: Restorer) -> None:
    alpha = np.zeros((20, 24), dtype=np.float32)
    alpha[:, 12:] = 1.0
    result = doubling.restore(Picture.from_float(_image(20, 24), alpha=alpha))
    assert result.alpha is not None
    assert result.alpha.shape == (40, 48) == result.rgb.shape[1:]
    assert result.alpha.min() == 0.0
    assert result.alpha.max() == 1.0
    np.testing.assert_array_equal(to_uint8(result.alpha[:, :20]), 0)
    np.testing.assert_array_equal(to_uint8(result.alpha[:, 28:]), 255)
    opaque = doubling.restore(Picture.from_float(_image(20, 24), alpha=np.ones((20, 24), dtype=np.float32)))
    assert opaque.alpha is not None
    np.testing.assert_array_equal(to_uint8(opaque.alpha), 255)


def _half_hidden(seed: int) -> tuple[Picture, NDArray[np.bool_]]:
    """A picture whose hidden colours depend on the seed and whose visible ones do not."""
    rgb, alpha = _image(41, 50), _image(41, 50)[1]
    hidden = np.zeros((41, 50), dtype=bool)
    hidden[10:30, 5:33] = hidden[0, 0] = hidden[:, 44:] = True
    alpha = np.where(hidden, np.float32(0), np.maximum(alpha, np.float32(0.01)))
    rgb = np.where(hidden, _image(41, 50, seed=seed), rgb)
    return Picture.from_float(rgb, alpha=alpha), hidden


def test_colours_nobody_sees_do_not_bleed(blurring: Restorer) -> None:
    (one, hidden), (other, _) = _half_hidden(1), _half_hidden(2)
    a, b = blurring.restore(one).rgb, blurring.restore(other).rgb
    np.testing.assert_array_equal(a[:, ~hidden], b[:, ~hidden])
    # planted fault: without alpha the hidden colours reach the visible ones
    a, b = blurring.restore_array(one.rgb), blurring.restore_array(other.rgb)
    assert np.abs(a[:, ~hidden] - b[:, ~hidden]).max() > 0.05


def test_hidden_colours_are_continued_from_the_visible_ones(identity: Restorer) -> None:
    # A red disc on nothing, and the nothing is blue in the file: no blue, and no dark edge either.
    rgb = np.zeros((3, 32, 32), dtype=np.float32)
    rgb[2] = 1.0
    alpha = np.zeros((32, 32), dtype=np.float32)
    rgb[:, 10:20, 9:23] = np.asarray([1, 0, 0], dtype=np.float32)[:, None, None]
    alpha[10:20, 9:23] = 1.0
    result = identity.restore(Picture.from_float(rgb, alpha=alpha)).rgb
    np.testing.assert_allclose(result[0], 1.0, atol=1e-5)
    np.testing.assert_allclose(result[1:], 0.0, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 1), (33, 65)])
def test_a_picture_nobody_sees_is_no_trouble(blurring: Restorer, size: tuple[int, int]) -> None:
    result = blurring.restore(Picture.from_float(_image(*size), alpha=np.zeros(size, dtype=np.float32)))
    assert result.rgb.shape == (3, *size)
    assert np.isfinite(result.rgb).all()


def test_an_answer_that_is_no_number_is_an_error(make_bundle: MakeBundle, make_model: MakeModel) -> None:
    restorer = Restorer.load(make_bundle(model=make_model(kernel="nan")), SLUG)
    with pytest.raises(EngineError, match="not numbers"):
        restorer.restore_array(_image(20, 20))


def test_a_manifest_that_does_not_fit_the_model_is_an_error(make_bundle: MakeBundle, make_model: MakeModel) -> None:
    with pytest.raises(EngineError, match="manifest does not fit"):
        Restorer.load(make_bundle("a", make_model(scale=2)), SLUG).restore_array(_image(20, 20))
    with pytest.raises(EngineError, match="1 channels, not 3"):
        Restorer.load(make_bundle("b", make_model(channels=1)), SLUG).restore_array(_image(20, 20))


@pytest.mark.parametrize("image", [np.zeros((1, 8, 8), np.float32), np.zeros((3, 8, 8)), np.zeros((8, 8), np.float32)])
def test_an_array_that_is_no_picture_is_refused(identity: Restorer, image: FloatArray) -> None:
    with pytest.raises(ImageError, match="float32 of shape"):
        identity.restore_array(image)


def test_the_checkpoint_stops_between_tiles(identity: Restorer) -> None:
    calls = 0

    def checkpoint() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise TimeoutError("deadline")

    with pytest.raises(TimeoutError, match="deadline"):
        identity.restore(Picture.from_float(_image(100, 100)), checkpoint)
    assert calls == 3


def test_the_caller_keeps_his_arrays(blurring: Restorer) -> None:
    picture, _ = _half_hidden(1)
    before = picture.pixels.copy()
    blurring.restore(picture)
    np.testing.assert_array_equal(picture.pixels, before)


def test_threads_may_share_a_restorer(blurring: Restorer) -> None:
    pictures = [_half_hidden(seed)[0] for seed in range(4)] + [Picture.from_float(_image(9 + i, 70)) for i in range(4)]
    alone = [blurring.restore(picture).rgb for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda picture: blurring.restore(picture).rgb, pictures * 5))
    for result, expected in zip(together, alone * 5, strict=True):
        np.testing.assert_array_equal(result, expected)
