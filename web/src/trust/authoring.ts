/**
 * The making side: signs records and manifests, seals configs and segments' seeds.
 *
 * Source: docs/formats-trust.md.
 */

import { type Bytes, base64, equal, hkdf, random, utf8 } from "./bytes.ts";
import { newestSegments } from "./chain.ts";
import * as documents from "./documents.ts";
import type { Identity, Manifest, Segment, SegmentWrap } from "./documents.ts";
import type { AdminKeys } from "./keys.ts";
import { keyId } from "./names.ts";
import { CannotOpenError, open, openPayload, publicOf, seal, sealPayload, type Suite } from "./sealing.ts";
import { type Kind, SigningKey } from "./signing.ts";

const DAY_S = 86_400;
const ROOT_LIFE_S = 3650 * DAY_S;
const MANIFEST_LIFE_S = 365 * DAY_S;
const SEED_BYTES = 32;
const ALL_RIGHTS: documents.May[] = ["tenant-record", "config", "tenant-authors", "head"];

/** Write a document and sign exactly those bytes. */
export async function sign(kind: Kind, document: object, key: SigningKey): Promise<documents.Signed> {
    const body = documents.encode(document);
    return { body, key: key.id, sig: await key.sign(kind, body) };
}

export type NewConfig = Pick<documents.ConfigHeader, "vendor" | "tenant" | "config" | "kind"> & { previous: number };

/** Seal a config to all of these segments and sign it. `previous` is the version it follows, 0 for none. */
export async function sealConfig(
    what: NewConfig,
    plaintext: Bytes,
    segments: readonly Segment[],
    author: SigningKey,
): Promise<documents.SealedWithWraps> {
    const { previous, ...named } = what;
    const created = documents.nowSeconds();
    const header = documents.encode({ ...named, version: documents.nextVersion(previous), created });
    const { dek, payload, commit } = await sealPayload(header, plaintext);
    const sig = await author.sign("config", await documents.configSignedBytes({ header, payload, commit }));
    const wraps = await Promise.all(segments.map((segment) => wrapDek(dek, header, segment)));
    dek.fill(0);
    return { header, payload, commit, author: author.id, sig, wraps };
}

/** Seal a config's DEK to a segment. The author's signature does not cover this. */
export async function wrapDek(dek: Bytes, header: Bytes, segment: Segment): Promise<documents.Wrap> {
    const info = await documents.configDekInfo(segment.id, segment.epoch, header);
    const sealed = await seal(segment.suite, segment.public, info, dek);
    return { segment: segment.id, epoch: segment.epoch, suite: segment.suite, sealed };
}

/** Unwrap a config's DEK with a segment's seed. Throws CannotOpenError. */
export async function openDek(header: Bytes, wrap: documents.Wrap, segmentSeed: Bytes): Promise<Bytes> {
    const info = await documents.configDekInfo(wrap.segment, wrap.epoch, header);
    return open(wrap.suite, segmentSeed, info, wrap.sealed);
}

/** Open a sealed config with whichever seed fits one of its wraps. Throws CannotOpenError. */
export async function openConfig(sealed: documents.SealedWithWraps, seeds: SegmentSeeds): Promise<Bytes> {
    for (const wrap of sealed.wraps) {
        const seed = seeds.get(seedName(wrap.segment, wrap.epoch));
        if (seed !== undefined) {
            const dek = await openDek(sealed.header, wrap, seed);
            return openPayload(dek, sealed.header, sealed.payload, sealed.commit);
        }
    }
    throw new CannotOpenError("none of its segments' keys was sealed to you");
}

/** Segments' seeds by `seedName`. */
export type SegmentSeeds = ReadonlyMap<string, Bytes>;

export function seedName(segment: number, epoch: number): string {
    return `${segment} ${epoch}`;
}

/** Open every segment's seed that was sealed to this key, and believe only those that yield the manifest's keys. */
export async function openSegments(
    manifest: Manifest,
    wraps: readonly SegmentWrap[],
    encryptionSeed: Bytes,
): Promise<SegmentSeeds> {
    const recipient = await keyId(await publicOf(1, encryptionSeed));
    const seeds = new Map<string, Bytes>();
    for (const wrap of wraps.filter((each) => each.recipient === recipient)) {
        const segment = manifest.segments.find((each) => each.id === wrap.segment && each.epoch === wrap.epoch);
        const info = documents.segmentSeedInfo(manifest.vendor, wrap.segment, wrap.epoch, recipient);
        const seed = await open(wrap.suite, encryptionSeed, info, wrap.sealed);
        if (segment !== undefined && equal(await publicOf(segment.suite, seed), segment.public)) {
            seeds.set(seedName(wrap.segment, wrap.epoch), seed);
        }
    }
    return seeds;
}

