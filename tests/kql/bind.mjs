// Binds KQL with Microsoft's parser. One JSON document a line in ({tables, query}), one a line out:
// {errors: [{code, message, start, length}], columns: [[name, type], …], texts: [the value of each string literal]}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.min.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.min.js");
const { Kusto, System } = globalThis;
const { Symbols, Syntax } = Kusto.Language;

function globals(tables) {
  const symbols = Object.entries(tables).map(([name, columns]) => {
    const schema = Object.entries(columns).map(([column, type]) => `${column}: ${type}`).join(", ");
    return Symbols.TableSymbol.From(`(${schema})`).WithName(name);
  });
  const database = new Symbols.DatabaseSymbol.$ctor1("workspace", System.Array.init(symbols, Symbols.Symbol), false);
  return Kusto.Language.GlobalState.Default.WithDatabase(database);
}

function listed(collection, take) {
  const found = [];
  for (let index = 0; index < collection.Count; index += 1) {
    found.push(take(collection.getItem(index)));
  }
  return found;
}

function bind({ tables, query }) {
  const code = Kusto.Language.KustoCode.ParseAndAnalyze(query, globals(tables));
  const errors = listed(code.GetDiagnostics(), (each) => each).filter((each) => each.Severity === "Error");
  const texts = [];
  Syntax.SyntaxElement.WalkNodes(code.Syntax, (node) => {
    if (node.Kind === Syntax.SyntaxKind.StringLiteralExpression) {
      texts.push(node.LiteralValue);
    }
  });
  const result = code.ResultType;
  return {
    errors: errors.map((each) => ({ code: each.Code, message: each.Message, start: each.Start, length: each.Length })),
    columns: result && result.Columns ? listed(result.Columns, (each) => [each.Name, each.Type.Name]) : [],
    texts,
  };
}

createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    answer = bind(JSON.parse(line));
  } catch (error) {
    answer = { errors: [{ code: "FAILED", message: String(error), start: 0, length: 0 }], columns: [], texts: [] };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
});
