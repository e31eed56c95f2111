"""What is seen of a running service and of a run: dashboards, queries of Prometheus, snapshots, load to look at."""

__all__: list[str] = []
