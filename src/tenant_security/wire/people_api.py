"""What browsers say to the broker about people, and what it answers.

Units: times are Unix milliseconds.
Source: docs/broker-api.md.
"""

from typing import Annotated, Any, Literal

import msgspec

from tenant_security.wire.broker_api import CreatedBy
from tenant_security.wire.enrolment import Email
from tenant_security.wire.key_scopes import Scope, Scopes, TenantPatterns
from tenant_security.wire.snapshot import Name, Signed

RoleName = Literal["owner", "admin", "auditor"]
Method = Literal["passkey", "passphrase", "sso"]
Token = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
Opaque = Annotated[str, msgspec.Meta(max_length=16_384)]
Passphrase = Annotated[str, msgspec.Meta(max_length=1_024)]
Code = Annotated[str, msgspec.Meta(max_length=32)]
Bundle = Annotated[bytes, msgspec.Meta(min_length=1, max_length=65_536)]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all of these have in common."""


# -- sessions and signing in -------------------------------------------------------------------------------------------


class Who(_Said, frozen=True):
    """A person."""

    id: str
    email: str
    name: str


class Place(_Said, frozen=True):
    """An organisation that a person is of. ``available``: whether this session has rights there."""

    vendor: str
    vendor_name: str
    root_fingerprint: str
    tenant: str | None
    tenant_name: str | None
    role: RoleName
    sso_required: bool
    available: bool


class Session(_Said, frozen=True):
    """Who is signed in, and where that counts."""

    person: Who
    method: Method
    now: int
    created: int
    expires: int
    idle_expires: int
    proved: int
    proved_until: int
    own_sign_in: bool
    has_keys: bool
    organisations: tuple[Place, ...]


class SessionLine(_Said, frozen=True):
    """One of a person's sessions."""

    id: str
    current: bool
    method: Method
    created: int
    seen: int
    expires: int
    address: str
    agent: str


class Begun(_Said, frozen=True):
    """A passkey's ceremony: ``options`` are WebAuthn's, as JSON."""

    ceremony: str
    options: dict[str, Any]


class AuthenticatorBegun(_Said, frozen=True):
    """An authenticator to be set up."""

    ceremony: str
    totp_secret: str
    totp_uri: str


class PasskeyProof(_Said, frozen=True):
    """A passkey's answer."""

    ceremony: Opaque
    credential: dict[str, Any]


class PassphraseSignIn(_Said, frozen=True):
    """A passphrase with the authenticator's code, or with a recovery code."""

    email: Annotated[str, msgspec.Meta(max_length=254)]
    passphrase: Passphrase
    code: Code | None = None
    recovery_code: Code | None = None


class Proof(_Said, frozen=True):
    """Whoever is signed in proves it once more, by one of their ways."""

    ceremony: Opaque | None = None
    credential: dict[str, Any] | None = None
    passphrase: Passphrase | None = None
    code: Code | None = None
    recovery_code: Code | None = None


class BeginSignOn(_Said, frozen=True):
    """Where single sign-on should lead."""

    vendor: str
    tenant: str | None = None
    next: Annotated[str, msgspec.Meta(max_length=512)] = "/"
    again: bool = False


class SignOnBegun(_Said, frozen=True):
    """Where the browser goes now."""

    location: str


# -- signing up --------------------------------------------------------------------------------------------------------


class TokenOnly(_Said, frozen=True):
    """An invitation's token."""

    token: Token


class Invited(_Said, frozen=True):
    """What a token invites to."""

    id: str
    vendor: str
    vendor_name: str
    root_fingerprint: str
    tenant: str | None
    tenant_name: str | None
    email: str
    role: RoleName
    expires: int
    signed: Signed | None


class BeginSignUp(_Said, frozen=True):
    """Who signs up, and with what they will sign in."""

    token: Token
    name: Name
    with_: Literal["passkey", "passphrase"] = msgspec.field(name="with")
    email: Email | None = None


class SignUp(_Said, frozen=True):
    """A sign-up's second half: the passkey, or passphrase and code."""

    ceremony: Opaque
    token: Token
    credential: dict[str, Any] | None = None
    passkey_name: Name | None = None
    passphrase: Passphrase | None = None
    code: Code | None = None


class SignedUp(_Said, frozen=True):
    """A new account. Recovery codes are shown once."""

    session: Session
    recovery_codes: tuple[str, ...]


# -- the account -------------------------------------------------------------------------------------------------------


class PasskeyLine(_Said, frozen=True):
    """A passkey."""

    id: str
    name: str
    created: int
    used: int | None


class Account(_Said, frozen=True):
    """How somebody can sign in."""

    id: str
    email: str
    name: str
    passphrase: bool
    recovery_codes_left: int
    passkeys: tuple[PasskeyLine, ...]


class Named(_Said, frozen=True):
    """A new name."""

    name: Name


class NewPasskey(_Said, frozen=True):
    """A passkey to be added."""

    ceremony: Opaque
    credential: dict[str, Any]
    name: Name


