"""Does a table predict, and does a budget hold? `make bench-latency`."""
