"""Commands about webhooks: what waits, what was given up, and how to try a receiver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from otp_service.cli.common import ConfigDir, fail, read_settings, run, show

if TYPE_CHECKING:
    from otp_service.core.client import Client
    from otp_service.core.keyring import KeyRing
    from otp_service.core.webhooks import Attempt
    from otp_service.storage.webhooks import WebhookStore

webhooks_app = typer.Typer(no_args_is_help=True, help="Verdicts on their way to the portals.")

Found = TypeVar("Found")

ClientName = Annotated[str, typer.Argument(help="A client of config/clients.toml, or of the demo.")]

#: What a result of ``try`` means, and what to do.
ADVICE: Final[Mapping[str, str]] = {
    "gone": "410: the receiver wants nothing more at this address. Verdicts for it would be given up, until "
            "`otp-service webhooks enable`.",
    "throttled": "The receiver, or a proxy before it, is overloaded or down. A verdict would be tried again later.",
    "redirected": "The receiver redirects, and redirects are not followed. Name the address that it redirects to.",
    "refused": "The receiver does not take it. Look there: the path, the secret that it checks with, and its clock.",
    "failed": "The receiver failed. Look into its log. A verdict would be tried again later.",
    "timeout": "No answer within 15 seconds. Let the receiver answer at once, and work afterwards.",
    "no_answer": "Nobody answered there over HTTP. Does the receiver run? Check name, port, certificate and firewall.",
    "too_much": "32 KiB came, and no status among them. Let the receiver answer with a status, and little more.",
    "address_refused": "This name leads to an address inside a network, or of this machine, and webhooks go to the "
                       "public internet alone. Give the receiver a public address, or use the demo to try one here.",
    "host_not_registered": "Not https, or the host is none of the client's webhook_hosts. Add it to "
                           "config/clients.toml and restart, or use one of them.",
    "port_refused": "Webhooks go to port 443, or to one from 1024 up. Let the receiver listen there.",
    "no_secret": "The client has nothing to sign with. `otp-service webhooks secret` makes a secret, for its "
                 "webhook_secrets_file.",
}


@dataclass(frozen=True, slots=True)
class _Desk:
    """A store of webhooks, and the clients whose they are."""

    store: WebhookStore
    ring: KeyRing
    clients: tuple[Client, ...]

    def client(self, name: str) -> Client:
        """Return a client; the command ends where there is none of this name."""
        for one in self.clients:
            if one.name == name:
                return one
        names = ", ".join(sorted(one.name for one in self.clients)) or "none"
        return fail(f"no client {name!r}; there are: {names}")

    def tenants(self, name: str) -> list[str]:
        """Return the queues of a client, or of all: what live and test keys made."""
        from otp_service.storage.records import TEST_SUFFIX

        clients = (self.client(name),) if name else self.clients
        return [tenant for one in clients for tenant in (one.name, one.name + TEST_SUFFIX)]


@webhooks_app.command("list")
def webhooks_list(
    client: Annotated[str, typer.Argument(help="Show this client's; every one's by default.")] = "",
    *,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many of a client to show of each kind.")] = 50,
    config: ConfigDir = None,
) -> None:
    """Show the webhooks that wait and those that were given up, each with the last thing it met."""
    from rich.table import Table

    from otp_service.core.times import iso

    async def ask(desk: _Desk) -> None:
        backlogs = await desk.store.backlogs(desk.tenants(client))
        table = Table("client", "waiting", "overdue", "given up")
        for tenant, backlog in backlogs.items():
            overdue = f"{backlog.overdue_ms / 1000:.0f} s" if backlog.overdue_ms else "-"
            table.add_row(_shown(tenant), str(backlog.waiting), overdue, str(backlog.dead))
        show(table)
        for tenant, backlog in backlogs.items():
            if backlog.waiting:
                waiting = Table("verification", "status", "next attempt", "that is", "attempts", "the last one")
                for one in await desk.store.waiting(tenant, most):
                    waiting.add_row(
                        one.verification_id, one.status.value, iso(one.due_ms), _until(one.due_in_ms),
                        str(one.attempts), one.word or "-",
                    )
                print(f"\n{_shown(tenant)}: waiting, {_counted('the next first', most, backlog.waiting)}")
                show(waiting)
            if backlog.dead:
                dead = Table("verification", "status", "given up", "attempts", "the last one")
                for gone in await desk.store.dead(tenant, most):
                    dead.add_row(
                        gone.verification_id, gone.status.value, iso(gone.died_ms), str(gone.attempts), gone.word,
                    )
                print(f"\n{_shown(tenant)}: given up, {_counted('the newest first', most, backlog.dead)}")
                show(dead)

    _at_desk(config, ask)


@webhooks_app.command()
def replay(
    client: ClientName,
    verification_ids: Annotated[list[str] | None, typer.Argument(help="Verifications whose end is told again.")] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All that were given up.")] = False,
    config: ConfigDir = None,
) -> None:
    """Tell again what was given up, under the same webhook id, with all attempts before it."""
    if bool(verification_ids) == everything:
        fail("name verifications, or say --all")
    chosen = list(dict.fromkeys(verification_ids or ()))

    async def ask(desk: _Desk) -> tuple[int, list[str]]:
        tenants = desk.tenants(client)
        if everything:
            return sum([await desk.store.replay_all(tenant) for tenant in tenants]), []
        missed = []
        for one in chosen:
            shard = desk.ring.parse_id(one)
            if shard is None or not sum([await desk.store.replay(tenant, shard, [one]) for tenant in tenants]):
                missed.append(one)
        return len(chosen) - len(missed), missed

    count, missed = _at_desk(config, ask)
    print(f"{count} queued again.")
    if missed:
        fail(f"not among those given up: {', '.join(missed)}; `otp-service webhooks list` shows them")


@webhooks_app.command()
def enable(client: ClientName, config: ConfigDir = None) -> None:
    """Use the addresses again at which the client's receivers answered 410, and wanted nothing more."""
    async def ask(desk: _Desk) -> int:
        return await desk.store.put_on(desk.client(client).name)

    print(f"{_at_desk(config, ask)} in use again. What was given up meanwhile is not told again by itself: "
          f"otp-service webhooks replay {client} --all")


