"""What serving costs beside the work itself, and what it does under too much load: `python -m benchmarks.serving`."""
