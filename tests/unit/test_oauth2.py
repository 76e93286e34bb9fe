"""Client credentials: exact token requests, assertions that verify, and answers of all kinds."""

from __future__ import annotations

from base64 import b64decode
from typing import Any
from urllib.parse import parse_qs, parse_qsl

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from otp_service.core.errors import ConfigurationError
from otp_service.core.options import Options
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse, TokenFetcher
from otp_service.ownership.oauth2 import ClientCredentials

NOW = 1_790_000_000
SECRET = "a-secret-that-is-artificial-0001"
TOKEN_URL = "https://id.operator.example/oauth2/token/"
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}

EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key: PrivateKeyTypes, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    """Return a private key as a secret file holds it."""
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def public(key: Any) -> ECKey | OKPKey | RSAKey:
    """Return what the provider knows of a key."""
    text = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    kind = ECKey if isinstance(key, ec.EllipticCurvePrivateKey) else RSAKey
    return OKPKey.import_key(text) if isinstance(key, ed25519.Ed25519PrivateKey) else kind.import_key(text)


def credentials(**options: Any) -> ClientCredentials:
    """Return credentials with these options changed, whose clock stands still."""
    ids = iter(range(1, 1000))
    given_options = {
        "token_url": TOKEN_URL, "client_id": "portal", "clock": lambda: NOW + 0.9,
        "new_id": lambda: f"jti-{next(ids)}", **options,
    }
    if not {"client_secret", "private_key"} & set(options):
        given_options["client_secret"] = SECRET
    return ClientCredentials(Options("camara"), **given_options)


def signed(**options: Any) -> ClientCredentials:
    """Return credentials with a key instead of a secret."""
    return credentials(**{"private_key": pem(EC_KEY), **options})


def form(request: HttpRequest) -> dict[str, str]:
    """Return the form of a token request; no name stands in it twice."""
    pairs = parse_qsl(request.body.decode(), strict_parsing=True)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def assertion(source: ClientCredentials) -> str:
    """Return the assertion of the next token request."""
    return form(source.build_token_request(None))["client_assertion"]


def parsed(body: bytes, status: int = 200) -> AccessToken | None:
    """Return the token of an answer."""
    return credentials().parse_token(HttpResponse(status, {}, body))


# -- requests ---------------------------------------------------------------------------------------------------------


def test_the_secret_goes_into_the_header() -> None:
    """By default id and secret are the Basic credentials; a slash at the end of the address stays."""
    assert HttpRequest(
        "POST", TOKEN_URL,
        {**FORM, "authorization": "Basic cG9ydGFsOmEtc2VjcmV0LXRoYXQtaXMtYXJ0aWZpY2lhbC0wMDAx"},
        b"grant_type=client_credentials&scope=kyc-match%3Amatch+sim-swap%3Acheck",
    ) == credentials(scope="kyc-match:match sim-swap:check").build_token_request(None)


def test_each_part_of_the_header_is_encoded_as_in_a_form() -> None:
    """Colons, spaces, percent signs and accents survive (RFC 6749 section 2.3.1)."""
    request = credentials(client_id="a:b c", client_secret="50%+é").build_token_request(None)

    assert b"a%3Ab+c:50%25%2B%C3%A9" == b64decode(request.headers["authorization"].removeprefix("Basic "))


def test_the_secret_goes_into_the_body() -> None:
    """Providers that know client_secret_post get it in the form, and no Authorization header."""
    assert HttpRequest(
        "POST", TOKEN_URL, FORM,
        b"grant_type=client_credentials&client_id=portal&client_secret=a-secret-that-is-artificial-0001",
    ) == credentials(secret_in="body").build_token_request(None)


def test_there_is_nothing_to_refresh() -> None:
    """This grant brings no refresh token: with one or without, the request is the same."""
    assert credentials().build_token_request(None) == credentials().build_token_request("r3fr3sh")


