/**
 * From the fingerprint that somebody compared to the keys that we believe. Nothing the broker says counts before this.
 *
 * Source: docs/formats-trust.md, "Rules for the first line" and "Rules for an entry".
 */

import { type Bytes, base64, sha256 } from "./bytes.ts";
import * as documents from "./documents.ts";
import { fingerprint, keyId, parseFingerprint } from "./names.ts";
import { decode } from "./reading.ts";
import { wrongSpares } from "./spares.ts";
import { type Kind, verifies } from "./signing.ts";

/** A document is not what its rightful signer signed, or is older than what was seen. The message is for people. */
export class UntrustedError extends Error {}

/** Highest versions that this browser has accepted, so that nothing withdrawn comes back. */
export interface Seen {
    rootVersion: number;
    rootHash: string;
    manifestVersion: number;
    manifestHash: string;
}

export interface TrustedAuthor {
    public: Bytes;
    name: string;
    tenant: string;
    may: documents.May[];
}

/** A vendor's keys, judged. */
export interface Chain {
    root: documents.Root;
    rootSigned: documents.Signed;
    manifest: documents.Manifest;
    manifestSigned: documents.Signed;
    authors: ReadonlyMap<string, TrustedAuthor>;
    rootFingerprint: string;
    seen: Seen;
}

export interface VendorSigned {
    root: documents.Signed;
    manifest: documents.Signed;
}

/** Judge a vendor's root and manifest by the pinned fingerprint. Throws UntrustedError. */
export async function verifyChain(given: VendorSigned, pinned: string, seen: Seen | null): Promise<Chain> {
    const now = documents.nowSeconds();
    const root = decode(documents.root, given.root.body, "the root");
    const rootFingerprint = await fingerprint(root.rootKey);
    expect(rootFingerprint === parseFingerprint(pinned), "The root key is not the one whose fingerprint was compared.");
    expect(
        given.root.key === (await keyId(root.rootKey)) && (await isSigned(root.rootKey, "root", given.root)),
        "The signature of the root is wrong.",
    );
    expect(now < root.expires, "The root has expired; the vendor must sign a new one.");
    const signer = await signerOf(root, given.manifest.key);
    expect(signer !== null, `The root does not let ${given.manifest.key} sign the manifest.`);
    expect(await isSigned(signer as Bytes, "manifest", given.manifest), "The signature of the manifest is wrong.");
    const manifest = decode(documents.manifest, given.manifest.body, "the manifest");
    expect(manifest.vendor === root.vendor, "The manifest is of another vendor.");
    expect(now < manifest.expires, "The manifest has expired; the vendor must sign a new one.");
    const epochs = new Set(manifest.segments.map((each) => `${each.id} ${each.epoch}`));
    expect(epochs.size === manifest.segments.length, "The manifest names an epoch of a segment twice.");
    const newest = {
        rootVersion: root.version,
        rootHash: base64(await sha256(given.root.body)),
        manifestVersion: manifest.version,
        manifestHash: base64(await sha256(given.manifest.body)),
    };
    notOlder(newest, seen);
    return {
        root,
        rootSigned: given.root,
        manifest,
        manifestSigned: given.manifest,
        authors: await authorsOf(manifest),
        rootFingerprint,
        seen: newest,
    };
}

/** Judge who else signs for a tenant. Throws UntrustedError. */
export async function verifyAuthors(
    chain: Chain,
    tenant: string,
    given: documents.Signed,
): Promise<{ document: documents.TenantAuthors; authors: ReadonlyMap<string, TrustedAuthor> }> {
    const signer = authorOf(chain.authors, given.key, "tenant-authors", documents.SHARED);
    expect(await isSigned(signer.public, "tenant-authors", given), "The signature of the tenant's authors is wrong.");
    const document = decode(documents.tenantAuthors, given.body, "the tenant's authors");
    expect(
        document.vendor === chain.manifest.vendor && document.tenant === tenant,
        "The tenant's authors are of somebody else.",
    );
    const authors = new Map(chain.authors);
    for (const each of document.authors) {
        const id = await keyId(each.public);
        expect(!authors.has(id), `The tenant's authors name the key ${id}, which is an author already.`);
        authors.set(id, { ...each, tenant });
    }
    return { document, authors };
}

