from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from otp_service.core.evidence import OwnershipOutcome
from otp_service.core.ports import SendResult
from otp_service.core.verification import Status
from otp_service.core.webhooks import Result
from otp_service.telemetry.metrics import (
    ATTEMPT_OUTCOMES,
    DECISIONS,
    METHODS,
    QUEUES,
    SHIFTS,
    SKIP_REASONS,
    SOURCE_SKIPS,
    STORE_ERRORS,
    Metrics,
)


def make_metrics() -> Metrics:
    """Metrics with one or two names in each closed set."""
    return Metrics(
        purposes=["registration", "sign_in"], limits=["phone_day", "service_rate"], gateways=["fake"],
        sources=["tttb"], scripts=["start", "check"], routes=["/v1/verifications", "/v1/verifications/{id}"],
        version="1.2.3",
    )


@pytest.fixture
def metrics() -> Metrics:
    """Fresh metrics."""
    return make_metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Read one sample, as a scrape would see it."""
    return metrics.registry.get_sample_value(name, labels)


@pytest.mark.parametrize("decision", DECISIONS)
def test_limit_decisions_are_counted(metrics: Metrics, decision: str) -> None:
    """Each of the three decisions of a limit has its counter, which stands at zero before the first."""
    assert value(metrics, "otp_limit_decisions_total", limit="phone_day", decision=decision) == 0

    metrics.limit_decision("phone_day", decision, None)
    metrics.limit_decision("phone_day", decision, 0.5)

    assert value(metrics, "otp_limit_decisions_total", limit="phone_day", decision=decision) == 2
    assert value(metrics, "otp_limit_decisions_total", limit="service_rate", decision=decision) == 0


@pytest.mark.parametrize(
    ("fill", "first_bucket"),
    [(0.0, "0.1"), (0.1, "0.1"), (0.2, "0.25"), (0.9, "0.9"), (0.95, "1.0"), (1.0, "1.0"), (1.4, "+Inf")],
)
def test_fill_falls_into_its_bucket(metrics: Metrics, fill: float, first_bucket: str) -> None:
    """How full a limit runs is counted in the first bucket that holds it, bounds included, and in all above."""
    metrics.limit_decision("phone_day", "allowed", fill)

    bounds = ["0.1", "0.25", "0.5", "0.75", "0.9", "1.0", "+Inf"]
    counts = [value(metrics, "otp_limit_fill_ratio_bucket", limit="phone_day", le=bound) for bound in bounds]
    before = bounds.index(first_bucket)
    assert [0.0] * before + [1.0] * (len(bounds) - before) == counts
    assert value(metrics, "otp_limit_fill_ratio_count", limit="phone_day") == 1
    assert value(metrics, "otp_limit_fill_ratio_sum", limit="phone_day") == fill


def test_decision_without_fill_leaves_the_histogram_alone(metrics: Metrics) -> None:
    """A decision that does not know how full the limit is does not pretend that it is empty."""
    metrics.limit_decision("phone_day", "allowed")

    assert value(metrics, "otp_limit_fill_ratio_count", limit="phone_day") == 0


def test_life_of_a_verification(metrics: Metrics) -> None:
    """A start, a verdict and a rejection show in the counters, the reasons and the durations."""
    metrics.verification_started("registration")
    metrics.verification_started("registration")
    metrics.verification_finished("registration", Status.VERIFIED, None, 42.0)
    metrics.verification_finished("registration", "rejected", "sim_not_owned", 61.0)

    counted = "otp_verifications_total"
    assert value(metrics, counted, purpose="registration", status="started") == 2
    assert value(metrics, counted, purpose="registration", status="verified") == 1
    assert value(metrics, counted, purpose="registration", status="rejected") == 1
    assert value(metrics, "otp_rejections_total", purpose="registration", reason="sim_not_owned") == 1
    assert value(metrics, "otp_rejections_total", purpose="registration", reason="risk") == 0
    sum_ = "otp_verification_duration_seconds_sum"
    assert value(metrics, sum_, purpose="registration", status="verified") == 42
    assert value(metrics, sum_, purpose="registration", status="rejected") == 61


@pytest.mark.parametrize("outcome", ATTEMPT_OUTCOMES)
def test_attempts_by_outcome(metrics: Metrics, outcome: str) -> None:
    """Every outcome of a guess has its own counter."""
    metrics.attempt("sign_in", outcome)

    assert value(metrics, "otp_attempts_total", purpose="sign_in", outcome=outcome) == 1


def test_sending(metrics: Metrics) -> None:
    """Sends, their latency, the queue's delay and the segments are recorded."""
    metrics.send("fake", SendResult.ACCEPTED)
    metrics.send_latency("fake", 0.2)
    metrics.queue_to_gateway(0.02)
    metrics.sms_segments("registration", 2)

    assert value(metrics, "otp_sends_total", gateway="fake", result="accepted") == 1
    assert value(metrics, "otp_send_seconds_sum", gateway="fake") == 0.2
    assert value(metrics, "otp_queue_to_gateway_seconds_bucket", le="0.01") == 0
    assert value(metrics, "otp_queue_to_gateway_seconds_bucket", le="0.025") == 1
    assert value(metrics, "otp_sms_segments_total", purpose="registration") == 2


