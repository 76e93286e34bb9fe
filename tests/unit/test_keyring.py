from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otp_service.core.keyring import SHARDS, KeyRing, RingKey, SealBroken

ANCHOR = b"anchor" * 6
K1, K2 = RingKey("k1", b"1" * 32), RingKey("k2", b"2" * 32)
OLD, BOTH, LATE = KeyRing(ANCHOR, [K1]), KeyRing(ANCHOR, [K2, K1]), KeyRing(ANCHOR, [K1, K2])
ID = OLD.new_id(7)


@pytest.mark.parametrize(
    ("anchor", "keys"),
    [(b"a" * 31, [K1]), (ANCHOR, []), (ANCHOR, [K1, RingKey("k3", b"short")]), (b"", [K1])],
)
def test_weak_secrets_are_refused(anchor: bytes, keys: list[RingKey]) -> None:
    """A ring of fewer than 32 bytes anywhere, or of no key, is refused."""
    with pytest.raises(ValueError, match="32 bytes"):
        KeyRing(anchor, keys)


def test_secrets_are_not_shown() -> None:
    """A key's representation names it and keeps its secret (Invariant 5)."""
    assert "RingKey(id='k1')" == repr(K1)


# -- no two uses share a key --------------------------------------------------------------------------------------


def test_no_two_uses_share_a_key() -> None:
    """One message gives another result in every use, and none is made with the ring's secret itself."""
    value = "x"
    results = [
        OLD.code_secret(ID)[:16], OLD.digest(ID, "code", value), OLD.digest(ID, "id_number", value),
        OLD.names("phone", value)[0], OLD.names("id_number", value)[0], OLD.address_name(value),
        OLD.replay_name(value, value), OLD.body_digest(value.encode()), OLD.client_token(ID, value), OLD.table_key(),
    ]
    assert len(results) == len({str(result) for result in results})
    derived = OLD._derived["k1"]
    secrets = {derived.name, derived.code, derived.digest, derived.token, K1.secret, ANCHOR}
    secrets |= {OLD._shard_key, OLD._address_key, OLD._replay_key, OLD.table_key()}
    assert 10 == len(secrets)


def test_no_two_keys_share_a_result() -> None:
    """Each ring key has its own names, codes, digests and tokens."""
    other = ID.replace("-k1-", "-k2-")
    assert BOTH.code_secret(ID) != BOTH.code_secret(other)
    assert 2 == len(set(BOTH.names("phone", "+84900000001")))
    assert BOTH.client_token(ID, "portal") != BOTH.client_token(other, "portal")


# -- places and names ---------------------------------------------------------------------------------------------


def test_shards_never_move() -> None:
    """A phone's shard hangs on the anchor alone: no rotation moves it."""
    phones = [f"+8453{at:07d}" for at in range(500)]
    shards = [OLD.shard(phone) for phone in phones]
    assert shards == [BOTH.shard(phone) for phone in phones] == [KeyRing(ANCHOR, [K2]).shard(phone) for phone in phones]
    assert set(range(SHARDS)) == set(shards)
    assert shards != [KeyRing(b"b" * 32, [K1]).shard(phone) for phone in phones]


def test_names_rotate_with_overlap() -> None:
    """Names come under the current key first, then under each older one."""
    [old] = OLD.names("phone", "+84900000001")
    new, still = BOTH.names("phone", "+84900000001")
    assert old == still != new
    assert (old, new) == LATE.names("phone", "+84900000001")
    assert "0900000001" not in old


def test_addresses_and_replays_do_not_rotate() -> None:
    """Limits of addresses and idempotency records keep their names over a rotation."""
    assert OLD.address_name("198.51.100.0/24") == BOTH.address_name("198.51.100.0/24")
    assert OLD.replay_name("portal", "key") == BOTH.replay_name("portal", "key")
    assert OLD.body_digest(b"body") == BOTH.body_digest(b"body")


def test_the_key_of_tables_does_not_rotate() -> None:
    """A table of subscribers that was imported under the first key is read under every later one, of this store."""
    assert OLD.table_key() == BOTH.table_key() == KeyRing(ANCHOR, [K2]).table_key()
    assert 32 == len(OLD.table_key())
    assert OLD.table_key() != KeyRing(b"b" * 32, [K1]).table_key()


def test_a_replays_name_is_unambiguous() -> None:
    """Client and key cannot be shifted into each other, nor the parts of a body."""
    assert OLD.replay_name("ab", "c") != OLD.replay_name("a", "bc")
    assert OLD.body_digest(b"ab", b"c") != OLD.body_digest(b"a", b"bc")
    assert 16 == len(OLD.body_digest(b"body"))


