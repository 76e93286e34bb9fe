"""The settings: where they come from, what is refused, and that every problem is told at once."""

from __future__ import annotations

import re
import shutil
import time
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import time_machine
from pydantic import BaseModel

from otp_service.core import limits
from otp_service.core.client import Scope
from otp_service.core.errors import ConfigurationError
from otp_service.core.limits import LIMIT_KINDS, Limit, Mode
from otp_service.core.messages import Catalogue
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose
from otp_service.settings import DEMO_CLIENT, DEMO_KEY, Settings, demo_settings, load_settings
from otp_service.settings import load as load_module
from otp_service.settings.base import Known
from otp_service.settings.clients import new_key
from otp_service.settings.load import Document

SHIPPED = Path(__file__).parents[2] / "config"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY_S = 24 * 3600


def load(tree: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None) -> Settings:
    """Load the shipped settings with changes, without this process's environment."""
    return load_settings(SHIPPED, overrides=tree, environ=environ or {})


def problems(
    tree: dict[str, Any] | None = None, *, environ: dict[str, str] | None = None, folder: Path = SHIPPED,
) -> list[str]:
    """Return the lines of problems that changed settings must give."""
    with pytest.raises(ConfigurationError) as refused:
        load_settings(folder, overrides=tree, environ=environ or {})
    # A chained ValidationError would print what was put in.
    assert refused.value.__context__ is None
    head, *lines = str(refused.value).splitlines()
    assert f"the settings in {folder} cannot be used:" == head
    return [line.removeprefix("  ") for line in lines]


def digest(key: str) -> str:
    """Return a key's digest as clients.toml has it."""
    return "sha256:" + sha256(key.encode()).hexdigest()


def portal(**changes: Any) -> dict[str, Any]:
    """Return a tree with one client, named portal."""
    return {"clients": {"portal": {"display_name": "Cổng", "purposes": ["registration"]} | changes}}


def key(name: str = "a", **changes: Any) -> dict[str, Any]:
    """Return one key of a client."""
    return {"digest": digest(name), "expires": datetime(2027, 1, 1, tzinfo=UTC)} | changes


def override(**changes: Any) -> dict[str, Any]:
    """Return a tree with one client and one override of an address limit."""
    base = {"limit": "address_sends", "subject": "203.0.113.0/24", "count": 600, "comment": "asked for by the district"}
    entry = {name: value for name, value in (base | changes).items() if value is not None}
    return portal() | {"overrides": [entry]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration."""
    copy = tmp_path / "config"
    shutil.copytree(SHIPPED, copy)
    return copy


@pytest.fixture
def hanoi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the host seven hours ahead of UTC."""
    monkeypatch.setenv("TZ", "<+07>-7")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


# -- what is shipped --------------------------------------------------------------------------------------------------


def test_the_shipped_limits_are_those_of_the_design() -> None:
    """Each limit stands with the design's number and is enforced.  Invariants 2, 3."""
    assert (
        Limit(limits.PHONE_COOLDOWN, 1, 60),
        Limit(limits.PHONE_SENDS, 5, DAY_S),
        Limit(limits.PHONE_BLOCK_SENDS, 3, DAY_S),
        Limit(limits.PHONE_SENDS_TOTAL, 20, DAY_S),
        Limit(limits.PHONE_ASSISTED_SENDS, 10, DAY_S),
        Limit(limits.PHONE_FAILURES, 100, 30 * DAY_S),
        Limit(limits.PHONE_BLOCK_FAILURES, 30, 30 * DAY_S),
        Limit(limits.PHONE_OWNERSHIP_CHECKS, 5, DAY_S),
        Limit(limits.ID_OWNERSHIP_CHECKS, 5, DAY_S),
        Limit(limits.ADDRESS_SENDS, 60, 3600, 30),
        Limit(limits.ADDRESS_GUESSES, 120, 3600, 60),
        Limit(limits.CLIENT_SENDS, 600, 60, 300),
        Limit(limits.SERVICE_SENDS, 6000, 60, 3000),
    ) == load().limits


def test_the_shipped_purposes_are_those_of_the_design() -> None:
    """Six purposes; those that open or join an account ask who owns the SIM."""
    after, never = OwnershipPolicy.AFTER, OwnershipPolicy.NEVER

    assert {
        "registration": Purpose("registration", after),
        "account_link": Purpose("account_link", after),
        "sign_in": Purpose("sign_in", never),
        "password_reset": Purpose("password_reset", never),
        "assisted_registration": Purpose("assisted_registration", after, assisted=True),
        "phone_only": Purpose("phone_only", never),
    } == load().purposes
    assert Purpose("registration", code=CodePolicy(6, 180, 0)) == load().purposes["registration"]


def test_no_client_and_no_override_is_shipped() -> None:
    """A fresh installation lets nobody in."""
    assert [] == list(load().clients())
    assert () == load().overrides


def test_the_shipped_messages_suit_the_shipped_brand() -> None:
    """``messages`` is what the catalogue takes, and every SMS fits."""
    settings = load()

    assert {"vi", "en"} == set(settings.messages)
    Catalogue(settings.messages, settings.service.default_locale).check_sms(brand=settings.service.brand)


def test_the_manual_names_every_setting_with_its_default() -> None:
    """default.toml leaves out no setting of a section, and says the value that holds without it."""
    manual = tomllib.loads((SHIPPED / "default.toml").read_text(encoding="utf-8"))

    for name, field in Document.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel) and name != "limits":
            fields = field.annotation.model_fields
            assert {inner.alias or inner_name for inner_name, inner in fields.items()} == set(manual[name])
    without = load_settings(SHIPPED, environ={})
    with_defaults = Document.model_validate(
        {"limits": manual["limits"], "purposes": {"registration": {}}},
        context=Known(SHIPPED, 0, frozenset(), frozenset()),
    )
    for name in ("service", "server", "store", "keys", "gateway", "logging"):
        assert getattr(with_defaults, name) == getattr(without, name)
    assert with_defaults.purposes["registration"].purpose("registration") == without.purposes["registration"]
    assert {"length", "validity_s", "previous_code_grace_s", "allow_long_validity"} == set(
        manual["purposes"]["registration"]["code"],
    )


