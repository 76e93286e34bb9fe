"""Result tokens read off line: the service's own, and everything that only looks like one."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from client_harness import asking, client_of, http, lying
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey, OKPKey
from unit.web_harness import ID_NUMBER, NOW_MS, PHONE, PUBLIC_URL, START, TEST_KEY, Web

from otp_service.client import Claims, OtpClient, Status, TokenInvalid, TokenReader
from otp_service.client.tokens import REFUSED_TYPE, VERIFIED_TYPE
from otp_service.core import result_token
from otp_service.core.result_token import Signer, SigningKey

NOW_S = NOW_MS // 1000
AUDIENCE = "tinh-portal"
JWKS = "/.well-known/jwks.json"
CLAIMS: dict[str, Any] = {
    "iss": PUBLIC_URL, "aud": AUDIENCE, "sub": "d-k1-a", "jti": "rt-d-k1-a", "iat": NOW_S, "exp": NOW_S + 600,
    "purpose": "registration", "status": "verified", "phone_number": "+84900000001", "phone_number_verified": True,
}
KEY = ECKey.generate_key("P-256")
PAIR = OKPKey.generate_key("Ed25519")


def published(key: ECKey | OKPKey = KEY, alg: str = "ES256", **changes: Any) -> dict[str, Any]:
    """Return a public key as the service publishes it."""
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": alg, "use": "sig"} | changes


def token(claims: Any = CLAIMS, *, key: ECKey | OKPKey | bytes | None = KEY, **header: Any) -> str:
    """Sign by hand what may or may not be a result token: libraries refuse to sign some of what is read here."""
    protected = {"alg": "ES256", "typ": VERIFIED_TYPE, "kid": KEY.thumbprint()} | header
    text = f"{_b64(orjson.dumps(protected))}.{_b64(orjson.dumps(claims))}"
    return f"{text}.{_b64(_signature(text.encode(), key))}"


def _signature(text: bytes, key: ECKey | OKPKey | bytes | None) -> bytes:
    match key:
        case None:
            return b""
        case bytes():
            return hmac.digest(key, text, "sha256")
        case OKPKey():
            private: Any = key.get_op_key("sign")
            return bytes(private.sign(text))
        case ECKey():
            r, s = decode_dss_signature(key.get_op_key("sign").sign(text, ECDSA(SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


async def read(text: str, *keys: Mapping[str, Any], now_s: float = NOW_S, **expected: str) -> Claims:
    """Read a token with the keys given, or the one published."""
    agreed = {"issuer": PUBLIC_URL, "audience": AUDIENCE} | expected
    async with lying(http(200, {"keys": keys or [published()]})) as liar, asking(liar) as (otp, _):
        return await TokenReader(otp, **agreed, now=lambda: now_s).read(text)


# -- the service's own ---------------------------------------------------------------------------------------------


async def decided(otp: OtpClient, service: Web, **changes: str) -> str:
    """Take a registration to its verdict; returns its token."""
    started = await otp.start(**(START | changes))  # type: ignore[arg-type]
    found = await otp.check(started.id, service.code(started.id))
    assert found.result_token is not None
    return found.result_token


async def test_a_verdict(service: Web) -> None:
    """A verdict reads the same off line and redeemed, by a client or by the key set's address alone."""
    async with client_of(service) as otp:
        verdict = await decided(otp, service)
        async with TokenReader(otp, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S) as reader:
            claims = await reader.read(verdict)
        redeemed = await otp.redeem(verdict, phone_number=PHONE, id_number=ID_NUMBER)
    async with TokenReader(
        str(service.http.make_url(JWKS)), issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S,
    ) as alone:
        again = await alone.read(verdict)

    assert redeemed == claims == again
    assert claims.ownership_confirmed


async def test_a_refusal(service: Web) -> None:
    """A refusal is read as one, and never taken for a verdict."""
    async with client_of(service) as otp:
        refusal = await decided(otp, service, id_number="052090000002")
        reader = TokenReader(otp, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S)
        claims = await reader.read_refusal(refusal)
        with pytest.raises(TokenInvalid, match="another kind"):
            await reader.read(refusal)

    assert (Status.REJECTED, False, "sim_not_owned") == (claims.status, claims.verified, claims.members["reason"])


async def test_a_verdict_is_no_refusal(service: Web) -> None:
    """Neither is a verdict read as a refusal."""
    async with client_of(service) as otp:
        verdict = await decided(otp, service)
        with pytest.raises(TokenInvalid, match="another kind"):
            await TokenReader(otp, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S).read_refusal(verdict)


async def test_a_test_keys_verdict(service: Web) -> None:
    """What a test key was told is nobody's verdict where the live issuer is expected."""
    async with client_of(service, TEST_KEY) as otp:
        verdict = await decided(otp, service)
        with pytest.raises(TokenInvalid, match="issuer"):
            await TokenReader(otp, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S).read(verdict)
        tests = TokenReader(otp, issuer=f"{PUBLIC_URL}/test", audience=AUDIENCE, now=lambda: NOW_S)
        assert (await tests.read(verdict)).verified


