"""Counters of this process in Prometheus' text format."""

from collections import Counter
from collections.abc import Iterator, Mapping


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

    def text(self, *, figures: Mapping[str, float]) -> str:
        """
        Write everything out, and *figures* of others: by name, with labels in braces if any.

        A name that ends in `_total` counts up; any other goes up and down.
        """
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
        return "\n".join([*lines, *_figures(figures)]) + "\n"


def _figures(figures: Mapping[str, float]) -> Iterator[str]:
    """Write the figures of others, each family under its type."""
    told: set[str] = set()
    for sample, value in sorted(figures.items()):
        family = sample.partition("{")[0]
        if family not in told:
            told.add(family)
            kind = "counter" if family.endswith("_total") else "gauge"
            yield f"# TYPE s3_pipeline_{family} {kind}"
        yield f"s3_pipeline_{sample} {value}"
