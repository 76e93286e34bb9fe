"""Finds gateways and ownership sources: an entry point's name, or ``module:Class``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from otp_service.core.errors import ConfigurationError

GATEWAYS = "otp_service.sms_adapters"
SOURCES = "otp_service.ownership"


def installed(group: str) -> dict[str, str]:
    """Return what is installed in a group: name to ``module:Class``."""
    return {point.name: point.value for point in sorted(entry_points(group=group), key=lambda point: point.name)}


def find(group: str, name: str) -> Any:
    """
    Return the class of the plugin ``name`` of a group.

    Raises ConfigurationError when there is none of that name.
    """
    try:
        return _find(group, name)
    except LookupError as error:
        known = ", ".join(installed(group)) or "none"
        raise ConfigurationError(
            f"no {name!r} among {group} (installed: {known}); write an entry point's name or module:Class"
        ) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"{name!r} of {group} cannot be loaded: {error}") from error


def make(group: str, name: str, options: Mapping[str, Any]) -> Any:
    """
    Make the plugin ``name`` of a group, its options being its constructor's arguments.

    Raises ConfigurationError when there is none of that name or it does not take these options.
    """
    kind = find(group, name)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigurationError(f"{name} does not take its options {sorted(options)}: {error}") from error


def _find(group: str, name: str) -> Any:
    if ":" in name:
        module, _, attribute = name.partition(":")
        return getattr(import_module(module), attribute)
    found = entry_points(group=group, name=name)
    if not found:
        raise LookupError(name)
    return next(iter(found)).load()
