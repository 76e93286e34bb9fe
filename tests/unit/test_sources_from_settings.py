"""The sources that are made of ``[sources.*]``: what is refused before anything starts, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from settings_harness import copied, load

from otp_service.core.errors import ConfigurationError
from otp_service.core.evidence import ASSURANCE_LEVELS, Evidence, OwnershipOutcome, OwnershipQuestion
from otp_service.core.source_ports import Conversation, SourceTraits
from otp_service.inquiry.sources import AskedSource, Budget
from otp_service.settings import Settings, load_settings
from otp_service.settings.routing import RESERVED
from otp_service.sources_from_settings import made_up_source, make_sources, refuse_real

KEY = bytes(range(32))
HERE = "test_sources_from_settings"
QUESTION = OwnershipQuestion("+84900000001", ("052090000001",))
LEVELS = ", ".join(ASSURANCE_LEVELS)


class Register:
    """An adapter that is asked in one step; options say what it says of itself."""

    name = "register"

    def __init__(
        self, *, real: bool = False, knows_swaps: bool = False, assurance: str = "subscriber_table",
    ) -> None:
        self.real = real
        self.knows_swaps = knows_swaps
        self.assurance = assurance

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """Match everything."""
        del question
        return Evidence(OwnershipOutcome.MATCH, self.name, self.assurance)


class Operator:
    """An adapter that speaks HTTP."""

    name = "operator"
    assurance = "operator_match"
    real = True
    knows_swaps = True
    contract = "a page"

    def __init__(self, *, url: str, timeout_s: float = 4.0) -> None:
        self.url = url
        self.timeout_s = timeout_s

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """Learn nothing, without asking."""
        del question, token
        yield from ()
        return Evidence(OwnershipOutcome.ERROR, self.name)


class Shape:
    """What the tests put into any shape."""


class Keyed(Register):
    """An adapter that keeps digests."""

    def __init__(self, *, key: bytes | None = None) -> None:
        super().__init__()
        self.key = key


class ProvidersKey(Register):
    """An adapter whose provider gives out keys."""

    def __init__(self, *, key: str = "none") -> None:
        super().__init__()
        self.key = key


class Careless(Register):
    """An adapter that repeats a secret in its error."""

    def __init__(self, *, secret: str) -> None:
        raise ValueError(secret)


def made(tree: dict[str, Any], *, trying: str = "") -> dict[str, AskedSource]:
    """Return the sources of changed settings by name."""
    return {source.name: source for source in make_sources(load(tree), KEY, trying=trying)}


def told(tree: dict[str, Any]) -> list[str]:
    """Return why the sources of changed settings cannot be made."""
    with pytest.raises(ConfigurationError) as refused:
        make_sources(load(tree), KEY)
    return str(refused.value).splitlines()


def one(adapter: str = "Register", **section: Any) -> dict[str, Any]:
    """Return a tree that asks the source ``mine`` alone."""
    return {
        "ownership": {"sources": ["mine"]},
        "sources": {"mine": {"adapter": adapter if ":" in adapter else f"{HERE}:{adapter}"} | section},
    }


# -- what is made -----------------------------------------------------------------------------------------------------


def test_a_source_is_made_as_it_is_written() -> None:
    """Deadline and budget reach the source; what its adapter says of itself stands beside them."""
    source = made(one(
        "Operator", deadline_s=2.5, budget=1000, budget_period="7d", options={"url": "x", "timeout_s": 1.5},
    ))["mine"]

    assert ("mine", 2.5, Budget(1000, 604_800), 1.5, None) == (
        source.name, source.deadline_s, source.budget, source.timeout_s, source.with_token,
    )
    assert isinstance(source.over_http, Operator)
    assert SourceTraits(real=True, knows_swaps=True, contract="a page") == source.traits


def test_nothing_is_bound_that_is_not_written() -> None:
    """A source without a budget may be asked as often as questions come, for 5 s each."""
    source = made(one())["mine"]

    assert (None, 5.0) == (source.budget, source.deadline_s)


async def test_the_shipped_source_answers_from_the_sample() -> None:
    """A fresh installation has one source, its sample table, and it answers."""
    source = made({})["tttb"]

    assert "match" == (await source.source.ask(QUESTION)).outcome  # type: ignore[union-attr]


def test_what_a_route_names_is_made_once_and_nothing_else() -> None:
    """Each source that some route names, in their order, and the one that is tried out."""
    tree = one() | {"ownership": {
        "sources": ["tttb", "mine"], "routes": [{"carriers": ["viettel"], "sources": ["second", "mine"]}],
    }}
    tree["sources"] |= {
        "second": {"adapter": f"{HERE}:Register"}, "spare": {"adapter": f"{HERE}:Register"},
        "broken": {"adapter": "nowhere"},
    }

    assert ["second", "mine", "tttb"] == list(made(tree))
    assert ["second", "mine", "tttb", "spare"] == list(made(tree, trying="spare"))
    assert ["second", "mine", "tttb"] == list(made(tree, trying="mine"))


def test_a_keyed_adapter_gets_the_house_s_key() -> None:
    """It asks for bytes; an option that sets the key wins."""
    assert KEY == made(one("Keyed"))["mine"].source.key  # type: ignore[union-attr]
    assert "own" == made(one("Keyed", options={"key": "own"}))["mine"].source.key  # type: ignore[union-attr]


def test_a_provider_s_key_is_never_ours() -> None:
    """An adapter whose ``key`` is text would send it away; one without ``key`` is not given any."""
    assert "none" == made(one("ProvidersKey"))["mine"].source.key  # type: ignore[union-attr]
    assert isinstance(made(one("Register"))["mine"].source, Register)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_the_problems_of_all_sources_are_told_at_once() -> None:
    """One line each, in the order of the routes, with the source's name."""
    tree = one() | {"ownership": {"sources": ["nowhere", "mine=2 tttb", "operator"]}}
    tree["sources"] |= {
        "tttb": {"options": {"subscribers": "/nowhere/x.csv"}}, "operator": {"adapter": f"{HERE}:Operator"},
    }
    nowhere, tttb, operator = told(tree)

    assert nowhere.startswith("sources.nowhere: no 'nowhere' among otp_service.ownership (installed: ")
    assert tttb.startswith("sources.tttb: /nowhere/x.csv: ")
    assert f"sources.operator: {HERE}:Operator needs url" == operator


