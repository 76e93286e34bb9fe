"""The made-up operator's SIM Swap, by the rules of CAMARA 2.1.0."""

from __future__ import annotations

from typing import Any

import pytest
from support.operator import BLOCKED, NOW_S, OWNER, STRANGER, sample

from otp_service.web.operator.errors import ApiRefusal
from otp_service.web.operator.script import read_script
from otp_service.web.operator.sim_swap import check, retrieve_date

SWAPS = '"swaps": {"0900000001": 12, "+84900000002": "2026-05-31T00:00:00+07:00", "0900000003": 5000}'
SECOND, THIRD, NEVER = "+84900000002", "+84900000003", "+84900000008"


def ask(what: Any, body: dict[str, Any], *, wrong: bool = False) -> Any:
    """Return the answer, or status and code of the refusal."""
    script = read_script(f'{{"wrong": {str(wrong).lower()}, {SWAPS}}}')
    try:
        return what(body, sample(), script, NOW_S)
    except ApiRefusal as refusal:
        return refusal.status, refusal.code


class TestCheck:
    @pytest.mark.parametrize(("phone", "max_age", "swapped"), [
        (OWNER, 12, True), (OWNER, 11, False), (OWNER, 2400, True), (OWNER, 12.0, True),
        (SECOND, 31, True), (SECOND, 30, False), (THIRD, 2400, False), (NEVER, 2400, False),
    ])
    def test_age(self, phone: str, max_age: float, swapped: bool) -> None:
        """A SIM was swapped when that is at most so many hours ago; a moment counts in its own time zone."""
        assert {"swapped": swapped} == ask(check, {"phoneNumber": phone, "maxAge": max_age})

    def test_usual_age(self) -> None:
        """Without a maximum age, 240 hours are looked at."""
        young, old = read_script('{"swaps": {"0900000001": 240}}'), read_script('{"swaps": {"0900000001": 241}}')

        assert [True, False] == [
            check({"phoneNumber": OWNER}, sample(), script, NOW_S)["swapped"] for script in (young, old)
        ]

    @pytest.mark.parametrize(("max_age", "code"), [
        (0, "OUT_OF_RANGE"), (-1, "OUT_OF_RANGE"), (2401, "OUT_OF_RANGE"), (100_000, "OUT_OF_RANGE"),
        ("240", "INVALID_ARGUMENT"), (1.5, "INVALID_ARGUMENT"), (True, "INVALID_ARGUMENT"), (None, "INVALID_ARGUMENT"),
    ])
    def test_bad_age(self, max_age: object, code: str) -> None:
        """A number outside the range is another error than what is no whole number."""
        assert (400, code) == ask(check, {"phoneNumber": OWNER, "maxAge": max_age})

    def test_wrong(self) -> None:
        """A script's wrong answer is the opposite."""
        assert {"swapped": False} == ask(check, {"phoneNumber": OWNER}, wrong=True)
        assert {"swapped": True} == ask(check, {"phoneNumber": NEVER}, wrong=True)


class TestDate:
    @pytest.mark.parametrize(("phone", "said"), [
        (OWNER, {"latestSimChange": "2026-05-31T12:00:00.000Z"}),
        (SECOND, {"latestSimChange": "2026-05-30T17:00:00.000Z"}),
        (THIRD, {"latestSimChange": None, "monitoredPeriod": 100}),
        (NEVER, {"latestSimChange": None, "monitoredPeriod": 100}),
    ])
    def test_moment(self, phone: str, said: dict[str, object]) -> None:
        """The last change is a moment in UTC; one longer ago than 100 days is forgotten, as is none."""
        assert said == ask(retrieve_date, {"phoneNumber": phone})

    def test_wrong(self) -> None:
        """A script's wrong answer has a change where there was none, and none where there was one."""
        assert {"latestSimChange": None, "monitoredPeriod": 100} == ask(
            retrieve_date, {"phoneNumber": OWNER}, wrong=True,
        )
        assert {"latestSimChange": "2026-05-31T23:00:00.000Z"} == ask(
            retrieve_date, {"phoneNumber": NEVER}, wrong=True,
        )


@pytest.mark.parametrize("what", [check, retrieve_date])
@pytest.mark.parametrize(("body", "refusal"), [
    ({}, (422, "MISSING_IDENTIFIER")),
    ({"phoneNumber": STRANGER}, (404, "IDENTIFIER_NOT_FOUND")),
    ({"phoneNumber": BLOCKED}, (422, "SERVICE_NOT_APPLICABLE")),
    ({"phoneNumber": "0900000001"}, (400, "INVALID_ARGUMENT")),
    ({"phoneNumber": f"{OWNER}\n"}, (400, "INVALID_ARGUMENT")),
    ({"phoneNumber": None}, (400, "INVALID_ARGUMENT")),
])
def test_refusals(what: Any, body: dict[str, Any], refusal: tuple[int, str]) -> None:
    """Nobody named, a stranger, a SIM out of service and a bad number have a code each."""
    assert refusal == ask(what, body)
