"""
Fetch and verify weights: ``python -m ai.weights``, or ``s3 weights``.

Exit codes: 0 done, 1 refused or faulty, 2 usage.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ai.weights import fetch, verify
from ai.weights.verify import SUMS_FILE
from pipeline.errors import PipelineError
from pipeline.model import hub, torchvision_fallback, weights


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    torchvision_fallback.hide_if_broken()
    named: Path | None = getattr(options, "reads", None)
    if named is not None and not named.exists():
        sys.stderr.write(f"{named} does not exist.\n")
        return 1
    try:
        code: int = options.run(options)
    except PipelineError as error:
        sys.stderr.write(f"{error.message}\n")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="s3 weights", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("fetch", help="download from the hub, with HF_TOKEN or its login")
    one.add_argument("folder", type=Path)
    one.add_argument("--repository", default=hub.REPOSITORY)
    one.add_argument("--revision", default="main", help="branch, tag or commit")
    one.add_argument("--meta", action="store_true", help="Meta's sam3.pt")
    one.set_defaults(run=_fetch)

    one = commands.add_parser("verify", help="digest, names, shapes, types, numbers, tokenizer")
    one.add_argument("reads", metavar="path", type=Path)
    one.add_argument(
        "--note",
        action="store_true",
        help=f"note the digests in {SUMS_FILE} if nothing is wrong",
    )
    one.set_defaults(run=_verify)
    return parser


def _fetch(options: argparse.Namespace) -> int:
    """Download, then say how to use it."""
    from huggingface_hub import get_token

    folder: Path = options.folder
    fetch.fetch(
        folder,
        token=get_token(),  # HF_TOKEN, or what `hf auth login` has left
        repository=options.repository,
        revision=options.revision,
        meta=options.meta,
    )
    print(f"{options.repository} is in {folder}.")
    print(f"Check it with `s3 weights verify {folder}`; serve it with SAM3_WEIGHTS_PATH={folder}.")
    return 0


def _verify(options: argparse.Namespace) -> int:
    """Print each fault, or what is right."""
    faults = list(verify.faults(options.reads))
    for fault in faults:
        print(f"wrong: {fault}")
    if faults:
        return 1
    checkpoint = weights.locate(options.reads)
    noted = verify.noted(checkpoint.folder)
    found = {path.name: verify.digest(path) for path in checkpoint.files}
    if options.note:
        verify.note(
            checkpoint.folder, {path.name: verify.digest(path) for path in checkpoint.files}
        )
    for name, digest in found.items():
        against = f"as {SUMS_FILE} says" if name in noted else "nothing to compare with: --note"
        print(f"right: {name}, sha256 {digest} ({against})")
    print("right: names, shapes, types, numbers, tokenizer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
