// The "Evidence" tab: how the label's logit comes about, and whether each map accounts for it.

import { fixed, logitText, make, percentText, positionText, signedText } from "./dom.js";

/** Rows of a definition list from pairs; pairs without a value are left out. */
export function definitions(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return make(
    "dl",
    { class: "facts" },
    ...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]),
  );
}

/** Bars about a common zero line: [name, value, kind]. */
function balance(rows) {
  const size = Math.max(...rows.map(([, value]) => Math.abs(value)), 1e-12);
  return make(
    "div",
    { class: "balance" },
    ...rows.map(([name, value, kind]) => {
      const bar = make("span", { class: `balance-bar ${kind}` });
      const share = (50 * Math.abs(value)) / size;
      bar.style.left = `${value < 0 ? 50 - share : 50}%`;
      bar.style.width = `${Math.max(share, 0.4)}%`;
      return make(
        "div",
        { class: "balance-row" },
        make("span", { class: "balance-name" }, name),
        make("span", { class: "balance-track", "aria-hidden": "true" }, bar),
        make("span", { class: "balance-value" }, signedText(value)),
      );
    }),
  );
}

export class Evidence {
  constructor(theCase, jump) {
    this.case = theCase;
    this.jump = jump;
    this.element = make("div", { class: "stack" });
  }

  draw({ label, method }) {
    const key = `${label}/${method}`;
    if (key === this.drawn) return;
    this.drawn = key;
    const entry = this.case.labels[label];
    const verdict = entry.positive ? "positive" : "negative";
    this.element.replaceChildren(
      make("h3", { class: "label-title" }, entry.name),
      make(
        "p",
        { class: "verdict" },
        make("b", {}, percentText(entry.probability)),
        make("span", { class: `chip ${verdict}` }, verdict),
        make("span", { class: "hint" }, `threshold ${percentText(entry.threshold, 0)}`),
      ),
      ...this.case.methods.map((name) => this.certificate(entry, name, name === method)).filter(Boolean),
      ...this.case.methods.flatMap((name) => this.ledger(entry, name)),
      ...this.agreement(entry),
    );
  }

  certificate(entry, method, current) {
    const map = entry.maps?.[method];
    if (!map) return null;
    const text = map.complete
      ? "Complete: the map's cells and the bias add up to the logit."
      : `Not complete: the map's cells and the bias add up to ${signedText(map.sum + map.bias)}, ` +
        `the logit is ${signedText(entry.logit)}.`;
    const rows = [
      ["Bias", map.bias, "plain"],
      ["Evidence for", map.positive_sum, "for"],
      ["Evidence against", map.negative_sum, "against"],
      ["Logit", entry.logit, "plain"],
    ].filter(([, value]) => Number.isFinite(value));
    return make(
      "section",
      { class: current ? "card current" : "card" },
      make(
        "h4",
        {},
        this.case.titleOf(method),
        make(
          "span",
          { class: map.complete ? "chip good" : "chip caution" },
          map.complete ? "complete" : "not complete",
        ),
      ),
      make("p", { class: "hint" }, text),
      balance(rows),
      definitions([
        ["Residual", Number.isFinite(map.residual) ? logitText(map.residual) : null],
        ["Evidence in padding", Number.isFinite(map.padding_share) ? percentText(map.padding_share) : null],
        [
          `Peak, ${this.case.description.placement}`,
          map.peak?.world_mm
            ? `${signedText(map.peak.value)} at ${positionText(map.peak.world_mm, 0)} mm`
            : null,
        ],
      ]),
    );
  }

  /** Where a logit comes from, region by region; nothing where `evaluate` has not run. */
  ledger(entry, method) {
    const rows = this.case.ledgerOf(entry.name, method);
    if (rows.length === 0) return [];
    const sum = rows.reduce((total, { logits }) => total + logits, 0);
    const kind = (value) => (value < 0 ? "against" : "for");
    return [
      make(
        "section",
        { class: "card" },
        make("h4", {}, `Ledger, ${this.case.titleOf(method)}`),
        make(
          "p",
          { class: "hint" },
          "The map's logits by region of the masks; with the bias they sum to the logit.",
        ),
        balance([
          ...rows.map(({ region, logits }) => [region, logits, kind(logits)]),
          ["Sum", sum, "plain"],
          ["Logit", entry.logit, "plain"],
        ]),
      ),
    ];
  }

  agreement({ agreement }) {
    if (!agreement) return [];
    return [
      make("h4", {}, "Agreement of the methods"),
      definitions([
        ["Correlation of the maps", fixed(agreement.correlation, 2)],
        ["Distance of the peaks", `${fixed(agreement.peak_distance_mm, 0)} mm`],
      ]),
    ];
  }
}
