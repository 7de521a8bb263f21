/** What the forms make of what people type. */

import { writeFileSync } from "node:fs";

import { expect, test } from "vitest";

import { KMS } from "../src/kms/index.ts";
import { asked, complete, configOf, type Values, valuesOf, wrongWith } from "../src/kms/model.ts";
import { SINKS } from "../src/sinks/index.ts";

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

const AWS_KEYS = { "credentials.accessKeyId": "AKIAIOSFODNN7EXAMPLE", "credentials.secretAccessKey": "wJalrXUtnFEMI/K7MDENG" };
const SASL = { "sasl.mechanism": "PLAIN", "sasl.username": "u", "sasl.password": "p" };
const SINKS_TYPED: Record<string, Values> = {
    SPLUNK: { url: "https://splunk.acme.example:8088", token: "t", acknowledge: "true", "filter.outcome": "failure" },
    ELASTICSEARCH: { url: "https://es.acme.example", index: "logs-a", "auth.type": "apiKey", "auth.apiKey": "k" },
    DATADOG: { site: "datadoghq.eu", apiKey: "k", tags: "env:prod, team:a" },
    AZURE_MONITOR: {
        endpoint: "https://a.westeurope-1.ingest.monitor.azure.com",
        ruleId: "dcr-0123456789abcdef0123456789abcdef",
        "credentials.tenantGuid": GUID,
        "credentials.clientId": GUID,
        "credentials.clientSecret": "s",
    },
    GOOGLE_CLOUD_LOGGING: {
        projectId: "acme-logs",
        "credentials.client_email": "logs@acme-logs.iam.gserviceaccount.com",
        "credentials.private_key": PEM,
    },
    AWS_CLOUDWATCH: { region: "eu-central-1", logGroup: "/tenant-security", ...AWS_KEYS },
    AWS_S3: { region: "eu-central-1", bucket: "acme-logs", prefix: "logs/", format: "ocsf", ...AWS_KEYS },
    AWS_SECURITY_LAKE: { region: "eu-central-1", bucket: "aws-security-data-lake-eu", accountId: "111122223333", ...AWS_KEYS },
    SYSLOG: { host: "logs.acme.example", port: "6514" },
    RELP: { host: "logs.acme.example" },
    KAFKA: { brokers: "kafka-1.acme.example:9093 kafka-2.acme.example:9093", topic: "events", ...SASL },
    SUMO_LOGIC: { url: "https://endpoint.sumologic.com/receiver/v1/http/x" },
    OTLP: { url: "https://collector.acme.example:4318/v1/logs", "headers.Authorization": "Bearer x" },
    WEBHOOK: { url: "https://hooks.acme.example/in", signingSecret: "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=" },
};

test.each(SINKS.map((each) => [each.type, each] as const))("%s: what is typed becomes a destination", (type, provider) => {
    expect(complete(provider, {})).toBe(false);
    expect(complete(provider, SINKS_TYPED[type] ?? {})).toBe(true);
});

test("every config, for Python to read", () => {
    const made = {
        kms: KMS.map((each) => configOf(each, TYPED[each.type] ?? {})),
        sinks: SINKS.map((each) => configOf(each, SINKS_TYPED[each.type] ?? {})),
    };
    if (process.env["CONFIGS_HERE"] !== undefined) {
        writeFileSync(process.env["CONFIGS_HERE"], JSON.stringify(made));
    }
});

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
