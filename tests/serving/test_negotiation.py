from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import NotAcceptableError
from serving.negotiation import FORMATS, choose_format, parse_accept


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, "png"),
        ("", "png"),
        ("*/*", "png"),
        ("image/*", "png"),
        ("image/png", "png"),
        ("image/webp", "webp"),
        ("IMAGE/JPEG", "jpeg"),
        ("image/tiff", "tiff"),
        ("image/webp;q=0.5, image/jpeg;q=0.9", "jpeg"),
        ("image/png;q=0.1, */*;q=0.2", "webp"),
        ("image/png;q=0, */*", "webp"),
        ("*/*, image/*;q=0.5, image/jpeg;q=0.8", "jpeg"),
        ("image/png;q=0, image/webp;q=0, image/*;q=0.1", "jpeg"),
        ("text/html,application/xhtml+xml,image/avif,image/webp,*/*;q=0.8", "webp"),
        ("text/html, */*;q=0.1", "png"),
        ("image/jpeg;q=0.5;level=1, image/webp;q=0.4", "jpeg"),
        ("image/jpeg ; q = 1.0", "jpeg"),
        ("nonsense, image/webp", "webp"),
        ("image/webp;q=nan, image/jpeg", "jpeg"),
        ("image/webp;q=2, image/jpeg;q=0.1", "jpeg"),
    ],
)
def test_the_client_gets_the_format_it_prefers(accept: str | None, expected: str) -> None:
    assert choose_format(accept) == expected


@pytest.mark.parametrize(
    "accept",
    ["text/html", "image/avif", "image/png;q=0", "*/*;q=0", "image/*;q=0.0", "png", "*/png", "image/png;q=high", ",;,"],
)
def test_nothing_acceptable_is_refused_with_the_list_of_formats(accept: str) -> None:
    with pytest.raises(NotAcceptableError, match="image/png, image/webp, image/jpeg, image/tiff"):
        choose_format(accept)


@given(st.text(max_size=60))
def test_no_header_breaks_the_parser(header: str) -> None:
    assert all(0 <= entry.quality <= 1 for entry in parse_accept(header))


@given(st.dictionaries(st.sampled_from(FORMATS), st.integers(0, 1000), min_size=1))
def test_the_highest_quality_wins(thousandths: dict[str, int]) -> None:
    header = ", ".join(f"image/{name};q={value / 1000:.3f}" for name, value in thousandths.items())
    best = max(thousandths.values())
    if best == 0:
        with pytest.raises(NotAcceptableError):
            choose_format(header)
    else:
        assert thousandths[choose_format(header)] == best
