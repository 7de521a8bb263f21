import botocore.session
import pytest
from botocore.endpoint_provider import EndpointProvider

from tenant_security.kms.aws.endpoints import own_endpoint, public_endpoint
from tenant_security.kms.provider import KmsFaultError

SESSION = botocore.session.Session()
REGIONS = [
    region
    for partition in SESSION.get_available_partitions()
    for region in SESSION.get_available_regions("kms", partition_name=partition)
    if "fips" not in region.lower()
]


def test_botocore_knows_many_regions_of_every_partition():
    assert len(REGIONS) > 30
    assert {"cn-north-1", "us-gov-west-1", "us-iso-east-1", "eusc-de-east-1"} <= set(REGIONS)


@pytest.mark.parametrize("service", ["kms", "sts"])
@pytest.mark.parametrize("region", REGIONS)
def test_every_region_has_the_endpoint_that_botocore_gives_it(region, service):
    client = SESSION.create_client(service, region, aws_access_key_id="a", aws_secret_access_key="b")

    assert public_endpoint(service, region) == f"{client.meta.endpoint_url}/"


@pytest.mark.parametrize("dual_stack", [False, True])
@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("service", ["kms", "sts"])
def test_every_region_has_the_endpoints_that_botocores_rules_give_it(service, fips, dual_stack):
    loader = SESSION.get_component("data_loader")
    rules = loader.load_service_model(service, "endpoint-rule-set-1")
    provider = EndpointProvider(rules, loader.load_data("partitions"))
    for region in REGIONS:
        asked = {"Region": region, "UseFIPS": fips, "UseDualStack": dual_stack}
        asked |= {"UseGlobalEndpoint": False} if service == "sts" else {}
        theirs = f"{provider.resolve_endpoint(**asked).url}/"
        assert public_endpoint(service, region, fips=fips, dual_stack=dual_stack) == theirs


@pytest.mark.parametrize(
    "region",
    ["", "eu", "eu-central", "eu-central-1 ", "eu-central-1/", "eu.central-1", "a" * 80 + "-b-1", "eu-c\u00e9-1"],
)
def test_what_is_no_region_is_refused(region):
    with pytest.raises(KmsFaultError, match="region"):
        public_endpoint("kms", region)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://kms.example", "https://kms.example/"),
        ("https://KMS.example:8443/", "https://kms.example:8443/"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/"),
        ("http://localhost", "http://localhost/"),
        ("http://[::1]:5000", "http://[::1]:5000/"),
        ("https://[2001:db8::1]/", "https://[2001:db8::1]/"),
    ],
)
def test_an_endpoint_of_the_configuration_is_read(written, read):
    assert own_endpoint(written, "endpoint") == read


@pytest.mark.parametrize(
    "written",
    [
        "",
        "kms.example",
        "http://kms.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "ftp://kms.example",
        "https://",
        "https://user@kms.example",
        "https://user:word@kms.example",
        "https://kms.example/path",
        "https://kms.example/?q",
        "https://kms.example/#f",
        "https://kms.example:port",
        "https://kms.example:70000",
        "https://kms example",
        "https://k\u00e9.example",
        "https://kms.example\r\nX: y",
        "https://[::1",
        "https://-kms.example",
    ],
)
def test_an_endpoint_that_is_none_is_refused_by_its_members_name(written):
    with pytest.raises(KmsFaultError, match="endpoint"):
        own_endpoint(written, "endpoint")
