"""
Fetch weights from the Hugging Face hub into a folder, going on where an earlier try was cut off.

The hub's own client (2.4) throws away the part of a file that it has when it ends; at 3.4 GB that
is worth forty lines. It still does the talking: addresses, retries, redirects, errors.
"""

from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ai.weights import sums
from pipeline import hub
from pipeline.errors import WeightsUnavailable


if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_PART: Final = ".part"


def fetch(folder: Path, *, token: str | None, repository: str, revision: str) -> Path:
    """
    Bring *repository* at *revision* into *folder*; files that are there already are not fetched.

    Raises:
        WeightsUnavailable: no licence, no token, no network, no room; the message says what to do.

    """
    try:
        _fetch(folder, token, repository, revision)
    except WeightsUnavailable:
        raise
    except Exception as error:  # whatever the network raises becomes advice
        told = hub.advice(error, repository=repository, token=token is not None)
        raise WeightsUnavailable(told) from error
    return folder


def _fetch(folder: Path, token: str | None, repository: str, revision: str) -> None:
    """List the files, fetch each, note their digests."""
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined] # documented

    folder.mkdir(parents=True, exist_ok=True)
    api = HfApi(token=token or False)
    commit = api.model_info(repository, revision=revision).sha or revision
    headers = build_hf_headers(token=token or False)
    for file in api.list_repo_tree(repository, revision=commit):
        if isinstance(file, RepoFile) and any(fnmatch(file.path, one) for one in hub.FILES):
            _fetch_file(folder, file, hf_hub_url(repository, file.path, revision=commit), headers)


def _fetch_file(folder: Path, file: "RepoFile", url: str, headers: dict[str, str]) -> None:
    """Fetch one file, from where it was cut off."""
    from huggingface_hub.file_download import http_get

    target = folder / file.path
    wanted = file.lfs.sha256 if file.lfs else None
    complete = target.is_file() and target.stat().st_size == file.size
    if complete and wanted in {None, sums.read(folder).get(file.path)}:
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
        sums.write(folder, {file.path: wanted})
    part.replace(target)


def _check(part: Path, wanted: str) -> None:
    """Hold a fetched file against the digest that the hub names."""
    found = sums.digest(part)
    if found != wanted:
        part.unlink()
        message = (
            f"{part.name.removesuffix(_PART)} arrived damaged (sha256 {found[:12]}…, the hub says"
            f" {wanted[:12]}…) and was removed. Start again."
        )
        raise WeightsUnavailable(message)
