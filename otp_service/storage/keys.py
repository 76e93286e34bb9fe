"""
How keys in the store are named.

Everything of a phone shares the tag of its shard, ``{s07}``; limits of addresses, ID numbers, clients and the service,
and idempotency records, have tags of their own.  No name contains a phone number, an ID number or an address: those
are keyed digests (``core/keyring.py``).  What belongs to a gateway or an ownership source has its name as tag; a
provider's message id stands there as the provider gave it.
"""

from __future__ import annotations

from otp_service.core.keyring import SHARDS

META = "otp:meta"
GROUP = "senders"

#: The only keys that never expire: the store's constants, and per shard the queue and the two deadline sets, which
#: shrink as their entries finish (invariant 7).
IMMORTAL = frozenset(
    {META} | {f"otp:{{s{shard:02d}}}:{kind}" for shard in range(SHARDS) for kind in ("sms", "due", "ask")}
)

_PREFIXES = tuple(f"otp:{{s{shard:02d}}}:" for shard in range(SHARDS))


def verification(shard: int, verification_id: str) -> str:
    """Return the key of a verification's record."""
    return f"{_PREFIXES[shard]}v:{verification_id}"


def sealed_extra(shard: int, verification_id: str) -> str:
    """Return the key of what is sealed beside a verification's record."""
    return f"{_PREFIXES[shard]}x:{verification_id}"


def links(shard: int, verification_id: str) -> str:
    """Return the key of the sealed links of a verification: its webhook's, and its page's way back."""
    return f"{_PREFIXES[shard]}w:{verification_id}"


def phone(shard: int, name: str) -> str:
    """Return the key of a phone's hash."""
    return f"{_PREFIXES[shard]}p:{name}"


def sms_queue(shard: int) -> str:
    """Return the key of a shard's stream of queued SMS."""
    return f"{_PREFIXES[shard]}sms"


def due(shard: int) -> str:
    """Return the key of a shard's set of deadlines."""
    return f"{_PREFIXES[shard]}due"


def ask(shard: int) -> str:
    """Return the key of a shard's set of ownership checks to make."""
    return f"{_PREFIXES[shard]}ask"


def hook(shard: int, tenant: str) -> str:
    """Return the key of a tenant's webhooks to deliver, in one shard."""
    return f"{_PREFIXES[shard]}hook:{tenant}"


def dead_hooks(shard: int, tenant: str) -> str:
    """Return the key of a tenant's webhooks that were given up, in one shard."""
    return f"{_PREFIXES[shard]}dead:{tenant}"


def endpoints(client: str) -> str:
    """Return the key of the addresses at which a client wants no more webhooks."""
    return f"otp:h:{{{client}}}:off"


def id_number(shard: int, name: str) -> str:
    """Return the key of an ID number's log of ownership checks."""
    return f"otp:i:{{i{shard:02d}}}:{name}"


def rate(kind: str, subject: str) -> str:
    """Return the key of a rate: an address's digest, a client's name or ``service``."""
    return f"otp:r:{{{subject}}}:{kind}"


def replay(name: str) -> str:
    """Return the key of an idempotency record."""
    return f"otp:k:{{{name}}}"


def proof(challenge: str) -> str:
    """Return the key that says that a proof of work was spent."""
    return f"otp:w:{{{challenge}}}"


def shares() -> str:
    """Return the key of the gateways' shares of traffic."""
    return "otp:g:shares"


def gateway(name: str, kind: str) -> str:
    """Return a key of a gateway: ``rate``, ``early``, ``polls``, ``token`` or ``lease``."""
    return f"otp:g:{{{name}}}:{kind}"


def gateway_message(name: str, provider_id: str = "") -> str:
    """Return the key under which a message is found by the provider's id, or the prefix of all of them."""
    return f"otp:g:{{{name}}}:m:{provider_id}"


def source_shares() -> str:
    """Return the key of the ownership sources' shares of the questions."""
    return "otp:o:shares"


def source(name: str, kind: str) -> str:
    """Return a key of an ownership source: ``budget``, ``token`` or ``lease``."""
    return f"otp:o:{{{name}}}:{kind}"
