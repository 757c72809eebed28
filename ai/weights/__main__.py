"""
Fetch and verify weights: ``python -m ai.weights``, or ``s3 weights``.

The hub's own client (2.4) discards a partial file when it ends, which at 3.4 GB matters, so `fetch`
resumes one. That client still does the HTTP: addresses, retries, redirects, errors.

Exit codes: 0 done, 1 refused or faulty, 2 usage.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ai.weights import verify
from ai.weights.verify import SUMS_FILE
from pipeline.errors import PipelineError, WeightsUnavailable
from pipeline.model import hub, torchvision_fallback, weights


if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_PART: Final = ".part"

#: Meta's own file, and what is read beside it.
_META_FILES: Final = ["*.json", "merges.txt", "sam3.pt"]

_WEIGHTS: Final = ("*.safetensors", "*.pt")


def fetch(
    folder: Path, *, token: str | None, repository: str, revision: str, meta: bool = False
) -> Path:
    """
    Download *repository* at *revision* into *folder*, except files that are there already.

    Fetches the weights in transformers' layout, or with *meta* Meta's `sam3.pt`.

    Raises:
        WeightsUnavailable: no such weights in it, no licence, no token, no network, no room; the
            message says what to do.

    """
    try:
        _fetch(folder, token, repository, revision, _META_FILES if meta else hub.FILES)
    except WeightsUnavailable:
        raise
    except Exception as error:  # the network raises errors of many types
        told = hub.advice(error, repository=repository, token=token is not None)
        raise WeightsUnavailable(told) from error
    return folder


def _fetch(
    folder: Path, token: str | None, repository: str, revision: str, wanted: list[str]
) -> None:
    """List the files, fetch each that is *wanted*, note their digests."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented

    api = HfApi(token=token or False)
    commit = api.model_info(repository, revision=revision).sha or revision
    headers = build_hf_headers(token=token or False)
    tree = api.list_repo_tree(repository, revision=commit)
    there = [file for file in tree if isinstance(file, RepoFile)]
    chosen = [file for file in there if _is_any_of(wanted, file)]
    if not any(_is_any_of(_WEIGHTS, file) for file in chosen):
        raise WeightsUnavailable(_has_none(repository, wanted, there))
    folder.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        _fetch_file(folder, file, hf_hub_url(repository, file.path, revision=commit), headers)


def _is_any_of(patterns: Iterable[str], file: "RepoFile") -> bool:
    return any(fnmatch(file.path, one) for one in patterns)


def _has_none(repository: str, wanted: list[str], there: list["RepoFile"]) -> str:
    others = [file.path for file in there if _is_any_of(_WEIGHTS, file)]
    found = f"it has {', '.join(others)}" if others else "it has none of any kind"
    hint = " Fetch Meta's sam3.pt with --meta." if "sam3.pt" in others else ""
    return f"{repository} has no weights {wanted[-1]}; {found}. Nothing was fetched.{hint}"


def _fetch_file(folder: Path, file: "RepoFile", url: str, headers: dict[str, str]) -> None:
    """Fetch one file, from where an earlier download ended."""
    from huggingface_hub.file_download import http_get

    target = folder / file.path
    wanted = file.lfs.sha256 if file.lfs else None
    complete = target.is_file() and target.stat().st_size == file.size
    if complete and wanted in {None, verify.noted(folder).get(file.path)}:
        return
    part = target.with_name(target.name + _PART)
    with part.open("ab") as stream:
        if stream.tell() > file.size:
            stream.truncate(0)
        http_get(
            url,
            stream,
            resume_size=stream.tell(),
            headers=headers,
            expected_size=file.size,
            displayed_filename=file.path,
        )
    if wanted is not None:
        _check(part, wanted)
    part.replace(target)
    if wanted is not None:
        verify.note(folder, {file.path: wanted})


def _check(part: Path, wanted: str) -> None:
    """Compare a fetched file with the digest that the hub names."""
    found = weights.digest(part).hex()
    if found != wanted:
        part.unlink()
        message = (
            f"{part.name.removesuffix(_PART)} arrived damaged (sha256 {found[:12]}…, the hub says"
            f" {wanted[:12]}…) and was removed. Start again."
        )
        raise WeightsUnavailable(message)


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
    one.set_defaults(run=_run_fetch)

    one = commands.add_parser("verify", help="digest, names, shapes, types, numbers, tokenizer")
    one.add_argument("reads", metavar="path", type=Path)
    one.add_argument(
        "--note",
        action="store_true",
        help=f"note the digests in {SUMS_FILE} if nothing is wrong",
    )
    one.set_defaults(run=_run_verify)
    return parser


def _run_fetch(options: argparse.Namespace) -> int:
    """Download, then say how to use it."""
    from huggingface_hub import get_token

    folder: Path = options.folder
    fetch(
        folder,
        token=get_token(),  # HF_TOKEN, or what `hf auth login` has left
        repository=options.repository,
        revision=options.revision,
        meta=options.meta,
    )
    print(f"{options.repository} is in {folder}.")
    print(f"Check it with `s3 weights verify {folder}`; serve it with SAM3_WEIGHTS_PATH={folder}.")
    return 0


def _run_verify(options: argparse.Namespace) -> int:
    """Print each fault, or what is right."""
    faults = list(verify.faults(options.reads))
    for fault in faults:
        print(f"wrong: {fault}")
    if faults:
        return 1
    checkpoint = weights.locate(options.reads)
    noted = verify.noted(checkpoint.folder)
    found = {path.name: weights.digest(path).hex() for path in checkpoint.files}
    if options.note:
        verify.note(checkpoint.folder, found)
    for name, digest in found.items():
        against = f"as {SUMS_FILE} says" if name in noted else "nothing to compare with: --note"
        print(f"right: {name}, sha256 {digest} ({against})")
    print("right: names, shapes, types, numbers, tokenizer")
    return 0


if __name__ == "__main__":
    sys.exit(main())