def test_negative_duration_counts_as_zero(metrics: Metrics) -> None:
    """Two clocks that disagree cannot make a histogram's sum fall, which Prometheus would read as a restart."""
    metrics.queue_to_gateway(-3.0)

    assert value(metrics, "otp_queue_to_gateway_seconds_count") == 1
    assert value(metrics, "otp_queue_to_gateway_seconds_sum") == 0
    assert value(metrics, "otp_queue_to_gateway_seconds_bucket", le="0.005") == 1


@pytest.mark.parametrize("outcome", list(OwnershipOutcome))
def test_ownership_checks_with_latency(metrics: Metrics, outcome: OwnershipOutcome) -> None:
    """Ownership checks are counted by source and outcome; the latency only when the source was asked."""
    metrics.ownership_check("tttb", outcome, 0.3)
    metrics.ownership_check("tttb", outcome)

    assert value(metrics, "otp_ownership_checks_total", source="tttb", outcome=outcome.value) == 2
    assert value(metrics, "otp_ownership_check_seconds_count", source="tttb", outcome=outcome.value) == 1


def test_sources(metrics: Metrics) -> None:
    """A source's share and whether it is open are as last told; shifts and skips are counted from zero on."""
    for reason in SOURCE_SKIPS:
        assert 0 == value(metrics, "otp_source_skips_total", source="tttb", reason=reason)
        metrics.source_skip("tttb", reason)
        assert 1 == value(metrics, "otp_source_skips_total", source="tttb", reason=reason)
    for share, is_open in ((2, True), (12, False)):
        metrics.source_share("tttb", share)
        metrics.source_open("tttb", is_open=is_open)
        assert share == value(metrics, "otp_source_share", source="tttb")
        assert is_open == value(metrics, "otp_source_open", source="tttb")
    metrics.source_shift("tttb", "away")
    assert 1 == value(metrics, "otp_source_shifts_total", source="tttb", direction="away")
    assert 0 == value(metrics, "otp_source_shifts_total", source="tttb", direction="back")


@pytest.mark.parametrize("name", QUEUES)
def test_queue_gauges(metrics: Metrics, name: str) -> None:
    """The worker's newest reading of a queue replaces the one before."""
    metrics.queue(name, 9, 12.5)
    metrics.queue(name, 2, 0.5)

    assert value(metrics, "otp_queue_depth", queue=name) == 2
    assert value(metrics, "otp_queue_oldest_age_seconds", queue=name) == 0.5


def test_store(metrics: Metrics) -> None:
    """Round trips, batches, calls by script, retries and errors by kind are recorded."""
    metrics.store_round_trip(3)
    metrics.store_round_trip(1)
    metrics.store_call("check", 0.004)
    metrics.store_retry()
    metrics.store_error("refused")

    assert value(metrics, "otp_store_round_trips_total") == 2
    assert value(metrics, "otp_store_batch_size_sum") == 4
    assert value(metrics, "otp_store_call_seconds_count", script="check") == 1
    assert value(metrics, "otp_store_retries_total") == 1
    assert value(metrics, "otp_store_errors_total", kind="refused") == 1
    assert [0.0] * (len(STORE_ERRORS) - 1) == [
        value(metrics, "otp_store_errors_total", kind=kind) for kind in STORE_ERRORS if kind != "refused"
    ]


