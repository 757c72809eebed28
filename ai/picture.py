"""Draw the demo's picture of coloured shapes: ``python -m ai.picture FILE [--seed N]``."""

import argparse
import sys
from pathlib import Path
from typing import Final

from ai import scenes
from ai.scenes import Shape


#: Two red circles, a red thing that is no circle, and other things.
DEMO: Final = (
    Shape(colour="red", shape="circle", centre=(0.19, 0.27), radius=0.14),
    Shape(colour="yellow", shape="star", centre=(0.52, 0.25), radius=0.14, angle=0.3),
    Shape(colour="blue", shape="square", centre=(0.82, 0.28), radius=0.12, angle=0.6),
    Shape(colour="red", shape="triangle", centre=(0.2, 0.74), radius=0.13, angle=0.5),
    Shape(colour="green", shape="square", centre=(0.5, 0.73), radius=0.11, angle=0.2),
    Shape(colour="red", shape="circle", centre=(0.78, 0.7), radius=0.11),
)


def main() -> int:
    """Write the picture; the file's suffix decides its format."""
    parser = argparse.ArgumentParser(prog="python -m ai.picture", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, help="another picture, drawn by chance")
    options = parser.parse_args()
    drawn, _ = scenes.picture(DEMO if options.seed is None else options.seed)
    drawn.save(options.file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
