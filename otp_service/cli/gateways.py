"""Commands about SMS gateways: what there is, one send step by step, a fake one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otp_service.cli.common import ConfigDir, fail, read_number, read_settings, run, show
from otp_service.core.errors import ConfigurationError

gateways_app = typer.Typer()


@gateways_app.command()
def gateways(config: ConfigDir = None) -> None:
    """List the SMS gateways: what each installed adapter supports, and which accounts the routes use."""
    from rich.table import Table

    from otp_service.gateway_tools import installed, uses

    settings = read_settings(config)
    table = Table("adapter", "reaches phones", "delivery reports", "drops duplicates", "text", "contract")
    for adapter in installed():
        if adapter.problem:
            table.add_row(adapter.name, "-", "-", "-", "-", adapter.problem)
            continue
        can = adapter.supports
        reports = [
            *(["callback, signed" if can.signed else "callback"] if can.callback else []),
            *(["polling"] if can.polling else []), *(["connection"] if adapter.connected else []),
        ]
        text = "template" if can.templates else "any alphabet" if can.unicode else "GSM-7"
        parts = f", {can.parts} SMS" if can.parts > 1 else ""
        table.add_row(
            adapter.name, _yes(adapter.real), ", ".join(reports) or "no", _yes(can.deduplicates), text + parts,
            f"experimental: {adapter.contract}" if adapter.experimental else adapter.contract,
        )
    show(table)
    used = Table("in use", "adapter", "routes", "delivery reports")
    for row in uses(settings):
        used.add_row(*row)
    show(used)


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
