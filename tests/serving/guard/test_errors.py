from __future__ import annotations

import re

from serving.errors import RequestError
from serving.guard import errors


def test_the_tree_at_the_top_of_the_file_is_true() -> None:
    own = {
        name: str(kind.status)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, RequestError) and kind.__module__ == errors.__name__
    }
    drawn = dict(re.findall(r"(\w+Error)\s+(\d{3})", errors.__doc__ or ""))
    assert own.items() <= drawn.items()
    assert set(drawn) - set(own) == {"BadRequestError", "BodyTooLargeError"}  # parents that live in serving.errors