def test_every_setting_of_the_manual_has_a_comment() -> None:
    """Each setting outside the purposes, whose comment stands above them, is explained right before it."""
    text = (SHIPPED / "default.toml").read_text(encoding="utf-8").split("# --- Purposes")[0]
    lines = text.splitlines()
    settings = [at for at, line in enumerate(lines) if re.match(r"[a-z_]+ = ", line)]

    assert 25 < len(settings)
    for at in settings:
        assert lines[at - 1].startswith("#"), lines[at]


def test_the_example_client_is_valid_once_uncommented(folder: Path) -> None:
    """Who takes away the comment signs has a client."""
    path = folder / "clients.toml"
    example = path.read_text(encoding="utf-8").split("#\n", 1)[1]
    path.write_text(re.sub(r"(?m)^# ?", "", example), encoding="utf-8")

    (client,) = load_settings(folder, environ={}).clients()

    assert "tinh-portal" == client.name
    assert {"registration", "account_link"} == client.purposes
    assert 1 == len(client.keys)


def test_the_example_override_is_valid_once_uncommented(folder: Path) -> None:
    """Who takes away the comment signs has an override."""
    path = folder / "default.toml"
    text = path.read_text(encoding="utf-8")
    head, example = text.split("# [[overrides]]", 1)
    path.write_text(head + "[[overrides]]" + re.sub(r"(?m)^# ?", "", example), encoding="utf-8")

    (entry,) = load_settings(folder, environ={}).overrides

    assert ("address_sends", "203.0.113.0/24", 600, 100) == (entry.limit, entry.subject, entry.count, entry.burst)


# -- where values come from -------------------------------------------------------------------------------------------


