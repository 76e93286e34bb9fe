"""
Where settings come from, the strongest first.

1. ``overrides`` of the caller.
2. The environment: ``OTP__SECTION__NAME``, or ``OTP__SECTION__NAME_FILE`` with the path of a file that holds the
   value (secrets mounted into a container).  Deeper tables go on: ``OTP__PURPOSES__SIGN_IN__CODE__VALIDITY_S``.
3. ``clients.toml``, which holds ``[clients.*]`` and nothing else.
4. ``default.toml``.

Tables are merged, values and lists are replaced.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from otp_service.core.errors import ConfigurationError

PREFIX: Final = "OTP__"
_MAX_SECRET_BYTES: Final = 65536


class EnvironmentSource(PydanticBaseSettingsSource):
    """
    ``OTP__…`` variables and the secret files they point to.

    pydantic-settings' own source drops a variable whose section it does not know; here each becomes an entry, so
    that a mistyped name refuses to start.
    """

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str], problems: list[str]) -> None:
        super().__init__(settings_cls)
        self._environ = environ
        self._problems = problems

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Nothing is looked up field by field: :meth:`__call__` has it all."""
        del field
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the variables as nested tables with names in lower case."""
        tree: dict[str, Any] = {}
        for variable, value in sorted(self._environ.items()):
            if variable.startswith(PREFIX):
                self._add(tree, variable, value)
        return tree

    def _add(self, tree: dict[str, Any], variable: str, value: str) -> None:
        path, from_file = _path_of(variable)
        if not all(path):
            self._problems.append(f"{variable}: a name is OTP__SECTION__NAME")
            return
        if from_file:
            content = self._read(variable, value)
            if content is None:
                return
            value = content
        table = tree
        for part in path[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                self._problems.append(f"{variable}: another variable gives {part} a plain value")
                return
        if path[-1] in table:
            self._problems.append(f"{'.'.join(path)}: given by more than one environment variable")
            return
        table[path[-1]] = value

    def _read(self, variable: str, name: str) -> str | None:
        """Read a secret file; its line end is not part of the secret."""
        try:
            with Path(name).open("rb") as file:
                content = file.read(_MAX_SECRET_BYTES + 1)
            text = content.decode()
        except OSError as error:
            self._problems.append(f"{variable}: the file cannot be read: {error.strerror}")
        except ValueError:
            self._problems.append(f"{variable}: the file is not UTF-8 text")
        else:
            if len(content) <= _MAX_SECRET_BYTES:
                return text.rstrip("\r\n")
            self._problems.append(f"{variable}: the file is larger than {_MAX_SECRET_BYTES} bytes")
        return None


def _path_of(variable: str) -> tuple[list[str], bool]:
    """Split ``OTP__STORE__URL_FILE`` into (``store``, ``url``) and whether the value stands in a file."""
    path = variable.removeprefix(PREFIX).lower().split("__")
    name = path[-1].removesuffix("_file")
    return [*path[:-1], name], name != path[-1]


def read_layers(
    config_dir: Path, overrides: Mapping[str, Any], environ: Mapping[str, str], problems: list[str],
) -> dict[str, Any]:
    """
    Merge every layer into one tree; what is wrong with a variable or a file goes to ``problems``.

    Raises:
        ConfigurationError: there is no ``default.toml``: the folder is not a configuration.
    """
    if not (config_dir / "default.toml").is_file():
        raise ConfigurationError(f"{config_dir}: no default.toml there; OTP_CONFIG_DIR names the folder with it")
    default = read_toml(config_dir / "default.toml", problems)
    clients = read_toml(config_dir / "clients.toml", problems) if (config_dir / "clients.toml").exists() else {}
    if strangers := sorted(set(clients) - {"clients"}):
        problems.append(f"clients.toml: holds [clients.…] alone, {', '.join(strangers)} belongs in default.toml")

    class Layers(BaseSettings):
        model_config = SettingsConfigDict(extra="allow")

        @classmethod
        def settings_customise_sources(
            cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource, dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del env_settings, dotenv_settings, file_secret_settings
            return (
                init_settings,
                EnvironmentSource(settings_cls, environ, problems),
                InitSettingsSource(settings_cls, clients),
                InitSettingsSource(settings_cls, default),
            )

    return dict(Layers(**overrides).model_extra or {})


def read_toml(path: Path, problems: list[str]) -> dict[str, Any]:
    """Read one TOML file; what is wrong with it goes to ``problems``."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        problems.append(f"{path.name}: cannot be read: {error.strerror}")
    except ValueError as error:  # not TOML, or not UTF-8; the message has line and column
        problems.append(f"{path.name}: not TOML: {error}")
    return {}
