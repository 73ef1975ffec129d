"""Asks a running program how it is, as Docker and Prometheus do. Starts and breaks nothing."""

import asyncio
import re
from pathlib import Path
from typing import Any, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 90.0
POLL_S = 0.05


class Probe:
    """One program's health, at the port that its log tells."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    @classmethod
    async def of(cls, session: aiohttp.ClientSession, log: Path) -> Self:
        """Wait until a program says where it can be asked."""
        async with asyncio.timeout(TIMEOUT_S):
            while not (told := _told(log)):
                await asyncio.sleep(POLL_S)
        return cls(session, told[1])

    async def is_well(self) -> bool:
        """Ask whether the program itself works."""
        async with self._session.get(f"{self.url}/healthz") as response:
            assert response.status in {200, 503}
            return response.status == 200

    async def report(self) -> dict[str, Any]:
        """Ask for the state of each part, and see that the status says what it adds up to."""
        async with self._session.get(f"{self.url}/readyz") as response:
            report: dict[str, Any] = await response.json()
            assert (response.status == 200) == (report["status"] == "ready")
            return report

    async def says(self, **parts: object) -> dict[str, Any]:
        """Wait until the parts are as named."""
        report: dict[str, Any] = {}
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    report = await self.report()
                    if report.items() >= parts.items():
                        return report
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            msg = f"{parts} was never said, but at last {report}"
            raise AssertionError(msg) from None

    async def metrics(self) -> dict[str, float]:
        """Scrape; a sample with labels goes by `name{value,value}`."""
        async with self._session.get(f"{self.url}/metrics") as response:
            assert response.status == 200
            text = await response.text()
        return {
            sample.name + (f"{{{','.join(sample.labels.values())}}}" if sample.labels else ""): (
                sample.value
            )
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


def _told(log: Path) -> re.Match[str] | None:
    return re.search(r"health at (http://\S+)", log.read_text())
