"""
Prometheus metrics: every label from a closed set, so that no caller can grow the series or write into them.

How well codes arrive is not a metric of its own but a quotient of these (``[1h]`` is the window):

* verified per start, by purpose::

    sum by (purpose) (increase(otp_verifications_total{status="verified"}[1h]))
      / sum by (purpose) (increase(otp_verifications_total{status="started"}[1h]))

* **conversion**, verified per SMS paid for; a sudden fall is the sign of SMS pumping (bots start, nobody types)::

    sum(increase(otp_verifications_total{status="verified"}[1h]))
      / sum(increase(otp_sends_total{result="accepted"}[1h]))

* share of a limit's calls that are refused, and that would be if it were enforced::

    sum by (limit) (rate(otp_limit_decisions_total{decision=~"refused|would_refuse"}[5m]))
      / sum by (limit) (rate(otp_limit_decisions_total[5m]))

* how full a limit runs for the busiest tenth of its callers::

    histogram_quantile(0.9, sum by (limit, le) (rate(otp_limit_fill_ratio_bucket[5m])))
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Gauge, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from otp_service.core.evidence import OwnershipOutcome, SimSwapEffect
from otp_service.core.ports import SendResult
from otp_service.core.verification import Reason, Status
from otp_service.core.webhooks import Result
from otp_service.telemetry.series import OTHER, Counters, Histograms, Series

DECISIONS = ("allowed", "refused", "would_refuse")
VERIFICATION_STATUSES = ("started", *(status.value for status in Status if status.final))
ATTEMPT_OUTCOMES = ("right", "wrong", "expired", "locked", "too_soon", "final")
QUEUES = ("sms", "ownership", "deadlines", "webhooks")
SHIFTS = ("away", "back")
DELIVERY_STATES = ("sent", "delivered", "failed")
REPORT_OUTCOMES = ("taken", "stale", "early", "full", "unknown", "refused")
SKIP_REASONS = ("superseded", "code_over", "gone", *(s.value for s in Status if s is not Status.PENDING))
SOURCE_SKIPS = ("resting", "busy", "over_budget", "asked_before", "test_key", "no_time", "no_question_left")
STORE_ERRORS = ("unavailable", "refused", "defect")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_FILL = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_STORE_CALL = (0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
_REQUEST = (0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30)  # 30 s: the longest poll
_NETWORK = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_QUEUE = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 180)  # 50 ms is the budget, 180 s a code's life
_DELIVERY = (1, 2.5, 5, 10, 20, 30, 60, 120, 180, 600, 3600)
_WEBHOOK = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 21_600, 86_400)
_LIFE = (5, 10, 20, 30, 45, 60, 120, 180, 300, 600, 900)
_BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """
    All metrics of one process, over a registry of their own.

    Durations and ages are seconds; a negative one counts as zero.

    Args:
        purposes: names of the configured purposes.
        limits: names of the configured limits.
        gateways: names of the SMS gateways in use.
        sources: names of the ownership sources in use.
        scripts: names of the store's scripts.
        routes: templates of the HTTP routes, such as ``/v1/verifications/{id}``; any other is ``other``.
        version: of this program.
    """

    def __init__(
        self, *, purposes: Iterable[str], limits: Iterable[str], gateways: Iterable[str], sources: Iterable[str],
        scripts: Iterable[str], routes: Iterable[str] = (), version: str = "",
    ) -> None:
        self.registry = CollectorRegistry()
        purposes, limits, gateways, sources = map(tuple, (purposes, limits, gateways, sources))
        self._build_process(version)
        self._build_verifications(purposes, limits)
        self._build_sending(purposes, gateways)
        self._build_ownership(sources)
        self._build_webhooks()
        self._build_store(scripts)
        self._build_http(routes)
        for attribute in vars(self).values():
            if isinstance(attribute, Series):
                self.registry.register(attribute)

    def _build_process(self, version: str) -> None:
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Gauge("otp_build_info", "Version of this program.", ["version"], registry=self.registry).labels(version).set(1)
        self._waiters = Gauge("otp_waiters", "Long polls that wait for a final status.", registry=self.registry)
        self._ready = Gauge("otp_ready", "1 while /readyz answers 200.", registry=self.registry)

    def _build_verifications(self, purposes: Iterable[str], limits: Iterable[str]) -> None:
        self._limit_decisions = Counters(
            "otp_limit_decisions_total", "Decisions of each limit.", {"limit": limits, "decision": DECISIONS},
        )
        self._limit_fill = Histograms(
            "otp_limit_fill_ratio", "How full the limit is for its caller after a decision; 1 is full.",
            {"limit": limits}, buckets=_FILL,
        )
        self._verifications = Counters(
            "otp_verifications_total", "Verifications started and finished.",
            {"purpose": purposes, "status": VERIFICATION_STATUSES},
        )
        self._rejections = Counters(
            "otp_rejections_total", "Rejected verifications by reason.", {"purpose": purposes, "reason": Reason},
        )
        self._verification_seconds = Histograms(
            "otp_verification_duration_seconds", "From start to final status.",
            {"purpose": purposes, "status": VERIFICATION_STATUSES}, buckets=_LIFE, eager=False,
        )
        self._attempts = Counters(
            "otp_attempts_total", "Guesses by outcome.", {"purpose": purposes, "outcome": ATTEMPT_OUTCOMES},
        )
        self._sim_swaps = Counters(
            "otp_sim_swaps_total", "Matches whose SIM was changed lately, by what that means to the purpose.",
            {"purpose": purposes, "effect": SimSwapEffect}, eager=False,
        )

    def _build_sending(self, purposes: Iterable[str], gateways: Iterable[str]) -> None:
        self._sends = Counters(
            "otp_sends_total", "Attempts to hand an SMS to a gateway.", {"gateway": gateways, "result": SendResult},
        )
        self._send_seconds = Histograms(
            "otp_send_seconds", "Time a gateway took to answer.", {"gateway": gateways}, buckets=_NETWORK,
        )
        self._gateway_share = Gauge(
            "otp_gateway_share", "Percent of its weight that a gateway has left; 100 while it is well.", ["gateway"],
            registry=self.registry,
        )
        self._gateway_shifts = Counters(
            "otp_gateway_shifts_total", "Times that traffic was shifted.", {"gateway": gateways, "direction": SHIFTS},
        )
        self._reports = Counters(
            "otp_delivery_reports_total", "Delivery reports, by what they said and what became of them.",
            {"gateway": gateways, "state": DELIVERY_STATES, "outcome": REPORT_OUTCOMES}, eager=False,
        )
        self._delivery_seconds = Histograms(
            "otp_delivery_seconds", "From a gateway's acceptance to news of the delivery.", {"gateway": gateways},
            buckets=_DELIVERY,
        )
        self._gateways = frozenset(gateways)
        self._skipped = Counters(
            "otp_sms_skipped_total", "Queued SMS that went nowhere, because their code was of no use any more.",
            {"reason": SKIP_REASONS},
        )
        self._segments = Counters(
            "otp_sms_segments_total", "SMS segments accepted: what is paid for.", {"purpose": purposes},
        )
        self._queue_to_gateway = Histograms(
            "otp_queue_to_gateway_seconds", "From queueing an SMS to its first hand-over.", buckets=_QUEUE,
        )
        self._queue_depth = Gauge("otp_queue_depth", "Entries in a queue.", ["queue"], registry=self.registry)
        self._queue_age = Gauge(
            "otp_queue_oldest_age_seconds", "Age of a queue's oldest entry; 0 when empty.", ["queue"],
            registry=self.registry,
        )

    def _build_ownership(self, sources: Iterable[str]) -> None:
        self._ownership_checks = Counters(
            "otp_ownership_checks_total", "Ownership checks by outcome.",
            {"source": sources, "outcome": OwnershipOutcome},
        )
        self._ownership_seconds = Histograms(
            "otp_ownership_check_seconds", "Time an ownership source took.",
            {"source": sources, "outcome": OwnershipOutcome}, buckets=_NETWORK, eager=False,
        )

        self._source_share = Gauge(
            "otp_source_share", "Percent of its weight that an ownership source has left; 100 while it is well.",
            ["source"], registry=self.registry,
        )
        self._source_open = Gauge(
            "otp_source_open", "1 while an ownership source rests or gets only questions that try it out.", ["source"],
            registry=self.registry,
        )
        self._source_shifts = Counters(
            "otp_source_shifts_total", "Times that questions were shifted.", {"source": sources, "direction": SHIFTS},
        )
        self._source_skips = Counters(
            "otp_source_skips_total", "Times that an ownership source was not asked in its turn.",
            {"source": sources, "reason": SOURCE_SKIPS},
        )
        self._sources = frozenset(sources)

    def _build_webhooks(self) -> None:
        self._webhooks = Counters(
            "otp_webhook_attempts_total", "Attempts to deliver a webhook, by what they came to.", {"result": Result},
        )
        self._webhook_seconds = Histograms(
            "otp_webhook_delivery_seconds", "From a verdict to the delivery of its webhook.", buckets=_WEBHOOK,
        )
        self._webhooks_dead = Gauge(
            "otp_webhooks_dead", "Webhooks that were given up and wait to be replayed.", registry=self.registry,
        )

    def _build_store(self, scripts: Iterable[str]) -> None:
        self._round_trips = Counters("otp_store_round_trips_total", "Pipelines sent to the store.")
        self._batch_size = Histograms("otp_store_batch_size", "Calls that shared a round trip.", buckets=_BATCH)
        self._store_seconds = Histograms(
            "otp_store_call_seconds", "A transition, its wait for the batch included.", {"script": scripts},
            buckets=_STORE_CALL, eager=False,
        )
        self._store_retries = Counters("otp_store_retries_total", "Calls to the store that were repeated.")
        self._store_errors = Counters(
            "otp_store_errors_total", "Calls to the store that failed for good.", {"kind": STORE_ERRORS},
        )

    def _build_http(self, routes: Iterable[str]) -> None:
        routes = tuple(routes)
        statuses = [str(status.value) for status in HTTPStatus]
        self._requests = Counters(
            "otp_http_requests_total", "HTTP requests answered.",
            {"route": routes, "method": METHODS, "status": statuses}, eager=False,
        )
        self._request_seconds = Histograms(
            "otp_http_request_seconds", "Time to answer.", {"route": routes}, buckets=_REQUEST, eager=False,
        )

    # Verifications

    def limit_decision(self, limit: str, decision: str, fill: float | None = None) -> None:
        """
        Count what a limit decided: one of ``DECISIONS``.

        ``fill`` is the share of the limit that its caller has used after the decision, from 0 to 1 (above 1 where
        a limit only records); None where it is not known.
        """
        self._limit_decisions.add(1, limit, decision)
        if fill is not None:
            self._limit_fill.observe(fill, limit)

    def verification_started(self, purpose: str) -> None:
        """Count a verification that began; a replayed start is none."""
        self._verifications.add(1, purpose, "started")

    def verification_finished(self, purpose: str, status: str, reason: str | None, age_s: float) -> None:
        """Count a final status, with the reason of a rejection and the verification's age."""
        self._verifications.add(1, purpose, status)
        self._verification_seconds.observe(age_s, purpose, status)
        if reason is not None:
            self._rejections.add(1, purpose, reason)

    def attempt(self, purpose: str, outcome: str) -> None:
        """Count a guess: one of ``ATTEMPT_OUTCOMES``."""
        self._attempts.add(1, purpose, outcome)

    # Sending

    def send(self, gateway: str, result: str) -> None:
        """Count one attempt to hand an SMS over, by its :class:`SendResult`."""
        self._sends.add(1, gateway, result)

    def send_latency(self, gateway: str, seconds: float) -> None:
        """Record how long a gateway took to answer, or to time out."""
        self._send_seconds.observe(seconds, gateway)

    def gateway_share(self, gateway: str, share: int) -> None:
        """Set the share of its weight that a gateway has left, in percent."""
        self._gateway_share.labels(gateway if gateway in self._gateways else OTHER).set(share)

    def gateway_shift(self, gateway: str, direction: str) -> None:
        """Count a shift of traffic: one of ``SHIFTS``."""
        self._gateway_shifts.add(1, gateway, direction)

    def sms_skipped(self, reason: str) -> None:
        """Count a queued SMS that was not sent: one of ``SKIP_REASONS``."""
        self._skipped.add(1, reason)

    def delivery_report(self, gateway: str, state: str, outcome: str) -> None:
        """Count a delivery report: one of ``DELIVERY_STATES`` and of ``REPORT_OUTCOMES``."""
        self._reports.add(1, gateway, state, outcome)

    def delivery_latency(self, gateway: str, seconds: float) -> None:
        """Record how long after its acceptance a message's delivery became known."""
        self._delivery_seconds.observe(seconds, gateway)

    def queue_to_gateway(self, seconds: float) -> None:
        """Record the time from the transition that queued an SMS to the start of its first hand-over."""
        self._queue_to_gateway.observe(seconds)

    def sms_segments(self, purpose: str, n: int) -> None:
        """Count the segments of an accepted SMS."""
        self._segments.add(n, purpose)

    def queue(self, name: str, depth: int, oldest_age_s: float) -> None:
        """Set what the worker sees of a queue: one of ``QUEUES``."""
        known = name if name in QUEUES else OTHER
        self._queue_depth.labels(known).set(depth)
        self._queue_age.labels(known).set(max(oldest_age_s, 0.0))

    # Ownership

    def ownership_check(self, source: str, outcome: str, seconds: float | None = None) -> None:
        """Count an ownership check by its :class:`OwnershipOutcome`; ``seconds`` if the source was asked."""
        self._ownership_checks.add(1, source, outcome)
        if seconds is not None:
            self._ownership_seconds.observe(seconds, source, outcome)

    def sim_swap(self, purpose: str, effect: str) -> None:
        """Count a match whose SIM was changed lately; ``effect`` is a :class:`SimSwapEffect`."""
        self._sim_swaps.add(1, purpose, effect)

    def source_share(self, source: str, share: int) -> None:
        """Set the share of its weight that a source has left, in percent."""
        self._source_share.labels(source if source in self._sources else OTHER).set(share)

    def source_open(self, source: str, *, is_open: bool) -> None:
        """Set whether a source rests or gets only questions that try it out."""
        self._source_open.labels(source if source in self._sources else OTHER).set(is_open)

    def source_shift(self, source: str, direction: str) -> None:
        """Count a shift of questions: one of ``SHIFTS``."""
        self._source_shifts.add(1, source, direction)

    def source_skip(self, source: str, reason: str) -> None:
        """Count a source that was not asked in its turn: one of ``SOURCE_SKIPS``."""
        self._source_skips.add(1, source, reason)

    # Webhooks

    def webhook(self, result: str, n: int = 1) -> None:
        """Count attempts to deliver, by their :class:`Result`."""
        self._webhooks.add(n, result)

    def webhook_latency(self, seconds: float) -> None:
        """Record how long after its verdict a webhook was delivered."""
        self._webhook_seconds.observe(seconds)

    def webhooks_dead(self, n: int) -> None:
        """Set how many webhooks were given up, over all clients."""
        self._webhooks_dead.set(n)

    # Store

    def store_round_trip(self, batch_size: int) -> None:
        """Count one pipeline to the store, and the calls in it."""
        self._round_trips.add(1)
        self._batch_size.observe(batch_size)

    def store_call(self, script: str, seconds: float) -> None:
        """Record how long a transition took, as its caller saw it."""
        self._store_seconds.observe(seconds, script)

    def store_retry(self) -> None:
        """Count a call that is made again after a lost reply."""
        self._store_retries.add(1)

    def store_error(self, kind: str) -> None:
        """Count a call that failed for good: one of ``STORE_ERRORS``."""
        self._store_errors.add(1, kind)

    # HTTP

    def http_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; ``route`` is the template, never the path."""
        self._requests.add(1, route, method, str(status))
        self._request_seconds.observe(seconds, route)

    def waiters(self, n: int) -> None:
        """Set the number of long polls that are held."""
        self._waiters.set(n)

    def ready(self, *, ready: bool) -> None:
        """Set whether ``/readyz`` answers 200."""
        self._ready.set(ready)

    def render(self) -> tuple[bytes, str]:
        """Render everything in Prometheus' text format: the body and its content type."""
        encode, content_type = choose_encoder("")
        return encode(self.registry), content_type
