"""
The command line.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from otp_service.cli.common import ConfigDir, fail, read_number, read_settings, run, show
from otp_service.cli.gateways import gateways_app
from otp_service.cli.operator import operator_app
from otp_service.cli.sources import sources_app
from otp_service.cli.subscribers import subscribers_app
from otp_service.cli.webhooks import webhooks_app
from otp_service.core.errors import ConfigurationError

app = typer.Typer(
    name="otp-service", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="One-time codes by SMS and proof that the SIM belongs to the person: one signed verdict.",
)
clients_app = typer.Typer(no_args_is_help=True, help="Portals and their API keys.")
keys_app = typer.Typer(no_args_is_help=True, help="The secrets that codes, seals and signatures derive from.")
limits_app = typer.Typer(no_args_is_help=True, help="Limits, and what a phone has used of them.")
app.add_typer(clients_app, name="clients")
app.add_typer(keys_app, name="keys")
app.add_typer(limits_app, name="limits")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(gateways_app)
app.add_typer(subscribers_app)
app.add_typer(operator_app)
app.add_typer(sources_app)


# -- processes ---------------------------------------------------------------------------------------------------------


@app.command()
def serve(config: ConfigDir = None) -> None:
    """Run the API."""
    from otp_service.app import serve as work

    run(work(read_settings(config)))


@app.command()
def worker(config: ConfigDir = None) -> None:
    """Run a worker: it sends SMS, ends what is overdue and asks ownership sources. Any number may run."""
    from otp_service.app import work

    run(work(read_settings(config)))


@app.command()
def demo(
    port: Annotated[int, typer.Option(envvar="PORT", min=0, max=65535, help="Port on 127.0.0.1; 0 takes any.")] = 8080,
    data_dir: Annotated[Path, typer.Option(envvar="DATA_DIR", help="Where its data is kept.")] = Path(".data"),
    config: ConfigDir = None,
) -> None:
    """Run everything on this machine: embedded Valkey, API, worker, fake SMS gateway, sample people and portal."""
    from otp_service.app import demo as work
    from otp_service.settings import demo_settings

    settings = read_settings(config)
    try:
        settings = demo_settings(settings, port, data_dir)
    except ConfigurationError as error:
        fail(str(error))
    run(work(settings, announce=lambda base, portal: print(_welcome(base, portal, data_dir), flush=True)))


def _welcome(base: str, portal: str | None, data_dir: Path) -> str:
    from otp_service.settings.base import DEMO_WEBHOOK_SECRET

    if portal is None:
        portal = "not installed: pip install 'otp-service[portal]'"
    return _WELCOME.format(base=base, portal=portal, data_dir=data_dir, secret=DEMO_WEBHOOK_SECRET)


_WELCOME = """
The demo is ready on {base}  (data in {data_dir}, Ctrl-C stops it)
  sample portal   {portal}   (register there as a citizen does)
  its phone       {base}/demo/phone   (in a second window: the SMS arrive here)
  documentation   {base}/docs
  SMS as JSON     {base}/demo/sms
  API key         demo-portal-key   (valid in this demo only)
  webhook secret  {secret}   (valid in this demo only)

Its limits are a real service's: one SMS a minute per number, five ownership checks a day per number and ID number.
A new data folder (DATA_DIR) starts afresh; config/sample/subscribers.csv has more numbers.

A citizen whose SIM is theirs: paste these four commands, the last answers "verified".

  START=$(curl -s {base}/v1/verifications -H 'Authorization: Bearer demo-portal-key' \\
    -H 'Content-Type: application/json' -d '{{"phone_number": "0900000001", "purpose": "registration",
    "id_number": "052090000001", "end_user_ip": "203.0.113.7", "reference": "hs-1"}}'); echo "$START"
  ID=$(echo "$START" | grep -o '"id":"[^"]*' | cut -d'"' -f4); sleep 1
  CODE=$(curl -s {base}/demo/sms | grep -oE '[0-9]{{6}} la ma' | head -n 1 | cut -c 1-6); echo "$CODE"
  curl -s {base}/v1/verifications/$ID/check -H 'Authorization: Bearer demo-portal-key' \\
    -H 'Content-Type: application/json' -d "{{\\"code\\": \\"$CODE\\"}}"; echo

The same with somebody else's SIM ends "rejected", reason "sim_not_owned":

  START=$(curl -s {base}/v1/verifications -H 'Authorization: Bearer demo-portal-key' \\
    -H 'Content-Type: application/json' -d '{{"phone_number": "0900000002", "purpose": "registration",
    "id_number": "052090000009", "end_user_ip": "203.0.113.7", "reference": "hs-2"}}'); echo "$START"
  ID=$(echo "$START" | grep -o '"id":"[^"]*' | cut -d'"' -f4); sleep 1
  CODE=$(curl -s {base}/demo/sms | grep -oE '[0-9]{{6}} la ma' | head -n 1 | cut -c 1-6); echo "$CODE"
  curl -s {base}/v1/verifications/$ID/check -H 'Authorization: Bearer demo-portal-key' \\
    -H 'Content-Type: application/json' -d "{{\\"code\\": \\"$CODE\\"}}"; echo
