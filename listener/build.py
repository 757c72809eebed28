"""Puts a worker together: opens what it needs in order, closes it in reverse."""

import contextlib
from collections.abc import AsyncIterator

from adapters import edge_functions, machine_auth, objects, rest, signed_urls
from listener import segment
from listener.attempt import Bench
from listener.capabilities import Capabilities
from listener.claim import Claimer
from listener.clock import tick
from listener.hints import hint_channel
from listener.lease_store import LeaseStore
from listener.model_watch import ModelWatch
from listener.settings import ListenerSettings
from listener.signed_objects import FUNCTION, SignedObjects
from listener.task_objects import BucketObjects, TaskObjects
from listener.wake import Wake
from listener.webhooks import WebhookDoor
from listener.worker import Worker
from runtime import logs


log = logs.get_logger(__name__)


@contextlib.asynccontextmanager
async def built(config: ListenerSettings) -> AsyncIterator[Worker]:
    """A worker ready to run. Raises: SettingsError, SignInRefused."""
    async with contextlib.AsyncExitStack() as stack:
        tokens = await _tokens(config, stack)
        yield await _worker(config, tokens, stack)


async def _tokens(
    config: ListenerSettings, stack: contextlib.AsyncExitStack
) -> machine_auth.MachineTokens:
    password = config.s3_machine_password
    tokens = await stack.enter_async_context(
        machine_auth.machine_tokens(
            config,
            email=config.s3_machine_email,
            password=password.get_secret_value() if password else None,
        )
    )
    try:
        await tokens.token()
    except machine_auth.AuthUnavailable as error:
        log.warning("auth_unavailable", error=str(error))
    return tokens


async def _worker(
    config: ListenerSettings,
    tokens: machine_auth.MachineTokens,
    stack: contextlib.AsyncExitStack,
) -> Worker:
    wake = Wake()
    bench = await _bench(config, tokens, stack)
    hints = None
    if config.listener_realtime == "on":
        hints = hint_channel(wake, tokens, url=config.supabase_url, apikey=_apikey(config))
    return Worker(
        Claimer(wake, bench, concurrency=config.listener_concurrency),
        hints,
        [
            bench.model.run(),
            tick(wake, bench.store, poll_seconds=config.listener_poll_seconds),
        ],
        webhooks=await _webhooks(config, wake, stack),
        grace_seconds=config.listener_grace_seconds,
    )


async def _webhooks(
    config: ListenerSettings, wake: Wake, stack: contextlib.AsyncExitStack
) -> WebhookDoor | None:
    if config.listener_webhook_port is None:
        return None
    door = WebhookDoor(wake, config.webhook_secrets)
    runner = await door.open(config.listener_webhook_host, config.listener_webhook_port)
    stack.push_async_callback(runner.cleanup)
    return door


async def _bench(
    config: ListenerSettings,
    tokens: machine_auth.MachineTokens,
    stack: contextlib.AsyncExitStack,
) -> Bench:
    door = await stack.enter_async_context(rest.Rest(url=config.supabase_url, key=_apikey(config)))
    session = await stack.enter_async_context(segment.session())
    segmenter = segment.Segmenter(
        session, url=config.listener_pipeline_url, api_key=config.api_secret_key.get_secret_value()
    )
    store = LeaseStore(
        door,
        tokens,
        worker=config.listener_worker,
        lease_seconds=config.listener_lease_seconds,
        deadline_seconds=config.listener_deadline_seconds,
    )
    return Bench(
        store=store,
        objects=await _objects(config, tokens, stack),
        segmenter=segmenter,
        model=ModelWatch(segmenter),
        capabilities=Capabilities(
            slots=config.listener_concurrency, memory_mb=config.listener_memory_mb
        ),
        lease_seconds=config.listener_lease_seconds,
        renew_seconds=config.listener_renew_seconds,
        deadline_seconds=config.listener_deadline_seconds,
    )


async def _objects(
    config: ListenerSettings,
    tokens: machine_auth.MachineTokens,
    stack: contextlib.AsyncExitStack,
) -> TaskObjects:
    keys = config.bucket_keys
    if keys is None:
        log.info("objects_by_signed_urls", function=FUNCTION)
        functions = edge_functions.EdgeFunctions(url=config.supabase_url, key=_apikey(config))
        return SignedObjects(
            await stack.enter_async_context(functions),
            tokens,
            await stack.enter_async_context(signed_urls.SignedUrls()),
        )
    log.warning(
        "bucket_keys_in_use",
        meaning="this host can change every picture and result; leave R2_* out if it is rented",
    )
    store = objects.ObjectStore(
        endpoint=keys.r2_endpoint,
        access_key_id=keys.r2_access_key_id,
        secret_access_key=keys.r2_secret_access_key.get_secret_value(),
        bucket=keys.r2_bucket,
    )
    return BucketObjects(await stack.enter_async_context(store))


def _apikey(config: ListenerSettings) -> str:
    """A secret key of the new kind is taken as bearer only beside itself as apikey."""
    if config.supabase_service_key is not None:
        return config.supabase_service_key.get_secret_value()
    return config.supabase_anon_key
