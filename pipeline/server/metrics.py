"""What the pipeline counts, in Prometheus' text format."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override


Figures = Callable[[], Mapping[str, float]]
"""Counts and sizes by name, read when they are asked for: `views_total`, `bytes{tier="gpu"}`."""

_PREFIX: Final = "s3_pipeline_"
_FIGURE: Final = re.compile(r'(?P<name>\w+?)(?P<counter>_total)?(?:\{tier="(?P<tier>\w+)"\})?')


class Metrics:
    """One server's counters, in a registry of their own, and the *figures* of its parts."""

    def __init__(self, figures: Figures) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._counter("requests", "Answers.", "path", "code")
        self.pictures = self._counter("pictures", "Segmented pictures.")
        self.prompts = self._counter("prompts", "Prompts of segmented pictures.")
        self.instances = self._counter("instances", "Instances found.")
        self.stage_seconds = self._counter("stage_seconds", "Time of each stage.", "stage")
        self._registry.register(_FigureCollector(figures))

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, help_text, labels, registry=self._registry)

    def text(self) -> bytes:
        """Write everything as Prometheus reads it."""
        return generate_latest(self._registry)


class _FigureCollector(Collector):
    """Turns figures into metrics: a name that ends in `_total` counts up, others are gauges."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    @override
    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure, value in self._figures().items():
            parts = _FIGURE.fullmatch(figure)
            if parts is None:
                msg = f"a figure with an odd name: {figure}"
                raise ValueError(msg)
            name, tier = parts["name"], parts["tier"]
            if name not in families:
                kind = CounterMetricFamily if parts["counter"] else GaugeMetricFamily
                families[name] = kind(_PREFIX + name, "", labels=("tier",) if tier else ())
            families[name].add_metric((tier,) if tier else (), value)
        return families.values()
