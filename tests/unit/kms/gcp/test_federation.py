"""The proxy's own identity at Google, for configs of the vendor's own."""

import contextlib
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tenant_security.errors import Code
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Request

from .conftest import ACCOUNT, DEK, UNAUTHENTICATED, bearer, encrypted, granted, refusal, reply

OWN = {"workload_identity": True}
ACTING = {"workload_identity": True, "client_email": ACCOUNT.email}
ACT_AS = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{ACCOUNT.email}:generateAccessToken"
FILE, TOKEN_FILE = Path("/etc/proxy/google.json"), Path("/var/run/token")
EXTERNAL = {
    "type": "external_account",
    "universe_domain": "googleapis.com",
    "audience": "//iam.googleapis.com/projects/42/locations/global/workloadIdentityPools/pool/providers/cluster",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": str(TOKEN_FILE)},
}
ACTED = reply({"accessToken": "ya29.acted", "expireTime": "2026-11-24T04:00:00Z"})


@pytest.fixture
def own(stage):
    """A stage for a config of the vendor's own, outside Google."""
    stage.vendor_owned = True
    stage.environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(FILE)}
    stage.files = {FILE: json.dumps(EXTERNAL).encode(), TOKEN_FILE: b"eyJ.platform.token\n"}
    return stage


@pytest.fixture
def inside(stage):
    """The same inside Google."""
    stage.vendor_owned = True
    return stage


def form(request: Request) -> dict[str, str]:
    return {name: value[0] for name, value in parse_qs(request.body.decode(), strict_parsing=True).items()}


def refused(stage, code: Code = Code.KMS_AUTHORIZATION_FAILED, **changes: object) -> KmsFaultError:
    with pytest.raises(KmsFaultError) as caught:
        stage.run(stage.key(**({"credentials": OWN} | changes)).wrap(DEK))
    assert caught.value.code is code
    return caught.value


def test_a_tenants_config_cannot_use_our_identity(own):
    own.vendor_owned = False

    assert "vendor" in refused(own, Code.KMS_CONFIGURATION_INVALID).message
    assert own.requests == []


@pytest.mark.parametrize(
    "endpoint", ["https://evil.example", "https://evil.googleapis.com.example", "http://localhost:1"]
)
def test_our_identitys_token_goes_to_nobody_but_google(own, endpoint):
    assert "googleapis.com" in refused(own, Code.KMS_CONFIGURATION_INVALID, endpoint=endpoint).message


def test_the_platforms_token_is_exchanged_for_googles(own):
    own.answers = [granted("ya29.federated"), encrypted()]

    assert own.run(own.key(credentials=OWN).wrap(DEK)) == b"blob"

    sts, kms = own.requests
    assert (sts.method, sts.url) == ("POST", EXTERNAL["token_url"])
    assert form(sts) == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": EXTERNAL["audience"],
        "scope": "https://www.googleapis.com/auth/cloudkms",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": "eyJ.platform.token",
        "subject_token_type": EXTERNAL["subject_token_type"],
    }
    assert sts.of_operator
    assert not kms.of_operator
    assert bearer(kms) == "ya29.federated"


@pytest.mark.parametrize("by", ["config", "file"])
def test_it_acts_as_a_service_account(own, by):
    if by == "file":
        own.files[FILE] = json.dumps(EXTERNAL | {"service_account_impersonation_url": ACT_AS}).encode()
    own.answers = [granted("ya29.federated"), ACTED, encrypted()]

    assert own.run(own.key(credentials=ACTING if by == "config" else OWN).wrap(DEK)) == b"blob"

    sts, act, kms = own.requests
    assert form(sts)["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert (act.method, act.url) == ("POST", ACT_AS)
    assert bearer(act) == "ya29.federated"
    assert json.loads(act.body) == {"scope": ["https://www.googleapis.com/auth/cloudkms"], "lifetime": "3600s"}
    assert bearer(kms) == "ya29.acted"
    assert [kept.fresh_s for kept in own.kept.values()] == [3600 - 225]


def test_a_renewed_token_file_is_read_anew(own):
    own.answers = [granted("ya29.one"), UNAUTHENTICATED, granted("ya29.two"), encrypted()]
    key = own.key(credentials=OWN)
    flow = key.wrap(DEK)
    effect = flow.send(None)
    while bearer_of(effect) != "ya29.one":
        effect = flow.send(own.answer(effect))
    own.files[TOKEN_FILE] = b"eyJ.renewed"
    with contextlib.suppress(StopIteration):
        while True:
            effect = flow.send(own.answer(effect))

    assert own.answers == []
    assert form(own.requests[2])["subject_token"] == "eyJ.renewed"


def bearer_of(effect: object) -> str:
    return bearer(effect) if isinstance(effect, Request) and "Authorization" in dict(effect.headers) else ""


def test_a_token_may_stand_in_json(own):
    source = {"file": str(TOKEN_FILE), "format": {"type": "json", "subject_token_field_name": "jwt"}}
    own.files |= {FILE: json.dumps(EXTERNAL | {"credential_source": source}).encode(), TOKEN_FILE: b'{"jwt":"eyJ.j"}'}
    own.answers = [granted(), encrypted()]
    own.run(own.key(credentials=OWN).wrap(DEK))

    assert form(own.requests[0])["subject_token"] == "eyJ.j"


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "service_account"},
        {"type": "external_account_authorized_user"},
        {"credential_source": {"environment_id": "aws1"}},
        {"credential_source": {"executable": {"command": "/bin/sh"}}},
        {"token_url": "https://sts.evil.example/v1/token"},
        {"token_url": "http://sts.googleapis.com/v1/token"},
        {"service_account_impersonation_url": "https://evil.example/token"},
        {"audience": None},
    ],
)
def test_a_credentials_file_of_another_kind_is_the_operators_fault(own, changes):
    own.files[FILE] = json.dumps(EXTERNAL | changes).encode()

    fault = refused(own)

    assert "operator" in fault.message
    assert own.requests == []


