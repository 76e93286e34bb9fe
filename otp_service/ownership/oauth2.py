"""
OAuth2 client credentials (RFC 6749 section 4.4): how a source gets its access token.

::

    POST {token_url}   grant_type=client_credentials&scope=…

    with client_secret   Authorization: Basic <client id and secret>     secret_in = "header" (client_secret_basic)
                         &client_id=…&client_secret=…                    secret_in = "body"   (client_secret_post)
    with private_key     &client_id=…&client_assertion_type=…&client_assertion=<JWT>          (private_key_jwt)

    JWT   {"alg", "kid", "typ": "JWT"}   {"iss", "sub", "aud", "jti", "iat", "exp"}   signed with the private key

    200   {"access_token", "token_type": "Bearer", "expires_in"}
    all else   no token

The assertion follows RFC 7523 section 3 and OpenID Connect Core section 9, within the bounds of CAMARA's Security and
Interoperability Profile: it lives for at most 300 s, ``aud`` is the token endpoint's address, each ``jti`` is new.
"""

from __future__ import annotations

import re
import time
from base64 import b64encode
from collections.abc import Callable
from secrets import token_hex
from typing import Final
from urllib.parse import quote_plus, urlencode

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from otp_service.core.options import Options
from otp_service.core.ports import AccessToken, HttpRequest, HttpResponse
from otp_service.core.reading import json_object, token_life, token_text

#: Half of what the profile allows at most, and more: our clock may be 120 s slow or 180 s fast.
ASSERTION_LIVES_S: Final = 120

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

#: For a token that does not say how long it lives (RFC 6749 section 5.1 only recommends it).
_LIFE_UNSAID_S: Final = 300

#: NIST SP 800-131A: shorter RSA keys sign nothing any more.
_RSA_BITS_MIN: Final = 2048

#: What each kind of key can sign with, what is used unless an option says otherwise first.
_ALGORITHMS: Final = {"EC": ("ES256",), "RSA": ("RS256", "PS256"), "OKP": ("Ed25519",)}

#: What may stand in a JOSE header and be found again in the provider's list of keys.
_KEY_ID = re.compile(r"[!-~]{1,128}")
_HEADER: Final = "header"
_BODY: Final = "body"
_WHAT_KEY: Final = (
    "write an unencrypted private key in PEM: EC on P-256, Ed25519, or RSA of at least 2048 bits"
)

_SigningKey = ECKey | RSAKey | OKPKey


