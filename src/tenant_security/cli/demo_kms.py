"""The demo's KMSs: the local one, or fakes of the real ones, so that a newcomer sees every provider at work.

The fakes keep their keys in memory: what they wrapped is lost with them.
"""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tenant_security.errors import SettingsError

if TYPE_CHECKING:
    from tenant_security.outbound.driver import Outbound, OutboundLimits
    from tenant_security.outbound.egress import EgressPolicy
    from tenant_security.testing.fakes.server import FakeServer

LOCAL: Final = "local"
PROVIDERS: Final = ("aws", "azure", "gcp", "thales", "vault")
_FAKE: Final = "fake-"
_REGION: Final = "eu-central-1"

Config = dict[str, Any]


class DemoKms(NamedTuple):
    """The fakes that run, and a config for the key at each.

    ``configs`` by provider, such as ``gcp``; a provider that is missing there is played by the local KMS.
    """

    configs: Mapping[str, bytes]
    fakes: Sequence["FakeServer"] = ()

    def outbound(self, limits: "OutboundLimits", *, egress: "EgressPolicy") -> "Outbound":
        """Return the proxy's way out: it finds the fakes under the clouds' real names, and trusts them."""
        from tenant_security.outbound.driver import Outbound  # noqa: PLC0415
        from tenant_security.testing.fakes.dialling import DiallingOutbound  # noqa: PLC0415

        if not self.fakes:
            return Outbound(limits, egress=egress)
        return DiallingOutbound(self.fakes, limits, online=True, egress=egress)


LOCAL_ONLY: Final = DemoKms({})


def read_kms_option(text: str) -> tuple[str, ...]:
    """Read ``--kms``: ``local``, or a list such as ``fake-aws,fake-gcp``. Returns the providers to fake.

    Raises: SettingsError that names what is wrong.
    """
    wanted = [each.strip() for each in text.split(",") if each.strip() not in ("", LOCAL)]
    known = {_FAKE + provider: provider for provider in PROVIDERS}
    if unknown := [each for each in wanted if each not in known]:
        raise SettingsError([f"--kms: {unknown[0]!r} is none of {LOCAL}, {', '.join(known)}"])
    return tuple(dict.fromkeys(known[each] for each in wanted))


@contextmanager
def demo_kms(providers: Sequence[str]) -> Iterator[DemoKms]:
    """Run the fakes of these providers, each with a key and credentials that may use it.

    Raises: SettingsError when something is not installed that a fake needs.
    """
    starters = {"aws": _aws, "azure": _azure, "gcp": _gcp, "thales": _thales, "vault": _vault}
    configs: dict[str, bytes] = {}
    fakes: list[FakeServer] = []
    with ExitStack() as running:
        for provider in providers:
            try:
                config = starters[provider](running, fakes)
            except ImportError as missing:
                needed = "moto[server]" if provider == "aws" else "tenant-security[testing]"
                problem = f"--kms {_FAKE}{provider} needs {missing.name}: pip install '{needed}'"
                raise SettingsError([problem]) from None
            configs[provider] = json.dumps(config).encode()
        yield DemoKms(configs, tuple(fakes))


def _azure(running: ExitStack, fakes: "list[FakeServer]") -> Config:
    from tenant_security.testing.fakes.azure import FakeAzure  # noqa: PLC0415 - not everybody has the test kit
    from tenant_security.testing.fakes.hosted import hosted  # noqa: PLC0415

    fake = running.enter_context(hosted(FakeAzure))
    fakes.append(fake)
    directory = fake.directory()
    application, vault = fake.application(directory), fake.vault(directory, "demo-tenant")
    key = vault.key()
    vault.allow(application, key)
    return {
        "type": "AZURE",
        "version": 1,
        "credentials": {
            "clientId": application.client_id,
            "clientSecret": application.secret(),
            "tenantGuid": directory.guid,
        },
        "keyPath": {"vaultBaseUrl": vault.url, "keyName": key.name},
    }


def _gcp(running: ExitStack, fakes: "list[FakeServer]") -> Config:
    from tenant_security.testing.fakes.gcp import FakeGcp  # noqa: PLC0415
    from tenant_security.testing.fakes.hosted import hosted  # noqa: PLC0415

    fake = running.enter_context(hosted(FakeGcp))
    fakes.append(fake)
    account, key = fake.service_account(), fake.key()
    fake.allow(account.email, key.name)
    parts = key.name.split("/")
    return {
        "type": "GCP",
        "version": 1,
        "credentials": {"client_email": account.email, "private_key": account.private_key},
        "keyPath": dict(zip(("projectId", "locationId", "keyRingId", "cryptoKeyId"), parts[1::2], strict=True)),
    }


def _thales(running: ExitStack, fakes: "list[FakeServer]") -> Config:
    from tenant_security.testing.fakes.hosted import hosted  # noqa: PLC0415
    from tenant_security.testing.fakes.thales import HOST, FakeCipherTrust  # noqa: PLC0415

    fake = running.enter_context(hosted(FakeCipherTrust))
    fakes.append(fake)
    user, key = fake.user("proxy"), fake.key()
    return {
        "type": "THALES",
        "version": 1,
        "credentials": {"username": "proxy", "password": user.password},
        "keyPath": {"keyId": key.id, "serviceUrl": f"https://{HOST}"},
        "caCertificate": fake.authority_pem.decode(),
    }


def _vault(running: ExitStack, fakes: "list[FakeServer]") -> Config:
    from tenant_security.testing.fakes.hosted import hosted  # noqa: PLC0415
    from tenant_security.testing.fakes.vault import HOST, FakeVault  # noqa: PLC0415

    fake = running.enter_context(hosted(FakeVault))
    fakes.append(fake)
    role, key = fake.root.app_role(), fake.root.key()
    return {
        "type": "VAULT",
        "version": 1,
        "credentials": {"roleId": role.role_id, "secretId": role.secret_id()},
        "keyPath": {"address": f"https://{HOST}", "keyName": key.name},
        "caCertificate": fake.authority_pem.decode(),
    }


def _aws(running: ExitStack, _: "list[FakeServer]") -> Config:
    """Run moto, which others wrote: it plays AWS over plain HTTP on this machine."""
    import boto3  # noqa: PLC0415
    from moto.server import ThreadedMotoServer  # noqa: PLC0415

    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would write a line for every call
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    running.callback(server.stop)
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    credentials = {"aws_access_key_id": "demo", "aws_secret_access_key": "demo"}
    client = boto3.client("kms", region_name=_REGION, endpoint_url=endpoint, **credentials)
    try:
        key_id = client.create_key(Description="demo")["KeyMetadata"]["Arn"]
    finally:
        client.close()
    return {
        "type": "AWS",
        "version": 1,
        "credentials": {"accessKeyId": "demo", "secretAccessKey": "demo"},
        "keyPath": {"keyID": key_id, "region": _REGION},
        "endpoint": endpoint,
    }
