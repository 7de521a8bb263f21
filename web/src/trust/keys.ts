/**
 * A person's own keys, and how they are kept: at the broker only sealed, under a passphrase or under a passkey.
 *
 * A bundle holds two 32-byte seeds, encrypted under a random key. Every lock holds that key, encrypted under what one
 * passphrase or one passkey yields: a second passkey or a new passphrase needs no new keys.
 *
 * The passphrase itself never leaves the browser. Argon2id stretches it; from the result come, by HKDF, what is shown
 * to the broker to sign in, and what opens the lock. Neither tells the other.
 *
 * Source: docs/formats-trust.md, "Key bundle".
 */

import { argon2idAsync } from "@noble/hashes/argon2.js";

import { type Bytes, base64, concat, equal, hkdf, random, sha256, utf8, wipe } from "./bytes.ts";
import * as read from "./reading.ts";
import { CannotOpenError, decrypt, encrypt, publicOf } from "./sealing.ts";
import { SigningKey } from "./signing.ts";

const KEY_BYTES = 32;
const SEED_BYTES = 32;
/** RFC 9106's second recommendation. Units: KiB, passes, lanes. */
const ARGON2 = { m: 65_536, t: 3, p: 1 };
const BUNDLE_INFO = "tenant-security/key-bundle/v1\n";
const form = read.object({
    vendor: read.string(/./u),
    tenant: read.string(/^.*$/u),
    config: read.integer(1, 2 ** 31 - 1),
    version: read.integer(1, Number.MAX_SAFE_INTEGER),
    values: read.array(read.object({ at: read.string(/./u), value: read.string(/^[^]*$/u) })),
});
/** What this person typed last to make one version of one config, without its secrets. */
export type Form = ReturnType<typeof form>;
/** So that a bundle stays well below what a broker keeps. Units: characters as JSON. */
const FORMS_CHARS = 24_000;
const FORMS_OF_ONE = 2;
const KEYS = read.object({
    signing: read.bytes(SEED_BYTES),
    encryption: read.bytes(SEED_BYTES),
    pins: read.optional(read.array(read.object({ vendor: read.string(/./u), root: read.string(/./u) })), []),
    forms: read.optional(read.array(form), []),
});

/** Which root fingerprint this person compared, by vendor. */
export type Pins = ReadonlyMap<string, string>;

/** What the passkey is asked for, so that it yields the same secret each time (WebAuthn PRF). */
export const PRF_SALT = utf8("tenant-security/key-bundle/v1");

const lock = read.object({
    kind: read.oneOf("passphrase", "passkey"),
    /** Which passkey: base64url of its credential id; empty for a passphrase. */
    id: read.string(/^[A-Za-z0-9_-]*$/),
    sealed: read.bytes(),
});
const bundle = read.object({
    format: read.oneOf("tenant-security-keys"),
    formatVersion: read.oneOf(1),
    signing: read.bytes(KEY_BYTES),
    encryption: read.bytes(),
    locks: read.array(lock),
    keys: read.bytes(),
});
export type Bundle = ReturnType<typeof bundle>;

/** Keys that are open, with what is needed to lock them again. They stay here only as long as the tab. */
export interface AdminKeys {
    signing: SigningKey;
    encryptionPublic: Bytes;
    seeds: { signing: Bytes; encryption: Bytes };
    bundleKey: Bytes;
    pins: Pins;
    /** The newest first. */
    forms: readonly Form[];
}

/** What a passphrase or a passkey yields. `opens` opens its lock. */
export interface Opener {
    kind: "passphrase" | "passkey";
    id: string;
    opens: Bytes;
}

export async function newKeys(): Promise<AdminKeys> {
    const seeds = { signing: random(SEED_BYTES), encryption: random(SEED_BYTES) };
    return fromSeeds(seeds, random(KEY_BYTES), new Map(), []);
}

export async function fromSeeds(seeds: AdminKeys["seeds"], bundleKey: Bytes, pins: Pins, forms: readonly Form[]): Promise<AdminKeys> {
    const signing = await SigningKey.fromSeed(seeds.signing);
    return { signing, encryptionPublic: await publicOf(1, seeds.encryption), seeds, bundleKey, pins, forms };
}

/** What comes of a passphrase: what signs in, and what opens the lock. */
export async function stretch(email: string, passphrase: string): Promise<{ signIn: string; opener: Opener }> {
    const account = email.trim().toLowerCase();
    const salt = await sha256(utf8(`tenant-security/passphrase/v1\n${account}`));
    const stretched = (await argon2idAsync(utf8(passphrase.normalize("NFKC")), salt, {
        ...ARGON2,
        dkLen: KEY_BYTES,
    })) as Bytes;
    const opens = await hkdf(stretched, "tenant-security/open-lock/v1");
    const signIn = base64(await hkdf(stretched, "tenant-security/sign-in/v1"));
    wipe(stretched);
    return { signIn, opener: { kind: "passphrase", id: "", opens } };
}

