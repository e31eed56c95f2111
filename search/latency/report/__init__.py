"""What a latency table says, as pictures and as one page. Imports matplotlib."""

from search.latency.report.write import write_latency_report

__all__ = ["write_latency_report"]
