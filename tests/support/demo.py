"""A running demo, and the inbox where its SMS arrive."""

from __future__ import annotations

import re

from support.http import Api
from support.processes import Installation, Run, eventually

DEMO_KEY = "demo-portal-key"


class Demo:
    """A running demo and its inbox."""

    def __init__(self, site: Installation, run: Run) -> None:
        self.site, self.run = site, run

    @property
    def base(self) -> str:
        """Its address."""
        return self.run.base

    async def portal(self) -> str:
        """Wait for the sample portal's address."""
        said = await eventually(lambda: re.search(r"sample portal +(http://[0-9.:]+) ", self.run.stdout), "the welcome")
        return said[1]

    def api(self, key: str | None = DEMO_KEY) -> Api:
        """Give a caller with the demo's key, or another one."""
        return Api(self.base, key)

    async def code(self, api: Api, phone_number: str, send_number: int = 1) -> str:
        """Wait for the newest SMS to this E.164 number and return its code."""
        async def found() -> str | None:
            messages = (await api.get("/demo/sms"))["messages"]
            newest = next((one for one in messages if one["to"] == phone_number), None)
            if newest is None or newest["send_number"] != send_number:
                return None
            return str(newest["text"].split(": ", 1)[1][:6])

        return await eventually(found, f"SMS {send_number} to {phone_number}")
