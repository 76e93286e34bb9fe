"""The order in which gateways are asked: complete, weighted, the same for every worker, and moved by shares alone."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otp_service.core.errors import ConfigurationError
from otp_service.core.phone import Carrier
from otp_service.core.routing import Route, RouteBook, Tier, parse_tiers, places

NAMES = ("esms", "speedsms", "fpt", "viettel", "vnpt", "stringee")
REFERENCES = st.from_regex(r"[0-9a-f]-k1-[a-z2-7]{26}-[1-9]", fullmatch=True)
SHARES = st.dictionaries(st.sampled_from(NAMES), st.integers(2, 100))
#: References enough that a share of them is off by more than 0.04 less than once in a thousand million runs.
MANY = tuple(f"5-k1-{at:026d}-1" for at in range(10_000))
OFF = 0.04


@st.composite
def tiers(draw: st.DrawFn) -> tuple[Tier, ...]:
    """Draw gateways, cut into tiers, with weights."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    cuts = sorted(draw(st.sets(st.integers(1, len(names) - 1)))) if len(names) > 1 else []
    return tuple(
        {name: draw(st.integers(1, 1000)) for name in names[begin:end]}
        for begin, end in zip([0, *cuts], [*cuts, len(names)], strict=True)
    )


def order(written: str, reference: str, **shares: int) -> tuple[str, ...]:
    """Return the order of one route; tiers are separated by commas."""
    return RouteBook([Route(parse_tiers(written.split(",")))]).order(None, "registration", shares, reference)


def firsts(written: str, **shares: int) -> dict[str, float]:
    """Return how often each gateway is the first to be asked, 0 to 1."""
    found = Counter(order(written, reference, **shares)[0] for reference in MANY)
    return {name: count / len(MANY) for name, count in found.items()}


# -- every message ------------------------------------------------------------------------------------------------


@given(tiers(), SHARES, REFERENCES)
def test_every_gateway_of_the_route_is_there_once(route: tuple[Tier, ...], shares: dict[str, int], ref: str) -> None:
    """Whatever the shares, each gateway of the route is asked, none twice, and none of another route."""
    found = RouteBook([Route(route)]).order(None, "registration", shares, ref)
    assert sorted(name for tier in route for name in tier) == sorted(found)


@given(tiers(), SHARES, REFERENCES)
def test_every_worker_finds_the_same_order(route: tuple[Tier, ...], shares: dict[str, int], ref: str) -> None:
    """The same reference has the same order in every worker, in whatever order its settings name a tier's gateways."""
    turned = tuple({name: tier[name] for name in reversed(list(tier))} for tier in route)
    assert (
        RouteBook([Route(route)]).order(Carrier.VIETTEL, "sign_in", shares, ref)
        == RouteBook([Route(turned)]).order(Carrier.VIETTEL, "sign_in", dict(reversed(shares.items())), ref)
    )


@given(tiers(), REFERENCES)
def test_tiers_are_asked_in_turn_while_all_are_well(route: tuple[Tier, ...], ref: str) -> None:
    """While every gateway is well none is asked before all of the tiers before its own."""
    found = RouteBook([Route(route)]).order(None, "registration", {}, ref)
    place = {name: at for at, tier in enumerate(route) for name in tier}
    assert sorted(place[name] for name in found) == [place[name] for name in found]


@given(tiers(), SHARES, REFERENCES, st.sampled_from(NAMES), st.integers(2, 100))
def test_a_share_moves_its_own_gateway_alone(
    route: tuple[Tier, ...], shares: dict[str, int], ref: str, name: str, share: int,
) -> None:
    """When one share changes and the tier is not failing as a whole, the others keep their order among themselves."""
    whole = [tier for tier in route if name in tier]
    shares = {**shares, **{other: 100 for tier in whole for other in tier if other != name}}
    if whole and len(whole[0]) == 1:
        shares[name] = share  # alone in its tier it moves that tier with it
    book = RouteBook([Route(route)])
    before, after = (book.order(None, "x", one, ref) for one in (shares, {**shares, name: share}))
    assert [other for other in before if other != name] == [other for other in after if other != name]


def test_a_falling_share_takes_no_message_from_the_others() -> None:
    """When a gateway's share falls, only messages that it would have had first go to another first."""
    for reference in MANY[:2000]:
        before, after = order("esms=3 fpt=2 vnpt", reference), order("esms=3 fpt=2 vnpt", reference, esms=30)
        assert before[0] in {"esms", after[0]}


# -- in the large -------------------------------------------------------------------------------------------------


def test_weights_hold_in_the_large() -> None:
    """Each gateway of a tier comes first as often as its part of the weights."""
    assert {
        "esms": pytest.approx(0.6, abs=OFF), "fpt": pytest.approx(0.3, abs=OFF), "vnpt": pytest.approx(0.1, abs=OFF),
    } == firsts("esms=6 fpt=3 vnpt=1,speedsms")


def test_shares_weigh_on_the_weights() -> None:
    """A gateway with a fifth of its share left counts for a fifth of its weight."""
    assert {
        "esms": pytest.approx(1.2 / 5.2, abs=OFF), "fpt": pytest.approx(3 / 5.2, abs=OFF),
        "vnpt": pytest.approx(1 / 5.2, abs=OFF),
    } == firsts("esms=6 fpt=3 vnpt=1", esms=20)


def test_the_second_place_is_weighted_too() -> None:
    """What the first refuses goes on by the weights of those that are left."""
    orders = [order("esms=6 fpt=3 vnpt=1", reference) for reference in MANY]
    second = Counter(one[1] for one in orders if one[0] == "esms")
    assert pytest.approx(0.75, abs=OFF) == second["fpt"] / second.total()