def test_the_environment_wins_over_the_files() -> None:
    """Numbers, words, lists and deeper tables are set by variables."""
    settings = load(environ={
        "OTP__SERVER__PORT": "8443",
        "OTP__SERVER__TRUSTED_PROXIES": "10.0.0.0/8, 2001:db8::/32",
        "OTP__SERVICE__BRAND": "Binh Dinh",
        "OTP__PURPOSES__SIGN_IN__CODE__VALIDITY_S": "120",
        "OTP__LIMITS__PHONE_SENDS__COUNT": "7",
        "OTP__LIMITS__PHONE_SENDS__PERIOD": "12h",
        "OTP__LIMITS__PHONE_COOLDOWN__COUNT": "1",
        "OTP__LIMITS__ADDRESS_SENDS__PERIOD": "90.5",
        "OTP__LOGGING__JSON": "true",
        "OTP__GATEWAY__OPTIONS__USER": "otp",
        "OTP__KEYS__FILE": "/run/keys.json",
        "OTP_CONFIG_DIR": "/nowhere",
        "HOME": "/home/otp",
    })

    assert 8443 == settings.server.port
    assert (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")) == settings.server.trusted_proxies
    assert "Binh Dinh" == settings.service.brand
    assert 120 == settings.purposes["sign_in"].code.validity_s
    assert OwnershipPolicy.NEVER == settings.purposes["sign_in"].ownership
    book = settings.limit_book()
    assert Limit(limits.PHONE_SENDS, 7, 12 * 3600) == book.get(limits.PHONE_SENDS, "+84900000001")
    assert 90.5 == book.get(limits.ADDRESS_SENDS, "192.0.2.1").period_s
    assert settings.logging.json_lines is True
    assert {"user": "otp"} == settings.gateway.options
    assert Path("/run/keys.json") == settings.key_path


def test_overrides_of_the_caller_win_over_the_environment() -> None:
    """The strongest layer is the call itself; what it leaves out stays."""
    settings = load({"server": {"port": 1}}, environ={"OTP__SERVER__PORT": "2", "OTP__SERVER__DRAIN_S": "3"})

    assert (1, 3.0) == (settings.server.port, settings.server.drain_s)


def test_the_process_s_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mapping, ``os.environ`` is read."""
    monkeypatch.setenv("OTP__SERVER__PORT", "8444")

    assert 8444 == load_settings(SHIPPED).server.port


def test_a_secret_file_gives_the_value(tmp_path: Path) -> None:
    """``…_FILE`` names a file; its line end is not part of the secret, its blanks are."""
    secret = tmp_path / "url"
    secret.write_bytes(b" pass word \r\n")

    settings = load(environ={"OTP__GATEWAY__OPTIONS__PASSWORD_FILE": str(secret)})

    assert {"password": " pass word "} == settings.gateway.options


def test_a_setting_named_file_is_no_secret_file(tmp_path: Path) -> None:
    """``OTP__KEYS__FILE`` is the path itself; ``OTP__KEYS__FILE_FILE`` holds the path."""
    pointer = tmp_path / "pointer"
    pointer.write_text("/run/other.json\n")

    assert Path("/run/other.json") == load(environ={"OTP__KEYS__FILE_FILE": str(pointer)}).key_path


def test_a_value_and_a_secret_file_together_are_refused(tmp_path: Path) -> None:
    """Which of two would hold is never guessed."""
    secret = tmp_path / "url"
    secret.write_text("redis://one")

    assert ["store.url: given by more than one environment variable"] == problems(
        environ={"OTP__STORE__URL": "redis://two", "OTP__STORE__URL_FILE": str(secret)},
    )


def test_bad_secret_files_are_refused_together(tmp_path: Path) -> None:
    """Missing, binary and huge files are told with their variable; the path and content are not."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "huge").write_bytes(b"x" * 70_000)

    assert [
        "OTP__GATEWAY__OPTIONS__A_FILE: the file is not UTF-8 text",
        "OTP__GATEWAY__OPTIONS__B_FILE: the file is larger than 65536 bytes",
        "OTP__STORE__URL_FILE: the file cannot be read: No such file or directory",
    ] == problems(environ={
        "OTP__STORE__URL_FILE": str(tmp_path / "missing"),
        "OTP__GATEWAY__OPTIONS__A_FILE": str(tmp_path / "binary"),
        "OTP__GATEWAY__OPTIONS__B_FILE": str(tmp_path / "huge"),
    })


@pytest.mark.parametrize(("variable", "problem"), [
    ("OTP__SERVCE__BRAND", "servce: unknown name; default.toml shows every name with its meaning"),
    ("OTP__SERVICE__BRAN", "service.bran: unknown name; default.toml shows every name with its meaning"),
    ("OTP__BRAND", "brand: unknown name; default.toml shows every name with its meaning"),
    ("OTP__SERVICE____BRAND", "OTP__SERVICE____BRAND: a name is OTP__SECTION__NAME"),
    ("OTP__", "OTP__: a name is OTP__SECTION__NAME"),
    ("OTP__SERVICE___FILE", "OTP__SERVICE___FILE: a name is OTP__SECTION__NAME"),
])
def test_a_mistyped_variable_is_refused(variable: str, problem: str) -> None:
    """A name that nobody reads would leave its setting at the default without a word."""
    assert [problem] == problems(environ={variable: "x"})


def test_a_table_given_as_a_plain_value_is_refused() -> None:
    """A value where a table belongs is told, beside what was meant to go into the table."""
    told = problems(environ={"OTP__SERVER": "x", "OTP__SERVER__PORT": "1"})

    assert "OTP__SERVER__PORT: another variable gives server a plain value" == told[0]
    assert told[1].startswith("server: ")


def test_the_folder_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An argument, else OTP_CONFIG_DIR, else the checkout's folder, else the one inside the package."""
    assert SHIPPED == load_settings(environ={}).config_dir
    assert folder == load_settings(environ={"OTP_CONFIG_DIR": str(folder)}).config_dir
    assert SHIPPED == load_settings(SHIPPED, environ={"OTP_CONFIG_DIR": str(folder)}).config_dir

    package = tmp_path / "site-packages" / "otp_service"
    shutil.copytree(SHIPPED, package / "_config")
    shutil.copytree(SHIPPED, package.parent / "config")
    monkeypatch.setattr(load_module, "_PACKAGE", package)
    assert package / "_config" == load_settings(environ={}).config_dir


def test_a_relative_folder_holds_after_a_change_of_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``config_dir`` is absolute, and so is the sample's path in the options."""
    monkeypatch.chdir(folder.parent)
    settings = load_settings(Path("config"), environ={})

    assert folder == settings.config_dir
    assert str(folder / "sample" / "subscribers.csv") == settings.ownership.options["subscribers"]


def test_a_folder_without_default_toml_is_refused(tmp_path: Path) -> None:
    """A wrong path is told with the variable that sets it."""
    with pytest.raises(ConfigurationError, match=r"no default\.toml there; OTP_CONFIG_DIR names the folder"):
        load_settings(tmp_path, environ={})


def test_files_that_are_not_toml_are_refused_together(folder: Path) -> None:
    """Each broken file is told with its line."""
    (folder / "clients.toml").write_text("[clients.portal\n", encoding="utf-8")
    (folder / "messages" / "en.toml").write_bytes(b"\xff\n")
    told = problems(folder=folder)

    assert 2 == len(told)
    assert told[0].startswith("clients.toml: not TOML: ")
    assert "line 1" in told[0]
    assert told[1].startswith("en.toml: not TOML: ")


def test_clients_toml_holds_clients_alone(folder: Path) -> None:
    """A setting there would win over default.toml unseen."""
    (folder / "clients.toml").write_text("[server]\nport = 1\n", encoding="utf-8")

    assert ["clients.toml: holds [clients.…] alone, server belongs in default.toml"] == problems(folder=folder)


def test_clients_toml_may_be_missing(folder: Path) -> None:
    """Then there are no clients."""
    (folder / "clients.toml").unlink()

    assert [] == list(load_settings(folder, environ={}).clients())


def test_the_default_locale_needs_its_messages(folder: Path) -> None:
    """A locale without a catalogue cannot be the fallback."""
    (folder / "messages" / "vi.toml").unlink()

    assert ["service.default_locale: no messages/vi.toml"] == problems(folder=folder)


# -- all at once, nothing shown ---------------------------------------------------------------------------------------


def test_all_problems_are_told_at_once() -> None:
    """One start shows every problem of every layer and section, by dotted path."""
    tree = {
        "service": {"brand": "Dịch vụ công"},
        "store": {"connections": 0},
        "purposes": {"sign_in": {"code": {"length": 4, "validity_s": 700}}},
        "overrides": [{"limit": "phone_sends", "subject": "1414", "count": 1, "comment": " "}],
        "clients": {"portal": {"display_name": "x", "purposes": ["nothing"], "keys": [{"digest": "x"}]}},
    }
    told = problems(tree, environ={"OTP__SERVER__PORT": "http", "OTP__STORE__URL_FILE": "/nowhere/at/all"})

    assert [
        "OTP__STORE__URL_FILE",
        "service.brand",
        "server.port",
        "store.connections",
        "purposes.sign_in.code.length",
        "purposes.sign_in.code.validity_s",
        "overrides[0].subject",
        "overrides[0].comment",
        "clients.portal.purposes",
        "clients.portal.keys[0].digest",
        "clients.portal.keys[0].expires",
    ] == [line.split(": ")[0] for line in told]


def test_no_value_is_repeated() -> None:
    """A message holds no value that was put in: it could be a secret or a phone number.  Invariant 5."""
    secret = "S3cretValue"
    told = "\n".join(problems(
        {
            "store": {"url": secret, "timeout_s": secret},
            "gateway": {"name": f"{secret}!", "options": secret, "attempts": secret},
            "overrides": [{"limit": "phone_sends", "subject": secret, "count": secret, "comment": secret, "x": secret}],
            "limits": {"phone_sends": {"period": secret, "mode": secret}},
            "clients": {"portal": {"display_name": "x", "origins": [secret], "webotp_host": secret,
                                   "keys": [{"digest": secret, "expires": secret, "scopes": [secret]}]}},
        },
        environ={"OTP__LOGGING__LEVEL": secret, "OTP__SERVICE__ISSUER": secret},
    ))

    assert 17 == len(told.splitlines())
    assert secret not in told


def test_secrets_are_not_shown() -> None:
    """No repr carries the store's password, a plugin's options, a key's digest or a phone.  Invariant 5."""
    tree = portal(keys=[key()]) | {
        "store": {"url": "redis://:S3cret@store"},
        "gateway": {"options": {"password": "S3cret"}},
        "ownership": {"options": {"password": "S3cret"}},
        "overrides": [{"limit": "phone_sends", "subject": "0900000001", "count": 50, "comment": "test phone"}],
    }
    shown = repr(load(tree))

    for hidden in ("S3cret", digest("a").removeprefix("sha256:"), "900000001"):
        assert hidden not in shown


# -- sections ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("section", "name", "value"), [
    ("service", "brand", ""), ("service", "brand", "x" * 21), ("service", "brand", "Đông"),
    ("service", "brand", "a\nb"), ("service", "brand", " a"), ("service", "brand", "€"),
    ("service", "issuer", "otp.example.vn"), ("service", "issuer", "http://otp.example.vn"),
    ("service", "issuer", "https://otp.example.vn/"), ("service", "issuer", "https://otp.example.vn/?a"),
    ("service", "issuer", "https://otp.example.vn#"), ("service", "issuer", "https://u:p@otp.example.vn"),
    ("service", "issuer", "https://otp.example.vn:99999"), ("service", "issuer", "https://"),
    ("service", "issuer", "https://otp.example.vn\n"), ("service", "issuer", "https://[::1"),
    ("service", "default_locale", "fr"),
    ("server", "host", ""), ("server", "port", -1), ("server", "port", 65536), ("server", "port", "http"),
    ("server", "private_port", -2), ("server", "private_port", 8080), ("server", "private_port", "off"),
    ("server", "public_url", "ftp://127.0.0.1"),
    ("server", "trusted_proxies", ["10.0.0.1/8"]), ("server", "trusted_proxies", ["proxy"]),
    ("server", "trusted_proxies", ["0.0.0.0/0"]), ("server", "trusted_proxies", ["10.0.0.0/8", "::/0"]),
    ("server", "max_body_bytes", 100), ("server", "max_body_bytes", 10_000_000),
    ("server", "drain_s", -1), ("server", "drain_s", float("inf")), ("server", "drain_s", float("nan")),
    ("server", "max_waiters", -1),
    ("store", "url", "http://store"), ("store", "connections", 0), ("store", "connections", 65),
    ("store", "timeout_s", 0), ("store", "retry_total_s", 31), ("store", "queue_cap", 0),
    ("gateway", "name", ""), ("gateway", "name", "a b"), ("gateway", "name", ":Class"), ("gateway", "name", "module:"),
    ("gateway", "attempts", 0), ("gateway", "attempts", 11), ("gateway", "backoff_s", -1),
    ("gateway", "concurrency", 0), ("gateway", "options", []),
    ("ownership", "source", "../x"), ("ownership", "inline_deadline_s", 31), ("ownership", "retry_backoff_s", 0),
    ("logging", "level", "loud"), ("logging", "json", "maybe"),
    ("keys", "file", 5),
    ("service", "unknown", 1), ("logging", "json_lines", True),
])
def test_a_bad_value_is_refused(section: str, name: str, value: object) -> None:
    """Each guard tells the path of its setting, once."""
    told = problems({section: {name: value}})

    assert 1 == len(told)
    assert told[0].startswith(f"{section}.{name}")


