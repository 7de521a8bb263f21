/** The clouds' KMSs: AWS, Azure, Google Cloud. */

import { httpsAddress, matches, or, type Provider } from "./model.ts";

const awsPolicy = (key: string, region: string) =>
    JSON.stringify(
        {
            Version: "2012-10-17",
            Statement: [
                {
                    Sid: "WrapAndUnwrapWithOneKey",
                    Effect: "Allow",
                    Action: ["kms:Encrypt", "kms:Decrypt"],
                    Resource: key.startsWith("arn:") && !key.includes(":alias/") ? key : `arn:aws:kms:${region}:YOUR_ACCOUNT_ID:key/KEY_ID`,
                },
            ],
        },
        null,
        2,
    );

export const AWS: Provider = {
    type: "AWS",
    name: "AWS KMS",
    mark: "AWS",
    what: "A symmetric key in your AWS account",
    fixed: { version: 1 },
    fields: [
        {
            at: "keyPath.region",
            label: "Region",
            hint: "Where the key lives.",
            placeholder: "eu-central-1",
            check: matches(/^[a-z]{2}(-[a-z]+)+-\d$/, "A region looks like eu-central-1."),
        },
        {
            at: "keyPath.keyID",
            label: "Key",
            hint: "The key's ARN or id, or an alias such as alias/acme. A full ARN leaves no doubt.",
            placeholder: "arn:aws:kms:eu-central-1:111122223333:key/…",
            check: matches(/^(arn:aws[\w-]*:kms:[\w-]+:\d{12}:(key|alias)\/.+|alias\/.+|[\w-]{36,40})$/, "Give an ARN, a key id, or alias/name."),
        },
        {
            at: "credentials.accessKeyId",
            label: "Access key id",
            hint: "Of the user that may use the key, or that may assume the role.",
            placeholder: "AKIA…",
            check: matches(/^[A-Z0-9]{16,128}$/, "An access key id has 16 or more capitals and digits."),
        },
        {
            at: "credentials.secretAccessKey",
            label: "Secret access key",
            hint: "Sealed in this browser before anything is sent.",
            secret: true,
            check: matches(/^\S{16,128}$/, "A secret access key has 40 characters and no spaces."),
        },
        {
            at: "credentials.roleArn",
            label: "Role to assume",
            hint: "Better than a key of the user's own: the access key then only opens this role.",
            placeholder: "arn:aws:iam::111122223333:role/…",
            optional: true,
            check: matches(/^arn:aws[\w-]*:iam::\d{12}:role\/.+$/, "A role's ARN looks like arn:aws:iam::111122223333:role/name."),
        },
        {
            at: "credentials.externalId",
            label: "External id",
            hint: "The value that the role's trust policy demands, so that nobody else can have the vendor use your role.",
            optional: true,
            when: (values) => Boolean(values["credentials.roleArn"]),
        },
        {
            at: "endpoint",
            label: "Endpoint",
            hint: "Only for a private endpoint of KMS.",
            optional: true,
            advanced: true,
            check: httpsAddress,
        },
    ],
    steps: [
        {
            title: "Have a key",
            text: "In AWS KMS, a symmetric key with usage Encrypt and decrypt. Let AWS rotate it if you like: old data stays readable.",
        },
        {
            title: "Allow two calls on it, and nothing else",
            text: "Attach this policy to the user or role. The vendor's proxy only ever asks KMS to wrap and unwrap 32 bytes.",
            code: {
                what: "Permissions policy",
                text: (values) => awsPolicy(or(values["keyPath.keyID"], ""), or(values["keyPath.region"], "REGION")),
            },
        },
    ],
};

const GUID = matches(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i, "It must be a GUID such as 1b4e28ba-2fa1-11d2-883f-0016d3cca427.");

