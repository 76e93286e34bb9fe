"""``otp-service simulate-operator`` as a command: one question without a server, and what it refuses to start with."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from otp_service.cli import app


def command(*words: str) -> tuple[int, str, str]:
    """Run it; returns the exit code and what it printed where."""
    ran = CliRunner().invoke(app, ["simulate-operator", *words])
    return ran.exit_code, ran.stdout, ran.stderr


def test_ask() -> None:
    """One SMS is answered without a server."""
    assert (0, "So giay to khong khop voi thong tin thue bao. Vui long lien he tong dai.\n", "") == command(
        "--ask", "TTTB 052090000002", "--from", "0900000001",
    )


def test_no_reply() -> None:
    """Without a reply it is said why; another carrier does not know the sender."""
    told = "otp-service: no reply: not_a_subscriber\n"

    assert (2, "", told) == command("--ask", "TTTB")
    assert (2, "", told) == command("--ask", "TTTB", "--from", "0900000001", "--carrier", "viettel")
    assert (2, "", "otp-service: no reply: cannot_send\n") == command("--ask", "TTTB", "--from", "0900000006")


def test_another_table(tmp_path: Path) -> None:
    """Another table of made-up people may be served."""
    table = tmp_path / "table.csv"
    table.write_text(
        "phone_number,id_number,full_name,birth_date,status,carrier\n0967000000,,,,active,vinaphone\n",
    )

    assert "Chua co thong tin giay to cua thue bao 0967000000." == command(
        "--subscribers", str(table), "--ask", "TTTB", "--from", "0967000000",
    )[1].split(" Vui")[0]


@pytest.mark.parametrize(("words", "told"), [
    (["--subscribers", "missing.csv"], "missing.csv: cannot be read"),
    (["--public-key", "missing.pem"], "missing.pem: cannot be read"),
    (["--script", "missing.json"], "missing.json: No such file"),
    (["--kyc-match", "0.4"], "the version of KYC Match is written as in its path"),
    (["--kyc-match", "v1", "--strict-id"], "only KYC Match v0.4 can insist"),
])
def test_refuses_to_start(words: list[str], told: str) -> None:
    """What is wrong is one sentence, and nothing is served."""
    code, _, said = command(*words)

    assert 2 == code
    assert said.startswith("otp-service: ")
    assert told in said