@pytest.mark.parametrize("share", [2, 25, 50, 90])
def test_a_failing_tier_keeps_only_its_share(share: int) -> None:
    """A tier whose only gateway fails is asked first as often as its share says, the next tier all the other times."""
    assert {
        "esms": pytest.approx(share / 100, abs=OFF), "fpt": pytest.approx(1 - share / 100, abs=OFF),
    } == firsts("esms,fpt", esms=share)


def test_a_tier_is_as_well_as_its_best() -> None:
    """Of a tier that fails as a whole as much stays as its best gateway's share; one that is well keeps it all."""
    assert pytest.approx(0.4, abs=OFF) == sum(
        part for name, part in firsts("esms fpt,vnpt", esms=40, fpt=20).items() if name != "vnpt"
    )
    assert {"esms", "fpt"} == firsts("esms fpt,vnpt", esms=2).keys()


def test_where_every_tier_fails_all_are_asked() -> None:
    """When every tier fails the first choice is shared out by the shares, and nobody is left out."""
    found = firsts("esms,fpt", esms=50, fpt=50)
    # Kept by the first: 1/2; by the second alone: 1/4; put off by both: 1/4, in the order of the tiers.
    assert {"esms": pytest.approx(0.75, abs=OFF), "fpt": pytest.approx(0.25, abs=OFF)} == found


def test_one_gateway_takes_everything() -> None:
    """The only gateway of a route is asked, whatever its share."""
    assert all(("esms",) == order("esms", reference, esms=2) for reference in MANY[:200])


# -- which route --------------------------------------------------------------------------------------------------


BOOK = RouteBook([
    Route(parse_tiers(["vnpt"]), frozenset({Carrier.VINAPHONE}), frozenset({"sign_in"})),
    Route(parse_tiers(["viettel", "esms"]), frozenset({Carrier.VIETTEL})),
    Route(parse_tiers(["zalo", "esms"]), purposes=frozenset({"sign_in"})),
    Route(parse_tiers(["esms", "fpt"])),
])


@pytest.mark.parametrize(
    ("carrier", "purpose", "gateways"),
    [
        (Carrier.VINAPHONE, "sign_in", ("vnpt",)),
        (Carrier.VINAPHONE, "registration", ("esms", "fpt")),
        (Carrier.VIETTEL, "sign_in", ("viettel", "esms")),
        (Carrier.MOBIFONE, "sign_in", ("zalo", "esms")),
        (None, "sign_in", ("zalo", "esms")),
        (None, "registration", ("esms", "fpt")),
    ],
)
def test_the_first_route_that_serves_decides(
    carrier: Carrier | None, purpose: str, gateways: tuple[str, ...],
) -> None:
    """Carrier and purpose must both fit; a number without a carrier takes the routes that ask for none."""
    assert gateways == BOOK.order(carrier, purpose, {}, MANY[0])


def test_the_book_knows_its_gateways() -> None:
    """Every gateway that a route names is listed once, in order of appearance."""
    assert ("vnpt", "viettel", "esms", "zalo", "fpt") == BOOK.names == BOOK.gateways


def test_the_places_of_a_gateway_are_told() -> None:
    """For whom, for what, in which tier and with which weight it stands; in no words where it stands nowhere."""
    routes = [
        Route(parse_tiers(["vnpt=2 esms=3"]), frozenset({Carrier.VINAPHONE, Carrier.ITEL}), frozenset({"sign_in"})),
        Route(parse_tiers(["fpt", "esms"])),
    ]

    assert ["itel, vinaphone for sign_in: tier 1, weight 3", "all: tier 2, weight 1"] == places(routes, "esms")
    assert [] == places(routes, "zalo")


@pytest.mark.parametrize("routes", [
    [], [Route(parse_tiers(["esms"]), frozenset({Carrier.VIETTEL}))],
    [Route(parse_tiers(["esms"])), Route(parse_tiers(["fpt"]), purposes=frozenset({"sign_in"}))],
])
def test_a_message_never_finds_no_route(routes: list[Route]) -> None:
    """Routes that leave some message out are refused at once."""
    with pytest.raises(ConfigurationError):
        RouteBook(routes)


# -- as written ---------------------------------------------------------------------------------------------------


def test_tiers_are_read_as_written() -> None:
    """One text is one tier; a weight stands behind an equals sign and is 1 where none is given."""
    assert ({"esms": 3, "speedsms": 1}, {"fpt": 1000}) == parse_tiers(["esms=3  speedsms", "fpt=1000"])


@pytest.mark.parametrize("written", [
    [], [""], ["esms", " "], ["esms esms"], ["esms", "fpt esms=2"], ["esms=0"], ["esms=1001"], ["esms=-1"],
    ["esms=1.5"], ["esms=x"], ["esms=٣"], ["esms="], ["=3"], ["esms=1=2"],
])
def test_what_is_no_tier_is_refused(written: list[str]) -> None:
    """No gateway at all, one twice, or a weight that is none, is refused."""
    with pytest.raises(ValueError):
        parse_tiers(written)


@pytest.mark.parametrize(("told", "written"), [
    ("at least one source is needed", []), ('a tier names at least one source: "viettel"', [""]),
    ("=3: a source's name stands before its weight", ["=3"]),
])
def test_a_refusal_is_about_what_is_written(told: str, written: list[str]) -> None:
    """Tiers of sources are refused as such, with an example of theirs."""
    with pytest.raises(ValueError) as refused:
        parse_tiers(written, what="source", example="viettel")
    assert told == str(refused.value)


@settings(max_examples=200)
@given(tiers())
def test_tiers_come_back(route: tuple[Tier, ...]) -> None:
    """Whatever tiers there are can be written and read back."""
    written = [" ".join(f"{name}={weight}" for name, weight in tier.items()) for tier in route]
    assert route == parse_tiers(written)