@webhooks_app.command()
def secret(
    *,
    pair: Annotated[
        bool, typer.Option("--key-pair", help="An Ed25519 key pair: the portal can check, but not sign."),
    ] = False,
) -> None:
    """Make what webhooks are signed with. It is shown once; two may stand side by side while one replaces the other."""
    from otp_service.core.webhook_secrets import new_key, new_secret
    from otp_service.core.webhooks import public_key

    made = new_key() if pair else new_secret()
    print(f"A webhook secret, shown this once:\n\n  {made}\n")
    print("For this service, a line in the file that config/clients.toml names as webhook_secrets_file, or there:\n")
    print(f'  webhook_secrets = ["{made}"]\n')
    if pair:
        print(f"For the portal, which checks signatures v1a with it:\n\n  {public_key(made)}\n")
    else:
        print("For the portal the same, kept where it keeps its secrets. Nobody else needs it.\n")
    print("To replace one: keep both here until the portal has the new one, then remove the old. Restart the workers.")


@webhooks_app.command("try")
def try_(
    client: ClientName,
    url: Annotated[str, typer.Argument(help="https, at one of the client's webhook_hosts; `-` takes its webhook_url.")],
    config: ConfigDir = None,
) -> None:
    """Send a signed webhook of the type `webhook.test`, as a verdict would go, and print what came back."""
    from otp_service.core.webhooks import Result

    settings = read_settings(config)
    portal, demo = settings.clients().get(client), False
    if portal is None:
        # Only then the store is asked, whether it is a demo's: a receiver can be tried without any.
        portal, demo = _at_desk(config, lambda desk: _found(desk, client)), True
        if not portal.webhook_secrets:
            fail(f"the secret of {client} is new at each start, and the running demo alone knows it: try demo-portal")
    target = portal.webhook_url if url == "-" else url
    if target is None:
        fail(f"{client} has no webhook_url")
    attempt = run(_tried(portal, target, loopback=demo))
    result, word = attempt.result.value, attempt.told
    print(word if word == result else f"{result}: {word}")
    if attempt.result is not Result.DELIVERED:
        print(f"  {ADVICE[result]}")
        raise typer.Exit(1)


async def _tried(portal: Client, url: str, *, loopback: bool) -> Attempt:
    import time
    from secrets import token_hex

    from otp_service.core.webhooks import test_body
    from otp_service.delivery.guarded import GuardedConnections
    from otp_service.delivery.webhooks import WebhookSender

    now_ms = round(time.time() * 1000)
    async with GuardedConnections(loopback=loopback) as connections:
        return await WebhookSender(connections).send(
            portal, url, f"msg_test-{token_hex(8)}", test_body(now_ms), now_ms,
        )


async def _found(desk: _Desk, name: str) -> Client:
    return desk.client(name)


def _shown(tenant: str) -> str:
    from otp_service.storage.records import TEST_SUFFIX

    return f"{tenant.removesuffix(TEST_SUFFIX)}, test keys" if tenant.endswith(TEST_SUFFIX) else tenant


def _until(ms: int) -> str:
    """Return a time from now in words; what is overdue is taken up now."""
    if ms <= 0:
        return "now"
    if ms < 120_000:
        return f"in {ms / 1000:.0f} s"
    return f"in {ms / 60_000:.0f} min" if ms < 7_200_000 else f"in {ms / 3_600_000:.0f} h"


def _counted(order: str, most: int, total: int) -> str:
    return f"{most} of {total}, {order}; --most shows more" if most < total else order


def _at_desk(config: Path | None, ask: Callable[[_Desk], Awaitable[Found]]) -> Found:
    """Do something with the store and its clients: those of the settings, on a demo's store also the demo's own."""
    settings = read_settings(config)

    async def work() -> Found:
        from otp_service.house import opened
        from otp_service.settings.demo import demo_clients
        from otp_service.storage.webhooks import WebhookStore

        async with opened(settings) as house:
            own = demo_clients(settings) if await house.store.kind() == "demo" else ()
            return await ask(_Desk(
                WebhookStore(house.store.client), house.keys.secrets.ring, (*own, *settings.portals),
            ))

    found: Found = run(work())
    return found
