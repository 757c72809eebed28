"""The janitor that `s3 up` starts."""

from pathlib import Path

import process_table
from janitors import until
from journeys.service import Service
from pictures import shapes

from adapters.objects import ObjectStore
from s3_sam3 import S3Client


async def test_a_deleted_result_leaves_the_bucket(s3: S3Client, service: Service) -> None:
    """Soon after a delete by the SDK none of the result's objects is left; its upload stays."""
    known = service.platform_env
    found = await s3.segment(shapes(), "red circle", timeout_seconds=60)
    async with ObjectStore(
        endpoint=known["R2_ENDPOINT"],
        access_key_id=known["R2_ACCESS_KEY_ID"],
        secret_access_key=known["R2_SECRET_ACCESS_KEY"],
        bucket=known["R2_BUCKET"],
    ) as bucket:

        async def objects() -> int:
            pages = [page async for page in bucket.pages("results/")]
            return sum(str(found.result.task_id) in item.key for page in pages for item in page)

        before = await objects()
        await s3.delete_result(found.result.task_id)

        async def gone() -> bool:
            return await objects() == 0

        await until(gone)
        await bucket.head(found.result.image_url)
    assert before == 3


def test_only_janitor_and_dispatcher_are_told_the_service_key(service: Service) -> None:
    """Of the programs beside the platform these two have the service key, and no other."""
    key = service.platform_env["SUPABASE_SERVICE_KEY"].encode()
    told = {
        module
        for pid in process_table.descendants(service.process.pid)
        for module in ("api", "webhooks.delivery", "janitor", "listener", "pipeline")
        if f"\0-m\0{module}\0" in Path(f"/proc/{pid}/cmdline").read_text()
        and key in Path(f"/proc/{pid}/environ").read_bytes()
    }

    assert told == {"webhooks.delivery", "janitor"}
