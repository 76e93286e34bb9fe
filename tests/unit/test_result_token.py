from __future__ import annotations

import hmac
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet, OKPKey
from jsonschema import Draft202012Validator
from referencing import Registry
from support.engine import signing_key

from otp_service.core.evidence import ASSURANCE_LEVELS
from otp_service.core.result_token import Signer, SigningKey, TokenInvalid, claims_of
from otp_service.core.verification import Consent, Delivery, Ownership, Reason, Status, Verification

NOW_MS = 1_790_000_123_456
LIVE, TEST = signing_key(), signing_key(test=True)
SIGNER = Signer([LIVE, TEST])
ISSUER = "https://otp.example"

#: Published schemas; the requests' own, which the second one refers to, is of no use for claims.
SPECIFICATIONS = Path(__file__).parents[1] / "specifications"
SCHEMAS = ("verified_claims.schema.json", "claims.schema.json")
REQUESTS = "https://bitbucket.org/openid/ekyc-ida/raw/master/schema/verified_claims_request.json"

VERIFIED = Verification(
    id="7-k1-aaaaaaaaaaaaaaaaaaaaaaaaaa", client="portal", purpose="registration", status=Status.VERIFIED, reason=None,
    locale="vi", reference="hs-1", phone_number="+84900000001", test=False, code_length=6, send_number=2,
    created_at_ms=NOW_MS - 60_000, expires_at_ms=NOW_MS + 840_000, code_expires_at_ms=NOW_MS + 120_000,
    resend_at_ms=None, sends_left=0, attempts_left=0, delivery=Delivery.SENT,
    ownership=Ownership("match", "tttb", "subscriber_table", NOW_MS - 2000), finished_at_ms=NOW_MS - 1000,
    now_ms=NOW_MS,
)
REJECTED = replace(
    VERIFIED, status=Status.REJECTED, reason=Reason.SIM_NOT_OWNED,
    ownership=Ownership("mismatch", "tttb", "subscriber_table", NOW_MS - 2000),
)
POSSESSION = replace(VERIFIED, purpose="sign_in", reference=None, ownership=Ownership())


def decoded(part: str) -> dict[str, Any]:
    """Return the JSON of one part of a token."""
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def encoded(value: object) -> str:
    """Return a part of a token."""
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token(verification: Verification = VERIFIED) -> str:
    """Sign a verdict."""
    return SIGNER.sign(claims_of(verification, issuer=ISSUER), test=verification.test)


# -- claims -------------------------------------------------------------------------------------------------------


def test_the_claims_of_a_verified_phone() -> None:
    """The claims say who is told what about which phone, as of the store's clock."""
    claims = claims_of(VERIFIED, issuer=ISSUER)
    assert {
        "iss": ISSUER, "aud": "portal", "sub": VERIFIED.id, "jti": f"rt-{VERIFIED.id}", "iat": 1_790_000_123,
        "exp": 1_790_000_723, "purpose": "registration", "status": "verified", "phone_number": "+84900000001",
        "phone_number_verified": True, "reference": "hs-1",
    } == {name: value for name, value in claims.items() if name != "verified_claims"}


def test_the_claims_of_a_refusal() -> None:
    """A refusal says why, and claims nothing as verified."""
    claims = claims_of(REJECTED, issuer=ISSUER)
    assert ("rejected", "sim_not_owned", False) == (
        claims["status"], claims["reason"], claims["phone_number_verified"],
    )
    assert "verified_claims" not in claims


def test_a_test_keys_issuer_is_another() -> None:
    """What a test key proved says so in its issuer, under the client's own name."""
    claims = claims_of(replace(VERIFIED, test=True), issuer=ISSUER)
    assert (f"{ISSUER}/test", "portal") == (claims["iss"], claims["aud"])


def test_one_verdict_has_one_jti() -> None:
    """However often a verdict is read, its jti is the same and only its times move (Invariant 10)."""
    first, later = (claims_of(replace(VERIFIED, now_ms=NOW_MS + at), issuer=ISSUER) for at in (0, 3_600_000))
    assert first | {"iat": later["iat"], "exp": later["exp"]} == later


