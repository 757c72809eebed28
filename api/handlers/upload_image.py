"""`POST /api/v1/upload`."""

from aiohttp import web

from api import answers, intake, keys, sources
from s3_sam3.contracts import bodies, object_keys
from s3_sam3.contracts.tasks import MediaKind


async def upload_image(request: web.Request) -> web.Response:
    """Store one picture; the same bytes get the same `image_url` every time."""
    app = request.app
    who = request[keys.PRINCIPAL]
    async with intake.receive(request, app[keys.SETTINGS].api_max_upload_bytes) as received:
        picture = await app[keys.UPLOAD_CHECKS].check(received.file)
        key = object_keys.upload_key(who.user_id, received.sha256, picture.format)
        received.file.seek(0)
        size = sources.size_metadata(picture.width, picture.height)
        await app[keys.OBJECTS].put(key, received.file, picture.content_type, size)
    app[keys.METRICS].uploaded_bytes.inc(received.size)
    upload = bodies.Upload(
        image_url=key,
        kind=MediaKind.IMAGE,
        content_type=picture.content_type,
        width=picture.width,
        height=picture.height,
        bytes=received.size,
        sha256=received.sha256,
    )
    return answers.ok(request, upload, status=201)
