/** Every kind of log destination that can be set up here. Members as in docs/sinks.md. */

import { base64, random } from "../trust/bytes.ts";
import { certificates, type FieldAsked, httpsAddress, matches, type Provider } from "../kms/model.ts";

const SECRET_HINT = "Sealed in this browser before anything is sent.";
const REGION: FieldAsked = {
    at: "region",
    label: "Region",
    hint: "Where the logs go.",
    placeholder: "eu-central-1",
    check: matches(/^[a-z]{2,5}(-[a-z]{1,20}){1,3}-\d{1,2}$/, "A region looks like eu-central-1."),
};
const FORMAT: FieldAsked = {
    at: "format",
    label: "Format",
    hint: "OCSF and ECS suit security tools that know them; the native one is the shortest.",
    optional: true,
    advanced: true,
    choices: [
        ["", "Usual for this destination"],
        ["native", "Native"],
        ["ocsf", "OCSF"],
        ["ecs", "ECS"],
    ],
};
const OUTCOME: FieldAsked = {
    at: "filter.outcome",
    label: "Which events",
    hint: "Every use of your keys is an event. Failures alone are few, and worth an alarm.",
    optional: true,
    choices: [
        ["", "All"],
        ["failure", "Only those that failed"],
        ["success", "Only those that succeeded"],
    ],
};
const AUTHORITIES: FieldAsked = {
    at: "caCertificate",
    label: "Private authorities",
    hint: "Only when the address has a certificate of your own authority: its certificates, in PEM.",
    optional: true,
    advanced: true,
    lines: true,
    check: certificates,
};
const AWS_KEYS: readonly FieldAsked[] = [
    {
        at: "credentials.accessKeyId",
        label: "Access key id",
        hint: "Of a user that may write there and do nothing else.",
        placeholder: "AKIA…",
        check: matches(/^[A-Z0-9]{16,128}$/, "An access key id has 16 or more capitals and digits."),
    },
    { at: "credentials.secretAccessKey", label: "Secret access key", hint: SECRET_HINT, secret: true },
    {
        at: "credentials.roleArn",
        label: "Role to assume",
        hint: "When the access key only opens a role.",
        optional: true,
        advanced: true,
        check: matches(/^arn:aws[\w-]*:iam::\d{12}:role\/.+$/, "A role's ARN looks like arn:aws:iam::111122223333:role/name."),
    },
    {
        at: "credentials.externalId",
        label: "External id",
        hint: "What the role's trust policy demands.",
        optional: true,
        advanced: true,
        when: (values) => Boolean(values["credentials.roleArn"]),
    },
];

function receiver(port: string): readonly FieldAsked[] {
    return [
        { at: "host", label: "Host", hint: "Of your receiver; its certificate must name it.", placeholder: "logs.acme.example", check: matches(/^[A-Za-z0-9.:-]{1,253}$/, "A host name, without a port.") },
        { at: "port", label: "Port", hint: `${port} when left empty.`, optional: true, as: "number", check: matches(/^\d{1,5}$/, "A number.") },
    ];
}

function sink({ noFormat, ...given }: Omit<Provider, "fixed"> & { noFormat?: boolean }): Provider {
    return { ...given, fixed: { version: 1 }, fields: [...given.fields, OUTCOME, ...(noFormat ? [] : [FORMAT])] };
}

const byKey = (values: Readonly<Record<string, string>>) => values["auth.type"] !== "password";

