"""`GET /api/v1/results/{id}`."""

from aiohttp import web

from adapters.objects import ObjectStore
from api import answers, incoming, keys, rows, task_store
from s3_sam3.contracts import limits


async def get_result(request: web.Request) -> web.Response:
    """Answer one result with URLs that are signed now and valid for 15 minutes."""
    row = await task_store.read(
        request.app[keys.REST], request[keys.PRINCIPAL], incoming.path_id(request)
    )
    store = request.app[keys.OBJECTS]
    detail = rows.detail(
        row,
        source_download_url=_signed(store, row["source_image_url"]),
        manifest_download_url=_signed(store, row["manifest_url"]),
        mask_download_url=_signed(store, row["mask_image_url"]),
        overlay_download_url=_signed(store, row["overlay_image_url"]),
    )
    return answers.ok(request, detail)


def _signed(store: ObjectStore, key: str | None) -> str | None:
    return None if key is None else store.sign_get(key, limits.SIGNED_URL_SECONDS)
