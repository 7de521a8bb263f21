/** What a tenant is: read and judged, changed and signed. */

import { api, path, withQuery } from "../api/client.ts";
import type { SealedConfigJson, TenantDocumentsJson } from "../api/types.ts";
import { nextAuthors, nextRecord, plaintextOf, sealConfig } from "../trust/authoring.ts";
import { type Chain, segmentsFor, type TrustedAuthor, verifyAuthors, verifyConfig, verifyRecord } from "../trust/chain.ts";
import * as documents from "../trust/documents.ts";
import type { Assignment, ConfigHeader, TenantAuthor } from "../trust/documents.ts";
import { sparesAfter, wrongSpares } from "../trust/spares.ts";
import { array, bytes, object, string } from "../trust/reading.ts";
import { type Provider, valuesOf } from "../kms/model.ts";
import { myKeys } from "./identity.tsx";
import type { Trust } from "./trust.ts";
import { rememberForm } from "./vault.ts";

const sealedPart = object({
    header: bytes(),
    payload: bytes(),
    commit: bytes(32),
    author: string(/./),
    sig: bytes(64),
    wraps: array(documents.wrap),
});

/** A sealed config whose author and header were judged. */
export interface KnownConfig {
    header: ConfigHeader;
    sealed: documents.SealedWithWraps;
    type: string;
    name: string;
    leasingAllowed: boolean;
    signedBy: string;
}

export interface TenantState {
    tenant: string;
    recordVersion: number;
    leasingRequired: boolean;
    assignments: Assignment[];
    /** Configs that wrap every new key too, beside the primary. */
    spares: number[];
    configs: Map<number, KnownConfig>;
    authors: ReadonlyMap<string, TrustedAuthor>;
    ownAuthors: TenantAuthor[];
    authorsVersion: number;
    tags: string[];
}

/** Read a config as the API says it and judge it under its owner. Throws UntrustedError. */
export async function knownConfig(
    chain: Chain,
    authors: ReadonlyMap<string, TrustedAuthor>,
    owner: string,
    said: SealedConfigJson,
): Promise<KnownConfig> {
    const { type, name, leasingAllowed, ...rest } = said;
    const sealed = sealedPart(rest, "a config");
    const header = await verifyConfig(chain, authors, owner, sealed);
    return { header, sealed, type, name, leasingAllowed, signedBy: authors.get(sealed.author)?.name ?? sealed.author };
}

/** Read what was signed for a tenant and believe only that. Throws UntrustedError. */
export async function readTenant(trust: Trust, tenant: string): Promise<TenantState> {
    const { chain } = trust;
    const said = await api.get<TenantDocumentsJson>(path`/api/1/vendors/${chain.manifest.vendor}/tenants/${tenant}/documents`);
    const named = said.authors === null ? null : await verifyAuthors(chain, tenant, documents.signed(said.authors, "authors"));
    const authors = named?.authors ?? chain.authors;
    const record = said.record === null ? null : await verifyRecord(chain, authors, tenant, documents.signed(said.record, "record"));
    const configs = await Promise.all(said.configs.map((each) => knownConfig(chain, authors, tenant, each)));
    return {
        tenant,
        recordVersion: said.recordVersion,
        leasingRequired: record?.leasingRequired ?? false,
        assignments: record?.assignments ?? [],
        spares: record?.spares ?? [],
        configs: new Map(configs.map((each) => [each.header.config, each])),
        authors,
        ownAuthors: named?.document.authors ?? [],
        authorsVersion: named?.document.version ?? 0,
        tags: said.tags,
    };
}

export interface TenantChange {
    assignments?: Assignment[];
    /** Without it the spares follow from the assignments. */
    spares?: number[];
    leasingRequired?: boolean;
    configs?: SealedConfigJson[];
    removed?: number[];
    ownAuthors?: TenantAuthor[];
}

/** Sign a tenant's next version and hand it in. Resolves to whether it waits for a second person. */
export async function changeTenant(trust: Trust, state: TenantState, change: TenantChange): Promise<"done" | "waits"> {
    const { signing } = await myKeys();
    const vendor = trust.chain.manifest.vendor;
    const said = {
        vendor,
        tenant: state.tenant,
        leasingRequired: change.leasingRequired ?? state.leasingRequired,
        assignments: change.assignments ?? state.assignments,
        spares: change.spares ?? sparesAfter(state.assignments, change.assignments ?? state.assignments, state.spares),
    };
    const wrong = wrongSpares(said.assignments, said.spares);
    if (wrong !== null) {
        throw new Error(`The record ${wrong}.`);
    }
    const record = await nextRecord(said, state.recordVersion, signing);
    const authors =
        change.ownAuthors === undefined
            ? {}
            : { authors: await nextAuthors({ vendor, tenant: state.tenant, authors: change.ownAuthors }, state.authorsVersion, signing) };
    const answer = await api.put<{ approval: string } | undefined>(path`/api/1/vendors/${vendor}/tenants/${state.tenant}/documents`, {
        record,
        baseVersion: state.recordVersion,
        configs: change.configs ?? [],
        removed: change.removed ?? [],
        ...authors,
    });
    return answer?.approval === undefined ? "done" : "waits";
}

/** Take a number for a config that is about to be sealed. */
export async function reserveNumber(vendor: string, tenant: string | null): Promise<number> {
    const { id } = await api.post<{ id: number }>(withQuery(path`/api/1/vendors/${vendor}/config-numbers`, { tenant }));
    return id;
}

export interface ToSeal {
    kind: documents.ConfigKind;
    type: string;
    name: string;
    config: object;
    leasingAllowed: boolean;
    /** The number and version that it follows, or null for a new one. */
    follows: { number: number; version: number } | null;
}

/** Seal a config of a tenant, or of the vendor where `tenant` is null, to every segment that serves it. */
export async function sealFor(trust: Trust, tenant: string | null, tags: readonly string[] | null, what: ToSeal): Promise<SealedConfigJson> {
    const { signing } = await myKeys();
    const { manifest } = trust.chain;
    const segments = tags === null ? trust.segments : segmentsFor(manifest, tags);
    if (segments.length === 0) {
        throw new Error("No segment serves this tenant, so nobody could open the config. Ask the vendor to check its tags.");
    }
    const number = what.follows?.number ?? (await reserveNumber(manifest.vendor, tenant));
    const sealed = await sealConfig(
        { vendor: manifest.vendor, tenant: tenant ?? documents.SHARED, config: number, kind: what.kind, previous: what.follows?.version ?? 0 },
        plaintextOf(what.config),
        segments,
        signing,
    );
    const { type, name, leasingAllowed } = what;
    return { ...(JSON.parse(JSON.stringify(sealed, documents.jsonBytes)) as Omit<SealedConfigJson, "type">), type, name, leasingAllowed };
}

/** The header of a config as it was sealed. */
export function headerOf(sealed: SealedConfigJson): ConfigHeader {
    return documents.configHeader(JSON.parse(atobText(sealed.header)), "header");
}

/** The number of a config as it was sealed. */
export function numberOf(sealed: SealedConfigJson): number {
    return headerOf(sealed).config;
}

/** Remember, for this person alone, what of a config that they have just sealed is no secret. */
export function rememberSealed(vendor: string, tenant: string, sealed: SealedConfigJson, provider: Provider, config: object): Promise<void> {
    const { config: number, version } = headerOf(sealed);
    return rememberForm({ vendor, tenant, config: number, version }, valuesOf(provider, config as Record<string, unknown>));
}

function atobText(written: string): string {
    return new TextDecoder().decode(Uint8Array.from(atob(written), (char) => char.charCodeAt(0)));
}