@pytest.mark.parametrize(("section", "name", "value"), [
    ("service", "brand", "x" * 20), ("service", "brand", "B@nk-1"),
    ("service", "issuer", "https://otp.example.vn/base"), ("service", "issuer", "http://localhost:1"),
    ("service", "issuer", "http://[::1]:8080"), ("service", "default_locale", "en"),
    ("server", "port", 0), ("server", "private_port", 0), ("server", "host", "::"),
    ("store", "url", "unix:///run/valkey.sock"), ("store", "url", "rediss://store:6380/0"),
    ("gateway", "name", "my_gateway"), ("gateway", "name", "my.module:Gateway"),
    ("ownership", "inline_deadline_s", 0),
])
def test_a_good_value_is_taken(section: str, name: str, value: object) -> None:
    """What lies at the bounds passes."""
    assert value == getattr(getattr(load({section: {name: value}}), section), name)


def test_both_listeners_may_take_any_port() -> None:
    """Two zeros are two different ports."""
    server = load({"server": {"port": 0, "private_port": 0}}).server

    assert (0, 0) == (server.port, server.private_port)


@pytest.mark.parametrize("off", ["none", -1, "-1"], ids=repr)
def test_the_private_listener_can_be_off(off: object) -> None:
    """Both spellings mean -1."""
    assert -1 == load({"server": {"private_port": off}}).server.private_port


@pytest.mark.parametrize(("expected", "written"), [
    ("auto", "auto"), (True, True), (False, False), (True, "true"), (False, "false"),
], ids=repr)
def test_json_is_auto_or_a_boolean(expected: object, written: object) -> None:
    """TOML's booleans and the environment's words are the same."""
    json_lines = load({"logging": {"json": written}}).logging.json_lines

    assert (type(expected), expected) == (type(json_lines), json_lines)


def test_the_key_file_stands_with_the_data() -> None:
    """Without a path of its own it is keys.json in data_dir."""
    assert Path("/data/keys.json") == load({"store": {"data_dir": "/data"}}).key_path


def test_options_may_name_the_configuration_folder() -> None:
    """``{config_dir}`` is filled in for both kinds of plugin, and other values stay as they are."""
    options = {"path": "{config_dir}/a", "braces": "{other}", "number": 5, "list": ["{config_dir}"]}
    settings = load({"gateway": {"options": options}})

    assert options | {"path": f"{SHIPPED}/a"} == settings.gateway.options
    assert f"{SHIPPED}/sample/subscribers.csv" == settings.ownership.options["subscribers"]


