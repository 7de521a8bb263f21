import { fileURLToPath } from "node:url";

import { configDefaults, defineConfig } from "vitest/config";

import { manifest } from "./build/manifest.ts";

const BROKER = process.env["BROKER_URL"] ?? "http://127.0.0.1:8080";

export default defineConfig({
    base: "/",
    oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
    plugins: [manifest()],
    resolve: process.env["VITEST"] ? {} : { alias: { crypto: fileURLToPath(new URL("build/no-crypto.ts", import.meta.url)) } },
    build: {
        outDir: "../src/tenant_security/broker/static",
        emptyOutDir: true,
        target: "es2023",
        assetsInlineLimit: 0,
        modulePreload: { polyfill: false },
        cssCodeSplit: false,
        reportCompressedSize: false,
        rolldownOptions: { output: { codeSplitting: false } },
    },
    server: { proxy: { "/api": BROKER, "/openapi": BROKER } },
    test: { exclude: configDefaults.exclude, environment: "node", testTimeout: 60_000 },
});
