"""
`python -m webhooks.delivery` with other limits.

    python -m tests.quick_dispatcher '{"poll_seconds": 0.05}'
"""

import json
import sys

from webhooks.delivery.__main__ import main
from webhooks.delivery.serve import Limits


if __name__ == "__main__":
    main(Limits(**json.loads(sys.argv[1])))
