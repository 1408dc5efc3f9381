"""Looks and behaviour of pages, written into each of them: a page is one file, which needs no network."""

STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #5f6b7a; --rule: #d9dee5; --head: #eef1f5; --mark: #0b5cad; }
* { box-sizing: border-box; }
body { margin: 1.25rem 1.5rem 3rem; color: var(--ink); background: #fff; font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", Arial, "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.35rem; line-height: 1.3; margin: 0 0 .75rem; }
h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p, ul { max-width: 80ch; margin: .5rem 0; }
ul { padding-left: 1.2rem; color: var(--faint); }
.about, .state { color: var(--faint); }
.tools { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; margin: .5rem 0; }
.tools .state { margin: 0; }
input[type=search] { font: inherit; padding: .25rem .5rem; width: 18rem; max-width: 100%; border: 1px solid #9aa5b1;
  border-radius: 4px; }
table { border-collapse: separate; border-spacing: 0; font-size: 14px; line-height: 1.35; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
td { max-width: 60ch; }
.long { min-width: 36ch; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--head); border-bottom: 2px solid #9aa5b1; padding: 0;
  vertical-align: bottom; }
thead button { all: unset; box-sizing: border-box; display: block; width: 100%; padding: .4rem .7rem; cursor: pointer;
  font-weight: 600; white-space: normal; }
thead button::after { content: "\\2195"; margin-left: .35em; color: #9aa5b1; }
th[aria-sort=ascending] button::after { content: "\\2191"; color: var(--mark); }
th[aria-sort=descending] button::after { content: "\\2193"; color: var(--mark); }
button:focus-visible, input:focus-visible, .figure:focus-visible { outline: 3px solid var(--mark);
  outline-offset: -2px; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.number button { text-align: right; }
tbody th { font-weight: 600; }
tbody tr:nth-child(even) { background: #f8f9fb; }
tbody tr:hover { background: #e8f1fb; }
.figure { overflow-x: auto; margin: 0 0 .5rem; }
.figure img { display: block; height: auto; }
.plain { font: inherit; padding: .25rem .7rem; border: 1px solid #9aa5b1; border-radius: 4px; background: #fff;
  cursor: pointer; }
@media print { thead th { position: static; } .tools { display: none; } }
"""

# Rows are sorted by the number that a cell holds, not by how it is written; what is missing stands last either way.
SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], rows = [...body.rows];
  const tools = document.getElementById(table.dataset.tools), state = tools.querySelector("[role=status]");
  const filter = tools.querySelector("input"), order = new Intl.Collator("en", {numeric: true, sensitivity: "base"});
  let sorted = "";
  const say = () => {
    const shown = rows.filter(row => !row.hidden).length;
    const count = shown < rows.length ? shown + " of " + rows.length + " rows" : rows.length + " rows";
    state.textContent = count + (sorted ? ", sorted by " + sorted : "");
  };
  heads.forEach((head, at) => head.querySelector("button").addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending", numeric = head.dataset.kind === "number";
    const key = row => numeric ? parseFloat(row.cells[at].dataset.value) : row.cells[at].textContent;
    const missing = value => numeric ? Number.isNaN(value) : value === "";
    const keyed = rows.map(row => [key(row), row]);
    keyed.sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const found = numeric ? a - b || 0 : order.compare(a, b);
      return up ? found : -found;
    });
    const all = document.createDocumentFragment();
    keyed.forEach(([, row]) => all.append(row));
    body.append(all);
    heads.forEach(other => other.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    sorted = head.textContent.trim() + (up ? ", ascending" : ", descending");
    say();
  }));
  if (filter) filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
    say();
  });
  say();
}
for (const button of document.querySelectorAll("button[data-fits]")) {
  const image = document.getElementById(button.dataset.fits), width = image.style.width;
  button.addEventListener("click", () => {
    const fits = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(fits));
    image.style.width = fits ? "100%" : width;
  });
}
"""
