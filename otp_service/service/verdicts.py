"""The verdict: signed at each read, and redeemed once."""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any

from otp_service.core.errors import (
    AlreadyRedeemed,
    ClaimsMismatch,
    FieldError,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    NotVerified,
)
from otp_service.core.result_token import TokenInvalid, claims_of
from otp_service.core.verification import Status, Verification
from otp_service.service.callers import Caller, Secrets
from otp_service.service.new_verification import id_digest
from otp_service.storage.calls import Replay
from otp_service.storage.records import to_verification
from otp_service.storage.store import Store


class Verdicts:
    """
    Signs, reads and redeems result tokens.

    Args:
        store: the transitions.
        secrets: returns the key ring and signer in force.
        issuer: the token's ``iss``.
    """

    def __init__(self, store: Store, secrets: Callable[[], Secrets], issuer: str) -> None:
        self._store = store
        self._secrets = secrets
        self._issuer = issuer

    def token(self, verification: Verification) -> str | None:
        """Sign the verdict; None while there is none.  The claims are as of the store's clock."""
        if verification.status not in {Status.VERIFIED, Status.REJECTED}:
            return None
        return self._secrets().signer.sign(claims_of(verification, issuer=self._issuer), test=verification.test)

    def read(self, caller: Caller, token: str) -> dict[str, Any]:
        """Return the claims of a token that was signed for this caller.  Raises InvalidRequest, NotFound."""
        try:
            claims = self._secrets().signer.read(token, test=caller.test)
        except TokenInvalid as error:
            raise InvalidRequest(FieldError("token", "token_invalid")) from error
        if claims["aud"] != caller.client.name:
            raise NotFound
        return claims

    async def redeem(
        self, caller: Caller, claims: dict[str, Any], *, phone_number: str | None, id_number: str | None,
        replay: Replay | None = None,
    ) -> dict[str, Any]:
        """
        Redeem a verdict that :meth:`read` has read, once, for the phone and person the portal expects.

        Returns its claims of this moment.
        Raises InvalidRequest, NotFound, NotVerified, AlreadyRedeemed, ClaimsMismatch, IdempotencyKeyReused.
        """
        secrets = self._secrets()
        verification_id = str(claims["sub"])
        shard = secrets.ring.parse_id(verification_id)
        if shard is None:
            raise NotFound
        answer = await self._store.redeem(
            shard, verification_id, caller.tenant, replay=replay,
            nonce=replay.name + replay.body if replay else token_urlsafe(16),
            id_digest=id_digest(secrets.ring, verification_id, id_number) if id_number else b"",
            phone_agrees=phone_number is None or phone_number == claims["phone_number"],
            token_expires_ms=claims["exp"] * 1000,
        )
        match answer.outcome:
            case "ok" | "replay":
                verification = to_verification(secrets.ring, verification_id, answer.record, answer.now_ms)
                return claims_of(verification, issuer=self._issuer)
            case "not_verified":
                raise NotVerified(claims)
            case "already":
                raise AlreadyRedeemed
            case "mismatch":
                raise ClaimsMismatch
            case "id_required":
                raise InvalidRequest(FieldError("expect.id_number", "missing"))
            case "expired":
                raise InvalidRequest(FieldError("token", "token_expired"))
            case "reused":
                raise IdempotencyKeyReused
            case _:
                raise NotFound
