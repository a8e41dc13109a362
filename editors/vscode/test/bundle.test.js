// The bundle loads in an editor and starts the server that the settings name.

const assert = require("node:assert");
const fs = require("node:fs");
const Module = require("node:module");
const path = require("node:path");
const test = require("node:test");

const extension = path.join(__dirname, "..");
const manifest = JSON.parse(fs.readFileSync(path.join(extension, "package.json"), "utf8"));

/** Anything that code can read from the editor's API, call, or extend. */
function anything() {
  return new Proxy(class {}, {
    get: (target, name) => (name in target ? target[name] : anything()),
    apply: () => anything(),
  });
}

test("the bundle exports what the editor calls", () => {
  const load = Module._load;
  Module._load = (request, ...rest) =>
    request === "vscode" ? anything() : load(request, ...rest);
  try {
    const bundle = require(path.join(extension, manifest.main));
    assert.deepStrictEqual(Object.keys(bundle).sort(), ["activate", "deactivate"]);
  } finally {
    Module._load = load;
  }
});

test("the manifest names files that exist", () => {
  const { languages, grammars } = manifest.contributes;
  const files = [...languages.map((l) => l.configuration), ...grammars.map((g) => g.path)];
  for (const file of files) {
    JSON.parse(fs.readFileSync(path.join(extension, file), "utf8"));
  }
});
