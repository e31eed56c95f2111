"""One search space per module, named as the module and offered as `SPACE`."""
