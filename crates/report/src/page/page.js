// Sorts a table by the column whose heading is pressed; pressed again, the other way round.
"use strict";
for (const table of document.querySelectorAll("table")) {
  const headings = Array.from(table.tHead.rows[0].cells);
  const collator = new Intl.Collator("en", { numeric: true });
  const compare = (a, b, column) => {
    const [x, y] = [a.cells[column], b.cells[column]];
    const [v, w] = [x.dataset.value, y.dataset.value];
    if (v !== undefined && w !== undefined) return Number(v) - Number(w);
    return collator.compare(x.textContent, y.textContent);
  };
  const isEmpty = (row, column) =>
    headings[column].classList.contains("number") && row.cells[column].dataset.value === undefined;
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const order = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      for (const other of headings) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
      const rows = Array.from(table.tBodies[0].rows);
      // Rows without a figure stay at the end, whichever way round.
      rows.sort((a, b) => isEmpty(a, column) - isEmpty(b, column) || order * compare(a, b, column));
      table.tBodies[0].append(...rows);
    });
  });
}
