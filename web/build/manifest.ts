/** Says what was built: the hash of every file, integrity on every tag, and the licences of what is inside. */

import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import type { Plugin } from "vite";

const PAGE = "index.html";
/** Files that are copied as they are. */
const PUBLIC = new URL("../public", import.meta.url).pathname;
const TAG = /<(?:script|link)\b[^>]*?\b(?:src|href)="\/([^"]+\.(?:js|css))"[^>]*?>/g;

function digest(algorithm: string, content: string | Uint8Array, as: "hex" | "base64"): string {
    return createHash(algorithm).update(content).digest(as);
}

/** Put integrity on the page's tags, then write hashes.json and licenses.txt. */
export function manifest(): Plugin {
    return {
        name: "manifest",
        enforce: "post",
        generateBundle: {
            order: "post",
            handler(_options, bundle) {
                const content = (name: string): string | Uint8Array => {
                    const file = bundle[name];
                    if (file === undefined) {
                        throw new Error(`${PAGE} names ${name}, which was not built`);
                    }
                    return file.type === "chunk" ? file.code : file.source;
                };
                const page = bundle[PAGE];
                if (page?.type !== "asset") {
                    throw new Error("the page was not built");
                }
                page.source = String(page.source).replaceAll(TAG, (tag, name: string) => {
                    const integrity = `integrity="sha384-${digest("sha384", content(name), "base64")}"`;
                    return tag.replace(/\s*\/?>$/, ` ${integrity}>`);
                });
                const modules = Object.values(bundle).flatMap((file) =>
                    file.type === "chunk" ? Object.keys(file.modules) : [],
                );
                const licenses = licensesOf(modules);
                const files: Record<string, string> = {};
                for (const name of readdirSync(PUBLIC)) {
                    files[name] = digest("sha256", readFileSync(join(PUBLIC, name)), "hex");
                }
                for (const name of Object.keys(bundle).sort()) {
                    files[name] = digest("sha256", content(name), "hex");
                }
                files["licenses.txt"] = digest("sha256", licenses, "hex");
                this.emitFile({ type: "asset", fileName: "licenses.txt", source: licenses });
                const source = `${JSON.stringify({ algorithm: "sha256", files }, null, 1)}\n`;
                this.emitFile({ type: "asset", fileName: "hashes.json", source });
            },
        },
    };
}

/** The licence texts of the packages that these modules are from. */
function licensesOf(modules: string[]): string {
    const packages = new Map<string, string>();
    for (const id of modules) {
        const found = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id);
        if (found !== null) {
            packages.set(found[0], id);
        }
    }
    const texts = [...packages.keys()].sort().map((directory) => {
        const { name, version, license } = JSON.parse(readFileSync(join(directory, "package.json"), "utf8"));
        const file = ["LICENSE", "LICENSE.md", "LICENSE.txt", "license"].find((each) => existsSync(join(directory, each)));
        const words = file === undefined ? `Licence: ${license}` : readFileSync(join(directory, file), "utf8").trim();
        return `${name} ${version}\n\n${words}\n`;
    });
    return texts.join(`\n${"-".repeat(80)}\n\n`);
}

