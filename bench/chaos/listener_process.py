"""`python -m listener` with a name and a lease of its own: NAME LEASE_SECONDS RENEW_SECONDS."""

import sys

from listener.__main__ import main


if __name__ == "__main__":
    main(name=sys.argv[1], lease_seconds=int(sys.argv[2]), renew_seconds=float(sys.argv[3]))
