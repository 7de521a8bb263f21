"""The proxy's own identity at AWS, for configs of the vendor's own: who may have it, and where it comes from."""

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.provider import KmsFaultError
from tenant_security.outbound.flow import Reason, Request, Response, UnreachableError

from .conftest import ROLE_ARN
from .test_key import DEK, encrypted

OWN = {"workloadIdentity": True}
TOKEN_FILE = Path("/var/run/secrets/eks.amazonaws.com/serviceaccount/token")
POD = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(TOKEN_FILE), "AWS_ROLE_ARN": "arn:aws:iam::1:role/pod"}


@pytest.fixture
def own(stage):
    """A stage for a config of the vendor's own, on a proxy whose operator allows it."""
    stage.vendor_owned, stage.identities = True, frozenset({"aws"})
    return stage


def given(stage, name: str = "ONE", lives: timedelta = timedelta(hours=6), **more: object) -> Response:
    """What a container's endpoint and an instance's metadata answer."""
    body = {
        "Code": "Success",
        "AccessKeyId": f"ASIA{name}",
        "SecretAccessKey": f"secret-{name}",
        "Token": f"token-{name}",
        "Expiration": (stage.now + lives).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return Response(200, {}, json.dumps(body | more).encode())


def signer(request: Request) -> str:
    return dict(request.headers)["Authorization"].split("Credential=")[1].split("/")[0]


def form(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode(), strict_parsing=True).items()}


def refused(stage, **changes: object) -> KmsFaultError:
    with pytest.raises(KmsFaultError) as caught:
        stage.run(stage.key(**(OWN | changes)).wrap(DEK))
    return caught.value


# -- who may ---------------------------------------------------------------------------------------------------------


def test_a_tenants_config_never_gets_it_whatever_the_operator_allows(own):
    own.vendor_owned = False
    own.environ = {"AWS_ACCESS_KEY_ID": "AKIDVENDOR", "AWS_SECRET_ACCESS_KEY": "s"}

    fault = refused(own)

    assert fault.code is Code.KMS_CONFIGURATION_INVALID
    assert "vendor's own" in fault.message
    assert own.requests == []


@pytest.mark.parametrize("identities", [frozenset(), frozenset({"gcp", "azure", "vault"})])
def test_a_vendors_config_gets_it_only_where_the_operator_allows_it(own, identities):
    own.identities = identities

    fault = refused(own)

    assert fault.code is Code.KMS_CONFIGURATION_INVALID
    assert "TSP_OWN_IDENTITY=aws" in fault.message


@pytest.mark.parametrize(
    "credentials",
    [
        {"accessKeyId": "AKIDEXAMPLE"},
        {"secretAccessKey": "s"},
        {"sessionToken": "t"},
    ],
)
def test_an_access_key_beside_it_is_refused(own, credentials):
    with pytest.raises(TenantSecurityError, match="workloadIdentity needs no access key"):
        own.key(**OWN, **credentials)


def test_an_ambient_key_is_never_used_for_a_config_that_names_its_own(own):
    own.environ = {"AWS_ACCESS_KEY_ID": "AKIDVENDOR", "AWS_SECRET_ACCESS_KEY": "s"}
    own.answers = [encrypted()]
    own.run(own.key().wrap(DEK))

    assert signer(own.requests[0]) == "AKIDEXAMPLE"


# -- where it comes from -----------------------------------------------------------------------------------------------


def test_keys_of_the_environment_come_first(own):
    own.environ = POD | {"AWS_ACCESS_KEY_ID": "AKIDVENDOR", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    own.answers = [encrypted()]
    own.run(own.key(**OWN).wrap(DEK))

    assert signer(own.requests[0]) == "AKIDVENDOR"
    assert dict(own.requests[0].headers)["X-Amz-Security-Token"] == "t"


def test_a_service_accounts_token_is_exchanged_at_the_regional_sts(own):
    own.environ = POD
    own.files = {TOKEN_FILE: b"eyJ.pod.token\n"}
    own.answers = [own.session(), encrypted(), encrypted()]
    key = own.key(**OWN)
    own.run(key.wrap(DEK))
    own.run(key.wrap(DEK))

    sts, *calls = own.requests
    assert sts.url == "https://sts.eu-central-1.amazonaws.com/"
    assert "Authorization" not in dict(sts.headers)
    assert form(sts) == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": "arn:aws:iam::1:role/pod",
        "RoleSessionName": "tenant-security-proxy",
        "WebIdentityToken": "eyJ.pod.token",
    }
    assert [signer(call) for call in calls] == ["ASIAONE", "ASIAONE"]
    assert [kept.fresh_s for kept in own.kept.values()] == [3300]


