"""A service's identity as plain ``NAME=value`` lines: what a proxy is started with.

Shape: the private keys are standard base64 of 32-byte seeds; the fingerprint is that of the vendor's root key. The
names are those that existing deployments already set.

Source: docs/formats-trust.md, "Service environment".
"""

import binascii
from collections.abc import Mapping
from typing import Final

import msgspec

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret

ACCOUNT_ID: Final = "SERVICE_ACCOUNT_ID"
CONFIG_ID: Final = "SERVICE_CONFIG_ID"
SEGMENT_ID: Final = "SERVICE_SEGMENT_ID"
ENCRYPTION_PRIVATE_KEY: Final = "SERVICE_ENCRYPTION_PRIVATE_KEY"
SIGNING_PRIVATE_KEY: Final = "SERVICE_SIGNING_PRIVATE_KEY"
API_KEY: Final = "API_KEY"
ROOT_FINGERPRINT: Final = "VENDOR_ROOT_FINGERPRINT"

_SEED_BYTES: Final = 32
_MOST_DIGITS: Final = 18


class ServiceCredentials(msgspec.Struct, frozen=True):
    """Who a service is, and the one key it trusts before it has read anything.

    Trust: losing a private key means making a new identity; leaking one means revoking it and then rotating every KMS
    credential that it could read.
    """

    account_id: str
    config_id: int
    segment_id: int
    encryption_seed: Secret[bytes]
    signing_seed: Secret[bytes]
    root_fingerprint: str


def credentials_from_env(env: Mapping[str, str]) -> ServiceCredentials:
    """Read the credentials from settings; other names are left alone.

    Raises: SettingsError with every problem at once.
    """
    problems: list[str] = []
    credentials = ServiceCredentials(
        account_id=_text(env, ACCOUNT_ID, problems),
        config_id=_number(env, CONFIG_ID, problems),
        segment_id=_number(env, SEGMENT_ID, problems),
        encryption_seed=_seed(env, ENCRYPTION_PRIVATE_KEY, problems),
        signing_seed=_seed(env, SIGNING_PRIVATE_KEY, problems),
        root_fingerprint=_text(env, ROOT_FINGERPRINT, problems),
    )
    if problems:
        raise SettingsError(problems)
    return credentials


def _text(env: Mapping[str, str], name: str, problems: list[str]) -> str:
    value = env.get(name, "").strip()
    if not value:
        problems.append(f"{name} is not set; take it from the env file that 'tenant-security identity new' wrote")
    return value


def _number(env: Mapping[str, str], name: str, problems: list[str]) -> int:
    value = _text(env, name, problems)
    if value and not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS and int(value) > 0):
        problems.append(f"{name} must be a whole number from 1")
        return 0
    return int(value or 0)


def _seed(env: Mapping[str, str], name: str, problems: list[str]) -> Secret[bytes]:
    value = _text(env, name, problems)
    try:
        seed = binascii.a2b_base64(value, strict_mode=True) if value else b""
    except (binascii.Error, ValueError):
        seed = b""
    if value and len(seed) != _SEED_BYTES:
        problems.append(f"{name} must be base64 of 32 bytes")
    return Secret(seed)


def render_env(credentials: ServiceCredentials, api_key: Secret[str]) -> str:
    """Write the env file, one ``NAME=value`` per line. The result is secret."""
    values = {
        ACCOUNT_ID: credentials.account_id,
        CONFIG_ID: str(credentials.config_id),
        SEGMENT_ID: str(credentials.segment_id),
        ENCRYPTION_PRIVATE_KEY: _base64(credentials.encryption_seed),
        SIGNING_PRIVATE_KEY: _base64(credentials.signing_seed),
        API_KEY: api_key.reveal(),
        ROOT_FINGERPRINT: credentials.root_fingerprint,
    }
    return "".join(f"{name}={value}\n" for name, value in values.items())


def parse_env(text: str) -> dict[str, str]:
    """Read ``NAME=value`` lines; empty lines and lines that start with ``#`` are skipped."""
    pairs = (line.partition("=") for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def _base64(seed: Secret[bytes]) -> str:
    return binascii.b2a_base64(seed.reveal(), newline=False).decode("ascii")