"""


# -- clients -----------------------------------------------------------------------------------------------------------


@clients_app.command("new")
def clients_new(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits and hyphens, at most 24.")],
    *,
    test: Annotated[bool, typer.Option("--test", help="A test key: no real SMS, its own issuer.")] = False,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Days until the key expires.")] = 365,
) -> None:
    """Make an API key: prints the key once, and the block to paste into config/clients.toml."""
    from otp_service.settings.clients import new_key

    try:
        key, block = new_key(name, test=test, days=days)
    except ConfigurationError as error:
        fail(str(error))
    print(f"The API key of {name}, shown this once; keep it where the portal keeps its secrets:\n\n  {key}\n")
    print(f"Paste this into config/clients.toml and start the service again:\n\n{block}")


@clients_app.command("list")
def clients_list(config: ConfigDir = None) -> None:
    """Show the clients: purposes, origins, and when their keys expire."""
    from rich.table import Table

    table = Table("client", "purposes", "origins", "keys")
    for client in read_settings(config).portals:
        keys = [f"{'test' if key.test else 'live'}, {_expiry(key.expires_at)}" for key in client.keys]
        table.add_row(
            client.name, "\n".join(sorted(client.purposes)), "\n".join(sorted(client.origins)), "\n".join(keys),
        )
    show(table)


# -- keys --------------------------------------------------------------------------------------------------------------


@keys_app.command("rotate")
def keys_rotate(
    activate_in: Annotated[
        int, typer.Option(min=10, help="Seconds until the new key is used; every process must have read it by then."),
    ] = 60,
    config: ConfigDir = None,
) -> None:
    """Add new secrets. Live codes, limits and published signatures survive; running processes follow by themselves."""
    import time

    from otp_service.key_file import KeyFile

    path = read_settings(config).key_path
    if not path.exists():
        fail(f"{path} does not exist: start the service once, or name another file as [keys] file")
    file = KeyFile(path)
    try:
        file.load_or_create()
        new = file.rotate(time.time(), activate_in_s=activate_in)
    except ConfigurationError as error:
        fail(str(error))
    print(f"{path}: added key {new}; it is used in {activate_in} s. Older keys stay readable for what they made.")


@keys_app.command("list")
def keys_list(config: ConfigDir = None) -> None:
    """Show the key ids, never the secrets."""
    import time

    from rich.table import Table

    from otp_service.key_file import KeyFile

    file, now_s = KeyFile(read_settings(config).key_path), time.time()
    if not file.path.exists():
        fail(f"{file.path} does not exist yet: the service makes it when it first starts")
    try:
        file.load_or_create()
        table = Table("kind", "id", "state")
        current = file.ring(now_s).current
        for key_id in file.ring(now_s).ids:
            table.add_row("ring", key_id, "current" if key_id == current else "readable")
        for key in file.signing_keys(now_s):
            table.add_row("test signing" if key.test else "signing", key.kid, "signs" if key.active else "published")
    except ConfigurationError as error:
        fail(str(error))
    show(table)


# -- limits ------------------------------------------------------------------------------------------------------------


@limits_app.command("list")
def limits_list(config: ConfigDir = None) -> None:
    """Show every limit with its numbers and mode, and the overrides."""
    from rich.table import Table

    settings = read_settings(config)
    table = Table("limit", "keyed by", "count", "per", "burst", "mode")
    for limit in settings.limits:
        burst = str(limit.burst or "") if limit.kind.rate else ""
        table.add_row(
            limit.name, limit.kind.subject.value, str(limit.count), _period(limit.period_s), burst, limit.mode.value,
        )
    show(table)
    for override in settings.overrides:
        print(f"override of {override.limit}: {override.count} ({override.comment})")


@limits_app.command("show")
def limits_show(
    phone: Annotated[str, typer.Argument(help="A mobile number in any form; '-' reads it from standard input.")],
    config: ConfigDir = None,
) -> None:
    """Show what a phone has used: failures in a row, waiting time, SMS in 24 h."""
    _phone(phone, config, reset=False)


@limits_app.command("reset")
def limits_reset(
    phone: Annotated[str, typer.Argument(help="A mobile number in any form; '-' reads it from standard input.")],
    config: ConfigDir = None,
) -> None:
    """Forget a phone's failures, SMS and ownership checks, for its owner who was locked out."""
    _phone(phone, config, reset=True)


def _phone(text: str, config: Path | None, *, reset: bool) -> None:
    number = read_number(text)

    async def ask() -> dict[str, int]:
        from otp_service.house import opened

        async with opened(read_settings(config)) as house:
            ring = house.keys.secrets.ring
            return await house.store.phone(ring.shard(number), ring.names("phone", number), reset=reset)

    found: dict[str, int] = run(ask())
    wait = f", the next guess waits {found['guess_wait_ms'] / 60_000:.0f} min" if found["guess_wait_ms"] else ""
    print(f"failures in a row   {found['failures']}{wait}")
    print(f"SMS in 24 hours     {found['sends_24h']}")
    print(f"live verifications  {found['live_verifications']}")
    if reset:
        print("All of this is reset; live verifications go on.")


# -- doctor ------------------------------------------------------------------------------------------------------------


@app.command()
def doctor(config: ConfigDir = None) -> None:
    """Check settings, secrets and store; says what is wrong and what to do. Exit code 1 when something is."""
    from otp_service.doctor import examine

    settings = read_settings(config)
    print("ok    settings   read and complete")
    findings = run(examine(settings))
    for finding in findings:
        print(f"{finding.level:5} {finding.subject:10} {finding.text}")
    if any(finding.level == "FAIL" for finding in findings):
        raise typer.Exit(1)



def _expiry(expires_at: int | None) -> str:
    import time
    from datetime import UTC, datetime

    if expires_at is None:
        return "no expiry"
    word = "until" if expires_at > time.time() else "EXPIRED"
    return f"{word} {datetime.fromtimestamp(expires_at, UTC):%Y-%m-%d}"


def _period(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds > size and seconds % size == 0:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:g} s"


def main() -> None:
    """Run the command line."""
    os.umask(0o077)
    app()
