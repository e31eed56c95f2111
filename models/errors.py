"""What can go wrong when a network is described or built.

ModelError
├── GenotypeError      a genotype does not fit its space, or its file is damaged
└── UnknownNameError   a space or operation that the registry does not hold
"""


class ModelError(Exception):
    """Base of every user-facing error of the rooms that hold networks; its text is one helpful sentence."""


class GenotypeError(ModelError):
    """A genotype that cannot be read, or that names choices its space does not have."""


class UnknownNameError(ModelError):
    """A name that is in no registry; the text lists the names that are."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}; known: {', '.join(sorted(known))}")
