"""The running functions: started at the first request, and again after they died."""

import asyncio
import collections
import logging

from devstack.functions.deno import Function, Running, Runtime


log = logging.getLogger(__name__)


class RunningFunctions:
    """At most one process for each function."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._running: dict[str, Running] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._starting: dict[str, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    async def url_of(self, function: Function) -> str:
        """Where *function* takes requests. Raises: as `Runtime.start`."""
        async with self._starting[function.name]:
            running = self._running.get(function.name)
            if running is None:
                running = await self.runtime.start(function)
                self._running[function.name] = running
                watch = asyncio.create_task(self._watch(function.name, running))
                self._watches.add(watch)
                watch.add_done_callback(self._watches.discard)
                log.info("function_started %s %s", function.name, running.url)
        return running.url

    async def replacement_of(self, function: Function, url: str) -> str:
        """As `url_of`, after nobody took a connection at *url*: that process is as good as dead."""
        running = self._running.get(function.name)
        if running is not None and running.url == url:
            await running.process.stop()
            self._forget(function.name, running)
        return await self.url_of(function)

    async def stop(self) -> None:
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*(each.process.stop() for each in self._running.values()))

    async def _watch(self, name: str, running: Running) -> None:
        """Forget a process that ended, so that the next request starts another."""
        await running.process.wait()
        log.warning("function_died %s", running.process.how_it_ended())
        self._forget(name, running)

    def _forget(self, name: str, running: Running) -> None:
        if self._running.get(name) is running:
            del self._running[name]
