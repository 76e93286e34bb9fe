"""How adapters read their options: each rule, from TOML as from the environment, and no value in any refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from otp_service.core.errors import ConfigurationError
from otp_service.core.options import Options

OPTIONS = Options("example")
SECRET = "s3cret"
WORD = re.compile("[A-Za-z]{1,8}")


def refusal(read: Callable[..., object], *args: Any, **keywords: Any) -> str:
    """Return what is said of an option that cannot be used; nothing of what was written may be printed with it."""
    with pytest.raises(ConfigurationError) as refused:
        read("option", *args, **keywords)
    shown: BaseException | None = refused.value
    while shown is not None:
        assert SECRET not in str(shown)
        shown = shown.__cause__
    return str(refused.value)


def test_an_error_names_adapter_and_option() -> None:
    """An operator finds the line to change by the first two words."""
    assert "example: url: write another" == str(OPTIONS.wrong("url", "write another"))


# -- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [
    ("Cong DVC", "Cong DVC"), ("  Cổng DVC\n", "Cổng DVC"), ("x", "x"), ("a b", "a b"),
], ids=repr)
def test_text(value: str, read: str) -> None:
    """A line of text comes without the space around it: a secret's file ends with a line break."""
    assert read == OPTIONS.text("option", value)


@pytest.mark.parametrize("value", [
    "", " \n", f"{SECRET}\n{SECRET}", f"{SECRET}\0", f"{SECRET}\x7f", f"{SECRET}\u2028{SECRET}", None, 5, True,
    [SECRET], SECRET.encode(),
], ids=repr)
def test_no_text(value: object) -> None:
    """Nothing, several lines, control characters and what is no text are refused."""
    assert "example: option: write one line of text that is not empty" == refusal(OPTIONS.text, value)


# -- addresses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [
    ("https://sms.example.vn", "https://sms.example.vn"),
    (" http://127.0.0.1:8080/api/ ", "http://127.0.0.1:8080/api"),
    ("https://sms.example.vn/v1//", "https://sms.example.vn/v1"),
    ("https://[::1]:8443/", "https://[::1]:8443"),
    ("HTTPS://sms.example.vn", "HTTPS://sms.example.vn"),
], ids=repr)
def test_url(value: str, read: str) -> None:
    """An http or https address comes without a slash at its end, so that paths can be appended."""
    assert read == OPTIONS.url("option", value)


@pytest.mark.parametrize("value", [
    SECRET, f"ftp://{SECRET}", f"//{SECRET}", f"https:///{SECRET}", f"https://[{SECRET}", f"https://{SECRET}:0",
    f"https://{SECRET}:port", f"https://{SECRET}:65536", f"https://a.example/{SECRET} b",
    f"https://a.example/{SECRET}#b", f"https://a.example/?key={SECRET}", f"https://{SECRET}.ví-dụ.vn",
], ids=repr)
def test_no_url(value: str) -> None:
    """Another scheme, no host, a port that is none, blanks, fragments, queries and other letters are refused."""
    said = "example: option: write an address that begins with http:// or https:// without a query"
    assert said == refusal(OPTIONS.url, value)


def test_no_url_at_all() -> None:
    """An address is a text first."""
    assert "example: option: write one line of text that is not empty" == refusal(OPTIONS.url, None)


def test_a_url_may_have_a_query_where_that_is_said() -> None:
    """Then it comes as it stands, for a slash may be part of the query; all else is refused as ever."""
    value = "https://otp.example/r/x?from=a/"
    assert value == OPTIONS.url("option", value, query=True)
    assert "https://otp.example/r/" == OPTIONS.url("option", "https://otp.example/r/", query=True)
    said = "example: option: write an address that begins with http:// or https://"
    for wrong in (f"ftp://{SECRET}?a=b", f"https://a.example/?{SECRET}#b", f"https://a.example/?{SECRET} b"):
        assert said == refusal(OPTIONS.url, wrong, query=True)


# -- text of a pattern ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [("abc", "abc"), (" abc\n", "abc")], ids=repr)
def test_matching(value: str, read: str) -> None:
    """All of the text fits the pattern."""
    assert read == OPTIONS.matching("option", value, WORD, "write a word")


def test_a_number_is_the_text_of_its_digits() -> None:
    """TOML writes an id of digits as a number."""
    assert "141000" == OPTIONS.matching("option", 141000, re.compile("[0-9]+"), "write an id")


@pytest.mark.parametrize("value", [
    "", " ", SECRET, "two words", "abc\ndef", "abcdefghi", None, True, 1.5, ["abc"],
], ids=repr)
def test_not_matching(value: object) -> None:
    """A part that fits is not enough; neither nothing nor true is a word, although Python can write them."""
    assert "example: option: write a word" == refusal(OPTIONS.matching, value, WORD, "write a word")


# -- numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [
    (5, 5.0), (2.5, 2.5), ("2.5", 2.5), (" 10 ", 10.0), (60, 60.0), ("60", 60.0), (0.001, 0.001),
], ids=repr)
def test_seconds(value: float | str, read: float) -> None:
    """Seconds are more than 0 and at most a minute, in figures or as text."""
    found = OPTIONS.seconds("option", value)
    assert (read, float) == (found, type(found))