/** What comes of a passkey's PRF output. */
export async function openerOfPasskey(credential: string, output: Bytes): Promise<Opener> {
    return { kind: "passkey", id: credential, opens: await hkdf(output, "tenant-security/open-lock/v1") };
}

/** Lock keys for the broker to keep. */
export async function lockKeys(keys: AdminKeys, openers: readonly Opener[]): Promise<Bundle> {
    const empty: Bundle = {
        format: "tenant-security-keys",
        formatVersion: 1,
        signing: keys.signing.public,
        encryption: keys.encryptionPublic,
        locks: [],
        keys: new Uint8Array(0),
    };
    let made = await withContent(empty, keys);
    for (const opener of openers) {
        made = await withLock(made, keys, opener);
    }
    return made;
}

/** The same bundle with what the keys hold now, such as another pin. */
export async function withContent(kept: Bundle, keys: AdminKeys): Promise<Bundle> {
    const body = utf8(
        JSON.stringify({
            signing: base64(keys.seeds.signing),
            encryption: base64(keys.seeds.encryption),
            pins: Array.from(keys.pins, ([vendor, root]) => ({ vendor, root })),
            forms: keys.forms,
        }),
    );
    const sealed = await encrypt(keys.bundleKey, headerOf(kept), body);
    wipe(body);
    return { ...kept, keys: sealed };
}

/** The same bundle with one more lock, in the place of the one of the same kind and id. */
export async function withLock(kept: Bundle, keys: AdminKeys, opener: Opener): Promise<Bundle> {
    const sealed = await encrypt(opener.opens, headerOf(kept), keys.bundleKey);
    const bare = withoutLock(kept, opener);
    return { ...bare, locks: [...bare.locks, { kind: opener.kind, id: opener.id, sealed }] };
}

export function withoutLock(kept: Bundle, which: Pick<Opener, "kind" | "id">): Bundle {
    return { ...kept, locks: kept.locks.filter((each) => each.kind !== which.kind || each.id !== which.id) };
}

/** Open a bundle with one of its locks. Throws CannotOpenError. */
export async function openKeys(kept: Bundle, opener: Opener): Promise<AdminKeys> {
    const found = kept.locks.find((each) => each.kind === opener.kind && each.id === opener.id);
    if (found === undefined) {
        throw new CannotOpenError(`your keys have no lock for this ${opener.kind}`);
    }
    return contentOf(kept, await decrypt(opener.opens, headerOf(kept), found.sealed));
}

/** What a bundle holds now, by its own key. Throws CannotOpenError. */
export async function contentOf(kept: Bundle, bundleKey: Bytes): Promise<AdminKeys> {
    const body = await decrypt(bundleKey, headerOf(kept), kept.keys);
    const { pins, forms, ...seeds } = read.decode(KEYS, body, "the keys");
    wipe(body);
    const keys = await fromSeeds(seeds, bundleKey, new Map(pins.map((each) => [each.vendor, each.root])), forms);
    if (!equal(keys.signing.public, kept.signing) || !equal(keys.encryptionPublic, kept.encryption)) {
        throw new CannotOpenError("the keys inside are not those that the bundle names");
    }
    return keys;
}

/** The forms with a new one in front; the oldest go where they would be too many. */
export function withForm(forms: readonly Form[], added: Form): Form[] {
    const same = (each: Form) => each.vendor === added.vendor && each.tenant === added.tenant && each.config === added.config;
    const before = forms.filter((each) => same(each) && each.version !== added.version).slice(0, FORMS_OF_ONE - 1);
    const kept = [added, ...before, ...forms.filter((each) => !same(each))];
    while (kept.length > 0 && JSON.stringify(kept).length > FORMS_CHARS) {
        kept.pop();
    }
    return kept;
}

/** What was typed for this very version; what belongs to another may name another key. */
export function formOf(forms: readonly Form[], vendor: string, tenant: string, config: number, version: number): Record<string, string> | null {
    const found = forms.find((each) => each.vendor === vendor && each.tenant === tenant && each.config === config && each.version === version);
    return found === undefined ? null : Object.fromEntries(found.values.map(({ at, value }) => [at, value]));
}

export function readBundle(written: Bytes): Bundle {
    return read.decode(bundle, written, "the key bundle");
}

function headerOf(kept: Pick<Bundle, "signing" | "encryption">): Bytes {
    return concat(utf8(BUNDLE_INFO), kept.signing, kept.encryption);
}
