"""The made-up operator's token endpoint: who gets a token, and how everybody else is refused (RFC 6749, 7523)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from support.operator import CHECK, CLIENT_ID, DATE, MATCH, NOW_S, OWNER, SECRET, Caller, Said, operating

from otp_service.core.errors import ConfigurationError
from otp_service.core.options import Options
from otp_service.core.ports import HttpResponse
from otp_service.ownership.oauth2 import ClientCredentials
from otp_service.web.operator.assertions import read_public_keys
from otp_service.web.operator.oauth import ASSERTION_TYPE

KEYS = {
    "ES256": ECKey.generate_key("P-256"), "RS256": RSAKey.generate_key(2048), "Ed25519": OKPKey.generate_key("Ed25519"),
}
KEYS["PS256"] = KEYS["RS256"]
ALL_SCOPES = "kyc-match:match sim-swap:check sim-swap:retrieve-date sim-swap"


def basic(name: str = CLIENT_ID, secret: str = SECRET) -> str:
    """Return the header of a name and a secret that stand for themselves in a form."""
    return "Basic " + b64encode(f"{name}:{secret}".encode()).decode()


def sign(claims: dict[str, Any], alg: str = "ES256", key: Any = None) -> str:
    """Return an assertion."""
    return jws.serialize_compact({"alg": alg}, orjson.dumps(claims), key or KEYS[alg], algorithms=[alg])


def claims_for(operator: Caller, **differs: Any) -> dict[str, Any]:
    """Return the claims of a good assertion but for what differs; None leaves a claim out."""
    good = {
        "iss": CLIENT_ID, "sub": CLIENT_ID, "aud": f"{operator.base}/oauth2/token", "jti": "j-1",
        "iat": int(NOW_S), "exp": int(NOW_S) + 300,
    }
    return {name: value for name, value in {**good, **differs}.items() if value is not None}


async def ask(operator: Caller, assertion: str, **more: str) -> Said:
    """Ask for a token with an assertion."""
    return await operator.ask_token(
        grant_type="client_credentials", client_assertion_type=ASSERTION_TYPE, client_assertion=assertion, **more,
    )


@asynccontextmanager
async def knowing(folder: Path, *algorithms: str) -> AsyncIterator[Caller]:
    """Serve an operator that knows public keys."""
    path = folder / "keys.json"
    path.write_bytes(orjson.dumps({"keys": [KEYS[alg].as_dict(private=False) for alg in algorithms]}))
    async with operating(public_keys=read_public_keys(path)) as operator:
        yield operator


class TestGrant:
    async def test_answer(self) -> None:
        """A token is opaque, bearer, not to be cached, and good for all scopes where none is asked for."""
        async with operating(token_life_s=60) as operator:
            said = await operator.ask_token(basic(), grant_type="client_credentials")

        assert 200 == said.status
        assert "no-store" == said.headers["Cache-Control"]
        assert {"token_type": "Bearer", "expires_in": 60, "scope": ALL_SCOPES} == {
            name: value for name, value in said.body.items() if name != "access_token"
        }
        assert 32 == len(said.body["access_token"])

    async def test_secret_in_both_places(self) -> None:
        """The secret is taken from the header, encoded as in a form, and from the form."""
        async with operating() as operator:
            encoded = basic(CLIENT_ID.replace("-", "%2D"), SECRET.replace("s", "%73", 1))
            for said in (
                await operator.ask_token(encoded, grant_type="client_credentials", client_id=CLIENT_ID),
                await operator.ask_token(
                    grant_type="client_credentials", client_id=CLIENT_ID, client_secret=SECRET,
                ),
            ):
                assert 200 == said.status

    @pytest.mark.parametrize(("authorization", "form", "refusal"), [
        (None, {}, (401, "invalid_client")),
        (basic(secret="wrong"), {}, (401, "invalid_client")),
        (basic(name="nobody"), {}, (401, "invalid_client")),
        ("Basic ***", {}, (401, "invalid_client")),
        ("Bearer x", {}, (401, "invalid_client")),
        (None, {"client_id": CLIENT_ID, "client_secret": "ớ"}, (401, "invalid_client")),
        (basic(), {"client_id": "nobody"}, (400, "invalid_request")),
        (basic(), {"client_secret": SECRET}, (400, "invalid_request")),
        (basic(), {"grant_type": ""}, (400, "invalid_request")),
        (basic(), {"grant_type": "authorization_code"}, (400, "unsupported_grant_type")),
        (basic(), {"scope": "openid"}, (400, "invalid_scope")),
        (None, {"client_assertion": "x"}, (400, "invalid_request")),
        (None, {"client_assertion": "x", "client_assertion_type": ASSERTION_TYPE}, (401, "invalid_client")),
    ])
    async def test_refusals(
        self, authorization: str | None, form: dict[str, str], refusal: tuple[int, str],
    ) -> None:
        """Each mistake has the status and error that RFC 6749 section 5.2 gives it."""
        async with operating() as operator:
            said = await operator.ask_token(authorization, **{"grant_type": "client_credentials", **form})

        assert refusal == (said.status, said.body["error"])
        assert SECRET not in str(said.body)
        if authorization is not None and said.status == 401:
            assert 'Basic realm="operator"' == said.headers["WWW-Authenticate"]

    @pytest.mark.parametrize(("body", "content_type"), [
        (b"grant_type=client_credentials&grant_type=client_credentials", "application/x-www-form-urlencoded"),
        (b"\xff=1", "application/x-www-form-urlencoded"), (b"grant_type", "application/x-www-form-urlencoded"),
        (b'{"grant_type": "client_credentials"}', "application/json"),
        (b"a=" + b"b" * 70_000, "application/x-www-form-urlencoded"),
    ])
    async def test_no_form(self, body: bytes, content_type: str) -> None:
        """What is no form, too long, or has a parameter twice is an invalid request."""
        async with operating() as operator:
            said = await operator.call("POST", "/oauth2/token", data=body, headers={
                "Content-Type": content_type, "Authorization": basic(),
            })

        assert (400, "invalid_request") == (said.status, said.body["error"])


class TestTokens:
    @pytest.mark.parametrize(("scope", "statuses"), [
        ("kyc-match:match", [422, 403, 403]), ("sim-swap:check", [403, 422, 403]),
        ("sim-swap:retrieve-date", [403, 403, 422]), ("sim-swap", [403, 422, 422]),
        ("sim-swap:check kyc-match:match", [422, 422, 403]),
    ])
    async def test_scopes(self, scope: str, statuses: list[int]) -> None:
        """A token opens the operations of its scopes; the others deny permission."""
        async with operating() as operator:
            token = await operator.token(scope=scope)
            said = [await operator.post(path, {"name": "A"}, token) for path in (MATCH, CHECK, DATE)]

        assert statuses == [one.status for one in said]
        assert {"PERMISSION_DENIED", "MISSING_IDENTIFIER"} == {one.body["code"] for one in said}

    async def test_life(self) -> None:
        """A token is taken until its time is over, and no second longer."""
        async with operating(token_life_s=60) as operator:
            token = await operator.token()
            operator.clock.now_s += 59.9
            taken = await operator.post(CHECK, {}, token)
            operator.clock.now_s += 0.1
            late = await operator.post(CHECK, {}, token)

        assert [(422, "MISSING_IDENTIFIER"), (401, "UNAUTHENTICATED")] == [taken.told, late.told]
        assert "Bearer" == late.headers["WWW-Authenticate"]

    async def test_faults(self) -> None:
        """A script ends tokens early, after calls or seconds, or knows no client any more."""
        async with operating() as operator:
            await operator.play(token={"lasts_calls": 2})
            token = await operator.token()
            by_calls = [(await operator.post(CHECK, {}, token)).status for _ in range(3)]
            await operator.play(token={"lasts_s": 5})
            token = await operator.token()
            operator.clock.now_s += 5
            by_time = (await operator.post(CHECK, {}, token)).status
            await operator.play(token={"reject": True})
            rejected = await operator.ask_token(basic(), grant_type="client_credentials")
            await operator.play(token={"garbage": "truncated"})
            garbage = await operator.call("POST", "/oauth2/token", data=b"grant_type=client_credentials", headers={
                "Authorization": basic(), "Content-Type": "application/x-www-form-urlencoded",
            })

        assert ([422, 422, 401], 401) == (by_calls, by_time)
        assert (401, "invalid_client") == (rejected.status, rejected.body["error"])
        assert (200, True) == (garbage.status, isinstance(garbage.body, bytes))

    @pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer unknown", "Basic unknown", "Bearer  \u00ff"])
    async def test_no_token(self, authorization: str) -> None:
        """Without a good token nothing is told, whatever is wrong with it."""
        async with operating() as operator:
            said = await operator.post(MATCH, {"phoneNumber": OWNER, "name": "A"}, Authorization=authorization)

        assert (401, "UNAUTHENTICATED") == said.told


class TestAssertions:
    @pytest.mark.parametrize("alg", ["ES256", "RS256", "PS256", "Ed25519"])
    async def test_good(self, tmp_path: Path, alg: str) -> None:
        """An assertion with any of the algorithms is taken once."""
        async with knowing(tmp_path, alg) as operator:
            assertion = sign(claims_for(operator, aud=["x", f"{operator.base}/oauth2/token"]), alg)
            said = [await ask(operator, assertion, client_id=CLIENT_ID) for _ in range(2)]

        assert [200, 401] == [one.status for one in said]
        assert "jti was used before" == said[1].body["error_description"]

    @pytest.mark.parametrize(("differs", "why"), [
        ({"exp": int(NOW_S) + 301, "iat": int(NOW_S) + 1}, "exp is more than 300 s away"),
        ({"iat": int(NOW_S) - 1}, "exp is at most 300 s after iat"),
        ({"iat": int(NOW_S) + 301}, "exp is at most 300 s after iat"),
        ({"exp": int(NOW_S)}, "exp is past"),
        ({"iat": int(NOW_S) + 6}, "iat or nbf is in the future"),
        ({"nbf": int(NOW_S) + 6}, "iat or nbf is in the future"),
        ({"exp": None}, "exp is missing, or no number"),
        ({"iat": None}, "iat is missing, or no number"),
        ({"exp": "soon"}, "exp is missing, or no number"),
        ({"aud": "https://operator.example/oauth2/token"}, "aud is the address of this endpoint"),
        ({"aud": None}, "aud is the address of this endpoint"),
        ({"iss": "nobody"}, "iss and sub are the client's id"),
        ({"sub": None}, "iss and sub are the client's id"),
        ({"jti": None}, "jti is missing"),
        ({"jti": ""}, "jti is missing"),
    ])
    async def test_claims(self, tmp_path: Path, differs: dict[str, Any], why: str) -> None:
        """CAMARA's bounds of an assertion are kept to the second, and what breaks one is told."""
        async with knowing(tmp_path, "ES256") as operator:
            said = await ask(operator, sign(claims_for(operator, **differs)))

        assert (401, "invalid_client", why) == (said.status, said.body["error"], said.body["error_description"])

    async def test_signature(self, tmp_path: Path) -> None:
        """Another key's signature, none, one by the public key as a secret, and no JWS at all prove nothing."""
        async with knowing(tmp_path, "RS256", "ES256") as operator:
            claims = claims_for(operator)
            public = KEYS["RS256"].as_pem(private=False)
            header = b64encode(b'{"alg":"none"}').decode().rstrip("=")
            payload = b64encode(orjson.dumps(claims)).decode().rstrip("=")
            said = [await ask(operator, assertion) for assertion in (
                sign(claims, key=ECKey.generate_key("P-256")), f"{header}.{payload}.", "nonsense", "",
                sign(claims, "HS256", OctKey.import_key(b64encode(public))),
                sign(claims, "Ed25519"),
            )]
            good = await ask(operator, sign(claims))

        assert ([401] * 6, 200) == ([one.status for one in said], good.status)

    async def test_jti_is_forgotten(self, tmp_path: Path) -> None:
        """Once an assertion is out of date, its jti may come again."""
        async with knowing(tmp_path, "ES256") as operator:
            first = await ask(operator, sign(claims_for(operator)))
            operator.clock.now_s += 300
            later = int(operator.clock.now_s)
            second = await ask(operator, sign(claims_for(operator, iat=later, exp=later + 300)))

        assert [200, 200] == [first.status, second.status]

    @pytest.mark.parametrize("alg", ["ES256", "RS256", "Ed25519"])
    async def test_our_own_client(self, tmp_path: Path, alg: str) -> None:
        """What our own sources send for a token is taken, and the token read."""
        async with knowing(tmp_path, alg) as operator:
            client = ClientCredentials(
                Options("camara"), token_url=f"{operator.base}/oauth2/token", client_id=CLIENT_ID,
                private_key=KEYS[alg].as_pem(private=True).decode(), scope="kyc-match:match", clock=operator.clock,
            )
            request = client.build_token_request(None)
            said = await operator.call("POST", "/oauth2/token", data=request.body, headers=dict(request.headers))
            token = client.parse_token(HttpResponse(said.status, {}, orjson.dumps(said.body)))

        assert token is not None
        assert 3600 == token.lives_s