class ClientCredentials:
    """
    Asks for a token with the client's own credentials, and reads it (see ``core/ports.py``, TokenFetcher).

    Args:
        options: the source's, for the sentences of its errors.
        token_url: the token endpoint.
        client_id: what the provider calls us.
        client_secret, private_key: exactly one of the two; the key is PEM text.
        key_id: the ``kid`` that the provider knows the key by; its RFC 7638 thumbprint when left out.
        algorithm: ``ES256``, ``RS256``, ``PS256`` or ``Ed25519``; the first that fits the key when left out.
        audience: ``aud`` of the assertion; the token endpoint when left out.
        scope: scopes with a space between them; none are asked for when left out.
        secret_in: where the client secret goes: ``header`` or ``body``.
        clock: seconds since 1970.
        new_id: makes ``jti``.

    Raises ConfigurationError for options that cannot be used; neither secret nor key stands in it.
    """

    def __init__(
        self, options: Options, *, token_url: str, client_id: str, client_secret: str = "", private_key: str = "",
        key_id: str = "", algorithm: str = "", audience: str = "", scope: str = "", secret_in: str = _HEADER,
        clock: Callable[[], float] = time.time, new_id: Callable[[], str] = lambda: token_hex(16),
    ) -> None:
        # Read as an address that may have a query, because that keeps a slash at its end.
        self._url = options.url("token_url", token_url, query=True)
        self._client_id = options.text("client_id", client_id)
        self._scope = options.text("scope", scope) if scope else ""
        self._clock = clock
        self._new_id = new_id
        if bool(client_secret) == bool(private_key):
            raise options.wrong("client_secret, private_key", "write exactly one of the two")
        if secret_in not in (_HEADER, _BODY):
            raise options.wrong("secret_in", f"write {_HEADER} or {_BODY}")
        if not private_key and (strangers := [name for name, value in (
            ("key_id", key_id), ("algorithm", algorithm), ("audience", audience),
        ) if value]):
            raise options.wrong(strangers[0], "goes with private_key alone; leave it out")
        self._in_body = secret_in == _BODY
        self._secret = options.text("client_secret", client_secret) if client_secret else ""
        self._assertion = _Assertion(
            options, self._client_id, private_key, key_id, algorithm,
            options.text("audience", audience) if audience else self._url,
        ) if private_key else None

    def build_token_request(self, refresh: str | None) -> HttpRequest:
        """Ask for a token; this grant has no refresh tokens (RFC 6749 section 4.4.3), so ``refresh`` is not used."""
        del refresh
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        form = {"grant_type": "client_credentials"}
        if self._scope:
            form["scope"] = self._scope
        if self._assertion is not None:
            # Whose assertion it is stands in it; some servers look the client up by its id all the same.
            form["client_id"] = self._client_id
            form["client_assertion_type"] = _ASSERTION_TYPE
            form["client_assertion"] = self._assertion.sign(int(self._clock()), self._new_id())
        elif self._in_body:
            form["client_id"] = self._client_id
            form["client_secret"] = self._secret
        else:
            headers["authorization"] = _basic(self._client_id, self._secret)
        return HttpRequest("POST", self._url, headers, urlencode(form).encode())

    def parse_token(self, response: HttpResponse) -> AccessToken | None:
        """
        Read the answer (RFC 6749 section 5.1); None when there is no bearer token in it.  Never raises.

        A type that is not said is taken for bearer: what else it were, the source's provider would answer 401.
        """
        answer = json_object(response.body) if response.status == 200 else {}
        token = token_text(answer.get("access_token"))
        kind = answer.get("token_type", "bearer")
        if token is None or not isinstance(kind, str) or kind.lower() != "bearer":
            return None
        return AccessToken(token, token_life(answer.get("expires_in"), unsaid=_LIFE_UNSAID_S))


class _Assertion:
    """Signs the JWTs that prove who the client is."""

    def __init__(
        self, options: Options, client_id: str, private_key: str, key_id: str, algorithm: str, audience: str,
    ) -> None:
        self._client_id = client_id
        self._audience = audience
        self._key = _signing_key(options, private_key)
        fitting = _ALGORITHMS[self._key.key_type]
        self._algorithm = algorithm or fitting[0]
        if self._algorithm not in fitting:
            raise options.wrong("algorithm", f"this private_key signs with {' or '.join(fitting)}")
        what = "write the id that the provider knows the key by, without spaces"
        self._key_id = options.matching("key_id", key_id, _KEY_ID, what) if key_id else self._key.thumbprint()

    def sign(self, now_s: int, jti: str) -> str:
        header = {"alg": self._algorithm, "kid": self._key_id, "typ": "JWT"}
        claims = {
            "iss": self._client_id, "sub": self._client_id, "aud": self._audience, "jti": jti,
            "iat": now_s, "exp": now_s + ASSERTION_LIVES_S,
        }
        return jws.serialize_compact(header, orjson.dumps(claims), self._key, algorithms=[self._algorithm])


def _basic(client_id: str, secret: str) -> str:
    """Return the credentials as RFC 6749 section 2.3.1 wants them: each encoded as in a form, then in base 64."""
    return "Basic " + b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def _signing_key(options: Options, pem: object) -> _SigningKey:
    """Read a private key that one of our algorithms signs with."""
    wrong = options.wrong("private_key", _WHAT_KEY)
    if not isinstance(pem, str):
        raise wrong
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The reason is not passed on: a chained error would be printed with it.
        raise wrong from None
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1):
        return ECKey.import_key(_pkcs8(key))
    if isinstance(key, Ed25519PrivateKey):
        return OKPKey.import_key(_pkcs8(key))
    if isinstance(key, RSAPrivateKey) and key.key_size >= _RSA_BITS_MIN:
        return RSAKey.import_key(_pkcs8(key))
    raise wrong


def _pkcs8(key: EllipticCurvePrivateKey | Ed25519PrivateKey | RSAPrivateKey) -> bytes:
    """Return a key in the one form that every library reads; a file may hold it in older ones."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
