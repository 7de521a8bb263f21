/**
 * Passkeys: signing in, and the secret that a passkey yields to open a person's keys (WebAuthn PRF).
 *
 * Trust: what a credential says to the broker is written out member by member, without the extensions' results: those
 * hold the very secret that the broker must never see.
 */

import { base64url, type Bytes, fromBase64url, random } from "../trust/bytes.ts";
import { type Opener, openerOfPasskey, PRF_SALT } from "../trust/keys.ts";

/** The person closed the browser's dialog, or it ran out of time. */
export class CancelledError extends Error {}

export interface Asserted {
    credential: object;
    opener: Opener | null;
}

interface PrfResults {
    prf?: { enabled?: boolean; results?: { first?: ArrayBuffer } };
}

const PRF = { prf: { eval: { first: PRF_SALT } } } as unknown as AuthenticationExtensionsClientInputs;

export function passkeysWork(): boolean {
    return typeof PublicKeyCredential !== "undefined";
}

/** Ask for a passkey. `options` is as the broker wrote it. */
export async function usePasskey(options: object): Promise<Asserted> {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as PublicKeyCredentialRequestOptionsJSON);
    publicKey.extensions = { ...publicKey.extensions, ...PRF };
    const credential = await asked(() => navigator.credentials.get({ publicKey }));
    const response = credential.response as AuthenticatorAssertionResponse;
    return {
        credential: {
            ...namesOf(credential),
            response: {
                clientDataJSON: written(response.clientDataJSON),
                authenticatorData: written(response.authenticatorData),
                signature: written(response.signature),
                ...(response.userHandle === null ? {} : { userHandle: written(response.userHandle) }),
            },
        },
        opener: await openerFrom(credential),
    };
}

/** Make a passkey. Its opener is there where the authenticator can do PRF; it may ask a second time for that. */
export async function makePasskey(options: object): Promise<Asserted> {
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as PublicKeyCredentialCreationOptionsJSON);
    publicKey.extensions = { ...publicKey.extensions, ...PRF };
    const credential = await asked(() => navigator.credentials.create({ publicKey }));
    const response = credential.response as AuthenticatorAttestationResponse;
    return {
        credential: {
            ...namesOf(credential),
            response: {
                clientDataJSON: written(response.clientDataJSON),
                attestationObject: written(response.attestationObject),
                transports: response.getTransports(),
            },
        },
        opener: (await openerFrom(credential)) ?? (await openerAfterwards(credential)),
    };
}

async function openerAfterwards(credential: PublicKeyCredential): Promise<Opener | null> {
    const { prf } = credential.getClientExtensionResults() as PrfResults;
    return prf?.enabled === true ? openerOf(credential.id) : null;
}

/** Ask this passkey for its secret only; nobody is signed in by it. */
export async function openerOf(id: string): Promise<Opener | null> {
    const publicKey: PublicKeyCredentialRequestOptions = {
        challenge: random(32),
        allowCredentials: [{ type: "public-key", id: fromBase64url(id) }],
        userVerification: "required",
        extensions: PRF,
    };
    return openerFrom(await asked(() => navigator.credentials.get({ publicKey })));
}

async function openerFrom(credential: PublicKeyCredential): Promise<Opener | null> {
    const { prf } = credential.getClientExtensionResults() as PrfResults;
    const first = prf?.results?.first;
    return first === undefined ? null : openerOfPasskey(credential.id, new Uint8Array(first) as Bytes);
}

function namesOf(credential: PublicKeyCredential): object {
    return {
        id: credential.id,
        rawId: written(credential.rawId),
        type: credential.type,
        ...(credential.authenticatorAttachment === null
            ? {}
            : { authenticatorAttachment: credential.authenticatorAttachment }),
        clientExtensionResults: {},
    };
}

async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential> {
    let credential: Credential | null;
    try {
        credential = await ask();
    } catch (failure) {
        if (failure instanceof DOMException && ["NotAllowedError", "AbortError"].includes(failure.name)) {
            throw new CancelledError("No passkey was used: the dialog was closed, or it took too long. Try again.");
        }
        if (failure instanceof DOMException && failure.name === "InvalidStateError") {
            throw new CancelledError("This device has a passkey for you already. Sign in with it instead.");
        }
        throw failure;
    }
    if (!(credential instanceof PublicKeyCredential)) {
        throw new CancelledError("The browser gave no passkey. Try again.");
    }
    return credential;
}

function written(buffer: ArrayBuffer): string {
    return base64url(new Uint8Array(buffer));
}
