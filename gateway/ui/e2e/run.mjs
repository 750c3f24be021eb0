// Runs the browser test in plain Node: Vite, which builds the dashboard, also turns its TypeScript into JavaScript.
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const { module } = await runnerImport(fileURLToPath(new URL("./dashboard.test.ts", import.meta.url)), { configFile: false });
process.exit(await module.run(process.argv.slice(2)));