# -- ids ----------------------------------------------------------------------------------------------------------


def test_an_id_tells_shard_and_key() -> None:
    """An id carries its shard and key, fits 36 characters, and no two are alike."""
    ids = {BOTH.new_id(shard) for shard in range(SHARDS) for _ in range(50)}
    assert SHARDS * 50 == len(ids)
    assert {"k2"} == {one.split("-")[1] for one in ids}
    assert max(map(len, ids)) <= 36
    assert list(range(SHARDS)) == sorted({BOTH.parse_id(one) for one in ids})


@pytest.mark.parametrize(
    "text",
    ["", "7", "7-k1-", "g-k1-" + "a" * 26, "7-k9-" + "a" * 26, "7-k1-" + "a" * 25, "7-k1-" + "a" * 27,
     "7-k1-" + "1" * 26, "7-K1-" + "a" * 26, "7-k1-" + "a" * 26 + "\n", "7-k1-" + "ａ" * 26, "7--" + "a" * 26,
     "77-k1-" + "a" * 26, "7-k1-" + "a" * 2600],
)
def test_what_is_no_id(text: str) -> None:
    """What this ring did not make, or can no longer read, is no id."""
    assert OLD.parse_id(text) is None


# -- tokens -------------------------------------------------------------------------------------------------------


def test_a_token_is_bound_to_verification_and_client() -> None:
    """A token opens its own verification and tells whose it is; another verification's or tenant's does not."""
    token = OLD.client_token(ID, "portal")
    assert token.startswith("vt_")
    assert "portal" == OLD.client_of_token(ID, token) == BOTH.client_of_token(ID, token)
    assert OLD.client_of_token(OLD.new_id(7), token) is None
    assert "portal~" == OLD.client_of_token(ID, OLD.client_token(ID, "portal~"))
    assert len({OLD.client_token(ID, client) for client in ("portal", "portal~", "porta", "")}) == 4


@given(at=st.integers(0, 39), flip=st.integers(1, 63))
def test_a_changed_token_is_none(at: int, flip: int) -> None:
    """Any other character anywhere makes a token worthless, the name's included."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = OLD.client_token(ID, "portal")
    body = token[3:]
    assert 40 == len(body)
    changed = body[:at] + alphabet[(alphabet.index(body[at]) + flip) % 64] + body[at + 1:]
    assert OLD.client_of_token(ID, "vt_" + changed) is None


@pytest.mark.parametrize(
    "token",
    ["", "vt_", "vt_a", "vt_" + "A" * 32, "xx_" + "A" * 40, "vt_" + "A" * 200, "vt_%%%%", "vt_é", "vt_" + "=" * 9],
)
def test_what_is_no_token(token: str) -> None:
    """Malformed tokens are none, without an error."""
    assert OLD.client_of_token(ID, token) is None


def test_a_token_of_no_verification() -> None:
    """A token for what is no id is none."""
    assert OLD.client_of_token("nonsense", OLD.client_token(ID, "portal")) is None
    forged = urlsafe_b64encode(hmac.digest(b"0" * 32, b"x", "sha256")[:24] + b"portal").decode()
    assert OLD.client_of_token(ID, "vt_" + forged) is None


# -- seals --------------------------------------------------------------------------------------------------------


@given(st.text(max_size=100))
def test_what_is_sealed_is_opened(value: str) -> None:
    """What was sealed opens to the same, also after a rotation, and never looks the same twice."""
    sealed = OLD.seal(ID, "phone", value)
    assert value == OLD.unseal(ID, "phone", sealed) == BOTH.unseal(ID, "phone", sealed)
    assert sealed != OLD.seal(ID, "phone", value)
    assert 28 + len(value.encode()) == len(sealed)


def test_a_seal_is_bound_to_its_place() -> None:
    """Sealed data opens only for its place and verification, unchanged, under its key (Invariant 5)."""
    sealed = OLD.seal(ID, "phone", "+84900000001")
    assert b"0900000001" not in sealed
    cases = [
        (OLD, ID, "id", sealed), (OLD, OLD.new_id(7), "phone", sealed), (OLD, ID, "phone", sealed[:-1]),
        (OLD, ID, "phone", bytes([sealed[0] ^ 1]) + sealed[1:]), (OLD, ID, "phone", sealed + b"x"),
        (OLD, ID, "phone", b""), (KeyRing(ANCHOR, [K2]), ID, "phone", sealed),
        (KeyRing(ANCHOR, [RingKey("k1", b"x" * 32)]), ID, "phone", sealed),
    ]
    for ring, verification_id, place, data in cases:
        with pytest.raises(SealBroken):
            ring.unseal(verification_id, place, data)
