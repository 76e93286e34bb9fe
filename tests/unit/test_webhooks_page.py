"""docs/webhooks.md says what the code does: results, schedule, and an example that is really signed so."""

from __future__ import annotations

import json
import re
from pathlib import Path

from otp_service.cli.webhooks import ADVICE
from otp_service.core.verification import Status
from otp_service.core.webhooks import HOPELESS, SCHEDULE_S, Result, verdict_body

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_every_result_is_told() -> None:
    """The table has each result in its order, and says whether anything is tried again."""
    rows = re.findall(r"^\| `([a-z_]+)` \|.*\| (yes|no|-) \|$", PAGE, re.MULTILINE)
    told = {result.value: "-" if result is Result.DELIVERED else "no" if result in HOPELESS else "yes"
            for result in Result}
    assert list(told.items()) == rows


def test_the_schedule_is_told() -> None:
    """The waits of the page are those of the code."""
    (sentence,) = re.findall(r"^Attempts come at once, then (.*) after the one before", PAGE, re.MULTILINE)
    unit = {"s": 1, "min": 60, "h": 3600}
    waits = [int(number) * unit[name] for number, name in re.findall(r"(\d+) (s|min|h)\b", sentence)]
    assert list(SCHEDULE_S[1:]) == waits


def test_the_example_is_a_webhook() -> None:
    """The body that the page shows is what is sent, and every final status stands on the page."""
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    shown = json.loads(example)
    data = shown["data"]
    assert shown == json.loads(verdict_body(data["id"], data["reference"], Status.VERIFIED, 1_790_000_000_123))
    assert set() == {f"`{status}`" for status in Status if status.final} - set(re.findall(r"`[a-z]+`", PAGE))


def test_every_result_of_a_try_has_advice() -> None:
    """`webhooks try` says what to do about whatever a receiver can do wrong."""
    never_tried = {Result.DELIVERED, Result.DISABLED, Result.UNREADABLE, Result.TOO_LATE}
    assert set(ADVICE) == set(Result) - never_tried
