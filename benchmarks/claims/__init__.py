"""The smallest honest experiment for each claim of the papers: `python -m benchmarks.claims.<name>`."""