@pytest.mark.parametrize("value", [
    0, -1, 60.001, "61", "nan", "inf", float("nan"), float("inf"), "", SECRET, f"5 {SECRET}", None, True, False, [5],
    10**400, b"5",
], ids=repr)
def test_no_seconds(value: object) -> None:
    """Nothing, a boolean, no number and one out of bounds are refused."""
    assert "example: option: write seconds, more than 0 and at most 60" == refusal(OPTIONS.seconds, value)


def test_seconds_may_be_more_where_that_is_said() -> None:
    """An adapter gives its own bound, and the refusal tells it."""
    assert 3600.0 == OPTIONS.seconds("option", "3600", most=3600)
    assert "example: option: write seconds, more than 0 and at most 3600" == refusal(
        OPTIONS.seconds, 3600.5, most=3600,
    )
    assert "example: option: write seconds, more than 0 and at most 0.5" == refusal(OPTIONS.seconds, 1, most=0.5)


@pytest.mark.parametrize(("value", "read"), [(2, 2), (5, 5), ("2", 2), (" 3\n", 3), ("005", 5)], ids=repr)
def test_whole(value: int | str, read: int) -> None:
    """A whole number within bounds, both included, in figures or as text."""
    found = OPTIONS.whole("option", value, 2, 5)
    assert (read, int) == (found, type(found))


@pytest.mark.parametrize("value", [
    1, 6, "1", "6", -2, "-2", "+2", "2.0", 2.0, "2e0", "²", "٣", "0x2", "", None, True, SECRET, "2 3", [2], "2" * 5000,
], ids=repr)
def test_no_whole(value: object) -> None:
    """Out of bounds, signed, broken, in other digits or no number: refused with the bounds."""
    assert "example: option: write a whole number from 2 to 5" == refusal(OPTIONS.whole, value, 2, 5)


def test_true_is_not_one() -> None:
    """Python takes true for 1; an option that wants a number does not."""
    assert "example: option: write a whole number from 0 to 1" == refusal(OPTIONS.whole, value=True, least=0, most=1)


# -- true and false ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [
    (True, True), (False, False), ("true", True), ("false", False), ("True", True), (" FALSE\n", False),
], ids=repr)
def test_boolean(value: bool | str, read: bool) -> None:
    """True and false come from TOML or, in any letters, as text."""
    assert OPTIONS.boolean("option", value) is read


@pytest.mark.parametrize("value", ["", "yes", "1", 1, 0, None, SECRET, [True]], ids=repr)
def test_no_boolean(value: object) -> None:
    """Nothing else is guessed at: a misspelt false must not mean true."""
    assert "example: option: write true or false" == refusal(OPTIONS.boolean, value)


# -- tables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "read"), [
    ({"a": 1}, {"a": 1}), ('{"a": 1}', {"a": 1}), (' {"a": {"b": []}}\n', {"a": {"b": []}}),
], ids=repr)
def test_table(value: object, read: object) -> None:
    """A table comes as such, or as text in JSON."""
    assert read == OPTIONS.table("option", value)


@pytest.mark.parametrize("value", [{}, "{}", "[]", "null", f'"{SECRET}"', [SECRET], None, 5], ids=repr)
def test_no_table(value: object) -> None:
    """Nothing, an empty table and JSON that is none are refused."""
    assert "example: option: write a table that is not empty" == refusal(OPTIONS.table, value)


@pytest.mark.parametrize("value", ["", SECRET, f'{{"a": "{SECRET}"', f"a = '{SECRET}'"], ids=repr)
def test_a_table_as_text_is_json(value: str) -> None:
    """A text that is no JSON is told as that, without a word of it."""
    assert "example: option: the text is no JSON" == refusal(OPTIONS.table, value)


def test_tables() -> None:
    """Each entry has exactly the members that are asked for, and is named by text."""
    entry = {"id": "1", "params": []}
    assert {"a": entry, "5": entry} == OPTIONS.tables("option", {"a": entry, 5: entry}, ("id", "params"))
    assert {"a": {"id": 1}} == OPTIONS.tables("option", '{"a": {"id": 1}}', ("id",))


@pytest.mark.parametrize("entry", [
    {"id": SECRET}, {"params": SECRET}, {}, {"id": 1, "params": 2, SECRET: 3}, SECRET, None, ["id", "params"],
], ids=repr)
def test_no_tables(entry: object) -> None:
    """A member too few or too many, or an entry that is no table, is refused by the entry's name."""
    said = "example: option.a: write id and params, nothing else"
    assert said == refusal(OPTIONS.tables, {"a": entry}, ("params", "id"))


def test_tables_are_a_table_first() -> None:
    """Nothing, and a list, are refused as such."""
    for value in ({}, "[]", None):
        assert "example: option: write a table that is not empty" == refusal(OPTIONS.tables, value, ("id",))
