// The index: all rows are in memory, one page of them in the document.

import { byId, DASH, fixed, make } from "./dom.js";
import { themeButton } from "./theme.js";

const PAGE_ROWS = 50;

const topProbability = (row) => (row.findings.length ? (row.findings[0][1] ?? -1) : -1);

/** Columns: title, and what to sort by (a function of the row) with the order of the first click. */
const COLUMNS = [
  { id: "picture", title: "" },
  { id: "case", title: "Case", by: (row) => row.case, descending: false },
  { id: "status", title: "Status", by: (row) => row.status, descending: false },
  { id: "findings", title: "Findings", by: topProbability, descending: true },
  { id: "positive", title: "Positive", by: (row) => row.positive, descending: true },
  { id: "warnings", title: "Warnings", by: (row) => row.warnings.length, descending: true },
  { id: "started", title: "Started", by: (row) => row.started || "", descending: true },
];

class Index {
  constructor({ rows, model }) {
    this.rows = rows.map((row, n) => ({ ...row, n, text: this.textOf(row) }));
    this.sort = { id: "case", descending: false };
    this.page = 0;
    this.buildHead();
    this.buildFilters();
    const failed = rows.filter((row) => row.status !== "ok").length;
    byId("totals").textContent =
      `${rows.length} case${rows.length === 1 ? "" : "s"}, ${failed} failed${model ? `, model ${model}` : ""}`;
    this.show();
  }

  /** What the text filter looks into. */
  textOf(row) {
    const error = row.error ? [row.error.code, row.error.message] : [];
    const names = row.findings.map(([name]) => name);
    return [row.case, ...names, ...names.map((name) => name.replace(/_/g, " ")), ...error, ...row.warnings]
      .join("\n")
      .toLocaleLowerCase();
  }

  buildHead() {
    this.heads = new Map();
    for (const column of COLUMNS) {
      const head = make("th", { scope: "col", class: `col-${column.id}` });
      if (column.by)
        head.append(
          make(
            "button",
            { id: `sort-${column.id}`, class: "sort", click: () => this.sortBy(column) },
            column.title,
          ),
        );
      else head.append(make("span", { class: "unseen" }, "Picture"));
      this.heads.set(column.id, head);
      byId("head").append(head);
    }
  }

  buildFilters() {
    const again = () => {
      this.page = 0;
      this.show();
    };
    this.search = make("input", {
      type: "search",
      id: "filter-text",
      placeholder: "Case, finding, reason or warning",
      "aria-label": "Filter by text",
      autocomplete: "off",
      input: again,
    });
    const select = (id, name, choices) =>
      make(
        "select",
        { id, "aria-label": name, change: again },
        ...choices.map(([value, text]) => make("option", { value }, text)),
      );
    this.status = select("filter-status", "Status", [
      ["", "Any status"],
      ["ok", "Done"],
      ["failed", "Failed"],
      ["warned", "With warnings"],
      ["positive", "With findings"],
      ["incomplete", "Certificate not complete"],
    ]);
    const labels = [
      ...new Set(
        this.rows.flatMap((row) => row.findings.filter(([, , positive]) => positive).map(([name]) => name)),
      ),
    ].sort();
    this.label = select("filter-label", "Finding", [
      ["", "Any finding"],
      ...labels.map((name) => [name, name]),
    ]);
    this.count = make("span", { class: "hint", role: "status" });
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    byId("filters").append(this.search, this.status, this.label, this.count);
  }

  sortBy({ id, descending }) {
    this.sort = this.sort.id === id ? { id, descending: !this.sort.descending } : { id, descending };
    this.page = 0;
    this.show();
  }

  matches(row) {
    const words = this.search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const state = {
      "": true,
      ok: row.status === "ok",
      failed: row.status !== "ok",
      warned: row.warnings.length > 0,
      positive: row.positive > 0,
      incomplete: row.complete === false,
    }[this.status.value];
    const finding = this.label.value;
    return (
      state &&
      words.every((word) => row.text.includes(word)) &&
      (!finding || row.findings.some(([name, , positive]) => positive && name === finding))
    );
  }

