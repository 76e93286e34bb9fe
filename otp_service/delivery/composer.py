"""
Writes the SMS of a verification.

Codes are derived here, from the id and the send number, and exist in memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from otp_service.core.client import ClientRegistry
from otp_service.core.codes import derive_code
from otp_service.core.keyring import KeyRing
from otp_service.core.magic_numbers import magic_code
from otp_service.core.messages import Catalogue
from otp_service.core.ports import SmsMessage
from otp_service.core.verification import Purpose, Verification
from otp_service.storage.queue import QueuedSms

#: An SMS that waited longer than this says how long its code is still valid, not how long codes are.
_FRESH_MS = 15_000


class Composer:
    """
    Turns a queued send into the message a gateway gets.

    Args:
        ring: derives codes.
        purposes: how long their codes are valid.
        clients: the hosts that a browser may fill a code in on.
        catalogue: the texts.
        brand: who the SMS says it comes from.
    """

    def __init__(
        self, *, ring: Callable[[], KeyRing], purposes: Mapping[str, Purpose], clients: ClientRegistry,
        catalogue: Catalogue, brand: str,
    ) -> None:
        self._ring = ring
        self._purposes = purposes
        self._clients = clients
        self._catalogue = catalogue
        self._brand = brand

    def message(self, verification: Verification, sms: QueuedSms, valid_ms: int) -> SmsMessage:
        """Write the SMS; ``valid_ms`` is how long its code stays valid."""
        purpose = self._purposes.get(verification.purpose) or Purpose(verification.purpose)
        client = self._clients.get(verification.client)
        policy_s = purpose.code.validity_s
        validity_s = policy_s if valid_ms > policy_s * 1000 - _FRESH_MS else max(1, valid_ms // 1000)
        fixed = magic_code(verification.phone_number, verification.code_length, test=verification.test)
        return self.render(
            verification.locale, verification.purpose, verification.phone_number,
            code=fixed or derive_code(self._ring(), verification.id, sms.send_number, verification.code_length),
            reference=sms.reference, send_number=sms.send_number, told_s=validity_s,
            validity_s=max(1, valid_ms // 1000), host=client.webotp_host if client else None,
        )

    def render(
        self, locale: str, purpose: str, phone: str, *, code: str, reference: str, send_number: int, told_s: int,
        validity_s: int, host: str | None = None,
    ) -> SmsMessage:
        """Write one SMS with a code; ``told_s`` is the validity that the text tells, ``validity_s`` what is left."""
        rendered = self._catalogue.sms(
            locale, purpose, code=code, validity_s=told_s, send_number=send_number, brand=self._brand, host=host,
        )
        return SmsMessage(
            to=phone, text=rendered.text, template_key=rendered.template_key, params=rendered.params,
            reference=reference, send_number=send_number, validity_s=validity_s, segments=rendered.segments,
        )