def test_an_assertion_instead_of_a_secret() -> None:
    """The form holds grant, client, the assertion's type and the assertion; there is no Authorization header."""
    request = signed().build_token_request(None)
    sent = form(request)

    assert ("POST", TOKEN_URL, FORM) == (request.method, request.url, request.headers)
    assert [
        ("grant_type", "client_credentials"), ("client_id", "portal"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    ] == list(sent.items())[:3]
    assert ["client_assertion"] == list(sent)[3:]


@pytest.mark.parametrize(("key", "option", "algorithm"), [
    (EC_KEY, "", "ES256"), (EC_KEY, "ES256", "ES256"), (ED_KEY, "", "Ed25519"), (RSA_KEY, "", "RS256"),
    (RSA_KEY, "RS256", "RS256"), (RSA_KEY, "PS256", "PS256"),
])
def test_the_assertion_verifies(key: PrivateKeyTypes, option: str, algorithm: str) -> None:
    """The public key verifies the assertion; its key id is the thumbprint, and it says who, to whom and until when."""
    token = jwt.decode(
        assertion(credentials(private_key=pem(key), algorithm=option)), public(key), algorithms=[algorithm],
    )

    assert {"alg": algorithm, "kid": public(key).thumbprint(), "typ": "JWT"} == token.header
    assert {
        "iss": "portal", "sub": "portal", "aud": TOKEN_URL, "jti": "jti-1", "iat": NOW, "exp": NOW + 120,
    } == token.claims


def test_every_assertion_is_new() -> None:
    """No two assertions share their id, with the id maker that is used outside tests too."""
    source = ClientCredentials(Options("camara"), token_url=TOKEN_URL, client_id="portal", private_key=pem(EC_KEY))
    claims = [jwt.decode(assertion(source), public(EC_KEY)).claims for _ in range(3)]

    assert 3 == len({one["jti"] for one in claims})
    assert all(len(one["jti"]) == 32 and 60 <= one["exp"] - one["iat"] <= 300 for one in claims)


def test_key_id_and_audience_are_what_the_provider_wants() -> None:
    """Both can be told."""
    source = signed(key_id="portal-2026", audience="https://id.operator.example")
    token = jwt.decode(assertion(source), public(EC_KEY))

    assert "portal-2026" == token.header["kid"]
    assert "https://id.operator.example" == token.claims["aud"]


@pytest.mark.parametrize(("key", "form_of_key"), [
    (EC_KEY, PrivateFormat.TraditionalOpenSSL), (RSA_KEY, PrivateFormat.TraditionalOpenSSL),
])
def test_older_forms_of_pem_are_read(key: PrivateKeyTypes, form_of_key: PrivateFormat) -> None:
    """A key as OpenSSL wrote it for long is as good."""
    source = credentials(private_key=pem(key, form_of_key))

    assert "portal" == jwt.decode(assertion(source), public(key)).claims["sub"]


# -- options ----------------------------------------------------------------------------------------------------------


def weak_keys() -> list[Any]:
    """Return keys that nothing is signed with."""
    encrypted = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    return [
        pem(ec.generate_private_key(ec.SECP384R1())), pem(ec.generate_private_key(ec.SECP256K1())),
        pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)),  # noqa: S505 - refused below
        pem(ed448.Ed448PrivateKey.generate()), 12345, encrypted.decode(),
        public(EC_KEY).as_pem(private=False).decode(), pem(EC_KEY)[:80], "no key", SECRET,
    ]


@pytest.mark.parametrize("key", weak_keys())
def test_a_key_of_no_use_is_refused(key: Any) -> None:
    """Other curves, short RSA keys, encrypted, public, cut-off keys: the sentence says what to write, not what was."""
    with pytest.raises(ConfigurationError) as refused:
        credentials(private_key=key)

    assert (
        "camara: private_key: write an unencrypted private key in PEM: EC on P-256, Ed25519, or RSA of at least "
        "2048 bits"
    ) == str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(("sentence", "options"), [
    ("client_secret, private_key: write exactly one of the two", {"client_secret": SECRET, "private_key": "x"}),
    ("client_secret, private_key: write exactly one of the two", {"client_secret": "", "private_key": ""}),
    ("client_secret: write one line of text that is not empty", {"client_secret": f"{SECRET}\n{SECRET}"}),
    ("client_id: write one line of text that is not empty", {"client_id": " "}),
    ("token_url: write an address that begins with http:// or https://", {"token_url": "id.operator.example"}),
    ("secret_in: write header or body", {"secret_in": "query"}),
    ("algorithm: goes with private_key alone; leave it out", {"algorithm": "ES256"}),
    ("key_id: goes with private_key alone; leave it out", {"key_id": "k"}),
    ("audience: goes with private_key alone; leave it out", {"audience": "https://id.operator.example"}),
    ("algorithm: this private_key signs with ES256", {"private_key": pem(EC_KEY), "algorithm": "none"}),
    ("algorithm: this private_key signs with ES256", {"private_key": pem(EC_KEY), "algorithm": "RS256"}),
    ("algorithm: this private_key signs with RS256 or PS256", {"private_key": pem(RSA_KEY), "algorithm": "HS256"}),
    ("key_id: write the id that the provider knows the key by, without spaces",
     {"private_key": pem(EC_KEY), "key_id": "a b"}),
    ("audience: write one line of text that is not empty", {"private_key": pem(EC_KEY), "audience": " "}),
    ("scope: write one line of text that is not empty", {"scope": "a\nb"}),
])
def test_an_option_of_no_use_is_refused(sentence: str, options: dict[str, Any]) -> None:
    """Each mistake has a sentence that names the option and never repeats a secret."""
    with pytest.raises(ConfigurationError) as refused:
        credentials(**options)

    assert f"camara: {sentence}" == str(refused.value)


