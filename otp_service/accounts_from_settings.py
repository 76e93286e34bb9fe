"""``[gateways.*]`` becomes accounts; an adapter that is not what the core needs is told before anything starts."""

from __future__ import annotations

import math
from typing import Any, Final

from otp_service import plugins
from otp_service.core.errors import ConfigurationError
from otp_service.delivery.accounts import Account, Pace
from otp_service.settings import GatewaySection, Settings, adapter_of

#: The methods of each kind of gateway in core/ports.py; an adapter is of one kind.
_KINDS: Final = {
    "SmsGateway": ("build_request", "parse_response"),
    "TokenGateway": ("build_token_request", "parse_token", "build_authorised", "parse_response"),
    "ConnectedGateway": ("open", "send", "close"),
}


def make_accounts(settings: Settings, *, trying: str = "") -> list[Account]:
    """
    Make every gateway that a route names, and the one that is tried out.

    Raises ConfigurationError with a line for each problem, which names the account.
    """
    names = dict.fromkeys((*settings.route_book().gateways, *([trying] if trying else [])))
    accounts, problems = [], []
    for name in names:
        try:
            accounts.append(make_account(name, settings.gateways.get(name), trying=name == trying))
        except ConfigurationError as error:
            problems.append(str(error))
    if problems:
        raise ConfigurationError("\n".join(problems))
    return accounts


def make_account(name: str, section: GatewaySection | None, *, trying: bool = False) -> Account:
    """
    Make one account; ``trying`` takes an experimental adapter that nobody has accepted.

    Raises ConfigurationError with a line for each problem, which names the account.
    """
    adapter, options = adapter_of(name, section)
    section = section or GatewaySection()
    try:
        gateway = plugins.make(plugins.GATEWAYS, adapter, options)
    except ConfigurationError as error:
        raise ConfigurationError(f"gateways.{name}: {error}") from error
    if problems := _misshapen(gateway):
        raise ConfigurationError("\n".join(f"gateways.{name}: {problem}" for problem in problems))
    if getattr(gateway, "experimental", False) and not (section.accept_experimental or trying):
        raise ConfigurationError(
            f"gateways.{name}: the contract of {gateway.name} is known from integrators' code alone; try it with "
            f"otp-service send-test, then set accept_experimental = true"
        )
    account = Account(
        name, gateway, concurrency=section.concurrency,
        pace=Pace(section.rate, section.burst) if section.rate else None,
        report_secret=section.report_secret, report_networks=section.report_networks,
        poll_reports=section.poll_reports,
    )
    for wanted, supported, setting in (
        (account.report_secret, account.supports.callback, "report_secret"),
        (account.poll_reports, account.supports.polling, "poll_reports"),
    ):
        if wanted and not supported:
            raise ConfigurationError(f"gateways.{name}.{setting}: {gateway.name} gives no such delivery reports")
    return account


def _misshapen(gateway: Any) -> list[str]:
    """Say what keeps an object from being a gateway of core/ports.py: a slip there shows only when an SMS is sent."""
    problems = []
    name, real, timeout_s = (getattr(gateway, one, None) for one in ("name", "real", "timeout_s"))
    if not (isinstance(name, str) and name):
        problems.append("its attribute name is not a text")
    if not isinstance(real, bool):
        problems.append("its attribute real is not True or False")
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s < math.inf:
        problems.append("its attribute timeout_s is not a positive number of seconds")
    there = {kind: [one for one in methods if callable(getattr(gateway, one, None))]
             for kind, methods in _KINDS.items()}
    complete = [kind for kind, methods in _KINDS.items() if len(there[kind]) == len(methods)]
    if len(complete) > 1:
        problems.append(f"it has the methods of {plugins.listed(complete)}; a gateway is one of them")
    elif not complete:
        # The kind it is nearest to is the one it was meant to be.
        meant = max(_KINDS, key=lambda kind: len(there[kind]))
        missing = [one for one in _KINDS[meant] if one not in there[meant]]
        problems.append(f"{plugins.listed(missing)} {'are' if len(missing) > 1 else 'is'} missing ({meant})")
    return problems
