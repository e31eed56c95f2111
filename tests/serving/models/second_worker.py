"""Another process of the same server: `second_worker.py ROOT STATE`. It says what it serves for every line it reads."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from serving.models import Fleet
from tests.serving.models.conftest import gain_of, settings_for


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


root, state = map(Path, sys.argv[1:])
fleet = Fleet.of(settings_for(root, state=state))
fleet.open()
fleet.warm_up()
say("ready")
for _ in sys.stdin:
    say(json.dumps({model.name: gain_of(model) for model in fleet.keeper.catalogue.models}))
fleet.close()
