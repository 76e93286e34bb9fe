"""
The seams: what an ownership source looks like to the rest of the house.

A source answers by itself, or it is a talk that somebody else carries over HTTP (``inquiry/asker.py``)::

    OwnershipSource     ask                                      anything: a table, a database
    HttpSource          converse                                 yields requests, is sent answers, returns evidence
    HttpSource and TokenFetcher                                  the same, with a token fetched before
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from otp_service.core.evidence import Evidence, OwnershipQuestion
from otp_service.core.ports import HttpRequest, HttpResponse, NoAnswer

#: One talk with a source: it asks, is answered, may ask again, and returns what it has learnt.
Conversation = Generator[HttpRequest, HttpResponse | NoAnswer, Evidence]


@runtime_checkable
class OwnershipSource(Protocol):
    """
    Answers one question: does the subscriber of this number carry this ID number?

    Attributes:
        name: lower case, stable: the adapter's name.
        assurance: the assurance level of its evidence, see ``core/evidence.py``.

    What else it may say of itself: see :class:`SourceTraits`.
    """

    name: str
    assurance: str

    async def ask(self, question: OwnershipQuestion) -> Evidence:
        """
        Ask the source once.

        A source that cannot answer returns ``Evidence(ERROR)``; whatever it raises is treated as that.
        It never returns subscriber data.
        """


@runtime_checkable
class HttpSource(Protocol):
    """
    An ownership source that speaks HTTP, sans-I/O: whoever drives it makes the requests.

    Attributes:
        name, assurance: as in :class:`OwnershipSource`.
        timeout_s: seconds for one request.

    One with ``build_token_request`` and ``parse_token`` too (:class:`TokenFetcher`) is given a token with each talk.
    """

    name: str
    assurance: str
    timeout_s: float

    def converse(self, question: OwnershipQuestion, token: str = "") -> Conversation:
        """
        Talk about one question: yield a request, be sent its answer, and so on; return the evidence.

        Never raises: what cannot be read is ``Evidence(ERROR)``.  ``Evidence.stale_token`` asks for another token and
        a new talk.
        """




Source = OwnershipSource | HttpSource


@dataclass(frozen=True, slots=True)
class SourceTraits:
    """
    What a source says of itself by attributes of these names; the defaults hold for what it does not say.

    Attributes:
        real: it reaches a real register outside this service, or knows real people: test keys and the demo do not ask
            it.
        repeatable: asking again does no harm.  False: after an answer that was lost it is not asked a second time
            about one verification.
        knows_swaps: it can say whether the SIM was changed lately.
        contract: where its provider's contract was read.
    """

    real: bool = False
    repeatable: bool = True
    knows_swaps: bool = False
    contract: str = ""


def traits_of(source: Source) -> SourceTraits:
    """Return what a source says of itself."""
    default = SourceTraits()
    return SourceTraits(
        real=bool(getattr(source, "real", default.real)),
        repeatable=bool(getattr(source, "repeatable", default.repeatable)),
        knows_swaps=bool(getattr(source, "knows_swaps", default.knows_swaps)),
        contract=str(getattr(source, "contract", default.contract)),
    )
