/**
 * What a vendor's trust documents say, type by type.
 *
 * A signed document travels as the exact bytes that were signed. Units: times are Unix seconds, versions count from 1.
 *
 * Source: docs/formats-trust.md.
 */

import { type Bytes, base64, concat, sha256, utf8 } from "./bytes.ts";
import * as read from "./reading.ts";

const INT32 = 2 ** 31 - 1;
const VENDOR = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
const TENANT = /^[^\x00-\x1f\x7f]{1,255}$/u;
const OWNER = /^[^\x00-\x1f\x7f]{0,255}$/u;
const NAME = /^[^\x00-\x1f\x7f]{1,120}$/u;
const KEY_ID = /^[a-z2-7]{4}(-[a-z2-7]{4}){5}$/;
const version = read.integer(1, Number.MAX_SAFE_INTEGER);
const seconds = read.integer(0, Number.MAX_SAFE_INTEGER);
const small = read.integer(1, INT32);
const vendor = read.string(VENDOR);
const tenant = read.string(TENANT);
const name = read.string(NAME);
const keyId = read.string(KEY_ID);
const suite = read.oneOf(1, 2);
const key32 = read.bytes(32);

/** Every document of this vendor, in every place, is of this owner when it belongs to no tenant. */
export const SHARED = "";

export interface Signed {
    body: Bytes;
    key: string;
    sig: Bytes;
}

export const signed: read.Reader<Signed> = read.object({ body: read.bytes(), key: keyId, sig: read.bytes(64) });

export type Signs = "manifest" | "head";

export const root = read.object({
    vendor,
    version,
    created: seconds,
    expires: seconds,
    rootKey: key32,
    keys: read.array(read.object({ public: key32, signs: read.array(read.oneOf("manifest", "head")) })),
});
export type Root = ReturnType<typeof root>;

const segment = read.object({
    id: small,
    epoch: version,
    suite,
    public: read.bytes(),
    tags: read.optional(read.array(name), []),
});
export type Segment = ReturnType<typeof segment>;

const identity = read.object({
    id: name,
    config: small,
    suite,
    encryption: read.bytes(),
    signing: key32,
    tags: read.array(name),
    status: read.oneOf("active", "revoked"),
});
export type Identity = ReturnType<typeof identity>;

export type May = "tenant-record" | "config" | "tenant-authors" | "head";
const author = read.object({
    public: key32,
    name,
    tenant: read.string(OWNER),
    may: read.array(read.oneOf("tenant-record", "config", "tenant-authors", "head")),
});
export type Author = ReturnType<typeof author>;

export const manifest = read.object({
    vendor,
    version,
    created: seconds,
    expires: seconds,
    segments: read.array(segment),
    identities: read.array(identity),
    authors: read.array(author),
    headRequired: read.optional(read.boolean, false),
});
export type Manifest = ReturnType<typeof manifest>;

export const tenantAuthors = read.object({
    vendor,
    tenant,
    version,
    authors: read.array(read.object({ public: key32, name, may: read.array(read.oneOf("tenant-record", "config")) })),
});
export type TenantAuthors = ReturnType<typeof tenantAuthors>;
export type TenantAuthor = TenantAuthors["authors"][number];

const assignment = read.object({ config: small, active: read.boolean, primary: read.boolean, leasing: read.boolean });
export type Assignment = ReturnType<typeof assignment>;

export const tenantRecord = read.object({
    vendor,
    tenant,
    version,
    leasingRequired: read.boolean,
    assignments: read.array(assignment),
    spares: read.optional(read.array(small), []),
    vouches: read.optional(read.array(key32), []),
});
export type TenantRecord = ReturnType<typeof tenantRecord>;

export type ConfigKind = "kms" | "sink";
export const configHeader = read.object({
    vendor,
    tenant: read.string(OWNER),
    config: small,
    kind: read.oneOf("kms", "sink"),
    version,
    created: seconds,
});
export type ConfigHeader = ReturnType<typeof configHeader>;

export const wrap = read.object({ segment: small, epoch: version, suite, sealed: read.bytes() });
export type Wrap = ReturnType<typeof wrap>;

/** A sealed config without its wraps: what never changes. */
export interface Sealed {
    header: Bytes;
    payload: Bytes;
    commit: Bytes;
    author: string;
    sig: Bytes;
}

export interface SealedWithWraps extends Sealed {
    wraps: Wrap[];
}

export const segmentWrap = read.object({
    segment: small,
    epoch: version,
    recipient: keyId,
    suite,
    sealed: read.bytes(),
});
export type SegmentWrap = ReturnType<typeof segmentWrap>;

/** Write a document: the bytes to sign. Bytes inside become base64. */
export function encode(document: object): Bytes {
    return utf8(JSON.stringify(document, jsonBytes));
}

/** A replacer for JSON.stringify that writes bytes as base64. */
export function jsonBytes(this: unknown, _name: string, value: unknown): unknown {
    return value instanceof Uint8Array ? base64(value as Bytes) : value;
}

/** What a config's author signs. */
export async function configSignedBytes(sealed: Pick<Sealed, "header" | "payload" | "commit">): Promise<Bytes> {
    return concat(sealed.header, await sha256(sealed.payload), sealed.commit);
}

/** A config's fingerprint, by which a record vouches for it. */
export async function configFingerprint(sealed: Pick<Sealed, "header" | "payload" | "commit">): Promise<Bytes> {
    return sha256(await configSignedBytes(sealed));
}

/** The HPKE context of a config's wrap. */
export async function configDekInfo(segment: number, epoch: number, header: Bytes): Promise<Bytes> {
    return concat(utf8(`tenant-security/config-dek/v1\n${segment}\n${epoch}\n`), await sha256(header));
}

/** The HPKE context of a segment's seed, sealed to the holder of the key with this id. */
export function segmentSeedInfo(vendor: string, segment: number, epoch: number, recipient: string): Bytes {
    return utf8(`tenant-security/segment-seed/v1\n${vendor}\n${segment}\n${epoch}\n${recipient}`);
}

/** Writers take the clock, so that versions rise even for an author who has lost the earlier document. */
export function nextVersion(previous: number): number {
    return Math.max(previous + 1, nowSeconds());
}

export function nowSeconds(): number {
    return Math.floor(Date.now() / 1000);
}