  chosen() {
    const { by } = COLUMNS.find(({ id }) => id === this.sort.id);
    const sign = this.sort.descending ? -1 : 1;
    const collator = new Intl.Collator(undefined, { numeric: true });
    const compare = (a, b) => (typeof a === "string" ? collator.compare(a, b) : a - b);
    return this.rows
      .filter((row) => this.matches(row))
      .sort((a, b) => sign * compare(by(a), by(b)) || a.n - b.n);
  }

  show() {
    const rows = this.chosen();
    const last = Math.max(0, Math.ceil(rows.length / PAGE_ROWS) - 1);
    this.page = Math.min(Math.max(this.page, 0), last);
    const start = this.page * PAGE_ROWS;
    byId("rows").replaceChildren(...rows.slice(start, start + PAGE_ROWS).map((row) => this.rowElement(row)));
    byId("empty").hidden = rows.length > 0;
    this.count.textContent =
      rows.length === this.rows.length ? "" : `${rows.length} of ${this.rows.length} cases`;
    for (const [id, head] of this.heads) {
      if (id === this.sort.id)
        head.setAttribute("aria-sort", this.sort.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.showPages(rows.length, start, last);
  }

  showPages(count, start, last) {
    const go = (page) => () => {
      this.page = page;
      this.show();
      document.querySelector(".table-frame").scrollTop = 0;
    };
    const button = (text, page, disabled) =>
      make("button", { class: "button", disabled, click: go(page) }, text);
    byId("pages").replaceChildren(
      button("First", 0, this.page === 0),
      button("Previous", this.page - 1, this.page === 0),
      make(
        "span",
        {},
        count ? `${start + 1} ${DASH} ${Math.min(start + PAGE_ROWS, count)} of ${count}` : "0",
      ),
      button("Next", this.page + 1, this.page === last),
      button("Last", last, this.page === last),
    );
  }

  rowElement(row) {
    const target = row.page || row.folder;
    const cells = {
      picture: row.picture
        ? make(
            "a",
            { href: row.picture, tabindex: -1, class: "thumb", "aria-hidden": "true" },
            make("img", { src: row.picture, alt: "", loading: "lazy", decoding: "async" }),
          )
        : make("span", { class: "thumb none" }),
      case: make("a", { href: target, class: "case-link" }, row.case),
      status: make(
        "span",
        { class: row.status === "ok" ? "chip good" : "chip bad" },
        row.status === "ok" ? "done" : row.status,
      ),
      findings: row.error ? this.reason(row.error) : this.findings(row),
      positive: row.status === "ok" ? String(row.positive) : DASH,
      warnings: row.warnings.length
        ? make("span", { class: "chip caution", title: row.warnings.join("\n") }, String(row.warnings.length))
        : "",
      started: row.started ? row.started.replace("T", " ").replace(/(\.\d+)?(Z|\+00:00)$/, "") : DASH,
    };
    return make(
      "tr",
      { class: row.status === "ok" ? "" : "failed" },
      ...COLUMNS.map(({ id }) => make("td", { class: `col-${id}` }, cells[id])),
    );
  }

  findings(row) {
    if (row.findings.length === 0) return make("span", { class: "hint" }, "none");
    const more = row.positive - row.findings.length;
    return make(
      "ul",
      { class: "findings" },
      ...row.findings.map(([name, probability, positive]) =>
        make(
          "li",
          { class: positive ? "chip positive" : "chip" },
          make("span", { class: "finding-name" }, name),
          ` ${fixed(probability, 2)}`,
        ),
      ),
      more > 0 ? make("li", { class: "hint" }, `and ${more} more`) : null,
    );
  }

  reason({ code, message, hint }) {
    return make(
      "div",
      { class: "reason" },
      make("span", {}, message || "failed"),
      hint ? make("span", { class: "hint" }, hint) : null,
      code ? make("code", {}, code) : null,
    );
  }
}

window.hirescamIndex = new Index(JSON.parse(byId("index-json").textContent));
themeButton();
document.documentElement.dataset.ready = "yes";
