"""Puts a worker together: opens what it needs in order, closes it in reverse."""

import contextlib
from collections.abc import AsyncIterator

from adapters import machine_auth, objects, rest, telemetry
from listener import segment
from listener.attempt import Bench
from listener.capabilities import Capabilities
from listener.claim import Claimer
from listener.clock import tick
from listener.hints import hint_channel
from listener.lease_store import LeaseStore
from listener.model_watch import ModelWatch
from listener.settings import ListenerSettings
from listener.task_objects import BucketObjects
from listener.wake import Wake
from listener.worker import Worker


log = telemetry.get_logger(__name__)


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
    hints = hint_channel(wake, tokens, url=config.supabase_url, apikey=_apikey(config))
    return Worker(
        Claimer(wake, bench, concurrency=config.listener_concurrency),
        hints,
        [
            bench.model.run(),
            tick(wake, bench.store, poll_seconds=config.listener_poll_seconds),
        ],
        grace_seconds=config.listener_grace_seconds,
    )


async def _bench(
    config: ListenerSettings,
    tokens: machine_auth.MachineTokens,
    stack: contextlib.AsyncExitStack,
) -> Bench:
    door = await stack.enter_async_context(rest.Rest(url=config.supabase_url, key=_apikey(config)))
    bucket = await stack.enter_async_context(
        objects.ObjectStore(
            endpoint=config.r2_endpoint,
            access_key_id=config.r2_access_key_id,
            secret_access_key=config.r2_secret_access_key.get_secret_value(),
            bucket=config.r2_bucket,
        )
    )
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
        objects=BucketObjects(bucket),
        segmenter=segmenter,
        model=ModelWatch(segmenter),
        capabilities=Capabilities(
            slots=config.listener_concurrency, memory_mb=config.listener_memory_mb
        ),
        lease_seconds=config.listener_lease_seconds,
        renew_seconds=config.listener_renew_seconds,
        deadline_seconds=config.listener_deadline_seconds,
    )


def _apikey(config: ListenerSettings) -> str:
    """A secret key of the new kind is taken as bearer only beside itself as apikey."""
    if config.supabase_service_key is not None:
        return config.supabase_service_key.get_secret_value()
    return config.supabase_anon_key
