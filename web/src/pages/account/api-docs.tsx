/** The broker's API, from its OpenAPI document: rendered here, with no script and no request of anybody else's. */

import { useState } from "preact/hooks";

import { useLoad } from "../../app/store.ts";
import { Badge, Card, download, Button, PageHead, Show } from "../../ui/parts.tsx";

type Json = Record<string, unknown>;

interface Operation {
    method: string;
    path: string;
    summary: string;
    description: string;
    tag: string;
    parameters: Json[];
    body: Json | null;
    answers: [string, string][];
    /** What an API key needs, if any may. */
    scopes: string[];
}

const METHODS = ["get", "post", "put", "patch", "delete"];
const TONES: Record<string, "good" | "accent" | "warn" | "bad"> = { get: "good", post: "accent", put: "warn", patch: "warn", delete: "bad" };

function operationsOf(document: Json): Operation[] {
    const found: Operation[] = [];
    for (const [path, item] of Object.entries((document["paths"] ?? {}) as Record<string, Json>)) {
        for (const method of METHODS) {
            const said = item[method] as Json | undefined;
            if (said !== undefined) {
                found.push({
                    method,
                    path,
                    summary: String(said["summary"] ?? ""),
                    description: String(said["description"] ?? ""),
                    tag: String((said["tags"] as string[] | undefined)?.[0] ?? "other"),
                    parameters: (said["parameters"] ?? []) as Json[],
                    body: bodyOf(said),
                    answers: Object.entries((said["responses"] ?? {}) as Record<string, Json>).map(([status, answer]) => [status, String(answer["description"] ?? "")]),
                    scopes: ((said["security"] ?? []) as Record<string, string[]>[]).flatMap((way) => way["apiKey"] ?? []),
                });
            }
        }
    }
    return found;
}

function bodyOf(said: Json): Json | null {
    const content = (said["requestBody"] as Json | undefined)?.["content"] as Record<string, Json> | undefined;
    return (content?.["application/json"]?.["schema"] as Json | undefined) ?? null;
}

/** Write a schema as people read it: members and their types, references followed a few steps. */
function written(schema: Json | undefined, document: Json, depth = 0): string {
    if (schema === undefined || depth > 4) {
        return "…";
    }
    const reference = schema["$ref"];
    if (typeof reference === "string") {
        const name = reference.split("/").at(-1) ?? "";
        const schemas = (document["components"] as Json | undefined)?.["schemas"] as Record<string, Json> | undefined;
        return written(schemas?.[name], document, depth + 1);
    }
    const either = (schema["oneOf"] ?? schema["anyOf"]) as Json[] | undefined;
    if (either !== undefined) {
        return either.map((each) => written(each, document, depth + 1)).join(" | ");
    }
    if (Array.isArray(schema["enum"])) {
        return schema["enum"].map((each) => JSON.stringify(each)).join(" | ");
    }
    const properties = schema["properties"] as Record<string, Json> | undefined;
    if (properties !== undefined) {
        const needed = new Set((schema["required"] ?? []) as string[]);
        const indent = "  ".repeat(depth + 1);
        const members = Object.entries(properties).map(([name, each]) => `${indent}${JSON.stringify(name)}${needed.has(name) ? "" : "?"}: ${written(each, document, depth + 1)}`);
        return `{\n${members.join(",\n")}\n${"  ".repeat(depth)}}`;
    }
    if (schema["type"] === "array") {
        return `[${written(schema["items"] as Json | undefined, document, depth + 1)}]`;
    }
    const format = schema["format"] ?? schema["contentEncoding"];
    return `${String(schema["type"] ?? "any")}${format ? ` (${String(format)})` : ""}`;
}

async function readDocument(): Promise<Json> {
    const answer = await fetch("/openapi/openapi.json", { credentials: "same-origin", headers: { "TS-Request": "1" } });
    if (!answer.ok) {
        throw new Error(`The OpenAPI document could not be read (${answer.status}).`);
    }
    return (await answer.json()) as Json;
}

export function ApiDocsPage() {
    const document = useLoad(readDocument, []);
    const [wanted, setWanted] = useState("");
    return (
        <>
            <PageHead title="API documentation" lead="Everything that these pages do, your programs can do too. Send an API key as a bearer token, or sign requests with an author's key.">
                <Button icon="download" act={() => document.data && download("openapi.json", JSON.stringify(document.data, null, 1), "application/json")}>
                    OpenAPI document
                </Button>
            </PageHead>
            <input type="search" class="input" placeholder="Search endpoints" aria-label="Search endpoints" value={wanted} onInput={(event) => setWanted(event.currentTarget.value.toLowerCase())} />
            <Show of={document}>
                {(known) => {
                    const found = operationsOf(known).filter((each) => `${each.method} ${each.path} ${each.summary} ${each.description}`.toLowerCase().includes(wanted));
                    const tags = [...new Set(found.map((each) => each.tag))];
                    return (
                        <div class="stack loose">
                            {tags.map((tag) => (
                                <Card key={tag} title={tag.charAt(0).toUpperCase() + tag.slice(1)}>
                                    {found.filter((each) => each.tag === tag).map((each) => (
                                        <OperationPart key={`${each.method} ${each.path}`} operation={each} document={known} />
                                    ))}
                                </Card>
                            ))}
                        </div>
                    );
                }}
            </Show>
        </>
    );
}

function OperationPart({ operation, document }: { operation: Operation; document: Json }) {
    const { method, path, summary, description, parameters, body, answers, scopes } = operation;
    return (
        <details>
            <summary>
                <Badge tone={TONES[method] ?? "plain"}>{method.toUpperCase()}</Badge> <code class="break">{path}</code> <span class="muted small">{description || summary}</span>
            </summary>
            <div class="stack">
                {scopes.length > 0 && (
                    <p class="small">
                        An API key needs{" "}
                        {scopes.map((each, at) => (
                            <>
                                {at > 0 && " or "}
                                <code>{each}</code>
                            </>
                        ))}
                        .
                    </p>
                )}
                {parameters.length > 0 && (
                    <dl class="facts">
                        {parameters.map((each) => (
                            <>
                                <dt class="mono">
                                    {String(each["name"])} <span class="small">{String(each["in"])}</span>
                                </dt>
                                <dd>
                                    <code>{written(each["schema"] as Json, document)}</code> {String(each["description"] ?? "")}
                                </dd>
                            </>
                        ))}
                    </dl>
                )}
                {body !== null && (
                    <div class="stack tight">
                        <h3>Body</h3>
                        <pre tabIndex={0} aria-label={`Body of ${method} ${path}`}>{written(body, document)}</pre>
                    </div>
                )}
                <dl class="facts">
                    {answers.map(([status, text]) => (
                        <>
                            <dt>{status}</dt>
                            <dd>{text}</dd>
                        </>
                    ))}
                </dl>
            </div>
        </details>
    );
}