/** Seal a segment's seed to one recipient. */
export async function wrapSeed(
    vendor: string,
    segment: Segment,
    seed: Bytes,
    recipient: { suite: Suite; public: Bytes },
): Promise<SegmentWrap> {
    const id = await keyId(recipient.public);
    const info = documents.segmentSeedInfo(vendor, segment.id, segment.epoch, id);
    const sealed = await seal(recipient.suite, recipient.public, info, seed);
    return { segment: segment.id, epoch: segment.epoch, recipient: id, suite: recipient.suite, sealed };
}

/** A new vendor: what is published, and the two secrets that belong into the recovery file. */
export interface NewVendor {
    root: documents.Signed;
    manifest: documents.Signed;
    segmentWraps: SegmentWrap[];
    rootSeed: Bytes;
    recoverySeed: Bytes;
    rootPublic: Bytes;
}

/** Make a vendor: its root key, its first segment, and this admin as who signs for it. */
export async function createVendor(vendor: string, adminName: string, admin: AdminKeys, tags: string[]): Promise<NewVendor> {
    const [rootSeed, recoverySeed, segmentSeed] = [random(SEED_BYTES), random(SEED_BYTES), random(SEED_BYTES)];
    const rootKey = await SigningKey.fromSeed(rootSeed);
    const created = documents.nowSeconds();
    const root = {
        vendor,
        version: created,
        created,
        expires: created + ROOT_LIFE_S,
        rootKey: rootKey.public,
        keys: [{ public: admin.signing.public, signs: ["manifest", "head"] }],
    };
    const segment: Segment = { id: 1, epoch: 1, suite: 1, public: await publicOf(1, segmentSeed), tags };
    const recovery = await recoveryIdentity(recoverySeed, tags);
    const manifest = {
        vendor,
        version: created,
        created,
        expires: created + MANIFEST_LIFE_S,
        segments: [segment],
        identities: [recovery],
        authors: [{ public: admin.signing.public, name: adminName, tenant: documents.SHARED, may: ALL_RIGHTS }],
    };
    const recipients = [admin.encryptionPublic, recovery.encryption];
    return {
        root: await sign("root", root, rootKey),
        manifest: await sign("manifest", manifest, admin.signing),
        segmentWraps: await Promise.all(
            recipients.map((recipient) => wrapSeed(vendor, segment, segmentSeed, { suite: 1, public: recipient })),
        ),
        rootSeed,
        recoverySeed,
        rootPublic: rootKey.public,
    };
}

/** The id of the identity that stands for the recovery file, so that every tool seals new segments' seeds to it too. */
export const RECOVERY = "recovery";

async function recoveryIdentity(seed: Bytes, tags: string[]): Promise<Identity> {
    const signing = await SigningKey.fromSeed(await hkdf(seed, "tenant-security/recovery-signing/v1"));
    return {
        id: RECOVERY,
        config: 1,
        suite: 1,
        encryption: await publicOf(1, seed),
        signing: signing.public,
        tags,
        status: "active",
    };
}

/** Sign the next manifest, with these members changed. */
export function nextManifest(
    old: Manifest,
    changed: Partial<Pick<Manifest, "segments" | "identities" | "authors" | "headRequired">>,
    admin: SigningKey,
): Promise<documents.Signed> {
    const created = documents.nowSeconds();
    const next = {
        ...old,
        ...changed,
        version: documents.nextVersion(old.version),
        created,
        expires: created + MANIFEST_LIFE_S,
    };
    return sign("manifest", next, admin);
}

/** Sign the next root with the root key, with these keys: who may sign manifests and heads. */
export function nextRoot(old: documents.Root, keys: documents.Root["keys"], rootKey: SigningKey): Promise<documents.Signed> {
    const created = documents.nowSeconds();
    const next = {
        ...old,
        keys,
        version: documents.nextVersion(old.version),
        created,
        expires: created + ROOT_LIFE_S,
    };
    return sign("root", next, rootKey);
}

