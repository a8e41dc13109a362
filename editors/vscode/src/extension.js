// Starts `usdt-gen lsp` when a probe definition is opened.

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");

const LANGUAGE = "d-provider";

/** @type {LanguageClient | undefined} */
let client;

async function activate(context) {
  context.subscriptions.push(
    vscode.commands.registerCommand("usdt-gen.restart", restart),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (event.affectsConfiguration("usdt-gen.path")) {
        return restart();
      }
    }),
  );
  await start();
}

async function deactivate() {
  const stopped = client;
  client = undefined;
  // A client that never started cannot be stopped.
  await stopped?.stop().catch(() => {});
}

async function restart() {
  await deactivate();
  await start();
}

async function start() {
  const program = vscode.workspace.getConfiguration("usdt-gen").get("path");
  client = new LanguageClient(
    "usdt-gen",
    "usdt-gen",
    { command: program, args: ["lsp"] },
    { documentSelector: [{ language: LANGUAGE }] },
  );
  try {
    await client.start();
  } catch (error) {
    const choice = await vscode.window.showErrorMessage(
      `Cannot start \`${program} lsp\`: ${error.message ?? error}. ` +
        "Install usdt-gen, or set its path.",
      "Set the path",
    );
    if (choice) {
      await vscode.commands.executeCommand("workbench.action.openSettings", "usdt-gen.path");
    }
  }
}

module.exports = { activate, deactivate };
