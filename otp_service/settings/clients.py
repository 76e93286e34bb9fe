"""``[clients.*]``: the portals, their keys and where their pages live."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from secrets import token_urlsafe
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from otp_service.core.client import ApiKey, Client, ProofMode, Scope
from otp_service.core.errors import ConfigurationError
from otp_service.core.webhook_secrets import checked_secrets, secret_bytes
from otp_service.core.webhooks import allows_port
from otp_service.settings.base import (
    DEMO_DIGEST,
    DEMO_WEBHOOK_SECRET,
    Listed,
    Section,
    checked_host,
    checked_hosts,
    checked_origin,
    known,
)

_CLIENT_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")

#: Two, so that a key is replaced without a gap, and no more, so that old ones are not left lying about.
MAX_LIVE_KEYS: Final = 2
DEFAULT_SCOPES: Final = frozenset({Scope.VERIFY, Scope.READ, Scope.REDEEM})

_KEY_BYTES: Final = 32
#: What a start's ``callback_url`` must not contain either (``web/fields.py``).
_NO_URL: Final = frozenset(' "<>\\^`{|}#;,')
_BLOCK: Final = """\
[clients.{name}]                 # leave this table out where the client stands already
display_name = "{name}"
purposes = ["registration"]
origins = []
return_hosts = []
webhook_hosts = []

[[clients.{name}.keys]]
digest = "sha256:{digest}"
expires = {expires}
scopes = [{scopes}]
test = {test}
"""


def _as_moment(value: Any) -> datetime:
    """Turn a TOML date into its midnight; a time without offset is UTC."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ValueError("a date such as 2027-01-31 or a time such as 2027-01-31T12:00:00Z, without quotes")


class KeySection(Section):
    """``[[clients.<name>.keys]]``.  ``expires`` is the first moment at which the key is refused, in UTC."""

    digest: str = Field(repr=False)
    expires: Annotated[datetime, BeforeValidator(_as_moment)]
    scopes: Annotated[frozenset[Scope], Listed] = DEFAULT_SCOPES
    test: bool = False

    @field_validator("digest")
    @classmethod
    def _nobody_elses(cls, digest: str, info: ValidationInfo) -> str:
        if not _DIGEST.fullmatch(digest):
            raise ValueError('a digest is "sha256:" and 64 hex digits; `otp-service clients new` makes one')
        bare = digest.removeprefix("sha256:")
        if bare == DEMO_DIGEST:
            raise ValueError("this is the digest of the demo's key, which everybody knows")
        if bare in known(info).digests:
            raise ValueError("this key is listed before: each key belongs to one client, once")
        known(info).digests.add(bare)
        return bare

    @field_validator("scopes")
    @classmethod
    def _for_something(cls, scopes: frozenset[Scope]) -> frozenset[Scope]:
        if not scopes:
            raise ValueError("a key without scopes opens nothing: remove it, or the empty list")
        return scopes

    def key(self) -> ApiKey:
        """Return the key the core works with."""
        return ApiKey(self.digest, self.scopes, int(self.expires.timestamp()), self.test)


