// The list of every label of the model: searched, sorted, chosen by click or arrow keys.

import { byId, fixed, make } from "./dom.js";

const ORDERS = {
  probability: { name: "Probability", compare: (a, b) => b.probability - a.probability || a.index - b.index },
  logit: { name: "Logit", compare: (a, b) => b.logit - a.logit || a.index - b.index },
  name: { name: "Name", compare: (a, b) => a.name.localeCompare(b.name) },
  index: { name: "Model's order", compare: (a, b) => a.index - b.index },
};

export class LabelList {
  constructor(theCase, store, choose) {
    this.case = theCase;
    this.store = store;
    this.choose = choose;
    this.shown = [];
    this.options = theCase.labels.map((entry, n) => this.option(entry, n));
    this.search = make("input", {
      type: "search",
      id: "label-search",
      placeholder: "Search",
      "aria-label": "Search labels",
      autocomplete: "off",
      spellcheck: "false",
      "aria-controls": "label-list",
      "aria-keyshortcuts": "/",
      input: () => this.arrange(),
      keydown: (event) => this.onSearchKey(event),
    });
    this.order = make(
      "select",
      { id: "label-order", "aria-label": "Sort labels by", change: () => this.arrange() },
      ...Object.entries(ORDERS).map(([key, { name }]) => make("option", { value: key }, name)),
    );
    this.list = make("ul", {
      id: "label-list",
      role: "listbox",
      tabindex: 0,
      "aria-label": "Labels",
      keydown: (event) => this.onKey(event),
    });
    this.count = make("p", { class: "hint", role: "status" });
    this.empty = make("p", { class: "empty" }, "No label matches.");
    byId("findings").append(
      make("div", { class: "side-head" }, make("h2", {}, "Labels"), this.count),
      make("div", { class: "search" }, this.search, this.order),
      this.list,
      this.empty,
    );
    this.arrange();
  }

  option(entry, n) {
    const bar = make("span", { class: "meter" }, make("span", { class: "meter-fill" }));
    bar.firstChild.style.width = `${100 * (entry.probability || 0)}%`;
    return make(
      "li",
      {
        role: "option",
        id: `label-${n}`,
        "aria-selected": "false",
        title: entry.name,
        class: entry.positive ? "label positive" : "label",
        click: () => this.choose(n),
      },
      make("span", { class: "label-name" }, entry.name),
      make("span", { class: "label-value" }, fixed(entry.probability, 3)),
      entry.positive ? make("span", { class: "unseen" }, "positive") : null,
      bar,
    );
  }

  /** Fill the list with the labels that match, in the chosen order. */
  arrange() {
    const words = this.search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const matches = ({ name }) => {
      const text = name.toLocaleLowerCase();
      return words.every((word) => text.includes(word) || text.replace(/_/g, " ").includes(word));
    };
    const { compare } = ORDERS[this.order.value];
    this.shown = this.case.labels.map((_, n) => n).filter((n) => matches(this.case.labels[n]));
    this.shown.sort((a, b) => compare(this.case.labels[a], this.case.labels[b]));
    this.list.replaceChildren(...this.shown.map((n) => this.options[n]));
    this.empty.hidden = this.shown.length > 0;
    const positive = this.case.labels.filter((entry) => entry.positive).length;
    const total = this.case.labels.length;
    this.count.textContent =
      this.shown.length === total
        ? `${positive} of ${total} positive`
        : `${this.shown.length} of ${total} shown`;
  }

  /** Choose the label `steps` further down the list. */
  step(steps) {
    if (this.shown.length === 0) return;
    const at = this.shown.indexOf(this.store.state.label);
    const next = at < 0 ? 0 : Math.min(Math.max(at + steps, 0), this.shown.length - 1);
    this.choose(this.shown[next]);
  }

  onKey(event) {
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[
      event.key
    ];
    if (steps === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.step(Number.isFinite(steps) ? steps : Math.sign(steps) * this.case.labels.length);
  }

  onSearchKey(event) {
    if (event.key === "ArrowDown" || event.key === "Enter") {
      event.preventDefault();
      if (event.key === "Enter" && this.shown.length > 0) this.choose(this.shown[0]);
      this.list.focus();
    } else if (event.key === "Escape" && this.search.value) {
      event.stopPropagation();
      this.search.value = "";
      this.arrange();
    }
  }

  draw({ label }) {
    if (label === this.drawn) return;
    if (this.drawn !== undefined) this.options[this.drawn].setAttribute("aria-selected", "false");
    this.drawn = label;
    this.options[label].setAttribute("aria-selected", "true");
    this.list.setAttribute("aria-activedescendant", `label-${label}`);
    this.options[label].scrollIntoView({ block: "nearest" });
  }
}
