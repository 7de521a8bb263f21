/**
 * Sealing to a public key and opening with a private one: HPKE, base mode, one message per context.
 *
 * A private key is a 32-byte seed in both suites. All context stands in `info`.
 *
 * Source: RFC 9180; draft-connolly-cfrg-xwing-kem; docs/formats-trust.md, "Sealing".
 */

import { Aes256Gcm, CipherSuite, DhkemP256HkdfSha256, HkdfSha256 } from "@hpke/core";
import { XWing } from "@hpke/hybridkem-x-wing";

import { type Bytes, concat, equal, hkdf, random } from "./bytes.ts";

/** 1: X-Wing (ML-KEM-768 with X25519). 2: P-256. Whoever owns a key decides. */
export type Suite = 1 | 2;

const ENC_BYTES = { 1: 1120, 2: 65 } as const;
const SEED_BYTES = 32;
const DEK_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const COMMIT_INFO = "tenant-security/commit/v1";

export class CannotOpenError extends Error {}

function suiteOf(suite: Suite): CipherSuite {
    const kem = suite === 1 ? new XWing() : new DhkemP256HkdfSha256();
    return new CipherSuite({ kem, kdf: new HkdfSha256(), aead: new Aes256Gcm() });
}

async function pairOf(suite: Suite, seed: Bytes): Promise<CryptoKeyPair> {
    if (seed.length !== SEED_BYTES) {
        throw new TypeError("a private key's seed has 32 bytes");
    }
    return suite === 1 ? new XWing().generateKeyPairDerand(seed) : suiteOf(2).kem.deriveKeyPair(seed.buffer);
}

export async function publicOf(suite: Suite, seed: Bytes): Promise<Bytes> {
    const { publicKey } = await pairOf(suite, seed);
    return new Uint8Array(await suiteOf(suite).kem.serializePublicKey(publicKey));
}

/** Encrypt to a public key. Throws where it is none of this suite. */
export async function seal(suite: Suite, publicKey: Bytes, info: Bytes, plaintext: Bytes): Promise<Bytes> {
    const hpke = suiteOf(suite);
    const recipientPublicKey = await hpke.kem.deserializePublicKey(publicKey);
    const { ct, enc } = await hpke.seal({ recipientPublicKey, info }, plaintext);
    return concat(new Uint8Array(enc), new Uint8Array(ct));
}

/** Decrypt what was sealed to this seed's public key with the same `info`. Throws CannotOpenError. */
export async function open(suite: Suite, seed: Bytes, info: Bytes, sealed: Bytes): Promise<Bytes> {
    const cut = ENC_BYTES[suite];
    try {
        const recipientKey = (await pairOf(suite, seed)).privateKey;
        const enc = sealed.slice(0, cut);
        return new Uint8Array(await suiteOf(suite).open({ recipientKey, enc, info }, sealed.slice(cut)));
    } catch {
        throw new CannotOpenError("it was sealed to another key or for another place, or was altered");
    }
}

/** A plaintext under its own fresh DEK. The DEK is secret; the other two travel. */
export interface SealedPayload {
    dek: Bytes;
    payload: Bytes;
    commit: Bytes;
}

export async function sealPayload(header: Bytes, plaintext: Bytes): Promise<SealedPayload> {
    const dek = random(DEK_BYTES);
    return { dek, payload: await encrypt(dek, header, plaintext), commit: await commitment(dek) };
}

/** Check that `commit` is this DEK's, then decrypt. Throws CannotOpenError. */
export async function openPayload(dek: Bytes, header: Bytes, payload: Bytes, commit: Bytes): Promise<Bytes> {
    if (dek.length !== DEK_BYTES || !equal(await commitment(dek), commit)) {
        throw new CannotOpenError("the key is not the one its author committed to");
    }
    return decrypt(dek, header, payload);
}

/** The one value that only this DEK has, and that says nothing about it. */
export function commitment(dek: Bytes): Promise<Bytes> {
    return hkdf(dek, COMMIT_INFO);
}

/** AES-256-GCM under a key that is used once: nonce, ciphertext, tag. */
export async function encrypt(key: Bytes, header: Bytes, plaintext: Bytes): Promise<Bytes> {
    const nonce = random(NONCE_BYTES);
    const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["encrypt"]);
    const how = { name: "AES-GCM", iv: nonce, additionalData: header };
    return concat(nonce, new Uint8Array(await crypto.subtle.encrypt(how, aes, plaintext)));
}

/** Throws CannotOpenError. */
export async function decrypt(key: Bytes, header: Bytes, payload: Bytes): Promise<Bytes> {
    if (payload.length < NONCE_BYTES + TAG_BYTES) {
        throw new CannotOpenError("the payload is cut short");
    }
    const aes = await crypto.subtle.importKey("raw", key, "AES-GCM", false, ["decrypt"]);
    const how = { name: "AES-GCM", iv: payload.slice(0, NONCE_BYTES), additionalData: header };
    try {
        return new Uint8Array(await crypto.subtle.decrypt(how, aes, payload.slice(NONCE_BYTES)));
    } catch {
        throw new CannotOpenError("the payload or its header was altered");
    }
}
