"""How somebody's new key comes to be believed by a vendor without a second look, and without believing the broker.

Whoever invites makes a signing key of one use. Its seed travels in the link's fragment, or by another way that the
broker does not see; its public half stands in a signed :class:`Invitation`. Who is invited makes keys, says so in a
:class:`KeyClaim` that the new author key signs, and signs the same bytes with the seed. Whoever may write the manifest
checks both and needs to ask nobody.

Units: times are Unix seconds.
Source: docs/formats-trust.md, "Invitations and key claims".
"""

from typing import Annotated

import msgspec

from tenant_security.wire.snapshot import Ed25519Public, Name, Owner, Seconds, SuiteNumber, VendorId

Email = Annotated[
    str, msgspec.Meta(max_length=254, pattern=r"\A[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,190}\Z")
]


class KeyClaim(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which public keys are somebody's. Signed by the author key itself (``key-claim``)."""

    email: Email
    suite: SuiteNumber
    public: Ed25519Public
    encryption: Annotated[bytes, msgspec.Meta(min_length=32, max_length=2_048)]
    created: Seconds


class Invitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Who is invited to what, and with which key of one use they will prove it. ``tenant`` is empty for the vendor."""

    vendor: VendorId
    tenant: Owner
    email: Email
    role: Name
    public: Ed25519Public
    created: Seconds
    expires: Seconds
