"""The rules for invitations and key claims: who may invite, and when a claimed key is whose it says.

Source: docs/formats-trust.md, "Invitations and key claims".
"""

from typing import TypeVar

import msgspec

from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.crypto.signing import Kind, VerifyingKey, key_id
from tenant_security.trust.chain import Authors
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import Invitation, KeyClaim

T = TypeVar("T")


def verify_claim(signed: words.Signed, *, email: str) -> KeyClaim:
    """Check that whoever claims a key holds it, and claims it for this address.

    Raises: BadEntryError.
    """
    claim = _read(KeyClaim, signed.body, "key claim")
    if signed.key != key_id(claim.public) or not _signed(claim.public, Kind.KEY_CLAIM, signed):
        raise BadEntryError("the key claim is not signed by the key that it claims")
    try:
        SealingKey(Suite(claim.suite), claim.encryption)
    except ValueError:
        raise BadEntryError("the key claim's encryption key is none of its suite") from None
    if claim.email.lower() != email:
        raise BadEntryError("the key claim is for another address")
    return claim


def verify_invitation(signed: words.Signed, authors: Authors, *, vendor: str, tenant: str, email: str) -> Invitation:
    """Check that somebody who may sign for this vendor, or for this tenant, invited this address.

    Raises: BadEntryError.
    """
    invitation = _read(Invitation, signed.body, "invitation")
    author = authors.get(signed.key)
    if author is None or not (
        words.May.AUTHORS in author.may if author.tenant == words.SHARED else author.tenant == tenant
    ):
        raise BadEntryError("the invitation is signed by no author that we know for this organisation")
    if not author.key.verifies(Kind.INVITATION, signed.body, signed.sig):
        raise BadEntryError("the invitation's signature is wrong")
    if (invitation.vendor, invitation.tenant, invitation.email.lower()) != (vendor, tenant, email):
        raise BadEntryError("the invitation is for somebody else, or to something else")
    return invitation


def verify_enrolment(proof: words.Signed, claim: words.Signed, invitation: Invitation) -> None:
    """Check that whoever claims a key also held the invitation's key of one use.

    Raises: BadEntryError.
    """
    if proof.body != claim.body:
        raise BadEntryError("the proof is for another key claim")
    if proof.key != key_id(invitation.public) or not _signed(invitation.public, Kind.ENROLMENT, proof):
        raise BadEntryError("the proof is not signed with the invitation's key")


def _signed(public: bytes, kind: Kind, signed: words.Signed) -> bool:
    try:
        return VerifyingKey(public).verifies(kind, signed.body, signed.sig)
    except ValueError:
        return False


def _read(kind: type[T], body: bytes, what: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as malformed:
        raise BadEntryError(f"the {what} cannot be read: {malformed}") from None
