"""The dispatcher that `s3 up` starts."""

import json

from dispatchers import Receiver
from janitors import until
from journeys.service import Service, new_session
from pictures import shapes
from standardwebhooks import Webhook

from adapters.rest import Rest
from s3_sam3 import S3Client


async def test_a_developers_own_server_hears_of_a_done_task(service: Service) -> None:
    """With `s3 up`, a webhook to localhost comes once the SDK's task is done, and verifies."""
    session = await new_session(service)
    settings = service.settings
    async with (
        Receiver() as receiver,
        Rest(url=settings.supabase_url, key=settings.supabase_anon_key) as database,
        S3Client(session, api_url=settings.s3_api_url) as s3,
    ):
        made = await database.rpc(
            "create_webhook",
            {"p_url": receiver.url, "p_events": ["task.done"]},
            await session.access_token(),
        )
        found = await s3.segment(shapes(), "red circle", timeout_seconds=60)
        await until(lambda: receiver.got)

    (got,) = receiver.got
    body = Webhook(made["secret"]).verify(got.body, got.headers)
    assert body == json.loads(got.body)
    assert body["data"]["task_id"] == str(found.result.task_id)
