// The grammar assigns the right scopes, for a definition that is spelled out here and for all
// definitions of the corpus.

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

const extension = path.join(__dirname, "..");
const repository = path.join(extension, "..", "..");

async function loadGrammar() {
  const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
  await oniguruma.loadWASM(wasm.buffer);
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => {
      const file = path.join(extension, "d-provider.tmLanguage.json");
      return textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file);
    },
  });
  return registry.loadGrammar("source.d-provider");
}

const grammar = loadGrammar();

/** Returns the tokens of a source as [text, innermost scope], and whether a region is left open. */
async function tokenize(source) {
  const loaded = await grammar;
  const tokens = [];
  let state = textmate.INITIAL;
  for (const line of source.split(/\r?\n/)) {
    const result = loaded.tokenizeLine(line, state);
    assert.ok(!result.stoppedEarly, line);
    for (const token of result.tokens) {
      const text = line.slice(token.startIndex, token.endIndex);
      tokens.push([text, token.scopes.at(-1).replace(/\.d-provider$/, "")]);
    }
    state = result.ruleStack;
  }
  return { tokens, open: state.depth > 1 };
}

function textsOf(tokens, scope) {
  return tokens.filter(([, s]) => s === scope).map(([text]) => text);
}

test("a definition", async () => {
  const { tokens, open } = await tokenize(`#pragma D attributes Evolving/Evolving/Common provider app args
/** Requests. */
provider app {
\t/** @go took time.Duration */
\tprobe request__start(uint64_t id, string path, struct conn *c); // why
};`);
  assert.ok(!open);
  for (const [text, scope] of [
    ["attributes", "entity.other.attribute-name"],
    ["Evolving", "constant.language.stability"],
    [" Requests. ", "comment.block.documentation"],
    ["provider", "storage.type.provider"],
    ["app", "entity.name.namespace"],
    ["@go", "keyword.other.documentation"],
    ["probe", "storage.type.probe"],
    ["request__start", "entity.name.function.probe"],
    ["uint64_t", "support.type.posix-reserved"],
    ["string", "support.type.go"],
    ["conn", "entity.name.type"],
    ["// why", "comment.line.double-slash"],
    [";", "punctuation.terminator"],
  ]) {
    assert.ok(textsOf(tokens, scope).includes(text), `no token ${scope} with the text ${text}`);
  }
});

/** Returns the source without comments, strings and directives. */
function codeOf(source) {
  return source
    .replace(/\\\r?\n/g, " ")
    .replace(/\/\*[^]*?\*\/|\/\/.*|"(\\.|[^"\\\n])*"|'(\\.|[^'\\\n])+'/g, " ")
    .replace(/^\s*#.*$/gm, "");
}

test("the probes of every definition in the corpus", async () => {
  const folder = path.join(repository, "usdt-gen", "corpus", "files");
  let probes = 0;
  for (const name of fs.readdirSync(folder)) {
    const source = fs.readFileSync(path.join(folder, name), "utf8");
    const { tokens, open } = await tokenize(source);
    assert.ok(!open, `${name} ends within a comment or string`);
    const expected = [...codeOf(source).matchAll(/\bprobe\s+(\w+)/g)].map((match) => match[1]);
    const found = textsOf(tokens, "entity.name.function.probe");
    assert.deepStrictEqual(found, expected, name);
    probes += found.length;
  }
  assert.ok(probes > 1000, `${probes}`);
});
