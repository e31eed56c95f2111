"""Jobs: many files at once, restored one after another by the path of single requests.

`Jobs` wires it up. A job is a record (`job`) in a store (`store`: SQLite or Redis) that `queue` and `claims` change;
`runner` works through it, `submission` fills it, `events` and `archive` show it, `routes` is its HTTP side.
"""

from serving.jobs.jobs import Jobs, open_store
from serving.jobs.restoring import JobOptions, Progress, Restore, RestoredFile
from serving.jobs.routes import PATHS
from serving.jobs.store import Holdings

__all__ = ["PATHS", "Holdings", "JobOptions", "Jobs", "Progress", "Restore", "RestoredFile", "open_store"]
