/**
 * Whose key is whose: claims to keys, invitations that carry a proof, and the proof itself.
 *
 * Source: docs/formats-trust.md, "People's keys"; docs/broker-api.md, "Invitations".
 */

import { sign } from "./authoring.ts";
import { type Bytes, equal, random } from "./bytes.ts";
import { type Chain, type TrustedAuthor, UntrustedError } from "./chain.ts";
import * as documents from "./documents.ts";
import type { AdminKeys } from "./keys.ts";
import { keyId } from "./names.ts";
import * as read from "./reading.ts";
import { SigningKey, verifies } from "./signing.ts";

const INVITATION_LIFE_S = 7 * 86_400;

const seconds = read.integer(0, Number.MAX_SAFE_INTEGER);
const email = read.string(/^.{3,320}$/u);

export const claim = read.object({
    email,
    suite: read.oneOf(1, 2),
    public: read.bytes(32),
    encryption: read.bytes(),
    created: seconds,
});
export type Claim = ReturnType<typeof claim>;

export const invitation = read.object({
    vendor: read.string(/^.+$/u),
    tenant: read.string(/^.*$/u),
    email,
    role: read.oneOf("owner", "admin", "auditor"),
    public: read.bytes(32),
    created: seconds,
    expires: seconds,
});

/** Say which public keys are mine. */
export function signClaim(address: string, keys: AdminKeys): Promise<documents.Signed> {
    const body = {
        email: address,
        suite: 1,
        public: keys.signing.public,
        encryption: keys.encryptionPublic,
        created: documents.nowSeconds(),
    };
    return sign("key-claim", body, keys.signing);
}

/** Read somebody's claim: it must be signed with the very key that it claims. Throws UntrustedError. */
export async function verifyClaim(given: documents.Signed): Promise<Claim> {
    const said = read.decode(claim, given.body, "the claim");
    const isOwn = given.key === (await keyId(said.public)) && (await verifies(said.public, "key-claim", given.body, given.sig));
    if (!isOwn) {
        throw new UntrustedError("The claim to this key is not signed with this key.");
    }
    return said;
}

export interface Invited {
    vendor: string;
    tenant: string;
    email: string;
    role: "owner" | "admin" | "auditor";
}

/** Sign an invitation that names the public half of a secret of one use. The secret goes into the link. */
export async function signInvitation(
    whom: Invited,
    author: SigningKey,
): Promise<{ signed: documents.Signed; secret: Bytes }> {
    const secret = random(32);
    const created = documents.nowSeconds();
    const once = await SigningKey.fromSeed(secret);
    const body = { ...whom, public: once.public, created, expires: created + INVITATION_LIFE_S };
    return { signed: await sign("invitation", body, author), secret };
}

/** Prove that whoever claims a key was given the invitation's secret. */
export async function proveEnrolment(claimed: documents.Signed, secret: Bytes): Promise<documents.Signed> {
    const once = await SigningKey.fromSeed(secret);
    return { body: claimed.body, key: once.id, sig: await once.sign("enrolment", claimed.body) };
}

/** What was handed in for somebody who has keys and is not yet an author. */
export interface Enrolment {
    claim: documents.Signed;
    invitation: documents.Signed | null;
    proof: documents.Signed | null;
}

/**
 * Whether the claim comes from whoever was given the secret of an invitation that an entitled author signed. Where
 * not, people compare fingerprints.
 */
export async function isProved(
    chain: Chain,
    authors: ReadonlyMap<string, TrustedAuthor>,
    whom: { vendor: string; tenant: string; email: string },
    given: Enrolment,
): Promise<boolean> {
    if (given.invitation === null || given.proof === null) {
        return false;
    }
    const signer = authors.get(given.invitation.key);
    const entitled =
        signer !== undefined && (signer.tenant === documents.SHARED || signer.tenant === whom.tenant);
    if (!entitled || !(await verifies(signer.public, "invitation", given.invitation.body, given.invitation.sig))) {
        return false;
    }
    const said = read.decode(invitation, given.invitation.body, "the invitation");
    const claimed = await verifyClaim(given.claim);
    return (
        said.vendor === whom.vendor &&
        said.vendor === chain.manifest.vendor &&
        said.tenant === whom.tenant &&
        said.email.toLowerCase() === whom.email.toLowerCase() &&
        claimed.email.toLowerCase() === whom.email.toLowerCase() &&
        claimed.created <= said.expires &&
        equal(given.proof.body, given.claim.body) &&
        (await verifies(said.public, "enrolment", given.claim.body, given.proof.sig))
    );
}