def test_verified_claims_follow_identity_assurance() -> None:
    """The verified claims have the structure of OpenID Identity Assurance Schema Definition 1.0."""
    found = claims_of(VERIFIED, issuer=ISSUER)["verified_claims"]
    assert {"verification", "claims"} == set(found)
    assert {"phone_number": "+84900000001", "phone_number_verified": True, "msisdn": "84900000001"} == found["claims"]
    verification = found["verification"]
    assert ("vn_portal_phone_registration", "subscriber_table", VERIFIED.id) == (
        verification["trust_framework"], verification["assurance_level"], verification["verification_process"],
    )
    [evidence] = verification["evidence"]
    assert ("electronic_record", "mobile_subscription") == (evidence["type"], evidence["record"]["type"])
    assert [("token", None), ("data", "tttb")] == [
        (check["check_method"], check.get("organization")) for check in evidence["check_details"]
    ]
    checks = {check["check_id"] for check in evidence["check_details"]}
    details = verification["assurance_process"]["assurance_details"]
    assert ["possession", "subscriber_match"] == [detail["assurance_classification"] for detail in details]
    assert checks == {ref["check_id"] for detail in details for ref in detail["evidence_ref"]}
    for text in (verification["time"], *(check["time"] for check in evidence["check_details"])):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", text)


def schema_of_verified_claims() -> Draft202012Validator:
    """Return the published schema, with the schemas it refers to."""
    found = [json.loads((SPECIFICATIONS / name).read_text("utf-8")) for name in SCHEMAS]
    requests = {"$id": REQUESTS, "$schema": found[0]["$schema"], "$defs": {"verified_claims_def": {}}}
    registry = Registry().with_contents([(one["$id"], one) for one in (*found, requests)])
    return Draft202012Validator(found[0], registry=registry, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("verification", [
    POSSESSION,
    *(replace(VERIFIED, ownership=Ownership("match", "camara", level, NOW_MS)) for level in ASSURANCE_LEVELS),
], ids=lambda verification: verification.ownership.assurance or "possession")
def test_verified_claims_validate(verification: Verification) -> None:
    """At every level the claims validate against the published schema, and name the level."""
    verified = claims_of(verification, issuer=ISSUER)["verified_claims"]
    schema_of_verified_claims().validate({"verified_claims": verified})
    assert (verification.ownership.assurance or "phone_possession") == verified["verification"]["assurance_level"]


def test_the_schema_can_refuse() -> None:
    """The schema finds what is wrong: a test that cannot fail would prove nothing."""
    verified = claims_of(VERIFIED, issuer=ISSUER)["verified_claims"]
    verified["verification"]["evidence"][0]["check_details"] = [{"organization": "tttb"}]
    assert not schema_of_verified_claims().is_valid({"verified_claims": verified})


@pytest.mark.parametrize("level", [level for level in ASSURANCE_LEVELS if level.startswith("attested")])
def test_what_an_official_read_is_vouched_for(level: str) -> None:
    """A reply of 1414 is no register's record: somebody vouches for it, and every check is accounted for."""
    attested = replace(VERIFIED, ownership=Ownership("match", "attested", level, NOW_MS - 2000))
    verification = claims_of(attested, issuer=ISSUER)["verified_claims"]["verification"]
    record, vouch = verification["evidence"]
    assert "electronic_record" == record["type"]
    assert ["token"] == [one["check_method"] for one in record["check_details"]]
    assert ("vouch", "attested") == (vouch["type"], vouch["check_details"][0]["organization"])
    details = verification["assurance_process"]["assurance_details"]
    assert {one["check_id"] for part in (record, vouch) for one in part["check_details"]} == {
        ref["check_id"] for detail in details for ref in detail["evidence_ref"]
    }


def test_consent_is_a_claim() -> None:
    """What the person agreed to stands in the verdict, as the portal gave it; without it nothing does."""
    agreed = replace(VERIFIED, consent=Consent("2026-01", "2026-01-31T08:00:00+07:00"))
    assert {"notice_version": "2026-01", "given_at": "2026-01-31T08:00:00+07:00"} == claims_of(
        agreed, issuer=ISSUER,
    )["consent"]
    assert "consent" not in claims_of(VERIFIED, issuer=ISSUER)


def test_a_refusal_asked_before_says_nothing() -> None:
    """Where ownership was asked before the code, no claim says what disagreed (Invariant 9)."""
    assert {"ownership_not_confirmed"} == {
        claims_of(replace(REJECTED, asked_before=True, reason=reason), issuer=ISSUER)["reason"] for reason in Reason
    }


def test_possession_alone_claims_no_more() -> None:
    """Where no SIM was checked the claims speak of possession alone."""
    verification = claims_of(POSSESSION, issuer=ISSUER)["verified_claims"]["verification"]
    assert "phone_possession" == verification["assurance_level"]
    assert ["token"] == [check["check_method"] for check in verification["evidence"][0]["check_details"]]
    assert "reference" not in claims_of(POSSESSION, issuer=ISSUER)


# -- signing and reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verification", "kind"),
    [(VERIFIED, "phone-verification+jwt"), (POSSESSION, "phone-verification+jwt"), (REJECTED, "phone-refusal+jwt")],
)
def test_what_is_signed_is_read(verification: Verification, kind: str) -> None:
    """A token reads back to its claims, and its type says whether it is a verdict or a refusal."""
    text = token(verification)
    assert claims_of(verification, issuer=ISSUER) == SIGNER.read(text, test=False)
    assert {"alg": "ES256", "kid": LIVE.kid, "typ": kind} == decoded(text.split(".")[0])


