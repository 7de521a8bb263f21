/** What an API key can be made for, and what each word opens. Source: docs/broker-api.md, "Scopes". */

export interface Scope {
    name: string;
    opens: string;
}

/** What the role `auditor` may. */
export const READING: readonly Scope[] = [
    { name: "vendor:read", opens: "The vendor's name and keys" },
    { name: "tenants:read", opens: "Tenants and tags" },
    { name: "configs:read", opens: "Which configs there are, and who uses them" },
    { name: "documents:read", opens: "What was signed and sealed for a tenant, and what waits for a second person" },
    { name: "secrets:read", opens: "Tenant secrets, wrapped as they are" },
    { name: "audit:read", opens: "The audit" },
    { name: "fleet:read", opens: "Services, their reports, activity" },
    { name: "people:read", opens: "People and invitations" },
];

/** What the role `admin` may besides. */
export const CHANGING: readonly Scope[] = [
    { name: "tenants:write", opens: "Make and change tenants, make tags" },
    { name: "tenants:remove", opens: "Remove a tenant, and its secrets with it" },
    { name: "invitations:write", opens: "Invite the first person of a tenant" },
    { name: "vendor:write", opens: "The vendor's name, and whether new tenants must lease" },
    { name: "configs:write", opens: "The vendor's own configs: allow leasing, remove" },
    { name: "configs:test", opens: "Have configs tried" },
    { name: "documents:write", opens: "Hand in what an author signed" },
    { name: "approvals:decide", opens: "Approve or refuse what waits, where a tenant has no people" },
    { name: "secrets:rotate", opens: "Rotate tenant secrets" },
    { name: "secrets:import", opens: "Hand in secrets that were kept elsewhere" },
    { name: "keys:write", opens: "Hand in the vendor's root, manifest and new wraps" },
    { name: "heads:write", opens: "Hand in heads" },
    { name: "snapshots:read", opens: "Whole snapshots, as services get them" },
];

/** The least role that has all of some scopes. */
export function roleFor(scopes: ReadonlySet<string>): "auditor" | "admin" {
    return CHANGING.some((each) => scopes.has(each.name)) ? "admin" : "auditor";
}
