import { createHash } from "node:crypto";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** Lists the files of the bundle as a Rust expression, which the program includes. */
function rustTable(): Plugin {
  return {
    name: "rust-table",
    apply: "build",
    writeBundle({ dir }) {
      if (!dir) throw new Error("the bundle has no folder");
      const files = readdirSync(dir, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name !== "files.rs")
        .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
        .sort();
      const row = (name: string) => {
        const digest = createHash("sha256")
          .update(readFileSync(join(dir, name)))
          .digest("hex");
        return `    ("${name}", "\\"${digest.slice(0, 32)}\\"", include_bytes!("${name}")),\n`;
      };
      const head = "// Written by `npm run build` in `ui`: name, entity tag, bytes.\n";
      writeFileSync(join(dir, "files.rs"), `${head}&[\n${files.map(row).join("")}]\n`);
    },
  };
}

export default defineConfig({
  base: "/ui/",
  build: {
    target: ["chrome123", "firefox121", "safari17.5"],
    // Everything is one small bundle: there is nothing to load ahead, and nothing may be inline.
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: false,
    rolldownOptions: {
      output: {
        entryFileNames: "assets/ringward-[hash].js",
        assetFileNames: "assets/[name]-[hash][extname]",
      },
    },
  },
  plugins: [rustTable()],
});
