"""Finds gateways and ownership sources: an entry point's name, or ``module:Class``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
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


def make(group: str, name: str, options: Mapping[str, Any], *, key: bytes | None = None) -> Any:
    """
    Make the plugin ``name`` of a group, its options being its constructor's arguments.

    ``key`` is the house's own secret for it: a constructor whose argument ``key`` is bytes gets it, unless the options
    set one.  One whose ``key`` is anything else does not: that may be a provider's key, and ours would be sent away.

    Raises ConfigurationError when there is none of that name or it does not take these options.
    """
    kind = find(group, name)
    if key is not None and _takes_key(kind):
        options = {"key": key, **options}
    _check_names(name, kind, options)
    try:
        return kind(**options)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - anybody's constructor: whatever it raises, its account is told
        failed = type(error).__name__
    # Raised here, not above: what the constructor said may hold a secret, and a chained error would show it.
    raise ConfigurationError(f"{name} cannot be made of its options: {failed} in its constructor")


def option_parameters(kind: Any) -> dict[str, inspect.Parameter] | None:
    """
    Return the constructor's arguments that are options; None when it does not say or takes any.

    Clocks and the like, which only tests give, are none: a setting cannot be a function.
    """
    try:
        parameters = inspect.signature(kind).parameters
    except (TypeError, ValueError):
        return None
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
        return None
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return {
        name: one for name, one in parameters.items()
        if one.kind in by_name and (one.default is inspect.Parameter.empty or not callable(one.default))
    }


def _takes_key(kind: Any) -> bool:
    """Whether the constructor says that its argument ``key`` is bytes, or bytes or None."""
    found = (option_parameters(kind) or {}).get("key")
    # Text where its module evaluates annotations late.
    said = inspect.formatannotation(found.annotation) if found else ""
    return said.replace(" ", "").strip("'") in {"bytes", "bytes|None"}


def _check_names(name: str, kind: Any, options: Mapping[str, Any]) -> None:
    """Raise ConfigurationError with every option that is missing and every one that is not there."""
    known = option_parameters(kind)
    if known is None:
        return
    needed = [one for one, parameter in known.items() if parameter.default is inspect.Parameter.empty]
    problems = []
    if missing := [one for one in needed if one not in options]:
        problems.append(f"needs {listed(missing)}")
    if strange := sorted(set(options) - set(known)):
        there = f"it has {', '.join(known)}" if known else "it takes none"
        problems.append(f"has no option {', '.join(map(repr, strange))}; {there}")
    if problems:
        raise ConfigurationError(f"{name} {', and '.join(problems)}")


def listed(names: Sequence[str]) -> str:
    """Write names as a sentence does: ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _find(group: str, name: str) -> Any:
    if ":" in name:
        module, _, attribute = name.partition(":")
        return getattr(import_module(module), attribute)
    found = entry_points(group=group, name=name)
    if not found:
        raise LookupError(name)
    return next(iter(found)).load()
