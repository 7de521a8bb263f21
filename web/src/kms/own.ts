/** KMSs that a tenant runs itself: Vault and OpenBao, Thales CipherTrust Manager, and the local one for trying out. */

import { base64, random } from "../trust/bytes.ts";
import { certificates, httpsAddress, matches, or, type Provider } from "./model.ts";

const MOUNT = matches(/^[\w-][\w.-]{0,127}(\/[\w-][\w.-]{0,127}){0,7}$/, "A path such as transit or teams/a/transit, without slashes at its ends.");
const AUTHORITIES = {
    label: "Private authorities",
    hint: "Only when the address has a certificate of your own authority: its certificates, in PEM. They alone are then believed.",
    optional: true,
    advanced: true,
    lines: true,
    check: certificates,
} as const;

const byRole = (values: Readonly<Record<string, string>>) => values["_way"] !== "token";

export const VAULT: Provider = {
    type: "VAULT",
    name: "Vault or OpenBao",
    mark: "V",
    what: "A Transit key in HashiCorp Vault or OpenBao",
    fixed: { version: 1 },
    fields: [
        { at: "keyPath.address", label: "Address", hint: "Where the vendor's proxy reaches it.", placeholder: "https://vault.acme.example:8200", check: httpsAddress },
        { at: "keyPath.keyName", label: "Key name", hint: "Of the Transit key.", check: matches(/^\w([\w.-]{0,253}\w)?$/, "Letters, digits, dots and dashes.") },
        { at: "keyPath.mount", label: "Engine's mount", hint: "transit when left empty.", optional: true, placeholder: "transit", check: MOUNT },
        {
            at: "_way",
            label: "How the proxy signs in",
            hint: "An AppRole can be rotated without losing anything; a token ends when it expires.",
            optional: true,
            choices: [
                ["", "AppRole (recommended)"],
                ["token", "A token"],
            ],
        },
        { at: "credentials.roleId", label: "Role id", hint: "Of the AppRole.", when: byRole },
        { at: "credentials.secretId", label: "Secret id", hint: "Sealed in this browser before anything is sent.", secret: true, when: byRole },
        { at: "credentials.token", label: "Token", hint: "Sealed in this browser before anything is sent. It is never renewed.", secret: true, when: (values) => !byRole(values) },
        { at: "credentials.authMount", label: "AppRole's mount", hint: "approle when left empty.", optional: true, advanced: true, check: MOUNT, when: byRole },
        { at: "credentials.namespace", label: "Namespace", hint: "Of the auth method and of the key.", optional: true, advanced: true, check: MOUNT },
        { at: "keyPath.context", label: "Context", hint: "For keys with derived=true. Data that was wrapped with it needs it for ever.", optional: true, advanced: true },
        { at: "caCertificate", ...AUTHORITIES },
    ],
    steps: [
        { title: "Have a Transit key", text: "Type aes256-gcm96, not exportable.", code: { what: "Key", text: (values) => `vault write -f ${or(values["keyPath.mount"], "transit")}/keys/${or(values["keyPath.keyName"], "acme")}` } },
        {
            title: "Allow two paths and nothing else",
            text: "Give the AppRole this policy.",
            code: {
                what: "Policy",
                text: (values) => {
                    const [mount, key] = [or(values["keyPath.mount"], "transit"), or(values["keyPath.keyName"], "acme")];
                    return `path "${mount}/encrypt/${key}" {\n  capabilities = ["update"]\n}\npath "${mount}/decrypt/${key}" {\n  capabilities = ["update"]\n}\n`;
                },
            },
        },
    ],
};

export const THALES: Provider = {
    type: "THALES",
    name: "Thales CipherTrust",
    mark: "Th",
    what: "An AES key in a CipherTrust Manager",
    fixed: { version: 1 },
    fields: [
        { at: "keyPath.serviceUrl", label: "Address", hint: "Of your CipherTrust Manager.", placeholder: "https://ciphertrust.acme.example", check: httpsAddress },
        { at: "keyPath.keyId", label: "Key", hint: "Its id or name.", check: matches(/^[^\s]{1,256}$/, "Without spaces.") },
        { at: "credentials.username", label: "User", hint: "A user only for this, with password login only." },
        { at: "credentials.password", label: "Password", hint: "Sealed in this browser before anything is sent.", secret: true },
        { at: "credentials.authDomain", label: "User's domain", hint: "root when left empty.", optional: true, advanced: true },
        { at: "credentials.domain", label: "Key's domain", hint: "When the key lives in another domain than the user.", optional: true, advanced: true },
        { at: "credentials.connection", label: "Connection", hint: "local_account when left empty.", optional: true, advanced: true },
        { at: "caCertificate", ...AUTHORITIES },
    ],
    steps: [
        { title: "Make a user and a group", text: "A dedicated user with a local account, in a group of its own." },
        { title: "Let the group use one key", text: "In the key's permissions give the group: use the key to encrypt, and to decrypt. Nothing else." },
    ],
};

export const LOCAL: Provider = {
    type: "LOCAL",
    name: "Local key",
    mark: "⌂",
    what: "Lives in the config itself. To try things out, never for custody",
    fixed: { version: 1 },
    fields: [
        { at: "keyPath.keyId", label: "Key name", hint: "Becomes part of everything that is wrapped with it.", placeholder: "try-out", check: matches(/^\S{1,64}$/, "Without spaces.") },
        {
            at: "credentials.keys.1",
            label: "Key",
            hint: "Base64 of 32 random bytes.",
            secret: true,
            check: matches(/^[A-Za-z0-9+/]{43}=$/, "It must be base64 of 32 bytes, 44 characters."),
        },
    ],
    steps: [{ title: "Nothing to set up", text: "Anybody who can open this config has the key. Use it in a demo only." }],
};

/** A fresh key for a local config. */
export function freshLocalKey(): string {
    return base64(random(32));
}