def test_settings_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        settings.limits = ()  # type: ignore[misc]


# -- purposes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "value"), [
    ("max_attempts", 0), ("max_attempts", 11), ("max_resends", -1), ("max_resends", 11),
    ("life_s", 59), ("life_s", 3601), ("ownership_timeout_s", 0), ("ownership_timeout_s", 3601),
    ("ownership", "sometimes"), ("assisted", "perhaps"), ("consent_required", 5), ("unknown", 1),
])
def test_a_bad_purpose_is_refused(name: str, value: object) -> None:
    """Each guard of a purpose tells its path.  Invariant 2."""
    told = problems({"purposes": {"registration": {name: value}}})

    assert 1 == len(told)
    assert told[0].startswith(f"purposes.registration.{name}: ")


@pytest.mark.parametrize(("name", "value"), [
    ("length", 5), ("length", 9), ("validity_s", 29), ("validity_s", 0), ("previous_code_grace_s", 61),
    ("previous_code_grace_s", -1), ("unknown", 1),
])
def test_a_bad_code_policy_is_refused(name: str, value: object) -> None:
    """Each guard of a code policy tells its path."""
    told = problems({"purposes": {"registration": {"code": {name: value}}}})

    assert 1 == len(told)
    assert told[0].startswith(f"purposes.registration.code.{name}: ")


@pytest.mark.parametrize("length", [6, 7, 8])
def test_six_to_eight_digits_are_taken(length: int) -> None:
    """NIST asks for six at least; eight still fit the SMS."""
    assert length == load({"purposes": {"sign_in": {"code": {"length": length}}}}).purposes["sign_in"].code.length


def test_ownership_before_is_refused_with_the_reason() -> None:
    """The sentence says that it is not built and what to write."""
    (told,) = problems({"purposes": {"sign_in": {"ownership": "before"}}})

    assert (
        'purposes.sign_in.ownership: "before" is not built yet: ownership is asked after possession is proven; '
        'write "after" or "never"'
    ) == told


@pytest.mark.parametrize(("validity_s", "allowed", "passes"), [
    (300, False, True), (301, False, False), (301, True, True), (600, True, True), (601, True, False),
    (601, False, False),
])
def test_a_long_validity_needs_the_explicit_override(validity_s: int, allowed: bool, passes: bool) -> None:
    """Above 300 s only beside allow_long_validity, above 600 s never, whatever stands first.  Invariant 4."""
    tree = {"purposes": {"sign_in": {"code": {"validity_s": validity_s, "allow_long_validity": allowed}}}}

    if passes:
        assert CodePolicy(6, validity_s, 0, allowed) == load(tree).purposes["sign_in"].code
    else:
        (told,) = problems(tree)
        assert told.startswith("purposes.sign_in.code.validity_s: ")


def test_a_code_does_not_outlive_its_verification() -> None:
    """A validity beyond life_s is a mistake in one of the two."""
    assert ["purposes.sign_in.code: validity_s is longer than the verification's life_s"] == problems(
        {"purposes": {"sign_in": {"life_s": 120}}},
    )


@pytest.mark.parametrize("name", ["", "Sign", "9a", "a-b", "_a", "a" * 33, "đ", "a b"])
def test_a_bad_purpose_name_is_refused(name: str) -> None:
    """Names are metric labels and store fields."""
    (told,) = problems({"purposes": {name: {}}})

    assert told.startswith("purposes")
    assert "a purpose's name has" in told


def test_a_purpose_of_one_s_own() -> None:
    """The operator names further policies; what they leave out is the default."""
    purpose = load({"purposes": {"a" * 32: {"ownership": "never", "max_attempts": 3}}}).purposes["a" * 32]

    assert Purpose("a" * 32, OwnershipPolicy.NEVER, max_attempts=3) == purpose


# -- limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "written"), [
    (60, "60s"), (300, "5m"), (3600, "1h"), (86400, "24h"), (86400, "1d"), (45, 45), (45.5, 45.5), (45, "45"),
    (60, " 60s "),
], ids=repr)
def test_a_period_is_a_number_with_its_unit(seconds: float, written: object) -> None:
    """Seconds, minutes, hours, days, or a plain number of seconds."""
    settings = load({"limits": {"phone_sends": {"period": written}}})

    assert seconds == settings.limit_book().get(limits.PHONE_SENDS, "x").period_s


@pytest.mark.parametrize("written", [
    "", "s", "5 m", "1w", "1h30m", "-5s", "٥s", "1.5h", "0s", "25h", "2d", 0, -1, 0.5, 86401, True, [60],
    float("nan"), float("inf"), None,
], ids=repr)
def test_a_bad_period_is_refused(written: object) -> None:
    """Anything else, and a cap's window beyond the day that its log keeps.  Invariant 3."""
    (told,) = problems({"limits": {"phone_sends": {"period": written}}})

    assert told.startswith("limits.phone_sends.period: ")


def test_every_limit_is_required(folder: Path) -> None:
    """A limit that is left out is told, never off."""
    path = folder / "default.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r"(?m)^\[limits\.[a-z_]+\]\n(.+\n)+", "", text), encoding="utf-8")

    assert [f"limits.{name}: missing" for name in LIMIT_KINDS] == problems({"limits": {}}, folder=folder)


@pytest.mark.parametrize("name", LIMIT_KINDS)
def test_an_unknown_name_in_a_limit_is_refused(name: str) -> None:
    """A mistyped name does not leave the limit at its default."""
    assert [f"limits.{name}.cuont: unknown name; default.toml shows every name with its meaning"] == problems(
        {"limits": {name: {"cuont": 5}}},
    )


