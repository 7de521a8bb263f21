"""Where AWS KMS and STS live: the regional public endpoints, and the overrides that a tenant may write.

A region and an endpoint are written by the tenant and end up in an address that we call, so both are held to a shape.

Source: AWS General Reference, "Regions and endpoints"; tests compare every region with botocore's own data.
"""

from typing import Final

from tenant_security.kms import refusals
from tenant_security.kms.addresses import origin
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Provider
from tenant_security.outbound import aws

PROVIDER: Final = Provider("aws", "AWS")


def invalid(what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    return refusals.invalid(PROVIDER, what)


def public_endpoint(service: str, region: str, *, fips: bool = False, dual_stack: bool = False) -> str:
    """The address of a service in a region, such as ``https://kms.eu-central-1.amazonaws.com/``.

    Raises: KmsFaultError 207 when the region does not look like one.
    """
    try:
        return aws.public_endpoint(service, region, fips=fips, dual_stack=dual_stack)
    except ValueError as wrong:
        raise invalid(f"keyPath.{wrong}") from None


def own_endpoint(address: str, member: str) -> str:
    """Check an address that the configuration gives instead of the public one: https, or http to this very machine.

    Raises: KmsFaultError 207 that names the member.
    """
    return f"{origin(PROVIDER, address, member)}/"
