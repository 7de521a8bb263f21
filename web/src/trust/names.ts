/**
 * Names of keys: fingerprints, key ids, and the words by which people compare a fingerprint over the phone.
 *
 * Source: docs/formats-trust.md, "Fingerprints".
 */

import { wordlist } from "@scure/bip39/wordlists/english.js";

import { type Bytes, concat, sha256, utf8 } from "./bytes.ts";

const ALPHABET = "abcdefghijklmnopqrstuvwxyz234567";
const CHARACTERS = 52;
const GROUP = 4;
const KEY_ID_GROUPS = 6;
const WORDS = 12;
const BITS_OF_A_WORD = 11;

/** Return a public key's fingerprint: 13 groups of four characters. */
export async function fingerprint(publicKey: Bytes): Promise<string> {
    const digest = await sha256(concat(utf8("tenant-security/key/v1\n"), publicKey));
    return grouped(base32(digest).slice(0, CHARACTERS));
}

/** Return a public key's id: how documents name the key that signed them. */
export async function keyId(publicKey: Bytes): Promise<string> {
    return (await fingerprint(publicKey)).slice(0, KEY_ID_GROUPS * (GROUP + 1) - 1);
}

/** Return a fingerprint in its fixed form from what a person copied. Throws where it is none. */
export function parseFingerprint(written: string): string {
    const plain = written.replaceAll(/[\s-]/g, "").toLowerCase();
    const isOne = plain.length === CHARACTERS && /^[a-z2-7]*$/.test(plain);
    // 52 characters are 260 bits, so the last one says only one bit more: the other four are zero.
    if (!isOne || (ALPHABET.indexOf(plain.slice(-1)) & 0b1111) !== 0) {
        throw new TypeError("a fingerprint is 52 letters a-z and digits 2-7, usually in 13 groups of four");
    }
    return grouped(plain);
}

/** Return the twelve words that stand for the first 132 bits of a fingerprint. */
export function fingerprintWords(written: string): string[] {
    const plain = parseFingerprint(written).replaceAll("-", "");
    const bits = Array.from(plain, (char) => ALPHABET.indexOf(char).toString(2).padStart(5, "0")).join("");
    return Array.from({ length: WORDS }, (_, at) => {
        const index = Number.parseInt(bits.slice(at * BITS_OF_A_WORD, (at + 1) * BITS_OF_A_WORD), 2);
        return wordlist[index] ?? "";
    });
}

/** Make a passphrase of words that were drawn by lot; each is worth 11 bits. */
export function drawWords(count: number): string {
    const drawn = crypto.getRandomValues(new Uint16Array(count));
    return Array.from(drawn, (number) => wordlist[number % wordlist.length]).join("-");
}

function base32(bytes: Bytes): string {
    let bits = "";
    for (const byte of bytes) {
        bits += byte.toString(2).padStart(8, "0");
    }
    let written = "";
    for (let at = 0; at < bits.length; at += 5) {
        written += ALPHABET[Number.parseInt(bits.slice(at, at + 5).padEnd(5, "0"), 2)];
    }
    return written;
}

function grouped(plain: string): string {
    return (plain.match(/.{4}/g) ?? []).join("-");
}