class TestPublicKeys:
    def test_forms(self, tmp_path: Path) -> None:
        """A PEM, a JWK and a JWK Set are read, of each kind of key."""
        path = tmp_path / "key"
        for alg in ("ES256", "RS256", "Ed25519"):
            public = KEYS[alg].as_dict(private=False)
            for text in (
                KEYS[alg].as_pem(private=False), orjson.dumps(public), orjson.dumps({"keys": [public, public]}),
            ):
                path.write_bytes(text)
                assert {KEYS[alg].thumbprint()} == {key.thumbprint() for key in read_public_keys(path)}

    @pytest.mark.parametrize("text", [
        b"", b"nonsense", b"{}", b"[1]", b'{"keys": []}', b'{"keys": [1]}', b'{"kty": "oct", "k": "AAAA"}',
        b'{"kty": "EC", "crv": "P-256"}', ECKey.generate_key("P-384").as_pem(private=False),
        orjson.dumps(ECKey.generate_key("P-384").as_dict(private=False)),
    ])
    def test_no_key(self, tmp_path: Path, text: bytes) -> None:
        """What is no key for one of the algorithms refuses to start."""
        path = tmp_path / "key"
        path.write_bytes(text)

        with pytest.raises(ConfigurationError, match="key"):
            read_public_keys(path)

    def test_private_key(self, tmp_path: Path) -> None:
        """A private key is refused, and not repeated."""
        path = tmp_path / "key"
        for text in (KEYS["ES256"].as_pem(private=True), orjson.dumps(KEYS["ES256"].as_dict(private=True))):
            path.write_bytes(text)
            with pytest.raises(ConfigurationError, match="this is a private key") as refused:
                read_public_keys(path)
            assert text.decode()[40:60] not in str(refused.value)

    def test_missing(self, tmp_path: Path) -> None:
        """A missing file is a sentence."""
        with pytest.raises(ConfigurationError, match="cannot be read"):
            read_public_keys(tmp_path / "missing.pem")
