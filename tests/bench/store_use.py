"""Rows about the store: round trips per call, bytes per live verification."""

from __future__ import annotations

from typing import Final

from bench.effort import Effort
from bench.house import House, info
from bench.load import Load
from bench.sources import Checks, Starts
from bench.table import Row, number
from otp_service.core.keyring import SHARDS
from otp_service.storage import keys

_CALLS: Final = 50
_ROUND_TRIPS: Final = "otp_store_round_trips_total"
_BYTES: Final = 1500
#: An address's rate is forgotten a minute after its only start: all must stand in the store when it is weighed.
_FILL_WITHIN_S: Final = 25.0


async def round_trips(house: House) -> list[Row]:
    """Make calls one after the other and count what went to the store."""
    async with Load(house.api_port) as load:
        before = house.counted(_ROUND_TRIPS)
        ids: list[bytes] = []
        for _ in range(_CALLS):
            starts = Starts(60.0, most=1)
            await load.run(starts)
            ids += starts.ids
        between = house.counted(_ROUND_TRIPS)
        await house.drained()
        for one in ids:
            await load.run(Checks([(one, house.gateway.codes[one])]))
        after = house.counted(_ROUND_TRIPS)
    found = (("start", (between - before) / _CALLS), ("check", (after - between) / _CALLS))
    return [Row(f"{what}: round trips to the store", f"{trips:g}", "1", trips == 1) for what, trips in found]


async def memory(house: House, effort: Effort) -> Row:
    """Start many verifications, let their SMS be sent, and weigh the store before and after."""
    house.gateway.forget()
    before, keys_before = await _weight(house), await house.redis.dbsize()
    async with Load(house.api_port) as load:
        starts = Starts(_FILL_WITHIN_S, most=effort.verifications)
        await load.run(starts)
        await house.drained()
    live = sum([await house.redis.zcard(keys.due(shard)) for shard in range(SHARDS)])
    made = len(starts.ids)
    each = (await _weight(house) - before) / made
    keys_each = (await house.redis.dbsize() - keys_before) / made
    return Row(
        f"bytes in the store per live verification, over {number(live)} of them, SMS sent",
        f"{number(each)} bytes in {keys_each:.2f} keys", f"< {number(_BYTES)} bytes", each < _BYTES,
    )


async def _weight(house: House) -> int:
    """Return the bytes in use, without what connections hold for a moment."""
    found = await info(house.redis, "memory")
    return int(found["used_memory"]) - int(found["mem_clients_normal"]) - int(found["mem_aof_buffer"])
