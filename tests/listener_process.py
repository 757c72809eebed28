"""
`python -m listener` with constants that tests change.

The argument is a JSON object: the parameters of `listener.worker.built`, such as `lease_seconds`.
"""

import json
import sys

from listener.__main__ import main


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