/** Sign what a tenant is, after the record of version `previous`. */
export function nextRecord(
    record: Omit<documents.TenantRecord, "version" | "spares" | "vouches"> & { spares?: number[]; vouches?: Bytes[] },
    previous: number,
    author: SigningKey,
): Promise<documents.Signed> {
    const spares = record.spares?.length ? { spares: record.spares } : {};
    const vouches = record.vouches?.length ? { vouches: record.vouches } : {};
    const { vendor, tenant, leasingRequired, assignments } = record;
    const version = documents.nextVersion(previous);
    return sign("tenant-record", { vendor, tenant, version, leasingRequired, assignments, ...spares, ...vouches }, author);
}

/** Sign who else signs for a tenant. */
export function nextAuthors(
    document: Omit<documents.TenantAuthors, "version">,
    previous: number,
    author: SigningKey,
): Promise<documents.Signed> {
    return sign("tenant-authors", { ...document, version: documents.nextVersion(previous) }, author);
}

/** The seeds of a new service identity, and its public half. */
export interface NewIdentity {
    identity: Identity;
    encryptionSeed: Bytes;
    signingSeed: Bytes;
}

export async function newIdentity(id: string, config: number, tags: string[]): Promise<NewIdentity> {
    const [encryptionSeed, signingSeed] = [random(SEED_BYTES), random(SEED_BYTES)];
    const identity: Identity = {
        id,
        config,
        suite: 1,
        encryption: await publicOf(1, encryptionSeed),
        signing: (await SigningKey.fromSeed(signingSeed)).public,
        tags,
        status: "active",
    };
    return { identity, encryptionSeed, signingSeed };
}

/** Tags that say what a service is; one without either is a proxy. */
export const BRIDGE_TAG = "bridge";
export const LOGDRIVER_TAG = "logdriver";

/** Whether an identity may open a segment. Bridges and their segments keep to themselves. */
export function entitled(identity: Identity, segment: Segment): boolean {
    const isBridge = identity.tags.includes(BRIDGE_TAG);
    return isBridge === segment.tags.includes(BRIDGE_TAG) && segment.tags.every((tag) => identity.tags.includes(tag));
}

/** Seal to a newly entitled service every segment seed that its tags entitle it to. */
export async function wrapsFor(manifest: Manifest, identity: Identity, seeds: SegmentSeeds): Promise<SegmentWrap[]> {
    const recipient = { suite: identity.suite, public: identity.encryption };
    const made: SegmentWrap[] = [];
    for (const segment of manifest.segments.filter((each) => entitled(identity, each))) {
        const seed = seeds.get(seedName(segment.id, segment.epoch));
        if (seed === undefined) {
            throw new CannotOpenError(`the key of segment ${segment.id} was not sealed to you; ask another admin`);
        }
        made.push(await wrapSeed(manifest.vendor, segment, seed, recipient));
    }
    return made;
}

/** Begin a new epoch in these segments, beside the old ones: seeds by name, and the segments as they will stand. */
export async function nextEpochs(
    manifest: Manifest,
    which: ReadonlySet<number>,
): Promise<{ segments: Segment[]; seeds: Map<string, Bytes> }> {
    const seeds = new Map<string, Bytes>();
    const fresh: Segment[] = [];
    for (const old of newestSegments(manifest).filter((each) => which.has(each.id))) {
        const seed = random(SEED_BYTES);
        const segment = { ...old, epoch: old.epoch + 1, public: await publicOf(old.suite, seed) };
        seeds.set(seedName(segment.id, segment.epoch), seed);
        fresh.push(segment);
    }
    return { segments: [...manifest.segments, ...fresh], seeds };
}

/** The env file of a service, one NAME=value a line. It is secret. */
export function envFile(
    made: NewIdentity,
    segment: number,
    rootFingerprint: string,
    apiKey: string,
    brokerUrl: string,
): string {
    const values: [string, string][] = [
        ["SERVICE_ACCOUNT_ID", made.identity.id],
        ["SERVICE_CONFIG_ID", String(made.identity.config)],
        ["SERVICE_SEGMENT_ID", String(segment)],
        ["SERVICE_ENCRYPTION_PRIVATE_KEY", base64(made.encryptionSeed)],
        ["SERVICE_SIGNING_PRIVATE_KEY", base64(made.signingSeed)],
        ["API_KEY", apiKey],
        ["VENDOR_ROOT_FINGERPRINT", rootFingerprint],
        ["CONFIG_BROKER_URL", brokerUrl],
    ];
    return values.map(([name, value]) => `${name}=${value}\n`).join("");
}

export function plaintextOf(config: object): Bytes {
    return utf8(JSON.stringify(config));
}