class ClientSection(Section):
    """``[clients.<name>]``."""

    display_name: str = Field(min_length=1, max_length=80)
    purposes: Annotated[frozenset[str], Listed] = frozenset()
    origins: Annotated[frozenset[Annotated[str, AfterValidator(checked_origin)]], Listed] = frozenset()
    webotp_host: Annotated[str, AfterValidator(checked_host)] | None = None
    hotline: str | None = Field(None, min_length=1, max_length=40)
    return_hosts: Annotated[frozenset[str], AfterValidator(checked_hosts), Listed] = frozenset()
    webhook_hosts: Annotated[frozenset[str], AfterValidator(checked_hosts), Listed] = frozenset()
    webhook_url: str | None = Field(None, max_length=512, repr=False)
    webhook_secrets: Annotated[tuple[str, ...], Listed] = Field((), repr=False)
    webhook_secrets_file: Path | None = None
    proof: ProofMode = ProofMode.ABUSE
    keys: tuple[KeySection, ...] = ()
    _all_secrets: tuple[str, ...] = PrivateAttr(())

    @field_validator("purposes")
    @classmethod
    def _defined(cls, purposes: frozenset[str], info: ValidationInfo) -> frozenset[str]:
        if unknown := sorted(purposes - known(info).purposes):
            raise ValueError(f"no such purpose: {', '.join(unknown)}")
        return purposes

    @field_validator("webhook_secrets")
    @classmethod
    def _signing(cls, secrets: tuple[str, ...]) -> tuple[str, ...]:
        return _nobody_elses_secrets(secrets)

    @model_validator(mode="after")
    def _deliverable(self) -> Self:
        """Refuse a webhook that could never be delivered or believed."""
        self._all_secrets = self._read_secrets()
        if self.webhook_url is None:
            return self
        if not self.client("a").allows_host(self.webhook_url, self.webhook_hosts) or set(self.webhook_url) & _NO_URL:
            raise ValueError("webhook_url: https, at one of webhook_hosts, without blank, quote or #")
        if not allows_port(self.webhook_url):
            raise ValueError("webhook_url: port 443, or one from 1024 up")
        if not self._all_secrets:
            raise ValueError("webhook_url: nothing to sign with; `otp-service webhooks secret` makes a secret")
        return self

    def _read_secrets(self) -> tuple[str, ...]:
        """Return the secrets from wherever they stand; a file may have empty lines and comments."""
        if self.webhook_secrets_file is None:
            return self.webhook_secrets
        try:
            text = self.webhook_secrets_file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"webhook_secrets_file: cannot be read ({type(error).__name__})") from None
        lines = [line.strip() for line in text.splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise ValueError("webhook_secrets_file: it holds no secret; `otp-service webhooks secret` makes one")
        try:
            return _nobody_elses_secrets((*self.webhook_secrets, *found))
        except ValueError as error:
            raise ValueError(f"webhook_secrets_file: {error}") from None

    @field_validator("keys")
    @classmethod
    def _few(cls, keys: tuple[KeySection, ...], info: ValidationInfo) -> tuple[KeySection, ...]:
        live = [key for key in keys if key.expires.timestamp() > known(info).now_s]
        for kind, count in (("test", sum(key.test for key in live)), ("live", sum(not key.test for key in live))):
            if count > MAX_LIVE_KEYS:
                raise ValueError(f"{count} unexpired {kind} keys, at most {MAX_LIVE_KEYS}: remove the oldest")
        return keys

    def client(self, name: str) -> Client:
        """Return the client the core works with."""
        return Client(
            name=name, display_name=self.display_name, purposes=self.purposes, origins=self.origins,
            webotp_host=self.webotp_host, hotline=self.hotline, return_hosts=self.return_hosts,
            webhook_hosts=self.webhook_hosts, webhook_secrets=self._all_secrets, webhook_url=self.webhook_url,
            proof=self.proof, keys=tuple(key.key() for key in self.keys),
        )


def _nobody_elses_secrets(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Accept secrets that can sign, and that not everybody knows.  By their bytes: base64 has several spellings."""
    found = checked_secrets(secrets)
    if secret_bytes(DEMO_WEBHOOK_SECRET) in map(secret_bytes, found):
        raise ValueError("this is the webhook secret of the demo, which everybody knows")
    return found


def _client_name(name: str) -> str:
    if not _CLIENT_NAME.fullmatch(name):
        raise ValueError("a client's name has lower case letters, digits and -, starts with a letter, at most 24")
    return name


ClientName = Annotated[str, AfterValidator(_client_name)]


def new_key(name: str, *, test: bool, days: int) -> tuple[str, str]:
    """
    Make an API key for a client, new or known.

    Args:
        name: the client's name.
        test: whether it sends no real SMS.
        days: how long it works.

    Returns:
        the key, which is kept nowhere, and the block for clients.toml.

    Raises:
        ConfigurationError: the name is not one of a client.
    """
    try:
        _client_name(name)
    except ValueError as error:
        raise ConfigurationError(f"clients.{name}: {error}") from None
    key = f"otp_{'test' if test else 'live'}_{token_urlsafe(_KEY_BYTES)}"
    scopes = ", ".join(f'"{scope}"' for scope in Scope if scope in DEFAULT_SCOPES)
    return key, _BLOCK.format(
        name=name, digest=sha256(key.encode()).hexdigest(), expires=datetime.now(UTC).date() + timedelta(days=days),
        scopes=scopes, test="true" if test else "false",
    )
