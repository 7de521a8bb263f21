/** A vendor's keys as this browser believes them: under the fingerprint that the person compared, and never older. */

import { api, path } from "../api/client.ts";
import type { Organisation, VendorDocumentsJson } from "../api/types.ts";
import { openSegments, type SegmentSeeds } from "../trust/authoring.ts";
import { type Chain, newestSegments, type Seen, verifyChain } from "../trust/chain.ts";
import * as documents from "../trust/documents.ts";
import type { SegmentWrap } from "../trust/documents.ts";
import { parseFingerprint } from "../trust/names.ts";
import { array } from "../trust/reading.ts";
import { myKeys } from "./identity.tsx";
import { keys } from "./vault.ts";

/** Nobody has compared this vendor's fingerprint in this browser yet. */
export class NotPinnedError extends Error {
    readonly vendor: string;
    readonly offered: string;

    constructor(vendor: string, offered: string) {
        super("Compare the vendor's fingerprint first.");
        this.vendor = vendor;
        this.offered = offered;
    }
}

const PINS = "pins";
const SEEN = "seen";

function kept<T>(place: string): Record<string, T> {
    try {
        return JSON.parse(localStorage.getItem(place) ?? "{}") as Record<string, T>;
    } catch {
        return {};
    }
}

function keep<T>(place: string, name: string, value: T): void {
    localStorage.setItem(place, JSON.stringify({ ...kept<T>(place), [name]: value }));
}

/** The fingerprint that was compared: by this person on any device, or in this browser. */
export function pinOf(vendor: string): string | null {
    return keys.value?.pins.get(vendor) ?? kept<string>(PINS)[vendor] ?? null;
}

/** Believe this root from now on. */
export function pin(vendor: string, fingerprint: string): void {
    keep(PINS, vendor, parseFingerprint(fingerprint));
}

/**
 * What was read of a vendor, judged. `segments` are those that serve the tenant, or all; `wraps` is empty for a
 * tenant's people.
 */
export interface Trust {
    chain: Chain;
    segments: documents.Segment[];
    wraps: SegmentWrap[];
}

/** Read and judge a vendor's keys. Throws NotPinnedError; UntrustedError. */
export async function readTrust(of: Pick<Organisation, "vendor" | "tenant" | "rootFingerprint">): Promise<Trust> {
    const pinned = pinOf(of.vendor);
    if (pinned === null) {
        throw new NotPinnedError(of.vendor, of.rootFingerprint);
    }
    if (of.tenant === null) {
        const given = await api.get<VendorDocumentsJson>(path`/api/1/vendors/${of.vendor}/documents`);
        const chain = await judge(of.vendor, given, pinned);
        const wraps = array(documents.segmentWrap)(given.segmentWraps, "segmentWraps");
        return { chain, segments: chain.manifest.segments, wraps };
    }
    const given = await api.get<VendorDocumentsJson & { segments: number[] }>(
        path`/api/1/vendors/${of.vendor}/tenants/${of.tenant}/trust`,
    );
    const chain = await judge(of.vendor, given, pinned);
    const segments = newestSegments(chain.manifest).filter((each) => given.segments.includes(each.id));
    return { chain, segments, wraps: [] };
}

async function judge(vendor: string, given: Pick<VendorDocumentsJson, "root" | "manifest">, pinned: string): Promise<Chain> {
    const read = { root: documents.signed(given.root, "root"), manifest: documents.signed(given.manifest, "manifest") };
    const chain = await verifyChain(read, pinned, kept<Seen>(SEEN)[vendor] ?? null);
    keep(SEEN, vendor, chain.seen);
    return chain;
}

/** Hand in a vendor's next root, manifest and wraps, and believe nothing older from now on. */
export async function publish(trust: Trust, next: { root?: documents.Signed; manifest?: documents.Signed; wraps?: SegmentWrap[] }): Promise<void> {
    const { chain } = trust;
    const { vendor } = chain.manifest;
    const root = next.root ?? chain.rootSigned;
    const manifest = next.manifest ?? chain.manifestSigned;
    const judged = await verifyChain({ root, manifest }, chain.rootFingerprint, chain.seen);
    await api.put(path`/api/1/vendors/${vendor}/documents`, { root, manifest, segmentWraps: next.wraps ?? trust.wraps });
    keep(SEEN, vendor, judged.seen);
}

/** The segments' seeds that were sealed to this person. Opens their keys where they are closed. */
export async function mySeeds(trust: Trust): Promise<SegmentSeeds> {
    return openSegments(trust.chain.manifest, trust.wraps, (await myKeys()).seeds.encryption);
}