@pytest.mark.parametrize(("name", "change"), [
    ("phone_sends", {"burst": 3}), ("phone_sends", {"count": -1}), ("phone_sends", {"count": 1001}),
    ("phone_sends", {"mode": "off"}), ("phone_cooldown", {"count": 2}), ("phone_cooldown", {"period": "0s"}),
    ("address_sends", {"count": 0}), ("address_sends", {"burst": -1}), ("address_sends", {"period": "32d"}),
    ("address_sends", {"count": 1_000_001}), ("phones", {"count": 1}),
])
def test_a_bad_limit_is_refused(name: str, change: dict[str, Any]) -> None:
    """Each guard of a limit tells its path."""
    (told,) = problems({"limits": {name: change}})

    assert told.startswith(f"limits.{name}")


@pytest.mark.parametrize("change", [{"count": 99}, {"count": 101}, {"period": "29d"}, {"mode": "record_only"}])
def test_consecutive_failures_are_fixed_by_rule(change: dict[str, Any]) -> None:
    """A hundred failures, thirty days, always enforced.  Invariant 2."""
    (name,) = change

    assert [f'limits.phone_failures.{name}: fixed by rule: count = 100, period = "30d", mode = "enforce"'] == problems(
        {"limits": {"phone_failures": change}},
    )


def test_any_other_limit_can_be_recorded_only() -> None:
    """New numbers are tried before they refuse anyone."""
    others = [name for name in LIMIT_KINDS if name != "phone_failures"]
    settings = load({"limits": {name: {"mode": "record_only"} for name in others}})

    assert {Mode.RECORD_ONLY} == {limit.mode for limit in settings.limits if limit.name in others}


# -- overrides --------------------------------------------------------------------------------------------------------


def test_an_override_of_a_network_holds_for_its_addresses() -> None:
    """Other numbers inside, the limit's own outside; what is left out stays."""
    book = load(override(subject="203.0.113.77/24", burst=100)).limit_book()

    assert Limit(limits.ADDRESS_SENDS, 600, 3600, 100) == book.get(limits.ADDRESS_SENDS, "203.0.113.9")
    assert Limit(limits.ADDRESS_SENDS, 60, 3600, 30) == book.get(limits.ADDRESS_SENDS, "203.0.114.9")


@pytest.mark.parametrize("typed", ["0900000001", "+84 900 000 001", "84900000001"])
def test_an_override_of_a_phone_is_normalised(typed: str) -> None:
    """However it is typed, the subject is E.164."""
    settings = load(override(limit="phone_sends", subject=typed, count=0, period="1h"))

    assert Limit(limits.PHONE_SENDS, 0, 3600) == settings.limit_book().get(limits.PHONE_SENDS, "+84900000001")
    assert "+84900000001" == settings.overrides[0].subject


def test_an_override_of_a_client() -> None:
    """A client is named as in clients.toml."""
    book = load(override(limit="client_sends", subject="portal", count=5)).limit_book()

    assert (5, 600) == (book.get(limits.CLIENT_SENDS, "portal").count, book.get(limits.CLIENT_SENDS, "other").count)


@pytest.mark.parametrize(("told", "changes"), [
    ("comment: missing", {"comment": None}),
    ("comment: says who asked for it and why", {"comment": " \n"}),
    ("comment: String should have at least 1 character", {"comment": ""}),
    ("count: missing", {"count": None}),
    ("count: Input should be greater than or equal to 0", {"count": -1}),
    ("count: a rate is at least 1 per period", {"count": 0}),
    ("count: a cap is at most 1000", {"limit": "phone_sends", "subject": "0900000001", "count": 1001}),
    ("count: a cooldown's count is 1: override its period", {"limit": "phone_cooldown", "subject": "0900000001"}),
    ("subject: not an IP address or network", {"subject": "0900000001"}),
    ("subject: not a Vietnamese mobile number", {"limit": "phone_sends", "subject": "02563000000", "count": 1}),
    ("subject: no such client", {"limit": "client_sends", "subject": "stranger"}),
    ('period: at most "24h": the log of a cap keeps a day',
     {"limit": "phone_sends", "subject": "0900000001", "count": 1, "period": "2d"}),
    ("burst: phone_sends is a cap: only rates have a burst",
     {"limit": "phone_sends", "subject": "0900000001", "count": 1, "burst": 1}),
    ("limit: phone_failures is fixed by rule", {"limit": "phone_failures", "subject": "0900000001"}),
    ("limit: the whole service is one subject: change limits.service_sends itself", {"limit": "service_sends"}),
    ("limit: an ID number never stands in a file: override phone_ownership_checks for the phone",
     {"limit": "id_ownership_checks", "subject": "052090000001"}),
    (f"limit: no such limit; there are {', '.join(LIMIT_KINDS)}", {"limit": "phones"}),
    ("mode: unknown name; default.toml shows every name with its meaning", {"mode": "enforce"}),
])
def test_a_bad_override_is_refused(told: str, changes: dict[str, Any]) -> None:
    """Each guard of an override tells its place in the list and what to write."""
    assert [f"overrides[0].{told}"] == problems(override(**changes))


def test_a_subject_is_overridden_once_per_limit() -> None:
    """Which of two would hold is never guessed, however the subject is written; another limit is another matter."""
    first, second = (override(subject=text)["overrides"][0] for text in ("203.0.113.1", "203.0.113.1/32"))

    assert ["overrides[1].subject: this limit is overridden for this subject before"] == problems(
        {"overrides": [first, second]},
    )
    assert 2 == len(load({"overrides": [first, second | {"limit": "address_guesses"}]}).overrides)


# -- clients ----------------------------------------------------------------------------------------------------------