def test_the_kinds_are_the_services() -> None:
    """The client knows the two kinds of token by the names that the service gives them."""
    assert (result_token.VERIFIED_TYPE, result_token.REFUSED_TYPE) == (VERIFIED_TYPE, REFUSED_TYPE)


async def test_ed25519() -> None:
    """A service that signs with Ed25519 is read as well."""
    signers = [
        SigningKey(key.thumbprint(), "Ed25519", key.as_pem(private=True), test=test)
        for test, key in ((False, PAIR), (True, OKPKey.generate_key("Ed25519")))
    ]
    signer = Signer(signers)
    claims = await read(signer.sign(CLAIMS, test=False), *signer.jwks()["keys"])

    assert "d-k1-a" == claims.verification_id


# -- what only looks like one --------------------------------------------------------------------------------------


async def test_the_token_that_the_others_differ_from() -> None:
    """The token of these tests is good: what is refused below is refused for its difference."""
    assert (await read(token())).verified


@pytest.mark.parametrize(("text", "why"), [
    ("", "not a token"),
    ("a.b", "not a token"),
    ("a.b.c", "not a token"),
    (token(alg="none", key=None), "not agreed|not a token"),
    (token(alg="HS256", key=KEY.as_pem(private=False)), "not agreed"),
    (token(alg="HS256", key=b"k" * 32, jwk={"kty": "oct", "k": "a2s"}), "not agreed"),
    (token(alg=["ES256"]), "not agreed|not a token"),
    (token(alg="ES384"), "not agreed"),
    (token(typ="JWT"), "another kind"),
    (token(typ=REFUSED_TYPE), "another kind"),
    (token(crit=["b64"], b64=True), "not agreed|not a token"),
    (token(kid="another"), "does not publish"),
    (token(kid=7), "not agreed"),
    (token(key=ECKey.generate_key("P-256")), "does not fit"),
    (token(key=PAIR, alg="Ed25519"), "its key is not for"),
    (token()[:-4] + "AAAA", "does not fit"),
    (token([CLAIMS]), "something else"),
    (token({}), "something else"),
    (token("verified"), "something else"),
    (token(CLAIMS | {"exp": "never"}), "something else"),
    (token(CLAIMS | {"exp": None}), "something else"),
    (token(CLAIMS | {"iss": "https://other.example"}), "issuer"),
    (token(CLAIMS | {"iss": f"{PUBLIC_URL}/"}), "issuer"),
    (token(CLAIMS | {"aud": "other-portal"}), "another client"),
    (token(CLAIMS | {"aud": [AUDIENCE]}), "something else"),
    (token(CLAIMS | {"status": "rejected"}), "disagree"),
    (token(CLAIMS | {"status": "nearly"}), "disagree"),
    (token(CLAIMS | {"phone_number_verified": False}), "disagree"),
    (token(CLAIMS | {"exp": NOW_S - 30}), "expired"),
    (token(CLAIMS | {"iat": NOW_S + 31}), "from the future"),
    (token(CLAIMS | {"more": "x" * 9000}), "not a token"),
    ("đ.đ.đ", "not a token"),
], ids=range(32))
async def test_what_only_looks_like_a_verdict(text: str, why: str) -> None:
    """Another key, algorithm, kind, issuer, audience or time: each is refused, and says which."""
    with pytest.raises(TokenInvalid, match=why) as caught:
        await read(text)

    assert (None, None) == (caught.value.__context__, caught.value.__cause__)
    assert "+84900000001" not in repr(caught.value)


@pytest.mark.parametrize("change", [{"exp": NOW_S - 29}, {"iat": NOW_S + 30}])
async def test_clocks_that_are_nearly_right(change: dict[str, int]) -> None:
    """Half a minute between the clocks of two hosts refuses nobody."""
    assert (await read(token(CLAIMS | change))).verified


async def test_a_signature_is_checked_with_what_its_key_is_for() -> None:
    """A key published for one algorithm checks no other, and a token's own keys are never looked at."""
    forged = ECKey.generate_key("P-256")
    with pytest.raises(TokenInvalid, match="does not fit"):
        await read(token(key=forged, jwk=forged.as_dict(private=False), jku="https://evil.example/keys"))
    with pytest.raises(TokenInvalid, match="does not publish"):
        await read(token(), published(alg="ES512"))


@pytest.mark.parametrize("keys", [
    [], None, {}, [7], [published(kid=None)], [published(kid=7)], [published(alg=None)], [published(crv="P-521")],
    [published(kty="oct", k="AAAA")], [published(x=7)], [published(x="!")], [published(x=published()["y"])],
    [{"kid": f"k{at}"} for at in range(40)] + [published()],
], ids=range(13))
async def test_a_key_set_that_is_odd(keys: Any) -> None:
    """Keys that cannot sign result tokens are somebody else's; a set without ours trusts nobody."""
    async with lying(http(200, {"keys": keys})) as liar, asking(liar) as (otp, _):
        with pytest.raises(TokenInvalid, match="does not publish"):
            await TokenReader(otp, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S).read(token())


async def test_odd_keys_beside_ours() -> None:
    """A set may hold keys of other kinds: ours is found among them."""
    others = {"kty": "RSA", "kid": "r"}, {"kid": 1}, published(x="!", kid="odd")
    assert (await read(token(), *others, published())).verified
