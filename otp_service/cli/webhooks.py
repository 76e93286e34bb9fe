"""Commands about webhooks: what waits, what was given up, and how to try a receiver."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from otp_service.cli.common import ConfigDir, fail, read_settings, run, show

if TYPE_CHECKING:
    from otp_service.house import House
    from otp_service.settings import Settings
    from otp_service.storage.webhooks import WebhookStore

webhooks_app = typer.Typer(no_args_is_help=True, help="Verdicts on their way to the portals.")

Found = TypeVar("Found")

ClientName = Annotated[str, typer.Argument(help="A client of config/clients.toml.")]


@webhooks_app.command("list")
def webhooks_list(
    client: Annotated[str, typer.Argument(help="Show what was given up of this client; of every one by default.")] = "",
    *,
    most: Annotated[int, typer.Option(min=1, max=10_000, help="How many of a client at most, the newest.")] = 50,
    config: ConfigDir = None,
) -> None:
    """Show how many webhooks wait and how many were given up, and each of those with the last thing it met."""
    from rich.table import Table

    from otp_service.core.times import iso

    settings = read_settings(config)
    tenants = _tenants(settings, client)

    async def ask(store: WebhookStore, _: House) -> None:
        backlogs = await store.backlogs(tenants)
        table = Table("client", "waiting", "overdue", "given up")
        for tenant, backlog in backlogs.items():
            overdue = f"{backlog.overdue_ms / 1000:.0f} s" if backlog.overdue_ms else "-"
            table.add_row(_shown(tenant), str(backlog.waiting), overdue, str(backlog.dead))
        show(table)
        for tenant, backlog in backlogs.items():
            if not backlog.dead:
                continue
            dead = Table("verification", "status", "given up", "attempts", "the last one")
            for one in await store.dead(tenant, most):
                dead.add_row(one.verification_id, one.status.value, iso(one.died_ms), str(one.attempts), one.word)
            print(f"\n{_shown(tenant)}: given up, the newest first")
            show(dead)

    _with_store(settings, ask)


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
    settings = read_settings(config)
    tenants = _tenants(settings, client)

    async def ask(store: WebhookStore, house: House) -> int:
        if everything:
            return sum([await store.replay_all(tenant) for tenant in tenants])
        shards = {one: house.keys.secrets.ring.parse_id(one) for one in verification_ids or ()}
        return sum([
            await store.replay(tenant, shard, [one])
            for one, shard in shards.items() if shard is not None for tenant in tenants
        ])

    count = _with_store(settings, ask)
    print(f"{count} queued again.")
    if not everything and count < len(set(verification_ids or ())):
        fail("the others were not among those given up; `otp-service webhooks list` shows them")


@webhooks_app.command()
def enable(client: ClientName, config: ConfigDir = None) -> None:
    """Use the addresses again at which the client's receivers answered 410, and wanted nothing more."""
    settings = read_settings(config)
    _tenants(settings, client)

    async def ask(store: WebhookStore, _: House) -> int:
        return await store.put_on(client)

    print(f"{_with_store(settings, ask)} in use again. What was given up meanwhile is not told again by itself: "
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
    import time

    from otp_service.core.webhooks import Result

    settings = read_settings(config)
    _tenants(settings, client)
    portal = settings.clients().get(client)
    target = portal.webhook_url if portal and url == "-" else url
    if portal is None or target is None:
        fail(f"{client} has no webhook_url")

    async def send() -> tuple[str, Result]:
        from secrets import token_hex

        from otp_service.core.webhooks import test_body
        from otp_service.delivery.guarded import GuardedConnections
        from otp_service.delivery.webhooks import WebhookSender

        now_ms = round(time.time() * 1000)
        async with GuardedConnections() as connections:
            attempt = await WebhookSender(connections).send(
                portal, target, f"msg_test-{token_hex(8)}", test_body(now_ms), now_ms,
            )
        return attempt.told, attempt.result

    word, result = run(send())
    print(f"{result.value}: {word}")
    if result is not Result.DELIVERED:
        raise typer.Exit(1)


def _tenants(settings: Settings, client: str) -> list[str]:
    """Return the queues of a client, or of all: what live and test keys made."""
    from otp_service.storage.records import TEST_SUFFIX

    names = [one.name for one in settings.portals if client in {"", one.name}]
    if client and not names:
        fail(f"no client {client!r}; `otp-service clients list` shows them")
    return [tenant for name in names for tenant in (name, name + TEST_SUFFIX)]


def _shown(tenant: str) -> str:
    from otp_service.storage.records import TEST_SUFFIX

    return f"{tenant.removesuffix(TEST_SUFFIX)}, test keys" if tenant.endswith(TEST_SUFFIX) else tenant


def _with_store(settings: Settings, ask: Callable[[WebhookStore, House], Awaitable[Found]]) -> Found:
    async def work() -> Found:
        from otp_service.house import opened
        from otp_service.storage.webhooks import WebhookStore

        async with opened(settings) as house:
            return await ask(WebhookStore(house.store.client), house)

    found: Found = run(work())
    return found
