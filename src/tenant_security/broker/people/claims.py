"""Which public keys people claim, and what they did to have them believed.

The private halves lie here as bytes that the broker cannot read. What makes a key count is the vendor's manifest, or a
tenant's signed authors, and nothing that is written here.

Source: docs/formats-trust.md, "Invitations and key claims".
"""

from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.people.organisations import Organisation
from tenant_security.broker.people.personal import Personal
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError, NotFoundError
from tenant_security.broker.trusted import refused, vendor_trust
from tenant_security.broker.trusted import stored as stored_document
from tenant_security.crypto.signing import fingerprint, key_id
from tenant_security.trust.chain import Authors
from tenant_security.trust.enrolments import verify_claim, verify_enrolment, verify_invitation
from tenant_security.trust.entries import verify_authors
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words
from tenant_security.wire.enrolment import KeyClaim
from tenant_security.wire.people_api import AuthorLine, NewKeys, StoredKeys


class StoredClaim(NamedTuple):
    """A claim as it lies in a person's row."""

    signed: words.Signed
    said: KeyClaim

    @property
    def key_id(self) -> str:
        """How documents name the author key."""
        return key_id(self.said.public)

    @property
    def fingerprint(self) -> str:
        """How people compare the author key."""
        return fingerprint(self.said.public)

    @property
    def encryption_key_id(self) -> str:
        """How segments' seeds name whom they are sealed to."""
        return key_id(self.said.encryption)


def stored(document: bytes) -> StoredClaim:
    """Read a claim from its column."""
    signed = stored_document(document)
    return StoredClaim(signed, msgspec.json.decode(signed.body, type=KeyClaim))


async def read_keys(connection: AsyncConnection, person: str) -> StoredKeys:
    """Read somebody's own keys.

    Raises: NotFoundError.
    """
    people = schema.people
    row = (await connection.execute(sa.select(people).where(people.c.id == person))).one()
    if row.key_bundle is None:
        raise NotFoundError("there are no keys yet")
    claim = stored(row.key_claim)
    return StoredKeys(
        row.key_bundle, claim.signed, claim.key_id, claim.fingerprint, claim.encryption_key_id, row.keys_ms
    )


async def put_keys(own: Personal, email: str, new: NewKeys) -> None:
    """Keep somebody's keys.

    Raises: ConflictError when others are kept than they say; NotAllowedNowError for a claim that does not verify.
    """
    try:
        claim = verify_claim(new.claim, email=email)
    except BadEntryError as why:
        raise refused(why) from None
    people = schema.people
    row = (await own.connection.execute(sa.select(people).where(people.c.id == own.person).with_for_update())).one()
    had = None if row.key_claim is None else stored(row.key_claim).key_id
    if had != new.replaces:
        raise ConflictError("other keys are stored than this browser read last; read them again")
    await own.connection.execute(
        people.update()
        .where(people.c.id == own.person)
        .values(key_bundle=new.bundle, key_claim=words.encode(new.claim), keys_ms=own.now_ms)
    )
    same = had == key_id(claim.public)
    detail = {"keyId": key_id(claim.public), "fingerprint": fingerprint(claim.public)}
    await own.record("keys.encrypt-anew" if same else "keys.replace" if had else "keys.make", detail=detail)


async def put_proof(own: Personal, invitation: str, proof: words.Signed) -> None:
    """Keep the proof that whoever accepted an invitation held its key of one use.

    Raises: NotFoundError; NotAllowedNowError.
    """
    table, people = schema.invitations, schema.people
    found = await own.connection.execute(
        sa.select(table).where(table.c.id == invitation, table.c.person == own.person, table.c.accepted_ms.is_not(None))
    )
    row = found.one_or_none()
    if row is None or row.signed is None:
        raise NotFoundError("you accepted no invitation of this id that asks for a proof")
    claim = await own.connection.execute(sa.select(people.c.key_claim).where(people.c.id == own.person))
    document = claim.scalar_one()
    if document is None:
        raise NotAllowedNowError("make your keys first")
    change = await own.changes.of(row.vendor)
    organisation = await _organisation_of(own.connection, row)
    authors = await authors_of(own.connection, organisation)
    try:
        invited = verify_invitation(
            stored_document(row.signed),
            authors,
            vendor=row.vendor,
            tenant=organisation.in_audit,
            email=row.email,
        )
        verify_enrolment(proof, stored(document).signed, invited)
    except BadEntryError as why:
        raise refused(why) from None
    await own.connection.execute(table.update().where(table.c.id == invitation).values(proof=words.encode(proof)))
    await change.record("invitation.prove", invitation, tenant=organisation.in_audit)