@time_machine.travel(NOW, tick=False)
def test_a_client_is_read_whole() -> None:
    """Every member arrives in the core's client, and its key opens it until it expires."""
    settings = load(portal(
        origins=["https://portal.example.vn", "http://localhost:3000"], webotp_host="portal.example.vn",
        hotline="1900 0000", return_hosts=["portal.example.vn"], webhook_hosts=["api.example.vn"],
        keys=[key("secret", scopes=["verify", "metrics"])],
    ))
    (client,) = settings.clients()
    registry = settings.clients()
    expiry_s = datetime(2027, 1, 1, tzinfo=UTC).timestamp()

    assert ("portal", "Cổng", frozenset({"registration"})) == (client.name, client.display_name, client.purposes)
    assert {"https://portal.example.vn", "http://localhost:3000"} == client.origins
    assert ("portal.example.vn", "1900 0000") == (client.webotp_host, client.hotline)
    assert {"portal.example.vn"} == client.return_hosts
    assert {"api.example.vn"} == client.webhook_hosts
    credential = registry.authenticate("secret", expiry_s - 1)
    assert credential is not None
    assert {Scope.VERIFY, Scope.METRICS} == credential.scopes
    assert not credential.test
    assert registry.authenticate("secret", expiry_s) is None
    assert registry.authenticate("Secret", expiry_s - 1) is None


def test_a_key_verifies_reads_and_redeems_unless_told_otherwise() -> None:
    """The scopes a portal needs, and no more."""
    (client,) = load(portal(keys=[key(test=True)])).clients()

    assert {Scope.VERIFY, Scope.READ, Scope.REDEEM} == client.keys[0].scopes
    assert client.keys[0].test


@pytest.mark.parametrize(("moment", "written"), [
    (datetime(2027, 1, 31, tzinfo=UTC), "2027-01-31"),
    (datetime(2027, 1, 31, 12, tzinfo=UTC), "2027-01-31T12:00:00"),
    (datetime(2027, 1, 31, 5, tzinfo=UTC), "2027-01-31T12:00:00+07:00"),
])
def test_expiry_is_a_date_or_a_time_in_utc(folder: Path, hanoi: None, moment: datetime, written: str) -> None:
    """A date means its midnight; a time without offset is UTC, wherever the host stands."""
    del hanoi
    (folder / "clients.toml").write_text(
        f'[clients.portal]\ndisplay_name = "x"\n'
        f'[[clients.portal.keys]]\ndigest = "{digest("a")}"\nexpires = {written}\n',
        encoding="utf-8",
    )
    (client,) = load_settings(folder, environ={}).clients()

    assert moment.timestamp() == client.keys[0].expires_at


@time_machine.travel(NOW, tick=False)
def test_two_live_and_two_test_keys_are_the_most() -> None:
    """A third unexpired key of one kind is refused; an expired one does not count."""
    two_of_each = [key("a"), key("b"), key("c", test=True), key("d", test=True)]
    expired = key("e", expires=NOW)

    (client,) = load(portal(keys=[*two_of_each, expired])).clients()
    assert 5 == len(client.keys)
    for third, kind in ((key("e"), "live"), (key("e", test=True), "test")):
        assert [f"clients.portal.keys: 3 unexpired {kind} keys, at most 2: remove the oldest"] == problems(
            portal(keys=[*two_of_each, third]),
        )


@pytest.mark.parametrize(("path", "change"), [
    ("digest", {"digest": "a" * 64}), ("digest", {"digest": "sha256:" + "A" * 64}), ("digest", {"digest": "sha256:"}),
    ("digest", {"digest": "otp_live_0123456789"}),
    ("expires", {"expires": "2027-01-31"}), ("expires", {"expires": 5}), ("expires", {"expires": None}),
    ("scopes", {"scopes": []}), ("test", {"test": "perhaps"}), ("unknown", {"unknown": 1}),
])
def test_a_bad_key_is_refused(path: str, change: dict[str, Any]) -> None:
    """Each guard of a key tells its path and never the value."""
    (told,) = problems(portal(keys=[key(**change)]))

    assert told.startswith(f"clients.portal.keys[0].{path}: ")


def test_a_key_without_expiry_is_refused() -> None:
    """Every key ends some day."""
    assert ["clients.portal.keys[0].expires: missing"] == problems(portal(keys=[{"digest": digest("a")}]))


def test_a_key_belongs_to_one_client_once() -> None:
    """The same digest twice would let one portal act as another."""
    tree = portal(keys=[key("a")])
    tree["clients"]["other"] = {"display_name": "x", "keys": [key("a")]}

    (told,) = problems(tree)

    assert "clients.other.keys[0].digest: this key is listed before: each key belongs to one client, once" == told


@pytest.mark.parametrize("origin", [
    "https://portal.example.vn", "https://portal.example.vn:8443", "http://127.0.0.1:3000", "http://localhost",
    "http://[::1]:3000",
])
def test_an_origin_is_taken_as_browsers_send_it(origin: str) -> None:
    """TLS anywhere, http on loopback."""
    (client,) = load(portal(origins=[origin])).clients()

    assert {origin} == client.origins


@pytest.mark.parametrize("origin", [
    "http://portal.example.vn", "https://portal.example.vn/", "https://portal.example.vn/a", "portal.example.vn",
    "https://Portal.example.vn", "HTTPS://portal.example.vn", "https://portal.example.vn:443", "http://localhost:80",
    "https://u@portal.example.vn", "https://portal.example.vn?", "https://portal.example.vn#", "https://*.example.vn",
    "*", "null", "loopback", "", "https://", "https://a b", "https://x:port", "file:///x", "https://portal.example.vn ",
    "https://portal.example.vn\n",
])
def test_any_other_origin_is_refused(origin: str) -> None:
    """What a browser never sends would never match; what it could send from anywhere must not."""
    (told,) = problems(portal(origins=[origin]))

    assert told.startswith("clients.portal.origins[0]: an origin is scheme://host[:port]")


@pytest.mark.parametrize("name", ["webotp_host", "return_hosts", "webhook_hosts"])
@pytest.mark.parametrize("host", [
    "https://portal.example.vn", "portal.example.vn:443", "portal.example.vn/", "Portal.example.vn", "*.example.vn",
    "", "a..b", "-a.vn", "a" * 64, "a b", "portal.example.vn\n", "đ.vn",
])
def test_a_host_is_a_bare_name(name: str, host: str) -> None:
    """No scheme, port, path or pattern."""
    (told,) = problems(portal(**{name: host if name == "webotp_host" else [host]}))

    assert told.startswith(f"clients.portal.{name}: a host is a bare name")


