"""Draw a demo picture of coloured shapes: ``python -m ai.picture FILE [--seed N]``."""

import argparse
import sys
from pathlib import Path

from ai import scenes


#: A seed whose picture has a red circle, something blue, and room between the things.
DEMO_SEED = 0


def main() -> int:
    """Write the picture; the file's ending decides its format."""
    parser = argparse.ArgumentParser(prog="python -m ai.picture", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=DEMO_SEED)
    options = parser.parse_args()
    drawn, _ = scenes.picture(options.seed)
    drawn.save(options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
