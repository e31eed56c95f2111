"""One module per engine and what they share. `runtime.engine` says which of them runs which target."""

__all__: list[str] = []
