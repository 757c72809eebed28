"""Counters of this process in Prometheus' text format."""

from collections import Counter
from collections.abc import Mapping


class Metrics:
    """Counts requests, prompts, instances, and the seconds of each stage."""

    def __init__(self) -> None:
        """Start at zero."""
        self._requests: Counter[tuple[str, str]] = Counter()
        self._stages: Counter[str] = Counter()
        self._totals: Counter[str] = Counter()

    def request(self, path: str, code: str) -> None:
        """Count an answer: *code* is `ok` or the error's code."""
        self._requests[path, code] += 1

    def picture(self, *, prompts: int, instances: int, seconds: Mapping[str, float]) -> None:
        """Count a segmented picture."""
        self._totals.update(pictures=1, prompts=prompts, instances=instances)
        for stage, duration in seconds.items():
            self._stages[stage] += duration  # type: ignore[assignment] # Counter adds floats well

    def text(self, *, inside: int, ready: bool) -> str:
        """Write everything out."""
        lines = ["# TYPE s3_pipeline_requests_total counter"]
        lines += [
            f's3_pipeline_requests_total{{path="{path}",code="{code}"}} {count}'
            for (path, code), count in sorted(self._requests.items())
        ]
        for name in ("pictures", "prompts", "instances"):
            lines.append(f"# TYPE s3_pipeline_{name}_total counter")
            lines.append(f"s3_pipeline_{name}_total {self._totals[name]}")
        lines.append("# TYPE s3_pipeline_stage_seconds_total counter")
        lines += [
            f's3_pipeline_stage_seconds_total{{stage="{stage}"}} {seconds:.6f}'
            for stage, seconds in sorted(self._stages.items())
        ]
        for name, value in (("requests_inside", inside), ("ready", int(ready))):
            lines.append(f"# TYPE s3_pipeline_{name} gauge")
            lines.append(f"s3_pipeline_{name} {value}")
        return "\n".join(lines) + "\n"
