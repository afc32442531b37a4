"use strict";
// Tables: of numbers, that can be sorted, copied and saved.

// A table of rows under columns `{ name, text?, of, left? }`: `of` gives the value of a row, `text` how it
// looks. A click on a head sorts by it.
function table(columns, rows, { caption, most = 200, sortable = true, marked } = {}) {
  let order = null;
  let shown = most;
  const body = el("tbody");
  const more = el("p", { class: "soft" });
  const cell = (column, row) => {
    const value = column.of(row);
    const looks = column.text ? column.text(value, row) : typeof value === "number" ? text.number(value) : value ?? "–";
    return el("td", { class: column.left ? "left" : undefined }, looks);
  };
  const draw = () => {
    const sorted = order ? [...rows].sort((a, b) => order.sign * compare(order.column.of(a), order.column.of(b))) : rows;
    put(body, sorted.slice(0, shown).map((row) => el("tr", { class: marked?.(row) ? "marked" : undefined }, columns.map((column) => cell(column, row)))));
    put(more, rows.length > shown && [`${text.count(shown)} of ${text.count(rows.length)} rows. `, el("button", { class: "quiet", onclick: () => ((shown *= 5), draw()) }, "Show more")]);
    heads.forEach((head, i) => {
      const here = order?.column === columns[i];
      head.setAttribute("aria-sort", here ? (order.sign > 0 ? "ascending" : "descending") : "none");
    });
  };
  const heads = columns.map((column) => {
    const sort = () => {
      order = { column, sign: order?.column === column ? -order.sign : 1 };
      draw();
    };
    const name = sortable ? el("button", { class: "head", onclick: sort }, column.name) : column.name;
    return el("th", { scope: "col", class: column.left ? "left" : undefined }, name);
  });
  draw();
  return el("div", { class: "wide" }, el("table", {}, caption && el("caption", {}, caption), el("thead", {}, el("tr", {}, heads)), body), more);
}

function compare(a, b) {
  const none = (v) => v === null || v === undefined || Number.isNaN(v);
  if (none(a) || none(b)) return none(a) - none(b);
  const [x, y] = [numeric(a), numeric(b)];
  if (x !== null && y !== null) return x - y;
  return String(a).localeCompare(String(b), undefined, { numeric: true });
}

// A cell of a CSV file (RFC 4180). A text that a spreadsheet would take for a formula is quoted as text.
function csvCell(value) {
  let said = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(said) && numeric(value) === null) said = `'${said}`;
  return /[",\n\r]/.test(said) ? `"${said.replaceAll('"', '""')}"` : said;
}

function saveCsv(name, columns, rows) {
  const lines = [columns, ...rows].map((row) => row.map(csvCell).join(","));
  save(`${name}.csv`, new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
}

// A picture or its numbers: a button exchanges one for the other.
function withTable(picture, makeTable, tools = []) {
  const place = el("div", {}, picture);
  let numbers = false;
  const button = el("button", { class: "quiet", "aria-pressed": "false", onclick: () => {
    numbers = !numbers;
    button.setAttribute("aria-pressed", String(numbers));
    put(place, numbers ? makeTable() : picture);
  } }, "Table");
  return { place, button, tools: el("span", { class: "tools" }, tools, button), refresh: () => numbers && put(place, makeTable()), isTable: () => numbers };
}
