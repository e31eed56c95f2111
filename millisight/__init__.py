"""The command line: thin, one file a command group. Everything it does is a call into another room."""

__all__: list[str] = []
