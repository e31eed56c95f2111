import pytest

from runtime.errors import BundleError, EngineError, ImageError, MillisightError, TargetError


@pytest.mark.parametrize("kind", [BundleError, EngineError, TargetError])
def test_every_error_is_a_millisight_error_and_reads_as_its_message(kind: type[MillisightError]) -> None:
    error = kind("what was got, what is allowed")
    assert isinstance(error, MillisightError)
    assert str(error) == "what was got, what is allowed"


def test_an_image_error_carries_its_code_and_status() -> None:
    error = ImageError("The file is empty.", code="empty", status=400)
    assert isinstance(error, MillisightError)
    assert (str(error), error.code, error.status) == ("The file is empty.", "empty", 400)
