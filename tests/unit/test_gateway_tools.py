"""What ``otp-service gateways`` finds out about the accounts."""

from __future__ import annotations

from settings_harness import load

from otp_service.gateway_tools import Use, uses

SECRET = "a-report-secret-of-32-characters"


def test_accounts_in_use_come_first_and_the_others_are_not_used() -> None:
    """Each account tells its routes and its reports; one that no route names is not made, whatever is wrong with it."""
    rows = uses(load({
        "sending": {"gateways": ["second=3 console"]},
        "gateways": {
            "spare": {"adapter": "nowhere"},
            "second": {
                "adapter": "fake", "report_secret": SECRET, "poll_reports": True,
                "options": {"url": "http://127.0.0.1:1"},
            },
            "line": {"adapter": "smpp", "options": {
                "host": "127.0.0.1", "port": "2775", "system_id": "a", "password": "b", "sender": "c", "tls": "false",
            }},
        },
        "routes": [{"carriers": ["viettel"], "purposes": ["sign_in"], "gateways": ["line"]}],
    }))

    assert [
        Use("line", "smpp", ("viettel for sign_in: tier 1, weight 1",), "connection"),
        Use("second", "fake", ("all: tier 1, weight 3",), "callback, polling"),
        Use("console", "console", ("all: tier 1, weight 1",)),
        Use("spare", "nowhere"),
    ] == rows
    assert ["ok", "ok", "ok", "not used"] == [row.state for row in rows]


def test_the_state_of_an_account_is_what_keeps_it_from_starting() -> None:
    """An adapter that is not there, one that is not accepted and wrong options are told, without the account's name."""
    nowhere, experimental, options = uses(load({
        "sending": {"gateways": ["nowhere", "mine", "esms"]},
        "gateways": {"mine": {"adapter": "test_settings_gateways:Experimental"}},
    }))

    assert nowhere.state.startswith("no 'nowhere' among otp_service.sms_adapters (installed: console, ")
    assert experimental.state.startswith("the contract of fake is known from integrators' code alone; ")
    assert "esms needs api_key, secret_key and sender" == options.state == options.problem