def test_a_portal_reads_it_with_the_published_keys() -> None:
    """The signature verifies with the JWK Set alone, which holds no private member."""
    keys = SIGNER.jwks()
    assert {LIVE.kid, TEST.kid} == {key["kid"] for key in keys["keys"]}
    assert {"ES256"} == {key["alg"] for key in keys["keys"]}
    assert [set()] * 2 == [{"d", "p", "q", "k"} & set(key) for key in keys["keys"]]
    read = jwt.decode(token(), KeySet.import_key_set(keys), algorithms=["ES256"])
    assert VERIFIED.id == read.claims["sub"]


def test_test_and_live_do_not_mix() -> None:
    """A live token is nothing to a test key, and the other way round."""
    trial = token(replace(VERIFIED, test=True))
    for text, test in ((token(), True), (trial, False)):
        with pytest.raises(TokenInvalid):
            SIGNER.read(text, test=test)
    assert VERIFIED.id == SIGNER.read(trial, test=True)["sub"]


def test_retired_keys_read_and_do_not_sign() -> None:
    """After a rotation old tokens still read, and new ones carry the new key."""
    fresh = signing_key()
    rotated = Signer([fresh, replace(LIVE, active=False), TEST])
    assert VERIFIED.id == rotated.read(token(), test=False)["sub"]
    signed = rotated.sign(claims_of(VERIFIED, issuer=ISSUER), test=False)
    assert fresh.kid == decoded(signed.split(".")[0])["kid"]
    with pytest.raises(TokenInvalid):
        SIGNER.read(signed, test=False)


def test_ed25519_is_an_option() -> None:
    """Tokens may be signed with Ed25519 by its own name (RFC 9864)."""
    key = OKPKey.generate_key("Ed25519")
    ed = SigningKey(str(key.thumbprint()), "Ed25519", key.as_pem(private=True))
    signer = Signer([ed, TEST])
    text = signer.sign(claims_of(VERIFIED, issuer=ISSUER), test=False)
    assert "Ed25519" == decoded(text.split(".")[0])["alg"]
    assert VERIFIED.id == signer.read(text, test=False)["sub"]
    with pytest.raises(TokenInvalid):
        SIGNER.read(text, test=False)


# -- forgeries ----------------------------------------------------------------------------------------------------


def forged(header: dict[str, Any], claims: dict[str, Any], key: ECKey, alg: str = "ES256") -> str:
    """Sign anything with any key."""
    return jws.serialize_compact({"alg": alg, **header}, json.dumps(claims), key, algorithms=[alg])


def test_the_algorithm_is_the_keys_own() -> None:
    """Neither "none" nor a MAC with the public key as its secret passes for a signature (RFC 8725 section 3.1)."""
    header, payload, signature = token().split(".")
    public = ECKey.import_key(LIVE.pem).as_pem(private=False)
    for alg in ("none", "HS256", "ES384", "Ed25519", "", None):
        changed = encoded({**decoded(header), "alg": alg})
        mac = hmac.digest(public, f"{changed}.{payload}".encode(), "sha256")
        for last in ("", signature, urlsafe_b64encode(mac).rstrip(b"=").decode()):
            with pytest.raises(TokenInvalid):
                SIGNER.read(f"{changed}.{payload}.{last}", test=False)


