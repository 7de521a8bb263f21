"""Figures by provider: what one tenant's open KMS costs in memory, and one call in CPU."""

import subprocess
import sys
from collections.abc import Iterator

from bench.table import Row

_TENANTS = 4_000
_AT_ONCE = 16
_CALLS_A_SECOND = 400
_LIMIT_KB = {"aws": 3.0, "azure": 5.0, "gcp": 5.0, "thales": 5.0, "vault": 5.0}
_BY_SDK_KB = {"aws": 939, "azure": 339, "gcp": 179}
"""What a vendor's client costs for each tenant, after one TLS call, as measured in the lab."""
_LIMIT_CPU = 3.0


def _lines(module: str, *arguments: object) -> list[str]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")


def providers(rounds: int, seconds: int) -> Iterator[Row]:
    """Memory of an open config, and CPU of a wrap against a bare client's request to the same fake."""
    for provider, limit in _LIMIT_KB.items():
        values = [float(_lines("bench.kms_memory", provider, _TENANTS)[0]) for _ in range(min(3, rounds))]
        sdk = f"the vendor's SDK: {_BY_SDK_KB[provider]} KB" if provider in _BY_SDK_KB else ""
        yield Row(
            f"{provider}: memory of an open config, its token included",
            f"<= {limit:g} KB",
            limit,
            False,
            values,
            sdk,
            "KB",
        )
    for provider in ("azure", "gcp", "thales", "vault"):
        pairs = [
            line.split() for line in _lines("bench.kms_calls", provider, rounds, seconds * _CALLS_A_SECOND, _AT_ONCE)
        ]
        both = [(float(ours), float(bare)) for ours, bare in (pair for pair in pairs if pair)]
        raw = f"{both[-1][0]:,.0f} us; bare aiohttp {both[-1][1]:,.0f} us"
        ratios = [ours / bare for ours, bare in both]
        yield Row(f"{provider}: CPU of a wrap", f"<= {_LIMIT_CPU:g} x aiohttp", _LIMIT_CPU, False, ratios, raw)
