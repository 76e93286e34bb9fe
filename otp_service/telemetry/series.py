"""The numbers behind the metrics: counters and distributions whose labels come from closed sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate, product

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

#: What stands for every value outside a label's closed set.
OTHER = "other"


class Series(ABC):
    """
    The series of one metric, by the values of their labels.

    ``prometheus_client`` serves these numbers but does not hold them: its children take a lock or two for each
    addition, and a start records a dozen.  Here an addition is a dictionary look-up, made from the event loop's
    thread only.

    Values outside a label's closed set become ``other`` and are not remembered, so that the number of series is at
    most the product of the sets, whatever callers send.

    Args:
        name: as Prometheus knows it.
        help_: one sentence.
        labels: each label's name and its closed set, in the order in which values are given.
        eager: make all series now, so that a rate is seen from the first event; otherwise on first use.
    """

    def __init__(
        self, name: str, help_: str, labels: Mapping[str, Iterable[str]] | None = None, *, eager: bool = True,
    ) -> None:
        self._name = name
        self._help = help_
        self._labels = tuple(labels or ())
        self._closed = tuple(frozenset(map(str, values)) for values in (labels or {}).values())
        if eager:
            for known in product(*(sorted(values) for values in self._closed)):
                self._add_row(known)

    def _known(self, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Collapse what is outside the closed sets."""
        return tuple(
            str(label) if label in values else OTHER for label, values in zip(labels, self._closed, strict=True)
        )

    @abstractmethod
    def _add_row(self, known: tuple[str, ...]) -> None:
        """Make the series of ``known`` unless it is there."""

    @abstractmethod
    def collect(self) -> Iterator[Metric]:
        """Give everything to a scrape; called by the registry."""


class Counters(Series):
    """Numbers that only grow."""

    def __init__(
        self, name: str, help_: str, labels: Mapping[str, Iterable[str]] | None = None, *, eager: bool = True,
    ) -> None:
        self._rows: dict[tuple[str, ...], float] = {}
        super().__init__(name, help_, labels, eager=eager)

    def add(self, n: float, *labels: str) -> None:
        """Add ``n`` to the series of ``labels``."""
        if labels not in self._rows:
            labels = self._known(labels)
            self._add_row(labels)
        self._rows[labels] += n

    def _add_row(self, known: tuple[str, ...]) -> None:
        self._rows.setdefault(known, 0)

    def collect(self) -> Iterator[Metric]:
        """Give one counter family."""
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        for labels, count in self._rows.items():
            family.add_metric(labels, count)
        yield family


class Histograms(Series):
    """Distributions over ``buckets``: rising upper bounds, inclusive, without +Inf."""

    def __init__(
        self, name: str, help_: str, labels: Mapping[str, Iterable[str]] | None = None, *,
        buckets: tuple[float, ...], eager: bool = True,
    ) -> None:
        self._bounds = buckets
        self._rows: dict[tuple[str, ...], list[float]] = {}  # one count per bucket, one for +Inf, then the sum
        super().__init__(name, help_, labels, eager=eager)

    def observe(self, value: float, *labels: str) -> None:
        """Record ``value``; a negative one (two clocks were compared) counts as zero."""
        if labels not in self._rows:
            labels = self._known(labels)
            self._add_row(labels)
        row = self._rows[labels]
        row[bisect_left(self._bounds, value)] += 1
        if value > 0:
            row[-1] += value

    def _add_row(self, known: tuple[str, ...]) -> None:
        if known not in self._rows:
            self._rows[known] = [0] * (len(self._bounds) + 2)

    def collect(self) -> Iterator[Metric]:
        """Give one histogram family, its buckets cumulated."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        bounds = [*map(floatToGoString, self._bounds), "+Inf"]
        for labels, (*counts, total) in self._rows.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family