def test_wrong_options_name_their_source_and_no_value() -> None:
    """Names that the adapter does not take are told; so is that its constructor failed, without what it said."""
    assert [f"sources.mine: {HERE}:Keyed has no option 'colour'; it has key"] == told(
        one("Keyed", options={"colour": "S3cret"}),
    )
    assert [f"sources.mine: {HERE}:Careless cannot be made of its options: ValueError in its constructor"] == told(
        one("Careless", options={"secret": "S3cret"}),
    )


async def _ask(question: OwnershipQuestion) -> None:
    del question


@pytest.mark.parametrize(("problem", "attributes"), [
    ("its attribute name is not a text", {"name": ""}),
    ("its attribute name is not a text", {"name": 5}),
    (f"its attribute assurance is none of {LEVELS}", {"assurance": None}),
    (f"its attribute assurance is none of {LEVELS}", {"assurance": "certain"}),
    ("its attribute real is not True or False", {"real": "true"}),
    ("its attribute repeatable is not True or False", {"repeatable": 0}),
    ("its attribute knows_swaps is not True or False", {"knows_swaps": None}),
    ("it has neither ask (OwnershipSource) nor converse (HttpSource)", {"ask": None}),
    ("it has both ask and converse; a source has one of them", {"converse": print}),
    ("its method ask is not async (OwnershipSource)", {"ask": print}),
    *(("its attribute timeout_s is not a positive number of seconds",
       {"ask": None, "converse": print, "timeout_s": wrong})
      for wrong in (0, -1, "5", True, None, float("nan"), float("inf"))),
    ("it has one of build_token_request and parse_token; a source with tokens has both",
     {"ask": None, "converse": print, "timeout_s": 5, "build_token_request": print}),
    ("it has one of build_token_request and parse_token; a source with tokens has both",
     {"ask": None, "converse": print, "timeout_s": 5, "parse_token": print}),
], ids=str)
def test_an_adapter_of_another_shape_is_refused(
    problem: str, attributes: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A slip in an adapter is told at the start, with its source, and not while a citizen waits."""
    whole = {"name": "shape", "assurance": "operator_match", "ask": staticmethod(_ask)}
    for name, value in (whole | attributes).items():
        monkeypatch.setattr(Shape, name, value, raising=False)

    assert [f"sources.mine: {problem}"] == told(one("Shape"))


def test_every_slip_of_an_adapter_is_told() -> None:
    """One line each."""
    assert [
        "sources.mine: its attribute name is not a text",
        f"sources.mine: its attribute assurance is none of {LEVELS}",
        "sources.mine: it has neither ask (OwnershipSource) nor converse (HttpSource)",
    ] == told(one("Shape"))


# -- what the purposes want -------------------------------------------------------------------------------------------


def both(**rules: Any) -> dict[str, Any]:
    """Return a tree whose registration has rules of evidence, with a table for all and an operator for Viettel."""
    return {
        "purposes": {"registration": rules},
        "ownership": {"sources": ["tttb"], "routes": [{"carriers": ["viettel"], "sources": ["viettel", "tttb"]}]},
        "sources": {"viettel": {"adapter": f"{HERE}:Operator", "options": {"url": "x"}}},
    }


@pytest.mark.parametrize("effect", ["record", "reject"])
def test_a_purpose_that_asks_for_swaps_needs_a_source_that_knows_them(effect: str) -> None:
    """One that some of its routes ask is enough; a purpose that asks nobody needs none."""
    swaps = {"sim_swap": effect}

    assert {"viettel", "tttb"} == set(made(both(**swaps)))
    assert [
        f'purposes.registration: sim_swap = "{effect}", and no source knows of changed SIMs: tttb',
    ] == told({"purposes": {"registration": swaps}})
    assert {"tttb"} == set(made({"purposes": {"sign_in": swaps, "registration": {"sim_swap": "ignore"}}}))


def test_a_purpose_needs_a_source_that_reaches_its_assurance() -> None:
    """The level itself and those above it are enough."""
    assert {"viettel", "tttb"} == set(made(both(min_assurance="operator_match")))
    assert {"tttb"} == set(made({"purposes": {"registration": {"min_assurance": "subscriber_table"}}}))
    assert {"tttb"} == set(made({"purposes": {"registration": {"min_assurance": "attested_reply"}}}))
    assert [
        'purposes.registration: min_assurance = "operator_match", and no source reaches it: tttb (subscriber_table)',
    ] == told({"purposes": {"registration": {"min_assurance": "operator_match"}}})


def test_only_the_routes_that_a_purpose_takes_count() -> None:
    """A source on another purpose's route, or behind a route for all of its carriers, is never asked for it."""
    tree = both(sim_swap="reject", min_assurance="operator_match")
    tree["ownership"]["routes"] = [{"purposes": ["account_link"], "sources": ["viettel"]}]
    assert [
        'purposes.registration: sim_swap = "reject", and no source knows of changed SIMs: tttb',
        'purposes.registration: min_assurance = "operator_match", and no source reaches it: tttb (subscriber_table)',
    ] == told(tree)

    tree["ownership"]["routes"] = [
        {"purposes": ["registration"], "sources": ["tttb"]}, {"carriers": ["viettel"], "sources": ["viettel"]},
    ]
    assert 2 == len(told(tree))
    tree["ownership"]["routes"].reverse()
    assert {"viettel", "tttb"} == set(made(tree))


# -- test keys and the demo -------------------------------------------------------------------------------------------


async def test_test_keys_have_the_made_up_table(tmp_path: Path) -> None:
    """It is found in the configuration folder whatever the chain is; a folder without a sample has none."""
    folder = copied(tmp_path)

    def settings() -> Settings:
        return load_settings(folder, environ={"OTP__OWNERSHIP__SOURCES": "viettel"})

    source = made_up_source(settings())
    assert source is not None
    assert (RESERVED, False) == (source.name, source.traits.real)
    assert "match" == (await source.source.ask(QUESTION)).outcome  # type: ignore[union-attr]
    (folder / "sample" / "subscribers.csv").unlink()
    assert made_up_source(settings()) is None


def test_the_demo_refuses_sources_that_reach_real_registers() -> None:
    """Everybody knows its key; one that only looks real by its adapter's name is fine."""
    unreal = {"url": "x"}
    sources = made({
        "ownership": {"sources": ["tttb", "operator", "second", "mine"]},
        "sources": {
            "operator": {"adapter": f"{HERE}:Operator", "options": unreal},
            "second": {"adapter": f"{HERE}:Register", "options": {"real": True}},
            "mine": {"adapter": f"{HERE}:Register"},
        },
    })

    with pytest.raises(ConfigurationError) as refused:
        refuse_real(sources.values())
    assert "the demo refuses sources that know real people: operator and second (ownership.sources)" == str(
        refused.value,
    )
    refuse_real([sources["tttb"], sources["mine"]])
