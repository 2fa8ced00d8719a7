// Binds KQL with Microsoft's parser. One JSON document a line in ({tables, query}), one a line out
// ({errors: [{code, message, start, length}], columns: [[name, type], …]}).
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { Symbols } = globalThis.Kusto.Language;
const { System } = globalThis;

function globals(tables) {
  const symbols = Object.entries(tables).map(([name, columns]) => {
    const schema = Object.entries(columns).map(([column, type]) => `${column}: ${type}`).join(", ");
    return Symbols.TableSymbol.From(`(${schema})`).WithName(name);
  });
  const database = new Symbols.DatabaseSymbol.$ctor1("workspace", System.Array.init(symbols, Symbols.Symbol), false);
  return Kusto.Language.GlobalState.Default.WithDatabase(database);
}

function bind({ tables, query }) {
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(query, globals(tables));
  const errors = [];
  const found = code.GetDiagnostics();
  for (let index = 0; index < found.Count; index += 1) {
    const each = found.getItem(index);
    if (each.Severity === "Error") {
      errors.push({ code: each.Code, message: each.Message, start: each.Start, length: each.Length });
    }
  }
  const columns = [];
  const result = code.ResultType;
  if (result && result.Columns) {
    for (let index = 0; index < result.Columns.Count; index += 1) {
      const column = result.Columns.getItem(index);
      columns.push([column.Name, column.Type.Name]);
    }
  }
  return { errors, columns };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    answer = bind(JSON.parse(line));
  } catch (error) {
    answer = { errors: [{ code: "FAILED", message: String(error) }], columns: [] };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
