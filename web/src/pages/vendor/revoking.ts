/** Revoking a service: what it could read, new keys for its segments, and everything sealed anew. */

import { api, path, withQuery } from "../../api/client.ts";
import type { Config, Page, SealedConfigJson, Tenant } from "../../api/types.ts";
import { myKeys } from "../../app/identity.tsx";
import { changeTenant, type KnownConfig, knownConfig, readTenant } from "../../app/tenant-documents.ts";
import { mySeeds, publish, readTrust, type Trust } from "../../app/trust.ts";
import { kmsName } from "../../kms/index.ts";
import { sinkName } from "../../sinks/index.ts";
import { entitled, nextEpochs, nextManifest, openDek, seedName, type SegmentSeeds, wrapDek, wrapSeed } from "../../trust/authoring.ts";
import { equal } from "../../trust/bytes.ts";
import { newestSegments } from "../../trust/chain.ts";
import * as documents from "../../trust/documents.ts";
import type { Identity, Segment, SegmentWrap } from "../../trust/documents.ts";
import { keyId } from "../../trust/names.ts";
import { verifyClaim } from "../../trust/people.ts";

const PAGE = 100;

async function every<T>(to: string): Promise<T[]> {
    const found: T[] = [];
    for (let page = 1, pages = 1; page <= pages; page += 1) {
        const answer = await api.get<Page<T>>(withQuery(to, { page, pageSize: PAGE, sortDirection: "asc" }));
        found.push(...answer.result);
        pages = answer.totalPages;
    }
    return found;
}

const tenantsOf = (vendor: string) => every<Tenant>(path`/api/1/vendors/${vendor}/tenants`);
const sharedOf = (vendor: string) => every<Config>(path`/api/1/vendors/${vendor}/configs`);

/** Name every config that an identity could open. */
export async function readableBy(trust: Trust, identity: Identity): Promise<string[]> {
    const vendor = trust.chain.manifest.vendor;
    const mine = new Set(trust.chain.manifest.segments.filter((each) => entitled(identity, each)).map((each) => each.id));
    const shared = (await sharedOf(vendor)).filter((each) => each.segments.some((segment) => mine.has(segment)));
    const names = shared.map((each) => `your own: ${each.name || kmsName(each.type)} (${each.id})`);
    for (const tenant of await tenantsOf(vendor)) {
        const configs = await every<Config>(path`/api/1/vendors/${vendor}/tenants/${tenant.id}/configs`);
        for (const each of configs.filter((one) => one.segments.some((segment) => mine.has(segment)))) {
            const kind = each.kind === "kms" ? kmsName(each.type) : sinkName(each.type);
            names.push(`${tenant.name}: ${each.name || kind}${each.name ? ` (${kind})` : ""}`);
        }
    }
    return names;
}

/** Revoke an identity. Returns how many configs were sealed anew. */
export async function revokeService(trust: Trust, identity: Identity): Promise<number> {
    const { manifest } = trust.chain;
    const { signing } = await myKeys();
    const old = await mySeeds(trust);
    const touched = new Set(newestSegments(manifest).filter((each) => entitled(identity, each)).map((each) => each.id));
    const { segments, seeds } = await nextEpochs(manifest, touched);
    const identities = manifest.identities.map((each) => (each.id === identity.id ? { ...each, status: "revoked" as const } : each));
    // A bridge signs for tenants too, with the same key.
    const authors = manifest.authors.filter((each) => !equal(each.public, identity.signing));
    const gone = await keyId(identity.encryption);
    const kept = trust.wraps.filter((each) => each.recipient !== gone);
    const next = { ...manifest, segments, identities };
    const added = await wrapsForAll(trust, next, seeds, gone);
    await publish(trust, { manifest: await nextManifest(manifest, { segments, identities, authors }, signing), wraps: [...kept, ...added] });
    const fresh = await readTrust({ vendor: manifest.vendor, tenant: null, rootFingerprint: trust.chain.rootFingerprint });
    return rewrapAll(fresh, new Map([...old, ...seeds]));
}

