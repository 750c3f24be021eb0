import { defineConfig } from "vitest/config";

/** The gateway that `npm run dev` talks to. */
const gateway = process.env["TRIBUTARY_URL"] ?? "http://127.0.0.1:8080";

// The gateway answers only requests whose Host and Origin are its own, so the proxy presents both as such.
const toGateway = { target: gateway, changeOrigin: true, headers: { origin: new URL(gateway).origin } };

export default defineConfig({
  server: {
    host: "127.0.0.1",
    proxy: { "/api": toGateway, "/healthz": toGateway, "/readyz": toGateway, "/metrics": toGateway },
  },
  build: {
    target: "es2022",
    sourcemap: false,
    // The gateway's CSP is `default-src 'self'`: a data: URI would be refused, so nothing is inlined.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
  },
  test: { include: ["src/**/*.test.ts"] },
});