def test_no_secret_shows() -> None:
    """Neither the source, nor its requests, nor a token show a secret when they are printed."""
    token = parsed(b'{"access_token":"s3cr3t-t0k3n","token_type":"Bearer"}')
    sources = [credentials(), credentials(secret_in="body"), signed()]
    shown = repr([sources, [source.build_token_request(None) for source in sources], token])

    assert not [secret for secret in (SECRET, "YS1zZWNyZXQ", "PRIVATE KEY", "eyJ", "s3cr3t") if secret in shown]


# -- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lives_s", "rest"), [
    (3600, b'"token_type":"Bearer","expires_in":3600'), (3600, b'"token_type":"bearer","expires_in":"3600"'),
    (60, b'"token_type":"BEARER","expires_in":60,"scope":"x","refresh_token":"r"'),
    (300, b'"token_type":"Bearer"'), (300, b'"token_type":"Bearer","expires_in":null'),
    (300, b'"token_type":"Bearer","expires_in":-5'), (300, b'"token_type":"Bearer","expires_in":0'),
    (300, b'"token_type":"Bearer","expires_in":true'), (300, b'"token_type":"Bearer","expires_in":[1]'),
    (300, b'"token_type":"Bearer","expires_in":"soon"'), (300, b'"x":1'),
])
def test_a_token(lives_s: int, rest: bytes) -> None:
    """A bearer token is read with its life, number or text; five minutes where that is not said."""
    assert AccessToken("t0k3n", lives_s) == parsed(b'{"access_token":"t0k3n",' + rest + b"}")


@pytest.mark.parametrize("body", [
    b"", b"<html>", b"[]", b"null", b"{}", b'{"access_token":"t0k3n"', b'{"access_token":1}', b'{"access_token":""}',
    b'{"access_token":"a b"}', b'{"access_token":"a\\nb"}', b'{"access_token":null,"token_type":"Bearer"}',
    b'{"access_token":"t0k3n","token_type":"mac"}', b'{"access_token":"t0k3n","token_type":null}',
    b'{"access_token":"t0k3n","token_type":["Bearer"]}', b'{"error":"invalid_client"}',
    b'{"access_token":"' + b"a" * 4097 + b'"}',
])
def test_no_token(body: bytes) -> None:
    """What holds no bearer token that a header could carry is no token."""
    assert None is parsed(body)


@pytest.mark.parametrize("status", [201, 204, 302, 400, 401, 403, 429, 500, 503])
def test_only_200_brings_a_token(status: int) -> None:
    """With any other status nothing in the body counts."""
    assert None is parsed(b'{"access_token":"t0k3n","token_type":"Bearer"}', status)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2**63, 2**63) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6,
)


@given(st.binary(max_size=200) | st.fixed_dictionaries(
    {}, optional={"access_token": _JSON, "token_type": _JSON, "expires_in": _JSON},
).map(orjson.dumps), st.integers(100, 599))
def test_whatever_is_answered_nothing_raises(body: bytes, status: int) -> None:
    """Noise is a token that a header can carry, with a life of at least a second, or none."""
    token = parsed(body, status)

    assert token is None or (status == 200 and token.value.isascii() and token.value.isprintable())
    assert token is None or (token.lives_s >= 1 and " " not in token.value)


def test_it_is_a_token_fetcher() -> None:
    """It fits the port."""
    assert isinstance(credentials(), TokenFetcher)
    assert {"grant_type": ["client_credentials"]} == parse_qs(credentials().build_token_request(None).body.decode())