async def author_lines(connection: AsyncConnection, organisation: Organisation) -> list[AuthorLine]:
    """List who of an organisation has keys, and whether the signed documents name them."""
    people, members = schema.people, schema.memberships
    rows = await connection.execute(
        sa.select(people, members.c.role)
        .join(people, people.c.id == members.c.person)
        .where(
            members.c.vendor == organisation.vendor,
            members.c.tenant == organisation.tenant,
            people.c.key_claim.is_not(None),
        )
        .order_by(people.c.name, people.c.id)
    )
    authors = await authors_of(connection, organisation)
    table = schema.invitations
    accepted = await connection.execute(
        sa.select(table)
        .where(
            table.c.vendor == organisation.vendor,
            table.c.tenant == organisation.tenant,
            table.c.person.is_not(None),
        )
        .order_by(table.c.accepted_ms)
    )
    invitations = {row.person: row for row in accepted}
    return [_author_line(row, organisation, authors, invitations.get(row.id)) for row in rows]


def _author_line(
    row: sa.Row[Any], organisation: Organisation, authors: Authors, invitation: sa.Row[Any] | None
) -> AuthorLine:
    claim = stored(row.key_claim)
    known = authors.get(claim.key_id)
    invited = None if invitation is None or invitation.signed is None else stored_document(invitation.signed)
    proof = None if invitation is None or invitation.proof is None else stored_document(invitation.proof)
    proved = False
    if invited is not None and proof is not None:
        try:
            named = verify_invitation(
                invited,
                authors,
                vendor=organisation.vendor,
                tenant=organisation.in_audit,
                email=row.email,
            )
            verify_enrolment(proof, claim.signed, named)
            proved = True
        except BadEntryError:
            proved = False
    return AuthorLine(
        person=row.id,
        email=row.email,
        name=row.name,
        role=row.role,
        status="approved" if known is not None and known.tenant == organisation.in_audit else "pending",
        public=claim.said.public,
        key_id=claim.key_id,
        fingerprint=claim.fingerprint,
        suite=claim.said.suite,
        encryption=claim.said.encryption,
        encryption_key_id=claim.encryption_key_id,
        claim=claim.signed,
        invitation=invited,
        proof=proof,
        proved=proved,
    )


async def authors_of(connection: AsyncConnection, organisation: Organisation) -> Authors:
    """Read who may sign for an organisation."""
    trust = await vendor_trust(connection, organisation.vendor)
    if organisation.tenant_id is None:
        return trust.authors
    tenants = schema.tenants
    found = await connection.execute(sa.select(tenants.c.authors).where(tenants.c.number == organisation.tenant))
    document = found.scalar_one_or_none()
    if document is None:
        return trust.authors
    try:
        return verify_authors(
            stored_document(document), organisation.tenant_id, organisation.vendor, trust.authors
        ).authors
    except BadEntryError:
        return trust.authors


async def _organisation_of(connection: AsyncConnection, invitation: sa.Row[Any]) -> Organisation:
    if not invitation.tenant:
        return Organisation(invitation.vendor)
    tenants = schema.tenants
    found = await connection.execute(sa.select(tenants.c.id).where(tenants.c.number == invitation.tenant))
    return Organisation(invitation.vendor, invitation.tenant, found.scalar_one())
