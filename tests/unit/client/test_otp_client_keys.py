"""The key set behind result tokens: kept, shared, and done without for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from client_harness import Liar, http, lying
from joserfc.jwk import ECKey
from test_otp_client_tokens import AUDIENCE, JWKS, NOW_S, published, token
from unit.web_harness import PUBLIC_URL

from otp_service.client import OtpError, TokenInvalid, TokenReader, Unreachable

SET = http(200, {"keys": [published()]})
NEW = ECKey.generate_key("P-256")
AWAY = http(500, b"", "text/html")
JUNK = token(kid="another")


@dataclass(slots=True)
class Reading:
    """A reader, whose clock stands still until a test moves it, and the server that it asks."""

    reader: TokenReader
    liar: Liar
    now_s: float = 1000.0
    tasks: list[asyncio.Task[object]] = field(default_factory=list)

    async def good(self, text: str | None = None) -> bool:
        """Read a good token; one that would wait for a server that hangs makes the test fail."""
        async with asyncio.timeout(2):
            return (await self.reader.read(text or token())).verified

    async def junk(self, times: int = 1) -> None:
        """Begin to read tokens of unknown keys, until the server has been asked (or asked again)."""
        asked = len(self.liar.asked)
        self.tasks += [asyncio.create_task(self.reader.read(JUNK)) for _ in range(times)]
        async with asyncio.timeout(2):
            while len(self.liar.asked) == asked:
                await asyncio.sleep(0)

    async def outcomes(self) -> Sequence[object]:
        """Return what became of the tokens that :meth:`junk` began to read, once their time is over."""
        return await asyncio.gather(*self.tasks, return_exceptions=True)


@asynccontextmanager
async def reading(*answers: bytes | None, timeout_s: float = 10.0) -> AsyncIterator[Reading]:
    """Give a reader of the key set that is answered with these."""
    async with lying(*answers) as liar, TokenReader(
        liar.url + JWKS, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S, timeout_s=timeout_s,
    ) as reader:
        found = Reading(reader, liar)
        reader._keys.clock = lambda: found.now_s
        yield found
        for task in found.tasks:
            task.cancel()
        await found.outcomes()


async def test_the_key_set_is_kept() -> None:
    """Keys are fetched once for many tokens; a key that is not among them is looked for, but not for each token."""
    async with reading(SET) as found:
        for _ in range(3):
            assert await found.good()
        for _ in range(3):
            with pytest.raises(TokenInvalid, match="does not publish"):
                await found.reader.read(JUNK)

    assert [JWKS] == [asked.path for asked in found.liar.asked]
    assert "authorization" not in found.liar.asked[0].headers


async def test_a_new_key() -> None:
    """A key that the service has begun to sign with is found, and one that it has withdrawn is forgotten."""
    async with reading(SET, http(200, {"keys": [published(NEW)]})) as found:
        await found.good()
        found.now_s += 10
        assert await found.good(token(key=NEW, kid=NEW.thumbprint()))
        with pytest.raises(TokenInvalid, match="does not publish"):
            await found.good()
    assert 2 == len(found.liar.asked)


async def test_an_old_key_set_is_fetched_again() -> None:
    """After five minutes the set is fetched anew, so that a withdrawn key is trusted no longer than that."""
    async with reading(SET, http(200, {"keys": []})) as found:
        await found.good()
        found.now_s += 299
        await found.good()
        found.now_s += 1
        with pytest.raises(TokenInvalid, match="does not publish"):
            await found.good()


async def test_a_key_set_that_cannot_be_had() -> None:
    """Without keys nothing is believed: the reason is told, also to those who come too soon to ask again."""
    async with reading(AWAY, SET) as found:
        for _ in range(3):
            with pytest.raises(OtpError, match="status 500") as caught:
                await found.good()
            assert (None, None) == (caught.value.__context__, caught.value.__cause__)
        assert 1 == len(found.liar.asked)
        found.now_s += 10
        assert await found.good()


async def test_junk_while_the_key_set_hangs() -> None:
    """Tokens of unknown keys hold up nobody whose key is known, and ask once for all of them."""
    async with reading(SET, None) as found:
        await found.good()
        found.now_s += 10
        found.reader._keys.patience_s = 60
        await found.junk(5)
        for _ in range(5):
            assert await found.good()
        assert not any(task.done() for task in found.tasks)
        assert 2 == len(found.liar.asked)


async def test_a_fetch_that_failed_is_shared_and_remembered() -> None:
    """Those who wait for one fetch get its one outcome, and for a while nobody tries again."""
    async with reading(SET, AWAY) as found:
        await found.good()
        found.now_s += 10
        await found.junk(5)
        outcomes = await found.outcomes()
        assert ["status 500 without a problem document"] * 5 == [str(outcome) for outcome in outcomes]
        found.now_s += 9.9
        with pytest.raises(OtpError, match="status 500"):
            await found.reader.read(JUNK)
        assert 2 == len(found.liar.asked)
        found.now_s += 0.1
        with pytest.raises(OtpError, match="status 500"):
            await found.reader.read(JUNK)
        assert 3 == len(found.liar.asked)


async def test_first_readers_share_a_fetch() -> None:
    """Many tokens at once, before any key is known, cost one fetch."""
    async with reading(SET) as found:
        assert [True] * 5 == await asyncio.gather(*(found.good() for _ in range(5)))
    assert 1 == len(found.liar.asked)


async def test_keys_outlive_a_service_that_is_away() -> None:
    """While new keys cannot be had the kept ones serve for an hour, and not longer."""
    async with reading(SET, AWAY) as found:
        await found.good()
        found.now_s += 300
        assert await found.good()
        assert 2 == len(found.liar.asked)
        found.now_s += 3299
        assert await found.good()
        found.now_s += 1
        with pytest.raises(OtpError, match="status 500"):
            await found.good()


async def test_keys_that_were_withdrawn_meanwhile() -> None:
    """A service that is back is believed at once: what it has withdrawn serves no longer."""
    async with reading(SET, AWAY, http(200, {"keys": [published(NEW)]})) as found:
        await found.good()
        found.now_s += 300
        assert await found.good()
        found.now_s += 10
        with pytest.raises(TokenInvalid, match="does not publish"):
            await found.good()


async def test_old_keys_while_the_key_set_hangs() -> None:
    """A reader with an old key waits a moment for a new one, not until the fetch has given up."""
    async with reading(SET, None) as found:
        await found.good()
        found.now_s += 300
        found.reader._keys.patience_s = 0.05
        assert await found.good()
        # That moment is the fetch's, not each reader's: now it is over for everybody.
        found.reader._keys.patience_s = 60
        found.now_s += 60
        assert await found.good()
        assert 2 == len(found.liar.asked)


async def test_a_key_set_that_hangs_for_long() -> None:
    """A fetch that was answered too late is a failure like others: told, and not repeated at once."""
    async with reading(SET, None, timeout_s=0.05) as found:
        await found.good()
        found.now_s += 10
        await found.junk()
        (outcome,) = await found.outcomes()
        assert isinstance(outcome, Unreachable)
        asked = len(found.liar.asked)
        with pytest.raises(Unreachable, match="timeout"):
            await found.reader.read(JUNK)
        assert asked == len(found.liar.asked)


async def test_a_reader_that_gives_up() -> None:
    """Whoever is cancelled while waiting for the keys takes them from nobody else."""
    async with reading(None) as found:
        await found.junk(2)
        first, second = found.tasks
        first.cancel()
        await asyncio.wait({first})
        assert (True, False) == (first.cancelled(), second.done())


async def test_closing_ends_a_fetch() -> None:
    """Closing a reader tells those who still wait, and leaves nothing behind."""
    async with reading(None) as found:
        await found.junk(2)
        await found.reader.close()
        outcomes = await found.outcomes()
        assert ["no answer: connection_lost"] * 2 == [str(outcome) for outcome in outcomes]


async def test_connections_that_their_owner_has_closed() -> None:
    """A mistake of the caller's own is told as Python tells it, each time."""
    async with lying(SET) as liar, aiohttp.ClientSession() as session:
        reader = TokenReader(
            liar.url + JWKS, issuer=PUBLIC_URL, audience=AUDIENCE, now=lambda: NOW_S, session=session,
        )
        await session.close()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="closed"):
                await reader.read(token())