@pytest.mark.parametrize("name", ["", "Portal", "1a", "a_b", "-a", "a" * 25, "đ"])
def test_a_bad_client_name_is_refused(name: str) -> None:
    """A name is the token's audience and a store field."""
    told = problems({"clients": {name: {"display_name": "x"}}})

    assert 1 == len(told)
    assert "a client's name has" in told[0]


@pytest.mark.parametrize("test", [False, True])
@time_machine.travel(NOW, tick=False)
def test_a_new_key_works_once_its_block_is_pasted(folder: Path, test: bool) -> None:
    """The printed key opens the client of the printed block until its days are over, and is not in the block."""
    made, block = new_key("tinh-portal", test=test, days=30)
    (folder / "clients.toml").write_text(block, encoding="utf-8")
    registry = load_settings(folder, environ={}).clients()
    credential = registry.authenticate(made, (NOW + timedelta(days=29)).timestamp())

    assert made.startswith("otp_test_" if test else "otp_live_")
    assert 43 == len(made) - len("otp_live_")
    assert made not in block
    assert credential is not None
    assert ("tinh-portal", test) == (credential.client.name, credential.test)
    assert {Scope.VERIFY, Scope.READ, Scope.REDEEM} == credential.scopes
    assert registry.authenticate(made, (NOW + timedelta(days=30)).timestamp()) is None
    assert made != new_key("tinh-portal", test=test, days=30)[0]


def test_a_new_key_needs_a_good_name() -> None:
    """A block that would be refused is not printed."""
    with pytest.raises(ConfigurationError, match=r"clients\.Portal: a client's name has"):
        new_key("Portal", test=False, days=1)


def test_a_purpose_with_errors_is_still_known_to_clients() -> None:
    """One mistake gives one problem."""
    (told,) = problems(portal() | {"purposes": {"registration": {"max_attempts": 99}}})

    assert told.startswith("purposes.registration.max_attempts: ")


# -- the demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_has_its_client_on_loopback(tmp_path: Path) -> None:
    """The published key opens everything, on 127.0.0.1, with the fake gateway and its own data and keys."""
    demo = demo_settings(load({"keys": {"file": "/run/keys.json"}}), 8081, tmp_path)
    credential = demo.clients().authenticate(DEMO_KEY, 0)

    assert "demo-portal-key" == DEMO_KEY
    assert credential is not None
    assert (DEMO_CLIENT, frozenset(Scope), False) == (credential.client.name, credential.scopes, credential.test)
    assert set(demo.purposes) == credential.client.purposes
    assert credential.client.allows_origin("http://localhost:5173")
    assert not credential.client.allows_origin("https://portal.example.vn")
    assert {"loopback"} == credential.client.return_hosts == credential.client.webhook_hosts
    assert ("127.0.0.1", 8081, "fake") == (demo.server.host, demo.server.port, demo.gateway.name)
    assert "http://127.0.0.1:8081" == demo.service.issuer == demo.server.public_url
    assert tmp_path / "keys.json" == demo.key_path
    assert tmp_path == demo.store.data_dir


def test_the_demo_s_key_opens_nothing_outside() -> None:
    """Without the demo nobody has heard of it."""
    assert load().clients().authenticate(DEMO_KEY, 0) is None


def test_the_demo_s_digest_is_refused_in_a_file() -> None:
    """Everybody knows that key."""
    assert ["clients.portal.keys[0].digest: this is the digest of the demo's key, which everybody knows"] == problems(
        portal(keys=[key(DEMO_KEY)]),
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_the_demo_takes_any_loopback_host(host: str, tmp_path: Path) -> None:
    """And listens on 127.0.0.1 all the same."""
    settings = load({"server": {"host": host, "private_host": host}})

    assert "127.0.0.1" == demo_settings(settings, 8080, tmp_path).server.host


@pytest.mark.parametrize("host", [
    "0.0.0.0", "::", "192.0.2.1", "otp.example.vn", "localhost.example.vn", "127.0.0.1.example.vn",
])
@pytest.mark.parametrize("where", ["host", "private_host"])
def test_the_demo_refuses_other_hosts(where: str, host: str, tmp_path: Path) -> None:
    """Nothing but loopback may reach a service whose key is published."""
    with pytest.raises(ConfigurationError, match=rf"server\.{where}: the demo listens on loopback alone"):
        demo_settings(load({"server": {where: host}}), 8080, tmp_path)


@pytest.mark.parametrize("gateway", ["esms", "my.module:Gateway", "sms_adapters.fake:FakeGateway"])
def test_the_demo_refuses_real_gateways(gateway: str, tmp_path: Path) -> None:
    """Any gateway but the two that reach no phone may be real."""
    with pytest.raises(ConfigurationError, match=r"gateway\.name: the demo refuses real gateways"):
        demo_settings(load({"gateway": {"name": gateway}}), 8080, tmp_path)


def test_the_demo_tells_all_problems_at_once(tmp_path: Path) -> None:
    """Hosts, gateway and a client that has the demo's name."""
    settings = load({
        "server": {"host": "0.0.0.0", "private_host": "0.0.0.0"}, "gateway": {"name": "esms"},
        "clients": {DEMO_CLIENT: {"display_name": "x"}},
    })

    with pytest.raises(ConfigurationError) as refused:
        demo_settings(settings, 8080, tmp_path)
    assert 5 == len(str(refused.value).splitlines())


def test_the_demo_s_gateway_options_are_its_own(tmp_path: Path) -> None:
    """Options of the console gateway do not reach the fake one; its own do."""
    console = load({"gateway": {"name": "console", "options": {"stream": "x"}}})
    fake = load({"gateway": {"name": "fake", "options": {"url": "http://127.0.0.1:1"}}})

    assert {} == demo_settings(console, 8080, tmp_path).gateway.options
    assert {"url": "http://127.0.0.1:1"} == demo_settings(fake, 8080, tmp_path).gateway.options