class NewPassphrase(_Said, frozen=True):
    """A passphrase and an authenticator to be set."""

    ceremony: Opaque
    passphrase: Passphrase
    code: Code


class RecoveryCodes(_Said, frozen=True):
    """New recovery codes, shown once."""

    recovery_codes: tuple[str, ...]


class StoredKeys(_Said, frozen=True):
    """Somebody's keys as their browser encrypted them, and which public halves they claim."""

    bundle: bytes
    claim: Signed
    key_id: str
    fingerprint: str
    encryption_key_id: str
    updated: int


class NewKeys(_Said, frozen=True):
    """Keys to be kept. ``replaces`` is the key id that was read last."""

    bundle: Bundle
    claim: Signed
    replaces: str | None = None


# -- people of an organisation -----------------------------------------------------------------------------------------


class Member(_Said, frozen=True):
    """Somebody of an organisation."""

    person: str
    email: str
    name: str
    role: RoleName
    disabled: bool
    created: int
    last_seen: int | None
    key_id: str | None
    fingerprint: str | None
    methods: tuple[str, ...]


class MemberUpdate(_Said, frozen=True):
    """What changes about somebody."""

    role: RoleName | None = None
    disabled: bool | None = None


class NewInvitation(_Said, frozen=True):
    """Somebody to be invited."""

    email: Email
    role: RoleName
    deliver: Literal["mail", "link"] = "mail"
    signed: Signed | None = None


class Resend(_Said, frozen=True):
    """How a new link goes out."""

    deliver: Literal["mail", "link"] = "mail"


class InvitationMade(_Said, frozen=True):
    """An invitation that stands. ``token`` is there where whoever invites brings it along."""

    id: str
    token: str | None
    mailed: bool
    expires: int


class InvitationLine(_Said, frozen=True):
    """An invitation in a list."""

    id: str
    email: str
    role: RoleName
    status: Literal["open", "accepted", "withdrawn", "expired"]
    mailed: bool
    signed: bool
    created_by: CreatedBy
    created: int
    expires: int
    accepted: int | None


class EnrolmentProof(_Said, frozen=True):
    """A key claim's bytes, signed with the invitation's key of one use."""

    proof: Signed


class AuthorLine(_Said, frozen=True):
    """Somebody with keys, and whether the vendor's documents name them."""

    person: str
    email: str
    name: str
    role: RoleName
    status: Literal["pending", "approved"]
    public: bytes
    key_id: str
    fingerprint: str
    suite: int
    encryption: bytes
    encryption_key_id: str
    claim: Signed
    invitation: Signed | None
    proof: Signed | None
    proved: bool


class SignOn(_Said, frozen=True):
    """An organisation's single sign-on."""

    issuer: str
    client_id: str
    required: bool
    redirect_uri: str
    created_by: CreatedBy
    created: int


class NewSignOn(_Said, frozen=True):
    """Single sign-on to be set. Without ``clientSecret`` the stored one stays."""

    issuer: Annotated[str, msgspec.Meta(max_length=512)]
    client_id: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    required: bool
    client_secret: Annotated[str, msgspec.Meta(min_length=1, max_length=1_024)] | None = None


class ApiKeyLine(_Said, frozen=True):
    """An API key; its secret was shown once."""

    id: str
    name: str
    role: str
    scopes: list[Scope] | None
    tenants: list[str] | None
    created_by: CreatedBy
    created: int
    expires: int | None
    used: int | None
    revoked: int | None


class NewApiKey(_Said, frozen=True):
    """An API key to be made. Without ``scopes`` it may all that its role may, without ``tenants`` for every tenant."""

    name: Name
    role: Literal["admin", "auditor"]
    expires: int | None = None
    scopes: Scopes | None = None
    tenants: TenantPatterns | None = None


class ApiKeyMade(_Said, frozen=True):
    """A new API key, shown once."""

    id: str
    key: str


class ApprovalRule(_Said, frozen=True):
    """Whether changes of a tenant's KMS wait for a second person."""

    required: bool


class Waits(_Said, frozen=True):
    """What was handed in waits for a second person."""

    approval: str
    expires: int


class ApprovalLine(_Said, frozen=True):
    """A change that waits, or waited, for a second person."""

    id: str
    kind: Literal["documents", "rule"]
    summary: str
    state: Literal["waiting", "approved", "refused", "expired"]
    created_by: CreatedBy
    created: int
    expires: int
    decided_by: CreatedBy | None
    decided: int | None
    change: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class VendorAbout(_Said, frozen=True):
    """A vendor."""

    id: str
    name: str
    root_fingerprint: str
    leasing_required_default: bool
    created: int
    revision: int


class VendorUpdate(_Said, frozen=True):
    """What changes about a vendor without a signature."""

    name: Name | None = None
    leasing_required_default: bool | None = None


class TenantTrust(_Said, frozen=True):
    """What a tenant's people need to seal: the newest keys, and the segments that serve them."""

    root: Signed
    manifest: Signed
    segments: tuple[int, ...]
