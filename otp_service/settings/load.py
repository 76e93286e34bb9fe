"""All settings together: read, checked as a whole, and turned into what the core works with."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from otp_service.core.client import Client, ClientRegistry
from otp_service.core.errors import ConfigurationError
from otp_service.core.limits import Limit, LimitBook, Override
from otp_service.core.routing import Route, RouteBook
from otp_service.core.verification import Purpose
from otp_service.settings.base import Known, Section
from otp_service.settings.clients import ClientName, ClientSection
from otp_service.settings.gateways import GatewayName, GatewaySection, RouteSection, SendingSection, routes_of
from otp_service.settings.ownership import OwnershipSection, SourceName, SourceSection
from otp_service.settings.policies import (
    LimitsSection,
    OverrideSection,
    PurposeName,
    PurposeSection,
    limits_of,
)
from otp_service.settings.sections import (
    KeysSection,
    LoggingSection,
    ProofSection,
    ServerSection,
    ServiceSection,
    StoreSection,
)
from otp_service.settings.sources import read_layers, read_toml

_PACKAGE: Final = Path(__file__).resolve().parents[1]

#: pydantic's words for what a person at a configuration file reads better otherwise.
_WORDS: Final = {
    "extra_forbidden": "unknown name; default.toml shows every name with its meaning",
    "missing": "missing",
}


class Document(Section):
    """The tree as it is written: one field per table."""

    service: ServiceSection = Field(default_factory=ServiceSection)
    server: ServerSection = Field(default_factory=ServerSection)
    store: StoreSection = Field(default_factory=StoreSection)
    keys: KeysSection = Field(default_factory=KeysSection)
    sending: SendingSection = Field(default_factory=SendingSection)
    gateways: dict[GatewayName, GatewaySection] = Field(default_factory=dict)
    routes: tuple[RouteSection, ...] = ()
    ownership: OwnershipSection = Field(default_factory=OwnershipSection)
    sources: dict[SourceName, SourceSection] = Field(default_factory=dict)
    proof: ProofSection = Field(default_factory=ProofSection)
    logging: LoggingSection = Field(default_factory=LoggingSection)
    purposes: Annotated[dict[PurposeName, PurposeSection], Field(min_length=1)]
    limits: LimitsSection
    overrides: tuple[OverrideSection, ...] = ()
    clients: dict[ClientName, ClientSection] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settings:
    """
    The settings in force.

    Attributes:
        config_dir: the folder they were read from.
        purposes: the policies by name.
        limits: every limit of core/limits.py, in its order.
        overrides: other numbers for named subjects, subjects normalised.
        portals: the clients with their keys.
        messages: ``messages/<locale>.toml`` by locale, as plain tables (see core/messages.py).
        gateways: the accounts at gateways by name, used or not.
        routes: which of them serve a message, the one for all that is left last.
        sources: the ownership sources by name, used or not.
        service, server, store, keys, sending, ownership, proof, logging: the sections of default.toml.
    """

    config_dir: Path
    service: ServiceSection
    server: ServerSection
    store: StoreSection
    keys: KeysSection
    sending: SendingSection
    gateways: dict[str, GatewaySection]
    routes: tuple[Route, ...]
    ownership: OwnershipSection
    sources: dict[str, SourceSection]
    proof: ProofSection
    logging: LoggingSection
    purposes: dict[str, Purpose]
    limits: tuple[Limit, ...]
    portals: tuple[Client, ...]
    overrides: tuple[Override, ...] = field(repr=False)
    messages: dict[str, dict[str, Any]] = field(repr=False)

    @property
    def key_path(self) -> Path:
        """Where the secrets are kept (see key_file.py)."""
        return self.keys.file or self.store.data_dir / "keys.json"

    def limit_book(self) -> LimitBook:
        """Return the limits with their overrides."""
        return LimitBook(self.limits, self.overrides)

    def route_book(self) -> RouteBook:
        """Return the routes as the worker asks them."""
        return RouteBook(self.routes)

    def source(self, name: str) -> SourceSection:
        """Return a source's table; one without a table is the adapter of that name without options."""
        return self.sources.get(name) or SourceSection()

    def source_book(self) -> RouteBook:
        """Return the routes of ownership questions, as they are asked."""
        return RouteBook(self.ownership.all_routes())

    def clients(self) -> ClientRegistry:
        """Return the clients, found by name or API key."""
        return ClientRegistry(self.portals)


def load_settings(
    config_dir: Path | None = None, *, overrides: dict[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """
    Read and check the settings.

    Args:
        config_dir: the folder with ``default.toml``; else ``OTP_CONFIG_DIR``, else ``config`` of the checkout, else
            the copy inside the installed package.
        overrides: nested tables that win over everything.
        environ: instead of the process's environment.

    Raises:
        ConfigurationError: one line per problem, all of them, with dotted paths and without any value that could be
            a secret.
    """
    environ = os.environ if environ is None else environ
    folder = (config_dir or _default_config_dir(environ)).absolute()
    problems: list[str] = []
    tree = read_layers(folder, overrides or {}, environ, problems)
    messages = _read_messages(folder, problems)
    document = _validate(tree, folder, problems)
    if document is not None and document.service.default_locale not in messages:
        problems.append(f"service.default_locale: no messages/{document.service.default_locale}.toml")
    if problems or document is None:
        lines = [f"the settings in {folder} cannot be used:", *map("  {}".format, problems)]
        raise ConfigurationError("\n".join(lines))
    return Settings(
        config_dir=folder,
        service=document.service, server=document.server, store=document.store, keys=document.keys,
        sending=document.sending, ownership=document.ownership, sources=dict(document.sources),
        logging=document.logging, proof=document.proof,
        gateways=dict(document.gateways), routes=routes_of(document.sending, document.routes),
        purposes={name: section.purpose(name) for name, section in document.purposes.items()},
        limits=limits_of(document.limits),
        overrides=tuple(section.override() for section in document.overrides),
        portals=tuple(section.client(name) for name, section in document.clients.items()),
        messages=messages,
    )


def _default_config_dir(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("OTP_CONFIG_DIR"):
        return Path(chosen)
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():  # beside an installed package, ``config`` could be anybody's
        return checkout / "config"
    return _PACKAGE / "_config"


def _read_messages(folder: Path, problems: list[str]) -> dict[str, dict[str, Any]]:
    return {path.stem: read_toml(path, problems) for path in sorted((folder / "messages").glob("*.toml"))}


def _validate(tree: dict[str, Any], folder: Path, problems: list[str]) -> Document | None:
    """Check the tree.  The ValidationError is dropped, not chained: its traceback would show what was put in."""
    context = Known(
        config_dir=folder, now_s=time.time(), purposes=_names(tree, "purposes"), clients=_names(tree, "clients"),
    )
    try:
        return Document.model_validate(tree, context=context)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            text = _WORDS.get(problem["type"], problem["msg"].removeprefix("Value error, "))
            problems.append(f"{_dotted(problem['loc'])}: {text}")
    return None


def _names(tree: Mapping[str, Any], table: str) -> frozenset[str]:
    value = tree.get(table)
    return frozenset(value) if isinstance(value, dict) else frozenset()


def _dotted(location: tuple[int | str, ...]) -> str:
    """Write a location as it stands in TOML: ``overrides[0].comment``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part != "[key]":  # pydantic's mark for a bad name in a table
            path += f".{part}" if path else part
    return path
