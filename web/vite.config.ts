import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// The server of `chinwag serve`; the development page talks to it through this proxy.
const server = "http://127.0.0.1:8008";

export default defineConfig({
  plugins: [svelte()],
  build: {
    target: "es2022",
    outDir: "dist",
    // The policy allows no `data:` fonts or scripts, and files with hashed names are cached for ever anyway.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: {
    proxy: {
      // The Origin check of the server compares with the host it is asked for.
      "/api": { target: server, ws: true, changeOrigin: false },
      "/health": server,
    },
  },
});