export const AZURE: Provider = {
    type: "AZURE",
    name: "Azure Key Vault",
    mark: "Az",
    what: "A key in Key Vault or a Managed HSM",
    fixed: { version: 1 },
    fields: [
        {
            at: "keyPath.vaultBaseUrl",
            label: "Vault address",
            hint: "On the vault's overview page, as Vault URI.",
            placeholder: "https://acme.vault.azure.net",
            check: httpsAddress,
        },
        {
            at: "keyPath.keyName",
            label: "Key name",
            hint: "Without a version: new data takes the current one, old data its own.",
            check: matches(/^[0-9A-Za-z-]{1,127}$/, "Letters, digits and dashes."),
        },
        { at: "credentials.tenantGuid", label: "Directory (tenant) id", hint: "On the app registration's overview page.", check: GUID },
        { at: "credentials.clientId", label: "Application (client) id", hint: "On the same page.", check: GUID },
        {
            at: "credentials.clientSecret",
            label: "Client secret",
            hint: "The secret's value, not its id. Sealed in this browser before anything is sent.",
            secret: true,
            check: (value) => (GUID(value) === null ? "That looks like the secret's id; its value is needed." : null),
        },
        {
            at: "algorithm",
            label: "Algorithm",
            hint: "For RSA keys the first. AES keys exist in a Managed HSM only.",
            advanced: true,
            optional: true,
            choices: [
                ["", "RSA-OAEP-256 (usual)"],
                ["RSA-OAEP", "RSA-OAEP with SHA-1, for old HSMs"],
                ["A256KW", "A256KW, a 256-bit AES key"],
                ["A192KW", "A192KW"],
                ["A128KW", "A128KW"],
            ],
        },
        {
            at: "permissions",
            label: "Permissions given",
            hint: "Which pair of operations the application may use.",
            advanced: true,
            optional: true,
            choices: [
                ["", "Wrap key and unwrap key (usual)"],
                ["encrypt", "Encrypt and decrypt"],
            ],
        },
    ],
    steps: [
        {
            title: "Register an application",
            text: "In Microsoft Entra ID, an app registration only for this purpose, with a client secret.",
        },
        {
            title: "Let it wrap and unwrap with one key",
            text: "Assign it the role Key Vault Crypto Service Encryption User on the key itself, not on the vault.",
            code: {
                what: "Azure CLI",
                text: (values) =>
                    `az role assignment create \\\n  --role "Key Vault Crypto Service Encryption User" \\\n  --assignee ${or(values["credentials.clientId"], "CLIENT_ID")} \\\n  --scope /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.KeyVault/vaults/VAULT/keys/${or(values["keyPath.keyName"], "KEY")}`,
            },
        },
    ],
};

export const GCP: Provider = {
    type: "GCP",
    name: "Google Cloud KMS",
    mark: "GCP",
    what: "A symmetric key in a Google Cloud project",
    fixed: { version: 1 },
    paste: {
        label: "Service account key file",
        hint: "Paste the JSON file that Google gave you; the fields fill themselves. It stays in this browser.",
        read: (text) => {
            try {
                const file = JSON.parse(text) as Record<string, string>;
                return file["client_email"] && file["private_key"]
                    ? { "credentials.client_email": file["client_email"], "credentials.private_key": file["private_key"], ...(file["project_id"] ? { "keyPath.projectId": file["project_id"] } : {}) }
                    : null;
            } catch {
                return null;
            }
        },
    },
    fields: [
        {
            at: "credentials.client_email",
            label: "Service account",
            hint: "Its e-mail address.",
            placeholder: "proxy@project.iam.gserviceaccount.com",
            check: matches(/^[A-Za-z0-9][\w.-]*@[a-z0-9][a-z0-9.-]*\.gserviceaccount\.com$/, "It ends in gserviceaccount.com."),
        },
        {
            at: "credentials.private_key",
            label: "Private key",
            hint: "From the key file. Sealed in this browser before anything is sent.",
            secret: true,
            lines: true,
            check: matches(/^-----BEGIN (RSA )?PRIVATE KEY-----[\s\S]+-----END (RSA )?PRIVATE KEY-----\s*$/, "It must be a private key in PEM."),
        },
        { at: "keyPath.projectId", label: "Project", hint: "The id of the project that has the key.", check: matches(/^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^\d{1,20}$/, "A project id has 6 to 30 small letters, digits and dashes.") },
        { at: "keyPath.locationId", label: "Location", hint: "Of the key ring.", placeholder: "europe-west3", check: matches(/^[a-z]{1,20}(-[a-z]{1,20}){0,3}\d{0,2}$/, "A location looks like europe-west3, eur4 or global.") },
        { at: "keyPath.keyRingId", label: "Key ring", hint: "Its name.", check: matches(/^[\w-]{1,63}$/, "Letters, digits, dashes and underscores.") },
        { at: "keyPath.cryptoKeyId", label: "Key", hint: "Its name, without a version.", check: matches(/^[\w-]{1,63}$/, "Letters, digits, dashes and underscores.") },
        { at: "endpoint", label: "Endpoint", hint: "Only for Private Service Connect or a regional endpoint.", optional: true, advanced: true, check: httpsAddress },
    ],
    steps: [
        { title: "Have a key and a service account", text: "A key with purpose Symmetric encrypt/decrypt, and a service account only for this, with a JSON key." },
        {
            title: "Let it encrypt and decrypt with one key",
            text: "Give the role on the key itself, not on the project.",
            code: {
                what: "gcloud",
                text: (values) =>
                    `gcloud kms keys add-iam-policy-binding ${or(values["keyPath.cryptoKeyId"], "KEY")} \\\n  --keyring ${or(values["keyPath.keyRingId"], "KEY_RING")} --location ${or(values["keyPath.locationId"], "LOCATION")} \\\n  --project ${or(values["keyPath.projectId"], "PROJECT")} \\\n  --member serviceAccount:${or(values["credentials.client_email"], "SERVICE_ACCOUNT")} \\\n  --role roles/cloudkms.cryptoKeyEncrypterDecrypter`,
            },
        },
    ],
};