def test_another_key_under_our_name() -> None:
    """A signature of another key is refused, also when the header brings that key along."""
    own = ECKey.generate_key("P-256")
    claims = claims_of(VERIFIED, issuer=ISSUER)
    base = {"kid": LIVE.kid, "typ": "phone-verification+jwt"}
    for extra in ({}, {"jwk": own.as_dict(private=False)}, {"jku": "https://evil.example/jwks.json"}):
        with pytest.raises(TokenInvalid):
            SIGNER.read(forged({**base, **extra}, claims, own), test=False)


def test_a_refusal_never_passes_for_a_verdict() -> None:
    """Type and status must agree, even under our own signature (RFC 8725 section 3.11)."""
    key = ECKey.import_key(LIVE.pem)
    for verification, kind in (
        (REJECTED, "phone-verification+jwt"), (VERIFIED, "phone-refusal+jwt"), (VERIFIED, "JWT"), (VERIFIED, ""),
    ):
        with pytest.raises(TokenInvalid):
            SIGNER.read(
                forged({"kid": LIVE.kid, "typ": kind}, claims_of(verification, issuer=ISSUER), key), test=False,
            )
    with pytest.raises(TokenInvalid):
        SIGNER.read(forged({"kid": LIVE.kid}, claims_of(VERIFIED, issuer=ISSUER), key), test=False)


@given(at=st.integers(0, 10_000), by=st.integers(1, 63))
def test_a_changed_token_is_none(at: int, by: int) -> None:
    """Any other character anywhere is noticed."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    text = token()
    at %= len(text)
    if text[at] == ".":
        return
    other = alphabet[(alphabet.index(text[at]) + by) % 64]
    changed = text[:at] + other + text[at + 1:]
    try:
        read = SIGNER.read(changed, test=False)
    except TokenInvalid:
        return
    # The last character of a part holds bits that no byte uses: the same token written otherwise.
    assert claims_of(VERIFIED, issuer=ISSUER) == read
    assert at + 1 == len(text) or text[at + 1] == "."


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b.c", "…", "é.é.é", "eyJhbGciOiJub25lIn0..", "e30.e30.e30", "bnVsbA.e30.e30",
     "W10.e30.e30", "a" * 100_000, "\0.\0.\0", "e30.e30.e30.e30.e30"],
)
def test_what_is_no_token(text: str) -> None:
    """Whatever else comes is no token, told in one way and without another error."""
    with pytest.raises(TokenInvalid):
        SIGNER.read(text, test=False)


@given(st.text(max_size=200))
def test_nothing_else_is_a_token(text: str) -> None:
    """No text at all raises anything but that it is no token."""
    with pytest.raises(TokenInvalid):
        SIGNER.read(text, test=False)


def test_claims_that_are_no_object() -> None:
    """What our key signed for another use, not even an object, is no result token."""
    key = ECKey.import_key(LIVE.pem)
    header = {"alg": "ES256", "kid": LIVE.kid, "typ": "phone-verification+jwt"}
    for payload in ("[]", "1", "null", '"x"', "not json", "{}"):
        with pytest.raises(TokenInvalid):
            SIGNER.read(jws.serialize_compact(header, payload, key, algorithms=["ES256"]), test=False)


def test_keys_are_not_shown() -> None:
    """A signing key's representation keeps its private part (Invariant 5)."""
    assert "PRIVATE" not in repr(LIVE)


@pytest.mark.parametrize("odd", [
    {"typ": {}}, {"typ": [1]}, {"typ": 5}, {"crit": 5}, {"crit": [{}]}, {"alg": {}}, {"kid": {}},
], ids=str)
def test_odd_header_types_are_no_token(odd: dict[str, Any]) -> None:
    """A header whose members have odd types is refused like any other forgery, and raises nothing else."""
    header, payload, signature = token().split(".")
    with pytest.raises(TokenInvalid):
        SIGNER.read(f"{encoded({**decoded(header), **odd})}.{payload}.{signature}", test=False)
