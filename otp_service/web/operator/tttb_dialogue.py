"""
The dialogue with 1414: what a person texts from a SIM, and what comes back.

::

    TTTB                 whose SIM this is
    TTTB <number>        the sender's own document: which numbers of the same carrier stand under it
                         another document: that it does not agree
    TT                   the same as TTTB, at Gmobile
    anything else        how it is written

Case and blanks do not matter.  A SIM that can send nothing gets no reply, nor does a number of somebody else's.
"""

from __future__ import annotations

import re
from typing import Final

from otp_service.core.citizen_id import MalformedIdNumber, parse_id_number
from otp_service.core.errors import PhoneNotMobile
from otp_service.core.names import plain
from otp_service.core.phone import Carrier, parse_mobile
from otp_service.core.reading import national
from otp_service.web.operator.subscribers import MUTE, Subscriber, Subscribers
from otp_service.web.operator.tttb_forms import ANY_CARRIER, FORMS

SHORT_CODE: Final = "1414"

_COMMAND: Final = re.compile(r"\s*(TTTB|TT)\s*(.*?)\s*", re.IGNORECASE | re.DOTALL)

_PLACES: Final = {"cccd": "Cục trưởng CCS QLHC về trật tự xã hội", "cmnd": "Công an tỉnh"}
_KINDS: Final = {"cccd": "Thẻ căn cước", "cmnd": "Chứng minh nhân dân"}
#: The table has no such dates: everybody's are the same.
_ISSUED: Final = {"cccd": "01/01/2021", "cmnd": "01/01/2010"}
_ACTIVATED: Final = "01/01/2022"


class NoReply(Exception):
    """
    Nothing comes back.

    Attributes:
        reason: why, a word.
        status: of HTTP.
    """

    def __init__(self, reason: str, status: int) -> None:
        self.reason = reason
        self.status = status
        super().__init__(reason)


def reply_to(subscribers: Subscribers, sender: str, text: str, *, to: str = SHORT_CODE) -> str:
    """
    Return what 1414 writes back to an SMS.

    Args:
        subscribers: the operator's.
        sender: a mobile number in any form.
        text: the SMS.
        to: where it goes.

    Raises NoReply.
    """
    if to.strip() != SHORT_CODE:
        raise NoReply("not_1414", 404)
    try:
        subscriber = subscribers.find(parse_mobile(sender).e164)
    except PhoneNotMobile:
        subscriber = None
    if subscriber is None:
        raise NoReply("not_a_subscriber", 404)
    if subscriber.status in MUTE:
        raise NoReply("cannot_send", 409)
    forms = FORMS[subscriber.carrier] if subscriber.carrier else ANY_CARRIER
    command = _COMMAND.fullmatch(text)
    if command is None or (command[1].upper() == "TT" and subscriber.carrier is not Carrier.GMOBILE):
        return forms.syntax
    if not command[2]:
        form = forms.record if subscriber.known else forms.nothing
        return _filled(form, subscriber, [subscriber.phone_number])
    try:
        document = parse_id_number(command[2]).number
    except MalformedIdNumber:
        return forms.syntax
    if not subscriber.known or document != subscriber.id_number:
        return forms.other
    return _filled(forms.listing, subscriber, subscribers.held_with(subscriber))


def _filled(form: str, subscriber: Subscriber, numbers: list[str]) -> str:
    kind = parse_id_number(subscriber.id_number).kind if subscriber.id_number else "cccd"
    born = "/".join(reversed(subscriber.birth_date.split("-")))
    id_number = subscriber.id_number
    shown = [national(number) for number in numbers]
    return form.format(
        number=national(subscriber.phone_number), name=subscriber.full_name,
        plain_name=plain(subscriber.full_name).upper(), born=born, born_dashed=born.replace("/", "-"),
        id_number=id_number, masked=f"{id_number[:3]}{'*' * max(0, len(id_number) - 6)}{id_number[-3:]}",
        kind=_KINDS[kind], plain_kind=kind.upper(), place=_PLACES[kind], plain_place=plain(_PLACES[kind]).upper(),
        issued=_ISSUED[kind], activated=_ACTIVATED, numbers=", ".join(shown),
        lines="\n".join(f"{at}. {number}" for at, number in enumerate(shown, start=1)),
    )
