"""The life of the process: `built` opens what a worker needs; the worker runs and drains."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from adapters import machine_auth, objects, rest, signed_urls
from listener import pipeline_client
from listener.attempt import WorkerContext
from listener.claim import Capabilities, Claimer
from listener.lease_store import AttemptTimes, LeaseStore
from listener.pipeline_client import ModelWatch
from listener.settings import ListenerSettings
from listener.task_objects import FUNCTION, BucketObjects, SignedObjects, TaskObjects
from listener.wake import Wake, hint_channel, tick
from listener.webhooks import WebhookServer
from runtime import logs
from s3_sam3 import realtime


log = logs.get_logger(__name__)


class Worker:
    """Runs the claimer and the other parts until stopped."""

    def __init__(
        self,
        claimer: Claimer,
        hints: realtime.SupervisedChannel | None,
        parts: list[Coroutine[Any, Any, None]],
        *,
        webhooks: WebhookServer | None = None,
        grace_seconds: float,
    ) -> None:
        self.claimer = claimer
        self.hints = hints
        self.webhooks = webhooks
        self._parts = [*([hints.run()] if hints else []), *parts]
        self._grace_seconds = grace_seconds
        self._stopping = asyncio.Event()
        self._hurrying = asyncio.Event()

    def stop(self) -> None:
        """Drain; called twice: release everything now. A stop before `run` is not lost."""
        if self._stopping.is_set():
            self._hurrying.set()
        self._stopping.set()

    async def run(self) -> None:
        """
        Run until stopped, then drain. Raises what a part failed with.

        If one part fails, all end: attempts release their tasks, and the process exits with it.
        """
        async with asyncio.TaskGroup() as life:
            parts = [life.create_task(part) for part in self._parts]
            async with asyncio.TaskGroup() as attempts:
                claiming = life.create_task(self.claimer.run(attempts))
                log.info("listener_started")
                await self._stopping.wait()
                claiming.cancel()
                await asyncio.wait({claiming})
                await self._drain()
            for part in parts:
                part.cancel()
        log.info("listener_stopped")

    async def _drain(self) -> None:
        """Let attempts finish within the grace, then cancel them, which releases their tasks."""
        log.info("listener_draining", running=len(self.claimer.running))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                await self._finished_or_hurried()
        for task in self.claimer.running:
            task.cancel()

    async def _finished_or_hurried(self) -> None:
        hurried = asyncio.ensure_future(self._hurrying.wait())
        try:
            while self.claimer.running and not hurried.done():
                await asyncio.wait(
                    {hurried, *self.claimer.running}, return_when=asyncio.FIRST_COMPLETED
                )
        finally:
            hurried.cancel()


@contextlib.asynccontextmanager
async def built(
    config: ListenerSettings,
    *,
    name: str | None = None,
    lease_seconds: int = AttemptTimes().lease,
    renew_seconds: float = AttemptTimes().renew,
) -> AsyncIterator[Worker]:
    """
    Open a worker, ready to run.

    *name* stands in its attempts; None: host name and process id.
    Raises: SettingsError, SignInRefused.
    """
    deadline = config.listener_deadline_seconds
    # claim_tasks refuses a lease that is longer than the deadline.
    times = AttemptTimes(lease=min(lease_seconds, deadline), renew=renew_seconds, deadline=deadline)
    name = name or f"{socket.gethostname()}-{os.getpid()}"
    async with contextlib.AsyncExitStack() as stack:
        tokens = await _tokens(config, stack)
        database = await stack.enter_async_context(
            rest.Rest(url=config.supabase_url, key=_apikey(config))
        )
        store = LeaseStore(database, tokens, worker=name, times=times)
        task_objects = await _objects(config, tokens, database, stack)
        yield await _worker(config, tokens, store, task_objects, stack)


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
    store: LeaseStore,
    task_objects: TaskObjects,
    stack: contextlib.AsyncExitStack,
) -> Worker:
    wake = Wake()
    session = await stack.enter_async_context(pipeline_client.session())
    pipeline = pipeline_client.PipelineClient(
        session, url=config.listener_pipeline_url, api_key=config.api_secret_key.get_secret_value()
    )
    context = WorkerContext(
        store=store, objects=task_objects, pipeline=pipeline, model=ModelWatch(pipeline)
    )
    capabilities = Capabilities(
        slots=config.listener_concurrency, memory_mb=config.listener_memory_mb
    )
    hints = None
    if config.listener_realtime == "on":
        hints = hint_channel(wake, tokens, url=config.supabase_url, apikey=_apikey(config))
    return Worker(
        Claimer(wake, context, capabilities),
        hints,
        [context.model.run(), tick(wake, store, poll_seconds=config.listener_poll_seconds)],
        webhooks=await _webhooks(config, wake, stack),
        grace_seconds=config.listener_grace_seconds,
    )


async def _webhooks(
    config: ListenerSettings, wake: Wake, stack: contextlib.AsyncExitStack
) -> WebhookServer | None:
    if config.listener_webhook_port is None:
        return None
    server = WebhookServer(wake, config.webhook_secrets)
    runner = await server.open(config.listener_webhook_port)
    stack.push_async_callback(runner.cleanup)
    return server


async def _objects(
    config: ListenerSettings,
    tokens: machine_auth.MachineTokens,
    database: rest.Rest,
    stack: contextlib.AsyncExitStack,
) -> TaskObjects:
    keys = config.bucket_keys
    if keys is None:
        log.info("objects_by_signed_urls", function=FUNCTION)
        urls = await stack.enter_async_context(signed_urls.SignedUrls())
        return SignedObjects(database, tokens, urls)
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
    """
    The `apikey` header of each request to Supabase.

    A secret key of the new kind is accepted as bearer only if it is the apikey as well.
    """
    if config.supabase_service_key is not None:
        return config.supabase_service_key.get_secret_value()
    return config.supabase_anon_key
