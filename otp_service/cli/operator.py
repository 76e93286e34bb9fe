"""The command that stands in for a mobile operator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otp_service.cli.common import fail, run
from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier

if TYPE_CHECKING:
    from otp_service.web.operator.subscribers import Subscribers

operator_app = typer.Typer()


@operator_app.command("simulate-operator")
def simulate_operator(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any.")] = 8091,
    host: Annotated[str, typer.Option(help="Address; beyond loopback anybody changes its script.")] = "127.0.0.1",
    subscribers: Annotated[
        Path | None, typer.Option(help="CSV of made-up subscribers; by default the sample's."),
    ] = None,
    carrier: Annotated[Carrier | None, typer.Option(help="Serve this carrier's subscribers alone.")] = None,
    client_id: Annotated[str, typer.Option(help="Who may ask.")] = "otp-service",
    client_secret: Annotated[
        str, typer.Option(envvar="OTP_OPERATOR_CLIENT_SECRET", help="Its secret; empty takes none."),
    ] = "secret-of-the-simulator",  # noqa: S107 - everybody knows it: a simulator of made-up people
    public_key: Annotated[
        Path | None, typer.Option(help="Its public key for private_key_jwt: PEM, JWK or JWK Set."),
    ] = None,
    token_life: Annotated[int, typer.Option(min=1, max=86_400, help="Seconds that access tokens live.")] = 3600,
    kyc_match: Annotated[str, typer.Option(help="Version of KYC Match, as in its path.")] = "v0.4",
    strict_id: Annotated[
        bool, typer.Option("--strict-id", help="Insist on the right ID document, as KYC Match 0.4.0 may."),
    ] = False,
    script: Annotated[Path | None, typer.Option(help="JSON file with what goes wrong; PUT /script changes it.")] = None,
    ask: Annotated[str | None, typer.Option(help="Print what 1414 answers to this SMS, and end.")] = None,
    sender: Annotated[str, typer.Option("--from", help="Number that the SMS of --ask comes from.")] = "",
) -> None:
    """Run a made-up mobile operator: CAMARA KYC Match and SIM Swap with OAuth2, and the TTTB dialogue of 1414."""
    from otp_service.web.operator.assertions import read_public_keys
    from otp_service.web.operator.kyc_match import KycMatch
    from otp_service.web.operator.oauth import OAuthClient
    from otp_service.web.operator.script import read_script
    from otp_service.web.operator.server import Operator, OperatorOptions
    from otp_service.web.operator.server import run as serve
    from otp_service.web.operator.subscribers import Subscribers, read_subscribers, sample_path

    try:
        table = Subscribers(read_subscribers(subscribers or sample_path()), carrier)
        if ask is not None:
            _answer(table, sender, ask)
            return
        kyc = KycMatch(kyc_match, strict_id=strict_id)
        keys = read_public_keys(public_key) if public_key else ()
    except ConfigurationError as error:
        fail(str(error))
    try:
        played = read_script(script.read_bytes()) if script else None
    except (ConfigurationError, OSError) as error:
        fail(f"{script}: {error.strerror if isinstance(error, OSError) else error}")
    client = OAuthClient(client_id, client_secret)
    options = OperatorOptions(
        subscribers=table, client=client, public_keys=keys, kyc=kyc, token_life_s=token_life,
    )
    operator = Operator(options, played)
    run(serve(operator, host, port, lambda base: _ready(base, client_id, len(table))))


def _ready(base: str, client_id: str, count: int) -> None:
    print(
        f"operator of {count} made-up subscribers: API root {base}, tokens {base}/oauth2/token, client {client_id}, "
        f"1414 {base}/sms, script {base}/script (Ctrl-C stops it)", flush=True,
    )


def _answer(table: Subscribers, sender: str, text: str) -> None:
    """Print the reply to one SMS; says why, as any command that fails does, when none comes."""
    from otp_service.web.operator.tttb_dialogue import NoReply, reply_to

    try:
        print(reply_to(table, sender, text))
    except NoReply as error:
        fail(f"no reply: {error.reason}")
