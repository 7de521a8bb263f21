/** What the forms make of what people type. */

import { expect, test } from "vitest";

import { KMS } from "../src/kms/index.ts";
import { asked, complete, configOf, type Values, valuesOf, wrongWith } from "../src/kms/model.ts";

const GUID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
const PEM = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----";
const TYPED: Record<string, Values> = {
    AWS: {
        "keyPath.region": "eu-central-1",
        "keyPath.keyID": " alias/acme ",
        "credentials.accessKeyId": "AKIAIOSFODNN7EXAMPLE",
        "credentials.secretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    },
    AZURE: {
        "keyPath.vaultBaseUrl": "https://acme.vault.azure.net",
        "keyPath.keyName": "acme",
        "credentials.tenantGuid": GUID,
        "credentials.clientId": GUID,
        "credentials.clientSecret": "abc~def",
    },
    GCP: {
        "credentials.client_email": "proxy@acme-keys.iam.gserviceaccount.com",
        "credentials.private_key": PEM,
        "keyPath.projectId": "acme-keys",
        "keyPath.locationId": "europe-west3",
        "keyPath.keyRingId": "ring",
        "keyPath.cryptoKeyId": "key",
    },
    VAULT: {
        "keyPath.address": "https://vault.acme.example:8200",
        "keyPath.keyName": "acme",
        "credentials.roleId": "role",
        "credentials.secretId": "secret",
    },
    THALES: {
        "keyPath.serviceUrl": "https://ciphertrust.acme.example",
        "keyPath.keyId": "key",
        "credentials.username": "user",
        "credentials.password": "pass",
    },
    LOCAL: { "keyPath.keyId": "try", "credentials.keys.1": `${"A".repeat(43)}=` },
};

test.each(KMS.map((each) => [each.type, each] as const))("%s: what is typed becomes a config, as Python reads it", (type, provider) => {
    const values = TYPED[type] ?? {};
    expect(complete(provider, {})).toBe(false);
    expect(complete(provider, values)).toBe(true);
    const config = configOf(provider, values) as Record<string, unknown>;
    expect(config).toMatchObject({ type, version: 1 });
    expect(JSON.stringify(config)).not.toContain('""');
    const again = valuesOf(provider, config);
    for (const field of asked(provider, values).filter((each) => each.secret)) {
        expect(again[field.at]).toBeUndefined();
    }
    for (const step of provider.steps) {
        expect(step.code?.text(values) ?? "").not.toContain("undefined");
    }
});

test("what is wrong is said without the value", () => {
    for (const field of KMS.flatMap((each) => each.fields.filter((asks) => asks.secret))) {
        expect(wrongWith(field, "canary secret") ?? "").not.toContain("canary");
    }
});

test("a private key in the place of certificates is refused", () => {
    const field = KMS.flatMap((each) => each.fields).find((each) => each.at === "caCertificate");
    expect(field && wrongWith(field, PEM)).toContain("private key");
});