export const SINKS: readonly Provider[] = [
    sink({
        type: "SPLUNK",
        name: "Splunk",
        mark: "Sp",
        what: "HTTP Event Collector",
        fields: [
            { at: "url", label: "Address", hint: "Where the collector listens.", placeholder: "https://splunk.acme.example:8088", check: httpsAddress },
            { at: "token", label: "Token", hint: SECRET_HINT, secret: true },
            { at: "index", label: "Index", hint: "The token's own when left empty.", optional: true },
            {
                at: "acknowledge",
                label: "Wait for the indexers",
                hint: "Loses nothing when Splunk restarts. The token must have acknowledgement switched on.",
                optional: true,
                as: "boolean",
                choices: [
                    ["", "No"],
                    ["true", "Yes"],
                ],
            },
            AUTHORITIES,
        ],
        steps: [{ title: "Make a token", text: "In Splunk: Settings, Data inputs, HTTP Event Collector, New token, with source type _json." }],
    }),
    sink({
        type: "ELASTICSEARCH",
        name: "Elastic or OpenSearch",
        mark: "El",
        what: "An index or data stream",
        fields: [
            { at: "url", label: "Address", hint: "Where the cluster answers.", placeholder: "https://acme.es.eu-central-1.aws.cloud.es.io", check: httpsAddress },
            { at: "index", label: "Index or data stream", hint: "It must exist, or a template must make it.", placeholder: "logs-tenant_security-default", check: matches(/^[a-z0-9][a-z0-9_.-]{0,199}$/, "Small letters, digits, dots, dashes and underscores.") },
            {
                at: "auth.type",
                label: "Sign in with",
                hint: "An API key can be limited to writing into one index.",
                choices: [
                    ["apiKey", "An API key"],
                    ["password", "A user and password"],
                ],
            },
            { at: "auth.apiKey", label: "API key", hint: `In its encoded form. ${SECRET_HINT}`, secret: true, when: byKey },
            { at: "auth.username", label: "User", hint: "That may write into this index.", when: (values) => !byKey(values) },
            { at: "auth.password", label: "Password", hint: SECRET_HINT, secret: true, when: (values) => !byKey(values) },
            AUTHORITIES,
        ],
        steps: [{ title: "Make an API key", text: "In Kibana: Stack Management, API keys, limited to the privileges create_doc and auto_configure on this index." }],
    }),
    sink({
        type: "DATADOG",
        name: "Datadog",
        mark: "DD",
        what: "Log intake",
        fields: [
            {
                at: "site",
                label: "Site",
                hint: "As in your Datadog address.",
                choices: ["datadoghq.com", "us3.datadoghq.com", "us5.datadoghq.com", "datadoghq.eu", "ap1.datadoghq.com", "ap2.datadoghq.com", "ddog-gov.com"].map((each) => [each, each] as const),
            },
            { at: "apiKey", label: "API key", hint: SECRET_HINT, secret: true },
            { at: "tags", label: "Tags", hint: "Separated by spaces.", placeholder: "env:prod", optional: true, as: "list" },
        ],
        steps: [{ title: "Make an API key", text: "In Datadog: Organization Settings, API Keys. One only for this can be revoked alone." }],
    }),
    sink({
        type: "AZURE_MONITOR",
        name: "Microsoft Sentinel",
        mark: "MS",
        what: "A table in an Azure Monitor workspace",
        fields: [
            { at: "endpoint", label: "Ingestion address", hint: "Of the data collection rule or endpoint.", placeholder: "https://….ingest.monitor.azure.com", check: matches(/^https:\/\/[a-z0-9][a-z0-9.-]*\.ingest\.monitor\.azure\.(com|us|cn)$/, "It ends in .ingest.monitor.azure.com.") },
            { at: "ruleId", label: "Rule's immutable id", hint: "In the rule's JSON view.", placeholder: "dcr-…", check: matches(/^dcr-[0-9a-f]{16,64}$/, "It begins with dcr-.") },
            { at: "stream", label: "Stream", hint: "Custom-TenantSecurity when left empty.", optional: true, check: matches(/^Custom-\w{1,64}$/, "It begins with Custom-.") },
            { at: "credentials.tenantGuid", label: "Directory (tenant) id", hint: "Of the app registration." },
            { at: "credentials.clientId", label: "Application (client) id", hint: "It needs the role Monitoring Metrics Publisher on the rule." },
            { at: "credentials.clientSecret", label: "Client secret", hint: `The secret's value. ${SECRET_HINT}`, secret: true },
        ],
        steps: [{ title: "Make a table and a rule", text: "In your workspace a custom table, with a data collection rule for it; then an app registration that may publish to the rule." }],
    }),
    sink({
        type: "GOOGLE_CLOUD_LOGGING",
        name: "Google Cloud Logging",
        mark: "GCL",
        what: "A log in a Google Cloud project",
        fields: [
            { at: "projectId", label: "Project", hint: "That the logs go to." },
            { at: "logId", label: "Log", hint: "tenant-security when left empty.", optional: true },
            { at: "credentials.client_email", label: "Service account", hint: "With the role Logs Writer." },
            { at: "credentials.private_key", label: "Private key", hint: `From its key file. ${SECRET_HINT}`, secret: true, lines: true },
        ],
        steps: [{ title: "Make a service account", text: "With the role Logs Writer (roles/logging.logWriter), and a JSON key." }],
    }),
    sink({
        type: "AWS_CLOUDWATCH",
        name: "CloudWatch Logs",
        mark: "CW",
        what: "A log group in your AWS account",
        fields: [REGION, { at: "logGroup", label: "Log group", hint: "It must exist.", placeholder: "/tenant-security", check: matches(/^[\w/.#-]{1,512}$/, "Letters, digits and / . # - _") }, ...AWS_KEYS],
        steps: [{ title: "Allow two calls", text: "On the log group: logs:CreateLogStream and logs:PutLogEvents." }],
    }),
    sink({
        type: "AWS_S3",
        name: "Amazon S3",
        mark: "S3",
        what: "Compressed files in a bucket",
        fields: [REGION, { at: "bucket", label: "Bucket", hint: "It must exist.", check: matches(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "3 to 63 small letters, digits, dots and dashes.") }, { at: "prefix", label: "Prefix", hint: "With a slash at its end.", placeholder: "logs/", optional: true, check: matches(/\/$/, "It ends with a slash.") }, ...AWS_KEYS],
        steps: [{ title: "Allow one call", text: "s3:PutObject, below the prefix." }],
    }),
    sink({
        type: "AWS_SECURITY_LAKE",
        name: "Amazon Security Lake",
        mark: "ASL",
        what: "Custom sources, in OCSF",
        noFormat: true,
        fields: [
            REGION,
            { at: "bucket", label: "Bucket", hint: "The lake's, in this region.", placeholder: "aws-security-data-lake-…", check: matches(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "3 to 63 small letters, digits, dots and dashes.") },
            { at: "accountId", label: "Account", hint: "That the events are from.", check: matches(/^\d{12}$/, "Twelve digits.") },
            { at: "source", label: "Source's name", hint: "tenant-security when left empty.", optional: true, check: matches(/^[\w.-]{1,60}$/, "Letters, digits, dots and dashes.") },
            ...AWS_KEYS,
        ],
        steps: [{ title: "Make custom sources", text: "In Security Lake: one custom source for each OCSF class, named as below with the class's number behind." }],
    }),
    sink({
        type: "SYSLOG",
        name: "Syslog over TLS",
        mark: "Sy",
        what: "Best effort: nobody acknowledges",
        fields: [...receiver("6514"), AUTHORITIES],
        steps: [{ title: "Mind what it promises", text: "Plain syslog is never acknowledged: when your receiver dies, what was on its way is lost. RELP is acknowledged; take it where you can." }],
    }),
    sink({
        type: "RELP",
        name: "RELP over TLS",
        mark: "RE",
        what: "Syslog that is acknowledged",
        fields: [...receiver("2514"), AUTHORITIES],
        steps: [{ title: "Open a receiver", text: "In rsyslog: imrelp with TLS, on a port that the vendor's logdriver can reach." }],
    }),
    sink({
        type: "KAFKA",
        name: "Apache Kafka",
        mark: "Ka",
        what: "A topic; where the vendor allows it",
        fields: [
            { at: "brokers", label: "Brokers", hint: "Some of them, with ports, separated by spaces.", placeholder: "kafka-1.acme.example:9093", as: "list", check: matches(/^\S+:\d+(\s+\S+:\d+)*$/, "host:port, separated by spaces.") },
            { at: "topic", label: "Topic", hint: "It must exist.", check: matches(/^[\w.-]{1,249}$/, "Letters, digits, dots and dashes.") },
            {
                at: "sasl.mechanism",
                label: "Sign in with",
                hint: "As your cluster wants it.",
                choices: [
                    ["SCRAM-SHA-512", "SCRAM-SHA-512"],
                    ["SCRAM-SHA-256", "SCRAM-SHA-256"],
                    ["PLAIN", "PLAIN"],
                ],
            },
            { at: "sasl.username", label: "User", hint: "That may write into this topic." },
            { at: "sasl.password", label: "Password", hint: SECRET_HINT, secret: true },
            AUTHORITIES,
        ],
        steps: [],
    }),
    sink({
        type: "SUMO_LOGIC",
        name: "Sumo Logic",
        mark: "SL",
        what: "An HTTP source",
        fields: [
            { at: "url", label: "Source's address", hint: `Whoever has it may write to the source. ${SECRET_HINT}`, secret: true, check: httpsAddress },
            { at: "category", label: "Category", hint: "The source's own when left empty.", optional: true },
        ],
        steps: [{ title: "Make an HTTP source", text: "In Sumo Logic: a hosted collector with an HTTP Logs and Metrics source." }],
    }),
    sink({
        type: "OTLP",
        name: "OpenTelemetry",
        mark: "OT",
        what: "A collector, over HTTP",
        fields: [
            { at: "url", label: "Address", hint: "The whole of it.", placeholder: "https://collector.acme.example:4318/v1/logs", check: httpsAddress },
            { at: "headers.Authorization", label: "Authorization header", hint: SECRET_HINT, secret: true, optional: true },
            AUTHORITIES,
        ],
        steps: [],
    }),
    sink({
        type: "WEBHOOK",
        name: "Webhook",
        mark: "{ }",
        what: "Signed batches to an address of yours",
        fields: [
            { at: "url", label: "Address", hint: "Where batches are posted.", placeholder: "https://hooks.acme.example/tenant-security", check: httpsAddress },
            { at: "signingSecret", label: "Signing secret", hint: "24 to 64 random bytes in base64; your side checks signatures with it (Standard Webhooks).", secret: true, check: matches(/^(whsec_)?[A-Za-z0-9+/]{32,88}={0,2}$/, "It must be base64 of 24 to 64 bytes.") },
            { at: "authorization", label: "Authorization header", hint: "When something in front of the receiver asks for one.", secret: true, optional: true, advanced: true },
        ],
        steps: [],
    }),
];

export function sinkName(type: string): string {
    return SINKS.find((each) => each.type === type)?.name ?? type;
}

/** A fresh secret for a webhook. */
export function freshSigningSecret(): string {
    return `whsec_${base64(random(32))}`;
}