/** Seal new segments' seeds to everybody who had the old ones, but for who is gone. */
async function wrapsForAll(trust: Trust, next: documents.Manifest, seeds: SegmentSeeds, gone: string): Promise<SegmentWrap[]> {
    const keys = await publicKeys(trust, next);
    const added: SegmentWrap[] = [];
    for (const segment of next.segments) {
        const seed = seeds.get(seedName(segment.id, segment.epoch));
        if (seed === undefined) {
            continue;
        }
        const had = new Set(trust.wraps.filter((each) => each.segment === segment.id).map((each) => each.recipient));
        for (const recipient of had) {
            const key = keys.get(recipient);
            if (recipient !== gone && key !== undefined) {
                added.push(await wrapSeed(next.vendor, segment, seed, key));
            }
        }
    }
    return added;
}

type Recipient = { suite: 1 | 2; public: documents.Author["public"] };

/** Whose encryption keys we know: services by the manifest, admins by their claims. */
async function publicKeys(trust: Trust, next: documents.Manifest): Promise<Map<string, Recipient>> {
    const found = new Map<string, Recipient>();
    for (const each of next.identities.filter((one) => one.status === "active")) {
        found.set(await keyId(each.encryption), { suite: each.suite, public: each.encryption });
    }
    const { encryptionPublic } = await myKeys();
    found.set(await keyId(encryptionPublic), { suite: 1, public: encryptionPublic });
    for (const each of await adminsOf(trust)) {
        found.set(await keyId(each), { suite: 1, public: each });
    }
    return found;
}

/** Encryption keys of admins, believed where the claim is signed with an author key of the manifest. */
async function adminsOf(trust: Trust): Promise<documents.Author["public"][]> {
    const said = await api.get<{ claim: { body: string; key: string; sig: string } }[]>(path`/api/1/vendors/${trust.chain.manifest.vendor}/authors`);
    const found: documents.Author["public"][] = [];
    for (const each of said) {
        const signed = documents.signed(each.claim, "claim");
        if (trust.chain.authors.has(signed.key)) {
            found.push((await verifyClaim(signed)).encryption);
        }
    }
    return found;
}

/** Seal every config's DEK to the newest epoch of its segments. */
async function rewrapAll(trust: Trust, seeds: SegmentSeeds): Promise<number> {
    const { manifest, authors } = trust.chain;
    const vendor = manifest.vendor;
    let done = 0;
    for (const config of await sharedOf(vendor)) {
        const said = await api.get<SealedConfigJson>(path`/api/1/vendors/${vendor}/configs/${config.id}/sealed`);
        const known = await knownConfig(trust.chain, authors, documents.SHARED, said);
        const fresh = await rewrapped(trust, known, seeds);
        if (fresh !== null) {
            await api.put(path`/api/1/vendors/${vendor}/configs`, fresh);
            done += 1;
        }
    }
    for (const tenant of await tenantsOf(vendor)) {
        const state = await readTenant(trust, tenant.id);
        const fresh = await Promise.all([...state.configs.values()].map((each) => rewrapped(trust, each, seeds)));
        const configs = fresh.filter((each) => each !== null);
        if (configs.length > 0) {
            await changeTenant(trust, state, { configs });
            done += configs.length;
        }
    }
    return done;
}

async function rewrapped(trust: Trust, known: KnownConfig, seeds: SegmentSeeds): Promise<SealedConfigJson | null> {
    const newest = new Map(newestSegments(trust.chain.manifest).map((each) => [each.id, each]));
    if (known.sealed.wraps.every((each) => newest.get(each.segment)?.epoch === each.epoch)) {
        return null;
    }
    const { header } = known.sealed;
    const wraps = await Promise.all(
        known.sealed.wraps.map(async (each) => {
            const seed = seeds.get(seedName(each.segment, each.epoch));
            const segment = newest.get(each.segment) as Segment;
            return seed === undefined || segment === undefined ? each : wrapDek(await openDek(header, each, seed), header, segment);
        }),
    );
    const sealed = JSON.parse(JSON.stringify({ ...known.sealed, wraps }, documents.jsonBytes)) as Omit<SealedConfigJson, "type" | "name" | "leasingAllowed">;
    return { ...sealed, type: known.type, name: known.name, leasingAllowed: known.leasingAllowed };
}