def test_http(metrics: Metrics) -> None:
    """A request is counted by route, method and status; unknown ones collapse."""
    metrics.http_request("/v1/verifications", "POST", 201, 0.003)
    metrics.http_request("/v1/verifications/0900000001", "0900000002", 999, 0.003)

    total = "otp_http_requests_total"
    assert value(metrics, total, route="/v1/verifications", method="POST", status="201") == 1
    assert value(metrics, total, route="other", method="other", status="other") == 1
    assert value(metrics, "otp_http_request_seconds_count", route="/v1/verifications") == 1
    assert value(metrics, "otp_http_request_seconds_count", route="other") == 1


def test_gauges_of_the_process(metrics: Metrics) -> None:
    """Waiters, readiness and the build are there, and so are the process's own metrics."""
    metrics.waiters(7)
    metrics.ready(ready=True)

    assert value(metrics, "otp_waiters") == 7
    assert value(metrics, "otp_ready") == 1
    metrics.ready(ready=False)
    assert value(metrics, "otp_ready") == 0
    assert value(metrics, "otp_build_info", version="1.2.3") == 1
    text = metrics.render()[0]
    assert b"process_cpu_seconds_total" in text
    assert b"python_info" in text
    assert b"python_gc_collections_total" in text


def test_render_is_prometheus_text(metrics: Metrics) -> None:
    """What is rendered parses as the format that its content type names, and every metric explains itself."""
    metrics.http_request("/v1/verifications", "POST", 201, 0.003)

    body, content_type = metrics.render()

    assert content_type.startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    ours = {name: family for name, family in families.items() if name.startswith("otp_")}
    assert {"otp_limit_decisions", "otp_limit_fill_ratio", "otp_http_requests", "otp_queue_depth"} <= set(ours)
    assert [] == [name for name, family in ours.items() if not family.documentation]
    assert b"_created" not in body


def test_two_sets_of_metrics_stand_side_by_side() -> None:
    """Each has its registry: what one counts, the other does not see."""
    first, second = make_metrics(), make_metrics()

    first.store_retry()

    assert value(first, "otp_store_retries_total") == 1
    assert value(second, "otp_store_retries_total") == 0


ANYTHING = st.one_of(
    st.text(max_size=40),
    st.sampled_from(["0900000001", "+84900000001", "052090000001", "123456", "phone_day", "registration"]),
)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(ANYTHING, ANYTHING, st.integers()), max_size=20))
def test_labels_never_carry_what_callers_send(calls: list[tuple[str, str, int]]) -> None:
    """Invariant 14 and 5: whatever text arrives as a label, only names of the closed sets are rendered."""
    metrics = make_metrics()
    for one, two, number in calls:
        metrics.limit_decision(one, two, 0.5)
        metrics.verification_started(one)
        metrics.verification_finished(one, two, one, 1.0)
        metrics.attempt(one, two)
        metrics.send(one, two)
        metrics.send_latency(one, 1.0)
        metrics.sms_segments(one, 1)
        metrics.ownership_check(one, two, 1.0)
        metrics.source_share(one, 1)
        metrics.source_open(one, is_open=True)
        metrics.source_shift(one, two)
        metrics.source_skip(one, two)
        metrics.webhook(one)
        metrics.queue(one, 1, 1.0)
        metrics.store_call(one, 1.0)
        metrics.store_error(one)
        metrics.http_request(one, two, number, 1.0)

    seen = set(re.findall(
        r'(?:limit|decision|purpose|status|reason|outcome|gateway|result|source|queue|script|kind|route|method|direction)'
        r'="((?:[^"\\]|\\.)*)"', metrics.render()[0].decode(),
    ))

    names = {"registration", "sign_in", "phone_day", "service_rate", "fake", "tttb", "start", "check", "other"}
    closed = {*DECISIONS, *ATTEMPT_OUTCOMES, *QUEUES, *STORE_ERRORS, *map(str, OwnershipOutcome), *map(str, SendResult)}
    closed |= {"started", *map(str, Status), "sim_not_owned", "subscriber_unknown", "ownership_unavailable", "risk"}
    closed |= {*SKIP_REASONS, *SOURCE_SKIPS, *SHIFTS, *METHODS, *map(str, Result)}
    closed |= {str(number) for number in range(100, 600)}
    assert set() == seen - names - closed
