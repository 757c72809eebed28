"""
`python -m janitor` with other intervals, and a sweep of what is young too.

    python -m tests.quick_janitor '{"delete": 0.1}' [sweep]
"""

import json
import sys
from datetime import timedelta

from janitor.__main__ import main
from janitor.service import Schedule
from janitor.sweep import SweepPlan


if __name__ == "__main__":
    of_any_age = SweepPlan(delete=True, results_age=timedelta(0), uploads_age=timedelta(0))
    main(Schedule(**json.loads(sys.argv[1])), of_any_age if "sweep" in sys.argv else None)
