"""The search methods: one file each, one line here."""

from search.errors import SearchError
from search.methods import autoderain, clearer, hinas, manas, trilevel
from search.methods.method import Method, Searched

__all__ = ["METHODS", "Method", "Searched", "get_method"]

METHODS: tuple[Method, ...] = (
    autoderain.METHOD,
    hinas.METHOD,
    manas.METHOD,
    clearer.METHOD,
    trilevel.METHOD,
)


def get_method(name: str) -> Method:
    """A method by name.

    Raises:
        SearchError: There is none of this name.
    """
    for method in METHODS:
        if method.name == name:
            return method
    raise SearchError(f"unknown method {name!r}; known: {', '.join(method.name for method in METHODS)}")
