import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.outbound.egress import EgressPolicy, NotAllowedError, Target, read_allowed, read_denied
from tenant_security.outbound.special_addresses import Kind, kind_of

STRICT = EgressPolicy()

NEVER = """
0.0.0.0 0.1.2.3 100.100.100.200 168.63.129.16 169.254.169.254 169.254.170.2 192.0.0.8 192.0.0.192 192.0.2.1 192.88.99.1
198.51.100.7 203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::127.0.0.1 ::a9fe:a9fe ::ffff:0.0.0.0 ::ffff:169.254.169.254 ::ffff:168.63.129.16 ::ffff:0:127.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b::a83f:8110 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:db8::1 2002:7f00:1::
2002:a9fe:a9fe:: 3fff::1 4000::1 5f00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%1 2a00:1450::1%eth0 fec0::1 ff02::1
""".split()  # noqa: SIM905 - two dozen addresses read best as text

PRIVATE = """
10.0.0.1 100.64.0.1 127.0.0.1 127.255.255.254 172.16.0.1 172.31.255.255 192.168.1.1 198.18.0.1 ::1 fc00::1 fd12::1
::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a00:1
""".split()  # noqa: SIM905

PUBLIC = """
1.1.1.1 8.8.8.8 52.94.5.1 100.128.0.1 172.32.0.1 192.0.1.1 198.20.0.1 ::ffff:8.8.8.8 64:ff9b::808:808
2606:4700::1111 2a00:1450:4001::1 2620:1ec::1 2001:4860::8888
""".split()  # noqa: SIM905


@pytest.mark.parametrize(
    ("kind", "text"),
    [(Kind.NEVER, each) for each in NEVER]
    + [(Kind.PRIVATE, each) for each in PRIVATE]
    + [(Kind.PUBLIC, each) for each in PUBLIC],
)
def test_every_kind_of_address_is_known(kind, text):
    assert kind_of(ipaddress.ip_address(text)) is kind


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public_here(address):
    """The table may refuse more than Python's does, never less."""
    if (
        not address.is_global
        and not str(address).startswith("64:ff9b::")
        and getattr(address, "ipv4_mapped", 0)
        in (
            None,
            0,
        )
    ):
        assert kind_of(address) is not Kind.PUBLIC


@given(st.ip_addresses(v=4))
def test_an_address_is_the_same_in_every_spelling_of_version_6(address):
    mapped = ipaddress.ip_address(f"::ffff:{address}")
    translated = ipaddress.ip_address(int(ipaddress.ip_address("64:ff9b::")) + int(address))

    assert kind_of(address) is kind_of(mapped) is kind_of(translated)


@pytest.mark.parametrize("address", [*NEVER, *PRIVATE])
def test_an_address_that_is_not_public_is_refused_in_a_url(address):
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(NotAllowedError):
        STRICT.target_of(f"https://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://kms.example/",  # not https
        "HTTP://kms.example/",
        "ftp://kms.example/",
        "file:///etc/passwd",
        "gopher://kms.example/",
        "//kms.example/",
        "kms.example",
        "",
        "https://",
        "https:///path",
        "https://user@kms.example/",
        "https://user:password@kms.example/",
        "https://kms.example@127.0.0.1/",
        "https://127.0.0.1\\@kms.example/",
        "https://kms.example\t.evil.example/",
        "https://kms.example\n/",
        "https://kms .example/",
        "https://ｋms.example/",  # noqa: RUF001 - a full-width letter
        "https://①②⑦.0.0.1/",
        "https://127。0。0。1/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://127.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://127.0.0.0x1/",
        "https://1.2.3.4.5/",
        "https://[::1",
        "https://[kms.example]/",
        "https://kms..example/",
        "https://-kms.example/",
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://kms.example:0/",
        "https://kms.example:22/",
        "https://kms.example:25/",
        "https://kms.example:99999/",
        "https://kms.example:x/",
    ],
)
def test_what_no_tenant_may_write(url):
    with pytest.raises(NotAllowedError):
        STRICT.target_of(url)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://kms.eu-central-1.amazonaws.com/", "kms.eu-central-1.amazonaws.com", 443),
        ("https://ACME.vault.azure.net", "acme.vault.azure.net", 443),
        ("https://kms.example.:8200/v1/x?y=z", "kms.example.", 8200),
        ("https://xn--bcher-kva.example:1024/", "xn--bcher-kva.example", 1024),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
        ("https://a_b.example/", "a_b.example", 443),
    ],
)
def test_what_a_tenant_may_write(url, host, port):
    target = STRICT.target_of(url)

    assert (target.host, target.port) == (host, port)


