"""Letting somebody's key in who made it in the web app: by a proof that the broker could not make up, or by eye."""

from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.crypto.signing import fingerprint, parse_fingerprint
from tenant_security.trust.chain import trusted_authors
from tenant_security.trust.enrolments import verify_claim, verify_enrolment, verify_invitation
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import KeyClaim
from tenant_security.wire.people_api import AuthorLine


def admit_admin(vendor: Vendor, line: AuthorLine, *, compared: str = "") -> None:
    """Let somebody's key sign for all of a vendor's tenants and for its manifest.

    ``compared`` is the fingerprint that the person told; without it their invitation must have carried a proof.

    Raises: ValueError that says what is wrong; KeyFileError when ``root.key`` is not in the vendor's directory.
    """
    try:
        claim = verify_claim(line.claim, email=line.email.lower())
        if not compared:
            _require_proof(vendor, line, claim)
    except BadEntryError as wrong:
        raise ValueError(f"the key of {line.email} is not let in: {wrong}") from None
    if compared and parse_fingerprint(compared) != fingerprint(claim.public):
        raise ValueError(f"the key of {line.email} has another fingerprint: {fingerprint(claim.public)}")
    vendor.add_admin(claim.public, line.name or line.email, SealingKey(Suite(claim.suite), claim.encryption))


def _require_proof(vendor: Vendor, line: AuthorLine, claim: KeyClaim) -> None:
    if line.invitation is None or line.proof is None:
        raise BadEntryError("their invitation carried no proof; compare the fingerprint that their account page shows")
    authors = trusted_authors(vendor.manifest)
    invitation = verify_invitation(
        line.invitation, authors, vendor=vendor.id, tenant=words.SHARED, email=line.email.lower()
    )
    if claim.created > invitation.expires:
        raise BadEntryError("the invitation had ended")
    verify_enrolment(line.proof, line.claim, invitation)
