"""The daily sweep of the running process."""

from adapters.objects import ObjectStore
from janitor.housekeeping import Housekeeping
from janitor.state import State
from janitor.sweep import SweepPlan, sweep
from runtime import logs


log = logs.get_logger(__name__)


class Sweeping:
    """Sweeps as the settings say, and logs what came of it."""

    def __init__(
        self, plan: SweepPlan, database: Housekeeping, bucket: ObjectStore, state: State
    ) -> None:
        self._plan = plan
        self._database = database
        self._bucket = bucket
        self._state = state

    async def __call__(self) -> bool:
        """Sweep once; what a limit left over waits for the next time."""
        report = await sweep(self._plan, self._database, self._bucket)
        for place in report.places:
            log.info("bucket_swept", dry_run=report.dry_run, **place.document())
        if report.capped:
            log.warning("sweep_capped", limit=self._plan.limit)
        for key in report.missing_manifests:
            log.error("manifest_missing", key=key)
        self._state.sweep = report
        return False
