"""Sources whose answers come from what they should not: somebody is told, once."""

from __future__ import annotations

import io
from collections.abc import Iterator

import orjson
import pytest

from otp_service.core.evidence import Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.inquiry.problems import Problems
from otp_service.inquiry.sources import AskedSource
from otp_service.telemetry import logs


class Troubled:
    """A source with a problem of the test's choice."""

    name = "troubled"
    assurance = "subscriber_table"

    def __init__(self) -> None:
        self.problem: str | None = None

    async def ask(self, _question: OwnershipQuestion) -> Evidence:
        """Know nothing."""
        return Evidence(OwnershipOutcome.NOT_AVAILABLE, self.name)


class Untroubled:
    """A source that says nothing of problems."""

    name = "untroubled"
    assurance = "subscriber_table"
    ask = Troubled.ask


@pytest.fixture
def log() -> Iterator[io.BytesIO]:
    """Give what is logged."""
    stream = io.BytesIO()
    logs.configure(json=True, level="info", stream=stream, cache=False)
    yield stream
    logs.reset()


def test_a_problem_is_told_once_and_its_end_too(log: io.BytesIO) -> None:
    """Each change is one line, however often it is looked."""
    source = Troubled()
    problems = Problems([AskedSource("table", source), AskedSource("other", Untroubled())])
    for problem in (None, "moved", "moved", "damaged", None, None):
        source.problem = problem
        problems.look()
    lines = [orjson.loads(line) for line in log.getvalue().splitlines()]
    assert [("error", "moved"), ("error", "damaged"), ("info", None)] == [
        (line["level"], line.get("problem")) for line in lines
    ]
    assert {"table"} == {line["source"] for line in lines}