def test_one_machine_is_reached_without_tls_only_where_the_operator_allows_it():
    local = read_allowed("127.0.0.0/8, localhost")

    assert local.target_of("http://127.0.0.1:8200/") == Target("127.0.0.1", 8200, ipaddress.ip_address("127.0.0.1"))
    assert local.target_of("http://localhost/").port == 80
    for url in ("http://10.0.0.1/", "http://kms.example/"):
        with pytest.raises(NotAllowedError, match="https"):
            read_allowed("10.0.0.0/8 kms.example").target_of(url)


def test_a_network_is_allowed_under_any_name_and_as_an_address():
    policy = read_allowed("10.20.0.0/16 fd12::/32")

    policy.check(ipaddress.ip_address("10.20.1.1"), "hsm.acme.example")
    policy.check(ipaddress.ip_address("::ffff:10.20.1.1"), "hsm.acme.example")
    policy.target_of("https://10.20.1.1/")
    policy.target_of("https://[fd12::7]:8443/")
    with pytest.raises(NotAllowedError, match=r"10\.21\.0\.1"):
        policy.check(ipaddress.ip_address("10.21.0.1"), "hsm.acme.example")


def test_a_name_is_allowed_wherever_it_lies_and_no_other_is():
    policy = read_allowed("HSM.corp.example,*.lab.example")

    for name in ("hsm.corp.example", "hsm.corp.example.", "a.lab.example", "a.b.lab.example"):
        policy.check(ipaddress.ip_address("10.0.0.1"), name)
    for name in ("xhsm.corp.example", "lab.example", "xlab.example", "hsm.corp.example.evil.example", ""):
        with pytest.raises(NotAllowedError):
            policy.check(ipaddress.ip_address("10.0.0.1"), name)
    assert policy.target_of("https://hsm.corp.example:444/").port == 444
    with pytest.raises(NotAllowedError, match="port"):
        policy.target_of("https://other.example:444/")


@pytest.mark.parametrize("address", NEVER)
def test_nothing_makes_a_metadata_service_reachable(address):
    policy = read_allowed("0.0.0.0/0 ::/0 kms.example")

    with pytest.raises(NotAllowedError):
        policy.check(ipaddress.ip_address(address), "kms.example")


def test_what_the_operator_denies_is_denied_though_it_is_public_or_allowed():
    policy = EgressPolicy(
        networks=read_denied("10.0.0.0/8"), denied=read_denied("8.8.8.0/24, 10.1.0.0/16, 2606:4700::/32")
    )

    policy.check(ipaddress.ip_address("10.2.0.1"))
    for address in ("8.8.8.8", "::ffff:8.8.8.8", "10.1.0.1", "2606:4700::1111"):
        with pytest.raises(NotAllowedError, match="denied"):
            policy.check(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "text", ["kms.example/", "https://kms.example", "10.0.0.0/40", "*", "*.", "1.2.3", "a b!", "kms.example:443"]
)
def test_a_list_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match="networks, addresses and host names"):
        read_allowed(text)


def test_names_cannot_be_denied():
    with pytest.raises(ValueError, match="networks and addresses"):
        read_denied("kms.example")


def test_an_empty_list_allows_nothing_more():
    assert read_allowed(" , ") == STRICT
    assert not STRICT
    assert read_allowed("10.0.0.1")