/** Judge a tenant's record. Throws UntrustedError. */
export async function verifyRecord(
    chain: Chain,
    authors: ReadonlyMap<string, TrustedAuthor>,
    tenant: string,
    given: documents.Signed,
): Promise<documents.TenantRecord> {
    const signer = authorOf(authors, given.key, "tenant-record", tenant);
    expect(await isSigned(signer.public, "tenant-record", given), "The signature of the tenant's record is wrong.");
    const record = decode(documents.tenantRecord, given.body, "the tenant's record");
    expect(
        record.vendor === chain.manifest.vendor && record.tenant === tenant,
        "The tenant's record is of somebody else.",
    );
    expect(
        record.assignments.filter((each) => each.primary).length <= 1,
        "The tenant's record names more than one primary config.",
    );
    const assigned = new Set(record.assignments.map((each) => each.config));
    expect(assigned.size === record.assignments.length, "The tenant's record assigns a config twice.");
    const why = wrongSpares(record.assignments, record.spares);
    expect(why === null, `The tenant's record ${why}.`);
    return record;
}

/** Judge a sealed config's author and header. Throws UntrustedError. */
export async function verifyConfig(
    chain: Chain,
    authors: ReadonlyMap<string, TrustedAuthor>,
    owner: string,
    sealed: documents.Sealed,
): Promise<documents.ConfigHeader> {
    const signer = authorOf(authors, sealed.author, "config", owner);
    const body = await documents.configSignedBytes(sealed);
    expect(await verifies(signer.public, "config", body, sealed.sig), "The signature of a config is wrong.");
    const header = decode(documents.configHeader, sealed.header, "a config's header");
    expect(
        header.vendor === chain.manifest.vendor && header.tenant === owner,
        `Config ${header.config} belongs to somebody else.`,
    );
    return header;
}

/** The newest epoch of every segment. */
export function newestSegments(manifest: documents.Manifest): documents.Segment[] {
    const newest = new Map<number, documents.Segment>();
    for (const segment of manifest.segments) {
        if ((newest.get(segment.id)?.epoch ?? 0) < segment.epoch) {
            newest.set(segment.id, segment);
        }
    }
    return [...newest.values()].sort((one, other) => one.id - other.id);
}

/** The segments whose services serve a tenant with these tags. */
export function segmentsFor(manifest: documents.Manifest, tags: readonly string[]): documents.Segment[] {
    return newestSegments(manifest).filter((segment) => segment.tags.every((tag) => tags.includes(tag)));
}

export function authorOf(
    authors: ReadonlyMap<string, TrustedAuthor>,
    id: string,
    may: documents.May,
    owner: string,
): TrustedAuthor {
    const author = authors.get(id);
    if (author === undefined) {
        throw new UntrustedError(`It is signed by ${id}, who is no author that we know.`);
    }
    const entitled = author.may.includes(may) && (author.tenant === documents.SHARED || author.tenant === owner);
    expect(entitled, `It is signed by ${id}, who may not sign that.`);
    return author;
}

async function authorsOf(manifest: documents.Manifest): Promise<ReadonlyMap<string, TrustedAuthor>> {
    const authors = new Map<string, TrustedAuthor>();
    for (const author of manifest.authors) {
        const id = await keyId(author.public);
        expect(!authors.has(id), `The manifest names the author key ${id} twice.`);
        authors.set(id, author);
    }
    return authors;
}

async function signerOf(root: documents.Root, id: string): Promise<Bytes | null> {
    for (const key of root.keys) {
        if (key.signs.includes("manifest") && (await keyId(key.public)) === id) {
            return key.public;
        }
    }
    return null;
}

function isSigned(publicKey: Bytes, kind: Kind, given: documents.Signed): Promise<boolean> {
    return verifies(publicKey, kind, given.body, given.sig);
}

function notOlder(newest: Seen, seen: Seen | null): void {
    if (seen === null) {
        return;
    }
    const again = "The broker sent an older or different document than before; something was rolled back.";
    expect(newest.rootVersion >= seen.rootVersion && newest.manifestVersion >= seen.manifestVersion, again);
    expect(newest.rootVersion > seen.rootVersion || newest.rootHash === seen.rootHash, again);
    expect(newest.manifestVersion > seen.manifestVersion || newest.manifestHash === seen.manifestHash, again);
}

function expect(holds: boolean, otherwise: string): void {
    if (!holds) {
        throw new UntrustedError(otherwise);
    }
}
