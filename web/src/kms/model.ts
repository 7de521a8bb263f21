/** How a config is asked for: its fields, what is checked as it is typed, and what the tenant's side must allow. */

export interface FieldAsked {
    /** Where it stands in the config, such as `credentials.accessKeyId`. */
    at: string;
    label: string;
    hint: string;
    placeholder?: string;
    secret?: boolean;
    optional?: boolean;
    lines?: boolean;
    /** Shown under "More". */
    advanced?: boolean;
    choices?: readonly (readonly [string, string])[];
    /** Turns what was typed into what is stored. */
    as?: "number" | "boolean" | "list";
    /** What is wrong with it, or null. Never quotes a secret. */
    check?: (value: string) => string | null;
    /** Only asked for while this holds. */
    when?: (values: Values) => boolean;
}

export type Values = Readonly<Record<string, string>>;

export interface Provider {
    type: string;
    name: string;
    mark: string;
    what: string;
    fields: readonly FieldAsked[];
    /** What the person does on the other side first, step by step. */
    steps: readonly { title: string; text: string; code?: { what: string; text: (values: Values) => string } }[];
    /** Fills fields from a file or text that the person has, such as Google's key file. */
    paste?: { label: string; hint: string; read: (text: string) => Values | null };
    /** Members that every config of this type has. */
    fixed?: Record<string, unknown>;
    /** What must hold between fields. */
    together?: (values: Values) => string | null;
}

/** A value, or what to show in its place. */
export const or = (value: string | undefined, otherwise: string): string => (value?.trim() ? value.trim() : otherwise);

export const matches =
    (pattern: RegExp, otherwise: string) =>
    (value: string): string | null =>
        pattern.test(value.trim()) ? null : otherwise;

export function httpsAddress(value: string): string | null {
    try {
        const url = new URL(value.trim());
        if (url.protocol !== "https:") {
            return "It must begin with https://";
        }
        return url.username || url.search || url.hash ? "Only the address, without user, query or fragment." : null;
    } catch {
        return "It must be an address such as https://keys.example.com";
    }
}

export function certificates(value: string): string | null {
    if (/PRIVATE KEY/.test(value)) {
        return "That is a private key. Only certificates belong here; keep the key to yourself.";
    }
    return /^\s*-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----\s*$/.test(value)
        ? null
        : "It must be certificates in PEM: -----BEGIN CERTIFICATE----- …";
}

/** The fields that are asked for with these values. */
export function asked(provider: Provider, values: Values): FieldAsked[] {
    return provider.fields.filter((field) => field.when?.(values) !== false);
}

/** What is wrong with a field as it stands. */
export function wrongWith(field: FieldAsked, value: string | undefined): string | null {
    const given = value?.trim() ?? "";
    if (given === "") {
        return field.optional ? null : "This is needed.";
    }
    return field.check?.(given) ?? null;
}

/** Whether everything that is asked for is there and good. */
export function complete(provider: Provider, values: Values): boolean {
    const fieldsGood = asked(provider, values).every((field) => wrongWith(field, values[field.at]) === null);
    return fieldsGood && (provider.together?.(values) ?? null) === null;
}

/** The config as it is sealed. Members that are named with a leading `_` steer the form and are left out. */
export function configOf(provider: Provider, values: Values): object {
    const config: Record<string, unknown> = { type: provider.type, ...structuredClone(provider.fixed ?? {}) };
    for (const field of asked(provider, values)) {
        const value = values[field.at]?.trim() ?? "";
        if (value !== "" && !field.at.startsWith("_")) {
            place(config, field.at, typed(field, value));
        }
    }
    return config;
}

function typed(field: FieldAsked, value: string): unknown {
    switch (field.as) {
        case "number":
            return Number(value);
        case "boolean":
            return value === "true";
        case "list":
            return value.split(/[\s,]+/).filter(Boolean);
        default:
            return value;
    }
}

function place(config: Record<string, unknown>, at: string, value: unknown): void {
    const names = at.split(".");
    let inside = config;
    for (const name of names.slice(0, -1)) {
        inside[name] ??= {};
        inside = inside[name] as Record<string, unknown>;
    }
    inside[names.at(-1) ?? at] = value;
}

/** The values of a config that was opened, without its secrets: to begin the form with. */
export function valuesOf(provider: Provider, config: Record<string, unknown>): Record<string, string> {
    const values: Record<string, string> = {};
    for (const field of provider.fields.filter((each) => !each.secret)) {
        let value: unknown = config;
        for (const name of field.at.split(".")) {
            value = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined;
        }
        if (["string", "number", "boolean"].includes(typeof value)) {
            values[field.at] = String(value);
        }
    }
    return values;
}
