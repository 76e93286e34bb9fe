"""
Proof of work before the first SMS (ALTCHA, self-hosted): some seconds of a browser's time, dear only to a flood.

A challenge is signed for one client and one phone, so that a proof buys one SMS to that phone and nothing else; the
start that spends it says so in the store, in the same transition.  The work is many short derivations (PBKDF2) until
a key begins with three zero digits, 4096 on average: what is wrong then costs us one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time
from typing import Final

import altcha

from otp_service.core import limits as names
from otp_service.core.client import ProofMode
from otp_service.core.errors import ProofRequired
from otp_service.core.keyring import KeyRing
from otp_service.core.limits import LimitBook
from otp_service.core.magic_numbers import is_magic
from otp_service.service.callers import Caller, StartCommand
from otp_service.storage import keys
from otp_service.storage.calls import OPEN, Door, Gate

#: What a portal sends as ``proof`` for a browser that runs no JavaScript: a stricter address limit holds instead.
NO_SCRIPT: Final = "none"
#: Seconds in which a challenge must be solved and brought back.
CHALLENGE_LIFE_S: Final = 600
#: Seconds for which a spent one is remembered: longer, because hosts' clocks differ.
_SPENT_S: Final = 2 * CHALLENGE_LIFE_S

_ALGORITHM: Final = "PBKDF2/SHA-256"
_PREFIX: Final = "000"


class Proofs:
    """
    Decides what a start must bring, and reads what it brings.

    Args:
        book: the limits of starts without a proof.
        ring: returns the key ring in force.
        address_name: names an end user's address.
        cost: PBKDF2 iterations of one derivation.
    """

    def __init__(
        self, book: LimitBook, ring: Callable[[], KeyRing], address_name: Callable[[str], str], *, cost: int,
    ) -> None:
        self._book = book
        self._ring = ring
        self._address_name = address_name
        self._cost = cost

    def gate(self, caller: Caller, command: StartCommand, *, repeatable: bool) -> Gate:
        """
        Return what a start passes before its limits.

        Officials and magic numbers pass freely.  A start that may have been made before (``repeatable``) finds a shut
        gate when its proof is no good any more: the store still knows it.
        Raises ProofRequired where the store need not be asked.
        """
        mode, address, proof = caller.client.proof, command.end_user_ip, command.proof
        if mode is ProofMode.NEVER or address is None or command.purpose.assisted or is_magic(command.phone_number):
            return OPEN
        if proof == NO_SCRIPT:
            return Gate(rates=(
                (keys.rate("j", self._address_name(address)), self._book.get(names.ADDRESS_NO_SCRIPT_SENDS, address)),
                (keys.rate("j", caller.tenant), self._book.get(names.CLIENT_NO_SCRIPT_SENDS, caller.client.name)),
            ))
        if proof is not None:
            if name := self._spent_name(caller, command, proof):
                return Gate(Door.OPEN, keys.proof(name), _SPENT_S * 1000)
            if repeatable:
                return Gate(Door.SHUT)
            raise self.required(caller, command)
        if mode is ProofMode.ALWAYS:
            raise self.required(caller, command)
        return Gate(Door.OPENS_WITH_PROOF, rates=(
            (keys.rate("u", self._address_name(address)), self._book.get(names.ADDRESS_UNPROVEN_SENDS, address)),
            (keys.rate("u", caller.tenant), self._book.get(names.CLIENT_UNPROVEN_SENDS, caller.client.name)),
        ))

    def required(self, caller: Caller, command: StartCommand) -> ProofRequired:
        """Make the refusal with a challenge for this client and phone."""
        challenge = altcha.create_challenge(
            _ALGORITHM, self._cost, key_prefix=_PREFIX, expires_at=int(time()) + CHALLENGE_LIFE_S,
            hmac_secret=self._secret(caller, command),
        )
        return ProofRequired(challenge.to_dict())

    def _spent_name(self, caller: Caller, command: StartCommand, proof: str) -> str | None:
        """Return the name under which a good proof is spent: the nonce is signed, so it names the challenge."""
        if not altcha.verify_solution(proof, self._secret(caller, command)).verified:
            return None
        nonce: str = altcha.Payload.from_base64(proof).challenge.parameters.nonce
        return self._ring().replay_name("proof", nonce)

    def _secret(self, caller: Caller, command: StartCommand) -> bytes:
        return self._ring().proof_key(caller.tenant, command.phone_number)