@pytest.mark.parametrize(
    ("path", "content"),
    [(FILE, None), (FILE, b"{"), (FILE, b"\xff"), (TOKEN_FILE, None), (TOKEN_FILE, b" \n"), (TOKEN_FILE, b"\xff")],
)
def test_a_missing_or_empty_file_is_the_operators_fault(own, path, content):
    if content is None:
        del own.files[path]
    else:
        own.files[path] = content

    fault = refused(own)

    assert "operator" in fault.message
    assert str(path) not in fault.message


def test_the_metadata_server_knows_who_we_are(inside):
    inside.answers = [granted("ya29.node"), encrypted()]

    assert inside.run(inside.key(credentials=OWN).wrap(DEK)) == b"blob"

    metadata, kms = inside.requests
    url = urlsplit(metadata.url)
    assert (metadata.method, url.scheme, url.netloc) == ("GET", "http", "metadata.google.internal")
    assert url.path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert parse_qs(url.query) == {"scopes": ["https://www.googleapis.com/auth/cloudkms"]}
    assert metadata.headers == (("Metadata-Flavor", "Google"),)
    assert metadata.of_operator
    assert bearer(kms) == "ya29.node"


def test_the_machines_account_may_act_as_another(inside):
    inside.answers = [granted("ya29.node"), ACTED, encrypted()]
    inside.run(inside.key(credentials=ACTING).wrap(DEK))

    assert [request.url for request in inside.requests][1] == ACT_AS
    assert bearer(inside.requests[2]) == "ya29.acted"


def test_the_operator_may_name_another_metadata_server(inside):
    inside.environ = {"GCE_METADATA_HOST": "127.0.0.1:8080"}
    inside.answers = [granted(), encrypted()]
    inside.run(inside.key(credentials=OWN).wrap(DEK))

    assert inside.requests[0].url.startswith("http://127.0.0.1:8080/computeMetadata/")


@pytest.mark.parametrize("host", ["evil example", "a/b", "a@b", "a#"])
def test_what_is_no_metadata_host_is_not_asked(inside, host):
    inside.environ = {"GCE_METADATA_HOST": host}

    assert "GCE_METADATA_HOST" in refused(inside).message


@pytest.mark.parametrize(
    "answer",
    [
        refusal("PERMISSION_DENIED", 403),
        refusal("NOT_FOUND", 404),
        reply({"accessToken": "ya29.x", "expireTime": "soon"}),
        reply({"accessToken": "ya29.x", "expireTime": "2026-11-24T04:00:00"}),
        reply({"accessToken": "two words", "expireTime": "2026-11-24T04:00:00Z"}),
    ],
)
def test_a_service_account_that_may_not_be_played_is_a_matter_of_who_we_are(inside, answer):
    inside.answers = [granted("ya29.node"), answer]

    refused(inside, credentials=ACTING)


def test_identities_do_not_share_a_token(inside):
    inside.answers = [granted("ya29.node"), encrypted(), granted("ya29.node"), ACTED, encrypted()]
    inside.run(inside.key(credentials=OWN).wrap(DEK))
    inside.run(inside.key(credentials=ACTING).wrap(DEK))

    assert len(inside.kept) == 2
