/**
 * The recovery file: what a vendor keeps offline, to go on when every admin's key is lost.
 *
 * It holds the root's seed and the seed of an encryption key to which every segment's seed is sealed. Whoever has both
 * the file and its words is the vendor.
 *
 * Source: docs/formats-trust.md, "Recovery file".
 */

import { argon2idAsync } from "@noble/hashes/argon2.js";

import { type Bytes, base64, random, utf8, wipe } from "./bytes.ts";
import * as read from "./reading.ts";
import { decrypt, encrypt } from "./sealing.ts";

const ARGON2 = { m: 65_536, t: 3, p: 1, dkLen: 32 };
const SALT_BYTES = 16;
const INFO = "tenant-security/recovery/v1\n";

const file = read.object({
    format: read.oneOf("tenant-security-recovery"),
    formatVersion: read.oneOf(1),
    vendor: read.string(/^.{1,64}$/u),
    rootFingerprint: read.string(/^[a-z2-7-]{64}$/),
    created: read.integer(0, Number.MAX_SAFE_INTEGER),
    salt: read.bytes(SALT_BYTES),
    sealed: read.bytes(),
});
const content = read.object({ root: read.bytes(32), encryption: read.bytes(32) });

export type RecoveryFile = ReturnType<typeof file>;
export type RecoverySeeds = ReturnType<typeof content>;

/** Write a recovery file that opens with these words. */
export async function writeRecovery(
    vendor: string,
    rootFingerprint: string,
    created: number,
    seeds: RecoverySeeds,
    words: string,
): Promise<string> {
    const salt = random(SALT_BYTES);
    const body = utf8(JSON.stringify({ root: base64(seeds.root), encryption: base64(seeds.encryption) }));
    const sealed = await encrypt(await keyOf(words, salt), utf8(`${INFO}${vendor}\n${rootFingerprint}`), body);
    wipe(body);
    const written = {
        format: "tenant-security-recovery",
        formatVersion: 1,
        vendor,
        rootFingerprint,
        created,
        salt: base64(salt),
        sealed: base64(sealed),
    };
    return `${JSON.stringify(written, null, 2)}\n`;
}

/** Read a recovery file. Throws MalformedError; CannotOpenError when the words are wrong. */
export async function openRecovery(written: Bytes, words: string): Promise<{ file: RecoveryFile; seeds: RecoverySeeds }> {
    const kept = read.decode(file, written, "the recovery file");
    const header = utf8(`${INFO}${kept.vendor}\n${kept.rootFingerprint}`);
    const body = await decrypt(await keyOf(words, kept.salt), header, kept.sealed);
    return { file: kept, seeds: read.decode(content, body, "the recovery file") };
}

async function keyOf(words: string, salt: Bytes): Promise<Bytes> {
    const plain = words.normalize("NFKC").trim().toLowerCase().split(/[\s-]+/).join("-");
    return (await argon2idAsync(utf8(plain), salt, ARGON2)) as Bytes;
}
