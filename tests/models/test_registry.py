import pytest

from models import UnknownNameError, get_space, spaces


def test_names_versions_and_summaries() -> None:
    for name, space in spaces().items():
        assert name == space.name
        assert get_space(name).name == name
        assert space.version >= 1
        assert space.summary


def test_an_unknown_space_lists_what_is_known() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown space 'cell'; known: clearer, .*unet"):
        get_space("cell")
