"use strict";

// Charts: each figure carries its Vega-Lite specification; the legend's buttons set the signal `highlight` of all.
const views = [];
let pinned = "";

function highlight(label) {
  for (const view of views) view.signal("highlight", label).runAsync();
}

async function draw(figure) {
  const spec = JSON.parse(figure.querySelector("script.spec").textContent);
  const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const options = { renderer: "svg", tooltip: { theme }, actions: { export: true, source: false, compiled: false, editor: false } };
  const result = await vegaEmbed(figure.querySelector(".chart"), spec, options);
  views.push(result.view);
}

function setUpLegend(legend) {
  for (const button of legend.querySelectorAll("button")) {
    const label = button.dataset.label;
    button.addEventListener("mouseenter", () => highlight(label));
    button.addEventListener("mouseleave", () => highlight(pinned));
    button.addEventListener("click", () => {
      pinned = pinned === label ? "" : label;
      for (const other of document.querySelectorAll(".legend button")) {
        other.setAttribute("aria-pressed", String(other.dataset.label === pinned));
      }
      highlight(pinned);
    });
  }
}

// Tables: a click on a heading sorts by the cells' values, empty ones last; filters hide rows.
function compare(first, second) {
  const numbers = [Number(first), Number(second)];
  return numbers.some(Number.isNaN) ? first.localeCompare(second) : numbers[0] - numbers[1];
}

function sortBy(table, heading) {
  const ascending = heading.getAttribute("aria-sort") !== "ascending";
  const column = [...heading.parentNode.children].indexOf(heading);
  for (const other of heading.parentNode.children) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  table.classList.remove("in-order");
  const body = table.tBodies[0];
  const valueOf = (row) => row.children[column].dataset.value;
  const rows = [...body.rows];
  rows.sort((a, b) => {
    const [first, second] = [valueOf(a), valueOf(b)];
    if (first === undefined || second === undefined) return (first === undefined) - (second === undefined);
    return ascending ? compare(first, second) : compare(second, first);
  });
  body.append(...rows);
}

function setUpTable(section) {
  const table = section.querySelector("table");
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector(".sort").addEventListener("click", () => sortBy(table, heading));
  }
  const filters = section.querySelector(".filters");
  if (!filters) return;
  const text = filters.querySelector("input[type=search]");
  const choices = [...filters.querySelectorAll("select")];
  const count = filters.querySelector("output");
  const rows = [...table.tBodies[0].rows];
  const matches = (row) =>
    text.value.toLowerCase().split(/\s+/).every((word) => row.textContent.toLowerCase().includes(word)) &&
    choices.every((choice) => !choice.value || JSON.parse(row.dataset[choice.name]).includes(choice.value));
  const apply = () => {
    for (const row of rows) row.hidden = !matches(row);
    const shown = rows.filter((row) => !row.hidden).length;
    count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${rows.length} rows`;
  };
  filters.addEventListener("input", apply);
  filters.addEventListener("submit", (event) => event.preventDefault());
  apply();
}

for (const section of document.querySelectorAll(".sortable")) setUpTable(section);
for (const legend of document.querySelectorAll(".legend")) setUpLegend(legend);
Promise.all([...document.querySelectorAll("figure")].map(draw)).then(() => {
  document.documentElement.dataset.drawn = "yes";
});
