"""What the doctor looks at. Each check returns what it found; none changes anything, and none raises."""

import email.utils
import resource
import ssl
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from cryptography import x509

from tenant_security.directory.entitlement import keyring_for
from tenant_security.directory.open_source import broker_account
from tenant_security.errors import SettingsError
from tenant_security.outbound.broker import BrokerRefusedError, ask
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, Response, UnreachableError, send
from tenant_security.proxy.broker_link import source_settings
from tenant_security.proxy.settings import ProxySettings, read_proxy_settings, unknown_settings
from tenant_security.trust.chain import NOTHING_SEEN, verify_manifest, verify_root
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire.broker_api import VendorDocuments
from tenant_security.wire.service_env import ServiceCredentials

_DAY_S: Final = 86_400
_SOON_S: Final = 30 * _DAY_S
_SKEW_S: Final = 20
_DEADLINE_S: Final = 5.0
_CAP_BYTES: Final = 1_048_576
_FEW_FILES: Final = 4_096
_OK, _UNAUTHORIZED, _UNPROCESSABLE = 200, 401, 422


class State(Enum):
    """How bad it is."""

    GOOD = 0
    WARNING = 1
    FAILURE = 2


class Finding(NamedTuple):
    """One thing that was looked at. ``advice`` says what to do, where there is something to do."""

    state: State
    what: str
    advice: str = ""


def of_settings(environ: Mapping[str, str]) -> tuple[ProxySettings | None, ServiceCredentials | None, list[Finding]]:
    """Read the proxy's settings as the proxy would."""
    found = [
        Finding(State.WARNING, f"{name} is no setting of the proxy", "'tenant-security proxy --settings' lists them")
        for name in unknown_settings(environ)
    ]
    try:
        settings, credentials = read_proxy_settings(environ)
    except SettingsError as wrong:
        return None, None, found + [Finding(State.FAILURE, problem) for problem in wrong.problems]
    found.append(Finding(State.GOOD, "the settings are valid"))
    if settings.allow_local_kms:
        advice = "unset TSP_ALLOW_LOCAL_KMS where data is real: a local key is in nobody's custody"
        found.append(Finding(State.WARNING, "configs of the local KMS are allowed", advice))
    if settings.broker_url is not None and settings.broker_url.startswith("http://"):
        found.append(Finding(State.WARNING, "the broker is asked in plain HTTP", "use https:// outside one host"))
    return settings, credentials, found


def of_files(settings: ProxySettings | None, env_file: Path | None) -> list[Finding]:
    """Look at files that must be private, and at certificates that end."""
    private = (env_file, settings.tls_key if settings else None)
    found = [
        Finding(State.FAILURE, f"{path} can be read by others", f"chmod 600 {path}")
        for path in private
        if path is not None and path.exists() and path.stat().st_mode & 0o077
    ]
    if settings is not None and settings.tls is not None:
        found.append(_certificate(settings.tls.certificate))
        try:
            settings.tls.context()
        except SettingsError as wrong:
            found += [Finding(State.FAILURE, problem) for problem in wrong.problems]
    return found or [Finding(State.GOOD, "no file is open to others")]


def _certificate(path: Path) -> Finding:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as wrong:
        return Finding(State.FAILURE, f"{path} is no certificate: {wrong}")
    left_s = certificate.not_valid_after_utc.timestamp() - time.time()
    if left_s <= 0:
        return Finding(State.FAILURE, f"{path} expired {-left_s / _DAY_S:.0f} days ago", "put a new one in its place")
    if left_s < _SOON_S:
        return Finding(State.WARNING, f"{path} expires in {left_s / _DAY_S:.0f} days", "have it renewed")
    return Finding(State.GOOD, f"{path} is good for {left_s / _DAY_S:.0f} days")


async def of_broker(outbound: Outbound, settings: ProxySettings, credentials: ServiceCredentials) -> list[Finding]:
    """Ask the broker for the vendor's keys, and judge them as the proxy would."""
    try:
        account = broker_account(source_settings(settings), credentials)
    except SettingsError as wrong:
        return [Finding(State.FAILURE, problem) for problem in wrong.problems]
    assert account is not None
    try:
        response = await _get(outbound, account.base, "/ready")
    except UnreachableError as failure:
        what = f"{account.base} cannot be reached: {failure.reason.value}"
        return [Finding(State.FAILURE, what, "check CONFIG_BROKER_URL, DNS and the network")]
    found = [_clock(response)]
    try:
        documents = await outbound.run(
            ask(account, "GET", "/service/1/vendor", VendorDocuments), deadline_s=_DEADLINE_S
        )
    except BrokerRefusedError as refused:
        advice = "was the identity approved, and is it of this broker's vendor? A clock that is wrong looks the same"
        return [*found, Finding(State.FAILURE, f"the broker refuses this identity: {refused}", advice)]
    except UnreachableError as failure:
        return [*found, Finding(State.FAILURE, f"the broker does not answer: {failure.reason.value}")]
    return found + _identity(documents, credentials)


