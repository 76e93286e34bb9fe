"""The settings: where they come from, what is refused, and that every problem is told at once."""

from __future__ import annotations

import re
import shutil
import tomllib
from ipaddress import ip_network
from pathlib import Path

import pytest
from pydantic import BaseModel
from settings_harness import SHIPPED, copied, digest, key, load, portal, problems

from otp_service.core import limits
from otp_service.core.errors import ConfigurationError
from otp_service.core.limits import Limit
from otp_service.core.messages import Catalogue
from otp_service.core.verification import CodePolicy, OwnershipPolicy, Purpose
from otp_service.settings import load as load_module
from otp_service.settings import load_settings
from otp_service.settings.base import Known
from otp_service.settings.load import Document

DAY_S = 24 * 3600


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a copy of the shipped configuration."""
    return copied(tmp_path)


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
        Limit(limits.ADDRESS_UNPROVEN_SENDS, 10, 3600, 10),
        Limit(limits.ADDRESS_NO_SCRIPT_SENDS, 5, 3600, 5),
        Limit(limits.CLIENT_UNPROVEN_SENDS, 240, 60, 120),
        Limit(limits.CLIENT_NO_SCRIPT_SENDS, 30, 60, 30),
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
            fields = {inner.alias or inner_name for inner_name, inner in field.annotation.model_fields.items()}
            # [[ownership.routes]] is there as an example, in a comment.
            assert fields - {"routes"} == set(manual[name])
    without = load_settings(SHIPPED, environ={})
    with_defaults = Document.model_validate(
        {"limits": manual["limits"], "purposes": {"registration": {}}},
        context=Known(SHIPPED, 0, frozenset(), frozenset()),
    )
    for name in ("service", "server", "store", "keys", "sending", "ownership", "logging"):
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
        "OTP__GATEWAYS__MINE__OPTIONS__USER": "otp",
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
    assert {"user": "otp"} == settings.gateways["mine"].options
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

    settings = load(environ={"OTP__GATEWAYS__ESMS__OPTIONS__PASSWORD_FILE": str(secret)})

    assert {"password": " pass word "} == settings.gateways["esms"].options


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
        "OTP__GATEWAYS__ESMS__OPTIONS__A_FILE: the file is not UTF-8 text",
        "OTP__GATEWAYS__ESMS__OPTIONS__B_FILE: the file is larger than 65536 bytes",
        "OTP__STORE__URL_FILE: the file cannot be read: No such file or directory",
    ] == problems(environ={
        "OTP__STORE__URL_FILE": str(tmp_path / "missing"),
        "OTP__GATEWAYS__ESMS__OPTIONS__A_FILE": str(tmp_path / "binary"),
        "OTP__GATEWAYS__ESMS__OPTIONS__B_FILE": str(tmp_path / "huge"),
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
    assert str(folder / "sample" / "subscribers.csv") == settings.source("tttb").options["subscribers"]


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
            "sending": {"gateways": [f"{secret}!"], "attempts": secret},
            "gateways": {"esms": {"adapter": f"{secret}!", "options": secret, "rate": secret, "report_secret": secret,
                                  "report_networks": [secret], "poll_reports": secret}},
            "routes": [{"carriers": [secret], "gateways": [f"{secret}!"]}],
            "overrides": [{"limit": "phone_sends", "subject": secret, "count": secret, "comment": secret, "x": secret}],
            "limits": {"phone_sends": {"period": secret, "mode": secret}},
            "clients": {"portal": {"display_name": "x", "origins": [secret], "webotp_host": secret,
                                   "keys": [{"digest": secret, "expires": secret, "scopes": [secret]}]}},
        },
        environ={"OTP__LOGGING__LEVEL": secret, "OTP__SERVICE__ISSUER": secret},
    ))

    assert 24 == len(told.splitlines())
    assert secret not in told


def test_secrets_are_not_shown() -> None:
    """No repr carries the store's password, a plugin's options, a key's digest or a phone.  Invariant 5."""
    tree = portal(keys=[key()]) | {
        "store": {"url": "redis://:S3cret@store"},
        "gateways": {"esms": {"options": {"password": "S3cret"}, "report_secret": "S3cret-of-twenty-four-letters"}},
        "sources": {"viettel": {"options": {"password": "S3cret"}}},
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
    ("sending", "attempts", 0), ("sending", "attempts", 21), ("sending", "backoff_s", -1),
    ("sending", "backoff_s", 61), ("sending", "concurrency", 0), ("sending", "concurrency", 10_001),
    ("ownership", "sources", "../x"), ("ownership", "inline_deadline_s", 31), ("ownership", "retry_backoff_s", 0),
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
    ("sending", "attempts", 20), ("sending", "backoff_s", 0),
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
    settings = load({"gateways": {"esms": {"options": options}}})

    assert options | {"path": f"{SHIPPED}/a"} == settings.gateways["esms"].options
    assert f"{SHIPPED}/sample/subscribers.csv" == settings.source("tttb").options["subscribers"]


def test_settings_cannot_be_changed() -> None:
    """What was checked stays as it was checked."""
    settings = load()

    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        settings.limits = ()  # type: ignore[misc]