def test_our_token_goes_to_aws_and_to_no_address_that_a_config_names(own):
    own.environ, own.files = POD, {TOKEN_FILE: b"eyJ.pod.token"}
    own.answers = [own.session(), own.session("TWO"), encrypted()]
    own.run(own.key(**OWN, roleArn=ROLE_ARN, stsEndpoint="https://sts.example").wrap(DEK))

    exchange, assume, _ = own.requests
    assert exchange.url == "https://sts.eu-central-1.amazonaws.com/"
    assert b"eyJ" in exchange.body
    assert assume.url == "https://sts.example/"
    assert b"eyJ" not in assume.body


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"}, "http://169.254.170.2/v2/credentials/1"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}, ""),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[fd00:ec2::23]/v1/credentials"}, ""),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9911/creds"}, ""),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "https://creds.corp.example/x"}, ""),
    ],
)
def test_a_containers_endpoint_is_asked(own, environ, url):
    own.environ = environ | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/token"}
    own.files = {Path("/token"): b"pod-token\n"}
    own.answers = [given(own), encrypted()]
    own.run(own.key(**OWN).wrap(DEK))

    asked, call = own.requests
    assert asked.url == (url or environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"])
    assert asked.of_operator
    assert dict(asked.headers)["Authorization"] == "pod-token"
    assert signer(call) == "ASIAONE"


@pytest.mark.parametrize("url", ["http://evil.example/x", "http://169.254.169.254/x", "file:///etc/passwd", "ftp://a"])
def test_a_containers_endpoint_elsewhere_is_not_asked(own, url):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}

    assert "elsewhere" in refused(own).message
    assert own.requests == []


def test_an_instances_metadata_is_asked_in_its_second_version_only(own):
    own.answers = [Response(200, {}, b"session-token"), Response(200, {}, b"proxy-role\n"), given(own), encrypted()]
    own.run(own.key(**OWN).wrap(DEK))

    token, roles, keys, call = own.requests
    assert (token.method, token.url) == ("PUT", "http://169.254.169.254/latest/api/token")
    assert dict(token.headers) == {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
    assert roles.url == "http://169.254.169.254/latest/meta-data/iam/security-credentials/"
    assert keys.url == roles.url + "proxy-role"
    for request in (roles, keys):
        assert request.method == "GET"
        assert dict(request.headers) == {"X-aws-ec2-metadata-token": "session-token"}
    assert all(request.of_operator for request in (token, roles, keys))
    assert signer(call) == "ASIAONE"


@pytest.mark.parametrize(("lives", "fresh_s"), [(6 * 3600, 6 * 3600 - 300), (310, 60), (100, 50)])
def test_keys_near_their_end_are_not_asked_for_at_every_call(own, lives, fresh_s):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}
    own.answers = [given(own, lives=timedelta(seconds=lives)), encrypted()]
    own.run(own.key(**OWN).wrap(DEK))

    assert [kept.fresh_s for kept in own.kept.values()] == [fresh_s]


def test_refused_keys_are_had_anew_once_and_never_twice(own):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}
    expired = Response(400, {}, b'{"__type":"ExpiredTokenException"}')
    own.answers = [given(own), expired, given(own, "TWO"), expired]

    fault = refused(own)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert own.answers == []
    assert signer(own.requests[-1]) == "ASIATWO"


def test_it_assumes_a_role_of_the_vendors_with_its_external_id(own):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}
    own.answers = [given(own), own.session("ROLE"), encrypted()]
    own.run(own.key(**OWN, roleArn=ROLE_ARN, externalId="acme").wrap(DEK))

    _, assume, call = own.requests
    assert form(assume)["ExternalId"] == "acme"
    assert (signer(assume), signer(call)) == ("ASIAONE", "ASIAROLE")
    assert len(own.kept) == 2