def _identity(documents: VendorDocuments, credentials: ServiceCredentials) -> list[Finding]:
    now_s = int(time.time())
    try:
        root = verify_root(documents.root, pinned=credentials.root_fingerprint, previous=NOTHING_SEEN, now_s=now_s)
        manifest = verify_manifest(documents.manifest, root, previous=NOTHING_SEEN, now_s=now_s)
        keyring_for(documents.segment_wraps, manifest, credentials)
    except SnapshotRefusedError as refused:
        return [Finding(State.FAILURE, str(refused))]
    found = [
        Finding(State.GOOD, f"the root is the pinned one, of vendor {root.vendor!r}"),
        Finding(State.GOOD, f"{credentials.account_id!r} is let in and can open segment {credentials.segment_id}"),
    ]
    left_s = manifest.expires - now_s
    if left_s < _SOON_S:
        what = f"the vendor's manifest expires in {left_s // _DAY_S} days"
        found.append(Finding(State.WARNING, what, "the vendor's admin signs it again with any command of theirs"))
    return found


def _clock(response: Response) -> Finding:
    said = email.utils.parsedate_to_datetime(response.headers["date"]) if "date" in response.headers else None
    if said is None:
        return Finding(State.GOOD, "the broker answers")
    skew_s = said.timestamp() - time.time()
    if abs(skew_s) > _SKEW_S:
        what = f"this machine's clock and the broker's are {abs(skew_s):.0f} seconds apart"
        return Finding(State.FAILURE, what, "synchronise the clocks: signed requests are good for a minute")
    return Finding(State.GOOD, "the broker answers, and the clocks agree")


async def of_http(outbound: Outbound, ops: str, *, api: str | None = None, api_key: str = "") -> list[Finding]:
    """Ask a daemon how it is, and a proxy's API whether it knows the key."""
    try:
        await _get(outbound, ops, "/live")
        ready = await _get(outbound, ops, "/ready")
        health = await _get(outbound, ops, "/health")
    except UnreachableError as failure:
        return [
            Finding(
                State.FAILURE,
                f"{ops} does not answer: {failure.reason.value}",
                "is it running, and is this its address?",
            )
        ]
    found = [
        Finding(State.GOOD, f"{ops} is ready")
        if ready.status == _OK
        else Finding(State.FAILURE, f"{ops} is not ready (HTTP {ready.status})", "what follows says why")
    ]
    found += _checks(health)
    if api is not None:
        found.append(await _api(outbound, api, api_key))
    return found


def _checks(health: Response) -> list[Finding]:
    try:
        said = msgspec.json.decode(health.body)
        checks = said["checks"]
    except (msgspec.DecodeError, KeyError, TypeError):
        return []
    states = {"UP": State.GOOD, "WARN": State.WARNING}
    return [
        Finding(states.get(str(each.get("status")), State.FAILURE), f"{each.get('name')}: {_details(each)}")
        for each in checks
        if isinstance(each, dict)
    ]


def _details(check: dict[str, Any]) -> str:
    inside = (
        check.get("data")
        or check.get("details")
        or {name: value for name, value in check.items() if name not in ("name", "status")}
    )
    shown = [f"{name} {value}" for name, value in inside.items() if value not in (None, {}, [])]
    return ", ".join(shown)[:500]


async def _api(outbound: Outbound, api: str, api_key: str) -> Finding:
    body = msgspec.json.encode(
        {"tenantId": "doctor: no such tenant", "iclFields": {"requestingId": "doctor"}, "customFields": {}}
    )
    headers = (("Authorization", f"cmk {api_key}"), ("Content-Type", "application/json"))
    request = Request("POST", f"{api}/api/1/document/wrap", headers, body, _CAP_BYTES, of_operator=True)
    try:
        response: Response = await outbound.run(send(request), deadline_s=_DEADLINE_S)
    except UnreachableError as failure:
        return Finding(State.FAILURE, f"{api} does not answer: {failure.reason.value}", "is TLS on one side only?")
    if response.status == _UNAUTHORIZED:
        return Finding(State.FAILURE, "the proxy does not know this API_KEY", "was it changed after the proxy started?")
    if response.status == _UNPROCESSABLE:
        return Finding(State.GOOD, f"{api} knows the API key")
    return Finding(State.WARNING, f"{api} answered HTTP {response.status} to a tenant that does not exist")


def of_machine() -> list[Finding]:
    """Look at limits that show only under load."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    cores, _ = resource.getrlimit(resource.RLIMIT_CORE)
    found = [
        Finding(State.GOOD, f"{files} files may be open")
        if files >= _FEW_FILES
        else Finding(State.WARNING, f"only {files} files may be open", "raise the limit: each connection is one")
    ]
    if cores != 0:
        found.append(Finding(State.WARNING, "a crash writes memory to disk", "ulimit -c 0: it would hold keys"))
    found.append(Finding(State.GOOD, ssl.OPENSSL_VERSION))
    return found


async def _get(outbound: Outbound, base: str, path: str) -> Response:
    request = Request("GET", base.rstrip("/") + path, (), b"", _CAP_BYTES, of_operator=True)
    response: Response = await outbound.run(send(request), deadline_s=_DEADLINE_S)
    return response
