"""Commands about SMS gateways: what there is, one send step by step, a fake one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otp_service.cli.common import ConfigDir, fail, read_number, read_settings, run, show
from otp_service.core.errors import ConfigurationError

if TYPE_CHECKING:
    from otp_service.gateway_tools import Installed

gateways_app = typer.Typer()


@gateways_app.command()
def gateways(config: ConfigDir = None) -> None:
    """List the SMS gateways: what each adapter supports, and the accounts. Exit code 1 when one cannot start."""
    from rich.table import Table
    from rich.text import Text

    from otp_service.gateway_tools import installed, uses

    settings = read_settings(config)
    adapters = installed()
    table = Table("adapter", "phones", "reports", "duplicates", "text")
    for adapter in adapters:
        can, reports = adapter.supports, _reports(adapter)
        # With the widest of each this fits into 80 columns.
        name = f"{adapter.name}\n(experimental)" if adapter.experimental else adapter.name
        text = "template" if can.templates else "Unicode" if can.unicode else "GSM-7"
        parts = f", {can.parts} SMS" if can.parts > 1 else ""
        told = (_yes(adapter.real), reports, "dropped" if can.deduplicates else "no", text + parts)
        table.add_row(name, *(("-",) * len(told) if adapter.problem else told))
    show(table)
    print("\nWhere the contracts were read:")
    for adapter in adapters:
        print(f"  {adapter.name:9} {adapter.problem or adapter.contract}")
    print()
    used = Table("account", "adapter", "routes", "reports", "state")
    rows = uses(settings)
    for row in rows:
        used.add_row(row.name, row.adapter, "\n".join(row.routes), row.reports, Text(row.state))
    show(used)
    if any(row.problem for row in rows):
        raise typer.Exit(1)


def _reports(adapter: Installed) -> str:
    can = adapter.supports
    return ", ".join([
        *(["callback, signed" if can.signed else "callback"] if can.callback else []),
        *(["polling"] if can.polling else []), *(["connection"] if adapter.connected else []),
    ]) or "no"


@gateways_app.command("send-test")
def send_test(
    phone: Annotated[str, typer.Argument(help="A mobile number in any form; '-' reads it from standard input.")],
    *,
    gateway: Annotated[str, typer.Option(help="The gateway to try, in use or not; by default the first.")] = "",
    purpose: Annotated[str, typer.Option(help="Whose text to send; by default the first purpose's.")] = "",
    wait: Annotated[float, typer.Option(min=0, max=600, help="Seconds to wait for news of the delivery.")] = 0,
    config: ConfigDir = None,
) -> None:
    """Send one SMS with the code 123456, which opens nothing, and print each step. A real gateway charges for it."""
    from otp_service.gateway_tools import send_test as steps

    number = read_number(phone)

    async def tell() -> str:
        last = ""
        async for step, text in steps(read_settings(config), number, gateway=gateway, purpose=purpose, wait_s=wait):
            print(f"{step:9} {text}", flush=True)
            last = text
        return last

    if run(tell()) != "taken":
        raise typer.Exit(1)


@gateways_app.command("fake-gateway")
def fake_gateway(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any.")] = 8090,
    host: Annotated[str, typer.Option(help="Address; beyond loopback anybody reads it.")] = "127.0.0.1",
    script: Annotated[Path | None, typer.Option(help="JSON file with what it does; PUT /script changes it.")] = None,
    report_to: Annotated[str, typer.Option(help="URL that delivery reports are posted to.")] = "",
    report_key: Annotated[str, typer.Option(envvar="OTP_FAKE_REPORT_KEY", help="Signs the reports.")] = "",
) -> None:
    """Run a fake SMS provider for tests: latency, throttling, failures, lost answers, delivery reports."""
    from otp_service.web.fake_gateway.handlers import run as serve
    from otp_service.web.fake_gateway.script import read_script

    try:
        played = read_script(script.read_bytes()) if script else None
    except (ConfigurationError, OSError) as error:
        fail(f"{script}: {error}")
    run(serve(host, port, played, report_to, report_key=report_key, announce=_fake_ready))


def _fake_ready(base: str) -> None:
    print(f"fake SMS gateway: hand over to {base}/gateway, read {base}/sms, script {base}/script (Ctrl-C stops it)")


def _yes(flag: object) -> str:
    return "yes" if flag else "no"