def test_expired_keys_of_its_own_are_had_anew_to_assume_a_role(own):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}
    expired = Response(403, {}, b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>")
    own.answers = [given(own), expired, given(own, "TWO"), own.session("ROLE"), encrypted()]

    assert own.run(own.key(**OWN, roleArn=ROLE_ARN).wrap(DEK))
    assert signer(own.requests[3]) == "ASIATWO"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "answers", "word"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "TRUE"}, [], "disabled"),
        ({}, [UnreachableError(Reason.TIMEOUT)], "does not answer"),
        ({}, [Response(403, {}, b"")], "HTTP 403"),
        ({}, [Response(200, {}, b"two words")], "no session token"),
        ({}, [Response(200, {}, b"t"), Response(404, {}, b"")], "HTTP 404"),
        ({}, [Response(200, {}, b"t"), Response(200, {}, b"../../x")], "no role"),
        (POD, [], "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ({"AWS_ACCESS_KEY_ID": "a b", "AWS_SECRET_ACCESS_KEY": "s"}, [], "no AWS key has"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, [Response(200, {}, b"{}")], "gave no keys"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, [Response(200, {}, b"<html>")], "gave no keys"),
    ],
)
def test_a_proxy_without_an_identity_is_its_operators_fault(own, environ, answers, word):
    own.environ, own.answers = environ, list(answers)

    fault = refused(own)

    assert fault.code is Code.KMS_AUTHORIZATION_FAILED
    assert word in fault.message
    assert "operator" in fault.message
    assert own.answers == []


@pytest.mark.parametrize(
    "more",
    [{"Code": "Failed"}, {"Expiration": "soon"}, {"Expiration": "2026-11-24T04:00:00"}, {"Token": "two words"}],
)
def test_keys_that_are_none_are_not_used(own, more):
    own.environ = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}
    own.answers = [given(own, **more)]

    assert "gave no keys" in refused(own).message


@pytest.mark.parametrize(
    ("code", "meant"),
    [
        ("InvalidIdentityToken", Code.KMS_AUTHORIZATION_FAILED),
        ("IDPRejectedClaim", Code.KMS_AUTHORIZATION_FAILED),
        ("AccessDenied", Code.KMS_AUTHORIZATION_FAILED),
        ("IDPCommunicationError", Code.KMS_UNREACHABLE),
    ],
)
def test_a_refused_token_of_our_own_is_told(own, code, meant):
    own.environ, own.files = POD, {TOKEN_FILE: b"eyJ.pod.token"}
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>eyJ</Message></Error></ErrorResponse>"
    own.answers = [Response(400, {}, body.encode())]

    fault = refused(own)

    assert fault.code is meant
    assert "eyJ" not in fault.message


# -- endpoints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "region", "kms", "sts"),
    [
        ({"fips": True}, "us-east-1", "kms-fips.us-east-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com"),
        ({"dualStack": True}, "eu-west-1", "kms.eu-west-1.api.aws", "sts.eu-west-1.api.aws"),
        ({"fips": True, "dualStack": True}, "us-west-2", "kms-fips.us-west-2.api.aws", "sts-fips.us-west-2.api.aws"),
        ({}, "cn-north-1", "kms.cn-north-1.amazonaws.com.cn", "sts.cn-north-1.amazonaws.com.cn"),
        ({"fips": True}, "us-gov-west-1", "kms-fips.us-gov-west-1.amazonaws.com", "sts.us-gov-west-1.amazonaws.com"),
    ],
)
def test_a_config_chooses_among_the_regions_endpoints(stage, members, region, kms, sts):
    stage.answers = [stage.session(), encrypted()]
    stage.run(stage.key(region=region, roleArn=ROLE_ARN, **members).wrap(DEK))

    assert [request.url for request in stage.requests] == [f"https://{sts}/", f"https://{kms}/"]


def test_an_endpoint_of_ones_own_leaves_nothing_to_choose(stage):
    with pytest.raises(TenantSecurityError, match="endpoint says it all"):
        stage.key(endpoint="https://kms.example", fips=True)
