// Tables of the benchmarks: sorted by a click on a head, filtered by the box above.
"use strict";

// ".956 (.024)" sorts by its first number; cells without one come last.
const plain = (html) => html.replace(/<[^>]*>/g, "").trim();
const leadingNumber = (html) => {
  const number = parseFloat(plain(html));
  return Number.isNaN(number) ? Infinity : number;
};
DataTable.type("leading-number", {
  detect: (html) => /^(-?\d*\.?\d+( \(-?\d*\.?\d+\))?)?$/.test(plain(html)),
  order: { pre: leadingNumber },
  className: "dt-type-numeric",
});

for (const table of document.querySelectorAll("article table")) {
  const whole = table.classList.contains("figures");
  const search = whole || table.tBodies[0].rows.length > 5;
  new DataTable(table, {
    order: [],
    paging: whole,
    pageLength: 25,
    info: whole,
    searching: search,
    language: { search: "Filter:" },
  });
}
