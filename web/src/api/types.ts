/** What the broker's API says, as JSON. Units: times are Unix milliseconds. Source: docs/broker-api.md. */

export interface SignedJson {
    body: string;
    key: string;
    sig: string;
}

export type Role = "owner" | "admin" | "auditor";

export interface Organisation {
    vendor: string;
    vendorName: string;
    rootFingerprint: string;
    tenant: string | null;
    tenantName: string | null;
    role: Role;
    ssoRequired: boolean;
    available: boolean;
}

export interface Session {
    person: { id: string; email: string; name: string };
    method: "passkey" | "passphrase" | "sso";
    /** The broker's own time. */
    now: number;
    created: number;
    expires: number;
    idleExpires: number;
    proved: number;
    provedUntil: number;
    ownSignIn: boolean;
    hasKeys: boolean;
    organisations: Organisation[];
}

export interface Made {
    id: string;
    name: string;
    type: string;
}

export interface Page<T> {
    result: T[];
    page: number;
    totalPages: number;
    total: number;
}

export interface Tenant {
    id: string;
    name: string;
    invited: boolean;
    accepted: boolean;
    ownConfigs: number;
    leasingRequired: boolean;
    primaryConfig: number | null;
    recordVersion: number;
    /** Ids of its tags. */
    tags: number[];
    createdBy: Made;
    created: number;
    updated: number;
}

export interface Tag {
    id: number;
    text: string;
    default: boolean;
    tenants: number;
}

export interface Config {
    id: number;
    owner: string | null;
    kind: "kms" | "sink";
    type: string;
    name: string;
    version: number;
    leasingAllowed: boolean;
    segments: number[];
    assignmentCount: number;
    secretCount: number;
    createdBy: Made;
    created: number;
    updated: number;
}

export interface Assignment {
    config: number;
    tenant: string;
    active: boolean;
    primary: boolean;
    leasing: boolean;
}

export interface TenantSecret {
    id: string;
    tenant: string;
    tags: string[];
    type: string;
    path: string;
    config: number;
    migration: string;
    rotation: string;
    created: number;
    updated: number;
    /** Whether a proxy signed where it belongs. */
    bound: boolean;
    /** Why it could not be wrapped or bound anew when that was last tried. */
    trouble: string;
}

export interface AuditEntry {
    seq: number;
    at: number;
    actor: Made;
    action: string;
    tenant: string;
    target: string;
    detail: Record<string, unknown>;
    hash: string;
}

export interface ServiceAccount {
    id: string;
    kind: string;
    config: number;
    fingerprint: string;
    status: "requested" | "active" | "revoked";
    created: number;
    seen: number | null;
    seenVersion: string | null;
    seenRevision: number | null;
}

export interface WrapJson {
    segment: number;
    epoch: number;
    suite: 1 | 2;
    sealed: string;
}

export interface SealedConfigJson {
    header: string;
    payload: string;
    commit: string;
    author: string;
    sig: string;
    wraps: WrapJson[];
    type: string;
    name: string;
    leasingAllowed: boolean;
}

export interface TenantDocumentsJson {
    tenant: string;
    recordVersion: number;
    record: SignedJson | null;
    authors: SignedJson | null;
    configs: SealedConfigJson[];
    tags: string[];
}

export interface VendorDocumentsJson {
    root: SignedJson;
    manifest: SignedJson;
    segmentWraps: { segment: number; epoch: number; recipient: string; suite: 1 | 2; sealed: string }[];
}

export interface Person {
    person: string;
    email: string;
    name: string;
    role: Role;
    disabled: boolean;
    created: number;
    lastSeen: number | null;
    keyId: string | null;
    fingerprint: string | null;
    methods: string[];
}

export interface Invitation {
    id: string;
    email: string;
    role: Role;
    status: "open" | "accepted" | "withdrawn" | "expired";
    mailed: boolean;
    signed: boolean | SignedJson | null;
    createdBy: Made;
    created: number;
    expires: number;
    accepted: number | null;
}

export interface PendingAuthor {
    person: string;
    email: string;
    name: string;
    role: Role;
    status: "pending" | "approved";
    public: string;
    keyId: string;
    fingerprint: string;
    suite: 1 | 2;
    encryption: string;
    encryptionKeyId: string;
    claim: SignedJson;
    invitation: SignedJson | null;
    proof: SignedJson | null;
    proved: boolean;
}

export interface ApiKey {
    id: string;
    name: string;
    role: "admin" | "auditor";
    /** null: all that its role may. */
    scopes: string[] | null;
    /** Ids, or beginnings of ids with a star; null: every tenant. */
    tenants: string[] | null;
    created: number;
    createdBy: Made;
    expires: number | null;
    used: number | null;
    revoked: number | null;
}

export interface Approval {
    id: string;
    kind: "documents" | "rule";
    summary: unknown;
    state: "waiting" | "approved" | "refused" | "expired";
    createdBy: Made;
    created: number;
    expires: number;
    decidedBy: Made | null;
    decided: number | null;
}

export interface Delivery {
    tenant: string;
    waiting: number;
    lagS: number;
    delivered: number;
    failed: number;
    lastError: string;
}

export interface FleetInstance {
    service: string;
    instance: string;
    software: string;
    health: "UP" | "WARN" | "DOWN";
    reason: string;
    snapshotVersion: number;
    snapshotAgeS: number;
    quarantinedTenants: number;
    uptimeS: number;
    seen: number;
    deliveries: Delivery[];
}

export interface Activity {
    tenant: string | null;
    bucketMillis: number;
    kmsBoundsS: number[];
    buckets: { start: number; operations: number; errors: Record<string, number>; kms: number[] }[];
}

export interface ConfigTest {
    id: string;
    config: number;
    state: "waiting" | "running" | "done" | "expired";
    ok: boolean | null;
    checks: { step: string; ok: boolean; message: string; milliseconds: number }[];
    service: string | null;
    instance: string | null;
    software: string | null;
    created: number;
    expires: number;
}

export interface Account {
    id: string;
    email: string;
    name: string;
    passphrase: boolean;
    recoveryCodesLeft: number;
    passkeys: { id: string; name: string; created: number; used: number | null }[];
}

export interface SessionEntry {
    id: string;
    current: boolean;
    method: string;
    created: number;
    seen: number;
    expires: number;
    address: string;
    agent: string;
}
