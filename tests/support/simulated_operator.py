"""
Simulated operators as the service meets them, and the citizens who are their subscribers.

::

    async with simulated() as operator, Installation(tmp_path, gateway_url=…, **operator.settings("carrier")) as site:
        operator.plays(answer={"status": 503})
        ...
        assert 1 == operator.asked("match")

The operator stands in the test's own process behind a real socket; ``operator_process`` starts one that can be killed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from otp_service.core.phone import Carrier
from otp_service.web.operator.oauth import TOKEN_PATH, OAuthClient
from otp_service.web.operator.script import read_script
from otp_service.web.operator.server import Operator, OperatorOptions, serving
from otp_service.web.operator.subscribers import Subscriber, Subscribers
from support.http import Api, Reply
from support.operator import CLIENT_ID, SECRET
from support.processes import Installation, Run, eventually
from support.sms_gateway import ScriptedGateway

FULL_NAME, BIRTH_DATE = "TRẦN THỊ ĐÀO TẠO GIẢ", "1990-12-13"

_API_ROOT = re.compile(r"API root (http://\S+),")


@dataclass(frozen=True, slots=True)
class Citizen:
    """Somebody with a SIM: ``phone`` as people write it, ``id_number`` their document; ``at`` tells them apart."""

    at: int
    phone: str
    id_number: str

    @property
    def e164(self) -> str:
        """The number as operators write it."""
        return f"+84{self.phone.removeprefix('0')}"

    def subscriber(self, carrier: Carrier = Carrier.MOBIFONE) -> Subscriber:
        """Return the operator's record of them."""
        return Subscriber(self.e164, self.id_number, FULL_NAME, BIRTH_DATE, "active", carrier)

    async def starts(self, api: Api, purpose: str = "registration", **more: Any) -> Reply:
        """Start a verification with all that may be compared."""
        fields = {
            "id_number": self.id_number, "full_name": FULL_NAME, "birth_date": BIRTH_DATE,
            "end_user_ip": f"203.0.{self.at}.7", **more,
        }
        return await api.start(self.phone, purpose, **fields)

    async def proves(self, api: Api, gateway: ScriptedGateway, purpose: str = "registration", **more: Any) -> Reply:
        """Start a verification and check its code; returns the answer to the check."""
        started = await self.starts(api, purpose, **more)
        assert (201, "pending") == started.said, started.body
        return await api.check(started["id"], await gateway.code(started["id"]))


def citizens(count: int, first: int = 0) -> list[Citizen]:
    """Return so many people."""
    return [Citizen(at, f"07000010{at:02d}", f"0520900001{at:02d}") for at in range(first, first + count)]


#: Subscribers enough for every test.
EVERYBODY = citizens(90)


class SimulatedOperator:
    """An operator in this process; ``base`` is CAMARA's ``apiRoot``."""

    def __init__(self, operator: Operator, base: str) -> None:
        self.base = base
        self._operator = operator
        self._stage = operator.stage

    @property
    def tokens(self) -> list[str]:
        """Every access token that it has given."""
        return list(self._operator._tokens._tokens)

    def plays(self, **script: Any) -> None:
        """Let things go wrong from now on as ``script.py`` says; nothing goes wrong without a word."""
        self._stage.play(read_script(orjson.dumps(script)))

    def asked(self, endpoint: str = "match") -> int:
        """Return how many calls an endpoint got."""
        return self._stage.asked[endpoint]

    def settings(self, name: str, **options: str) -> dict[str, str]:
        """Return the settings of a source that asks this operator."""
        return camara(name, self.base, **options)


@asynccontextmanager
async def simulated(
    rows: Iterable[Subscriber] | None = None, carrier: Carrier | None = None, **options: Any,
) -> AsyncIterator[SimulatedOperator]:
    """Serve an operator, of everybody unless told otherwise."""
    table = Subscribers([one.subscriber() for one in EVERYBODY] if rows is None else rows, carrier)
    operator = Operator(OperatorOptions(subscribers=table, client=OAuthClient(CLIENT_ID, SECRET), **options))
    async with serving(operator) as base:
        yield SimulatedOperator(operator, base)


async def operator_process(site: Installation, port: int, *words: str) -> Run:
    """Start ``simulate-operator`` and wait until it serves; its ``base`` is CAMARA's ``apiRoot``."""
    run = site.launch("simulate-operator", "--port", str(port), *words, port=port)
    root = await eventually(lambda: _API_ROOT.search(run.stdout), "the operator serves")
    assert run.base == root[1]
    return run


def camara(name: str, base: str, **options: str) -> dict[str, str]:
    """Return the settings of a ``camara`` source; with a secret unless the options have a key."""
    given = {"api_root": base, "token_url": base + TOKEN_PATH, "client_id": CLIENT_ID, **options}
    if "private_key_file" not in given:
        given.setdefault("client_secret", SECRET)
    prefix = f"SOURCES__{name.upper()}"
    return {
        f"{prefix}__ADAPTER": "camara",
        **{f"{prefix}__OPTIONS__{option.upper()}": value for option, value in given.items()},
    }


def metric(rendered: str, name: str, **labels: str) -> float | None:
    """Return a sample of a ``/metrics`` page; None when it has no such line."""
    wanted = {f'{label}="{value}"' for label, value in labels.items()}
    for line in rendered.splitlines():
        series, _, value = line.rpartition(" ")
        found, _, inner = series.partition("{")
        if found == name and set(inner.removesuffix("}").split(",")) - {""} == wanted:
            return float(value)
    return None


async def metrics(run: Run) -> str:
    """Return what a process shows on its private listener."""
    async with Api(run.private, None) as private:
        return str((await private.get("/metrics")).body)
