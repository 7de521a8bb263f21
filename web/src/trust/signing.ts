/**
 * Ed25519 signatures that cannot be taken for one another.
 *
 * Source: RFC 8032; docs/formats-trust.md, "Signatures".
 */

import { type Bytes, concat, fromBase64url, utf8 } from "./bytes.ts";
import { keyId } from "./names.ts";

export type Kind =
    | "root"
    | "manifest"
    | "head"
    | "tenant-authors"
    | "tenant-record"
    | "config"
    | "key-claim"
    | "invitation"
    | "enrolment";

/** RFC 8410: what stands before a private key's 32 bytes in PKCS #8. */
const PKCS8 = Uint8Array.from([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]);
const SEED_BYTES = 32;

/** A private signing key, from its 32-byte seed. The engine holds it; it can be taken out no more. */
export class SigningKey {
    readonly #key: CryptoKey;
    readonly public: Bytes;
    readonly id: string;

    private constructor(key: CryptoKey, publicKey: Bytes, id: string) {
        this.#key = key;
        this.public = publicKey;
        this.id = id;
    }

    static async fromSeed(seed: Bytes): Promise<SigningKey> {
        if (seed.length !== SEED_BYTES) {
            throw new TypeError("a signing key's seed has 32 bytes");
        }
        const pkcs8 = concat(PKCS8, seed);
        const open = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
        const { x } = await crypto.subtle.exportKey("jwk", open);
        const publicKey = fromBase64url(x ?? "");
        const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
        pkcs8.fill(0);
        return new SigningKey(key, publicKey, await keyId(publicKey));
    }

    async sign(kind: Kind, body: Bytes): Promise<Bytes> {
        return new Uint8Array(await crypto.subtle.sign("Ed25519", this.#key, framed(kind, body)));
    }
}

/** Whether this key signed this body as this kind of document. */
export async function verifies(publicKey: Bytes, kind: Kind, body: Bytes, signature: Bytes): Promise<boolean> {
    try {
        const key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
        return await crypto.subtle.verify("Ed25519", key, signature, framed(kind, body));
    } catch {
        return false;
    }
}

function framed(kind: Kind, body: Bytes): Bytes {
    return concat(utf8(`tenant-security/${kind}/v1\n`), body);
}
