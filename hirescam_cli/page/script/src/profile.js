// The label's score slice by slice, from head to feet; a click or an arrow key goes to that slice.

import { logitText, make, makeSvg, sideText, signedText } from "./dom.js";
import { invert, transform } from "./geometry.js";

const PROFILE = { left: 54, right: 16, bottom: 34 };
const NARROW = 330; // where the caption takes more lines

export class Profile {
  constructor(theCase, store, navigator) {
    this.case = theCase;
    this.store = store;
    this.navigator = navigator;
    this.key = "";
    this.svg = makeSvg("svg", { class: "profile-svg", "aria-hidden": "true" });
    this.title = make("span", { class: "plane-name" }, "Slice scores");
    this.note = make("span", { class: "plane-place" });
    this.element = make(
      "div",
      {
        class: "plane profile",
        tabindex: 0,
        role: "slider",
        "aria-label": "Slice scores, from head to feet",
        "aria-orientation": "horizontal",
        "aria-valuemin": 1,
        keydown: (event) => this.onKey(event),
      },
      this.svg,
      make("div", { class: "plane-caption" }, this.title, this.note),
    );
    this.listen();
  }

  listen() {
    let held = false;
    const go = (event) => {
      const box = this.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * this.size.width;
      this.goTo(Math.round(((x - PROFILE.left) / this.innerWidth) * (this.count - 1)));
    };
    this.svg.addEventListener("pointerdown", (event) => {
      held = true;
      this.svg.setPointerCapture(event.pointerId);
      this.element.focus({ preventScroll: true });
      go(event);
      event.preventDefault();
    });
    this.svg.addEventListener("pointermove", (event) => held && go(event));
    this.svg.addEventListener("pointerup", () => (held = false));
    this.svg.addEventListener("pointercancel", () => (held = false));
  }

  onKey(event) {
    const far = event.shiftKey ? 10 : 1;
    const targets = {
      ArrowLeft: this.group - far,
      ArrowUp: this.group - far,
      ArrowRight: this.group + far,
      ArrowDown: this.group + far,
      PageUp: this.group - 10,
      PageDown: this.group + 10,
      Home: 0,
      End: this.count - 1,
    };
    if (!(event.key in targets) || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    this.goTo(targets[event.key]);
  }

  /** Move the crosshair along z to the middle of a slice group. */
  goTo(group) {
    const { placement, voxel } = this.store.state;
    const cell = transform(this.case.voxelToCell.get(placement), voxel);
    cell[0] = Math.min(Math.max(group, 0), this.count - 1);
    const target = transform(invert(this.case.voxelToCell.get(placement)), cell);
    this.navigator.moveTo([target[0], voxel[1], voxel[2]]);
  }

  draw(state) {
    const { values: scores, name } = this.case.profileOf(state);
    this.given = Boolean(this.case.labels[state.label].slice_scores);
    this.title.textContent = name;
    this.element.setAttribute("aria-label", `${name}, from head to feet`);
    this.count = scores.length;
    const cell = transform(this.case.voxelToCell.get(state.placement), state.voxel);
    this.group = Math.min(Math.max(Math.floor(cell[0] + 0.5), 0), Math.max(this.count - 1, 0));
    const box = this.element.getBoundingClientRect();
    this.size = { width: Math.max(box.width, 160), height: Math.max(box.height, 120) };
    this.top = this.size.width < NARROW ? 76 : 46;
    this.innerWidth = this.size.width - PROFILE.left - PROFILE.right;
    const key = [
      state.label,
      this.given || state.method,
      state.placement,
      this.size.width,
      this.size.height,
    ].join();
    if (key !== this.key) {
      this.key = key;
      this.drawCurve(scores, state);
    }
    this.drawCursor(scores, state);
  }

  /** The mean of slice scores is the label's logit. */
  meanOf(scores, { label }) {
    if (this.given) return this.case.labels[label].logit;
    return scores.reduce((sum, value) => sum + value, 0) / scores.length;
  }

  x(group) {
    return PROFILE.left + (this.innerWidth * group) / Math.max(this.count - 1, 1);
  }

  y(score) {
    const [low, high] = this.range;
    const inner = this.size.height - this.top - PROFILE.bottom;
    return this.top + (inner * (high - score)) / (high - low);
  }

  drawCurve(scores, state) {
    const { width, height } = this.size;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren();
    const mean = this.meanOf(scores, state);
    const [low, high] = [Math.min(0, ...scores), Math.max(0, ...scores)];
    const room = (high - low || 1) * 0.06;
    this.range = [low - room, high + room];
    const floor = height - PROFILE.bottom;
    const points = scores.map((score, n) => `${this.x(n).toFixed(1)},${this.y(score).toFixed(1)}`);
    const zero = this.y(0).toFixed(1);
    const [first, last] = [this.x(0).toFixed(1), this.x(this.count - 1).toFixed(1)];
    const area = `M${first},${zero} L${points.join(" L")} L${last},${zero} Z`;
    for (const [name, top, bottom] of [
      ["above", 0, this.y(0)],
      ["below", this.y(0), height],
    ]) {
      const clip = makeSvg("clipPath", { id: `clip-${name}` });
      clip.append(makeSvg("rect", { x: 0, y: top, width, height: Math.max(bottom - top, 0) }));
      this.svg.append(
        clip,
        makeSvg("path", { d: area, class: `area-${name}`, "clip-path": `url(#clip-${name})` }),
      );
    }
    this.svg.append(
      this.unseenBands(),
      makeSvg("line", { class: "axis", x1: PROFILE.left, x2: width - PROFILE.right, y1: zero, y2: zero }),
      makeSvg("line", {
        class: "mean",
        x1: PROFILE.left,
        x2: width - PROFILE.right,
        y1: this.y(mean),
        y2: this.y(mean),
      }),
      makeSvg("polyline", { class: "curve", points: points.join(" ") }),
    );
    this.drawScales(low, high, floor);
    this.cursor = makeSvg("g", { class: "cursor" });
    this.svg.append(this.cursor);
  }

  /** Groups of slices that lie outside the scan: padding. */
  unseenBands() {
    const group = makeSvg("g", { class: "padding" });
    const inverse = invert(this.case.voxelToCell.get(this.store.state.placement));
    const middle = transform(
      this.case.voxelToCell.get(this.store.state.placement),
      this.store.state.view.centre,
    );
    const half = this.innerWidth / Math.max(this.count - 1, 1) / 2;
    const height = this.size.height - this.top - PROFILE.bottom;
    const outside = (n) => {
      const z = transform(inverse, [n, middle[1], middle[2]])[0];
      return n < this.count && (z < -0.5 || z > this.case.shape[0] - 0.5);
    };
    for (let first = 0; first < this.count; first++) {
      if (!outside(first)) continue;
      let next = first + 1;
      while (outside(next)) next++;
      const [left, right] = [
        Math.max(this.x(first) - half, PROFILE.left),
        Math.min(this.x(next) - half, this.x(this.count - 1)),
      ];
      const band = makeSvg("rect", { x: left, y: this.top, width: Math.max(right - left, 0), height });
      const title = makeSvg("title");
      title.textContent = "outside the scan: padding";
      band.append(title);
      group.append(band);
      first = next;
    }
    return group;
  }

  drawScales(low, high, floor) {
    const marks = [...new Set([low, 0, high])].filter((v) => v === 0 || Math.abs(this.y(v) - this.y(0)) > 14);
    for (const value of marks) {
      const text = makeSvg("text", {
        class: "tick",
        x: PROFILE.left - 8,
        y: this.y(value) + 4,
        "text-anchor": "end",
      });
      text.textContent = logitText(value);
      this.svg.append(text);
    }
    const ends = [
      [0, "start", "head"],
      [this.count - 1, "end", "feet"],
    ];
    for (const [group, anchor, word] of ends) {
      const text = makeSvg("text", { class: "tick", x: this.x(group), y: floor + 20, "text-anchor": anchor });
      const where = this.size.width < 280 ? "" : ` ${sideText(this.heightOf(group), 2, 0)} mm`;
      text.textContent = word + where;
      this.svg.append(text);
    }
  }

  /** RAS z of a slice group, at the middle of its plane. */
  heightOf(group) {
    const { placement, method } = this.store.state;
    const [, h, w] = this.case.maps.get(method).shape;
    return transform(this.case.description.placements[placement], [group, (h - 1) / 2, (w - 1) / 2])[2];
  }

  drawCursor(scores, state) {
    const x = this.x(this.group);
    this.cursor.replaceChildren(
      makeSvg("line", { x1: x, x2: x, y1: this.top, y2: this.size.height - PROFILE.bottom }),
      makeSvg("circle", { cx: x, cy: this.y(scores[this.group]), r: 4 }),
    );
    const score = signedText(scores[this.group]);
    const place = `${score}  in ${this.given ? "group" : "slice"} ${this.group + 1} / ${this.count}`;
    const total = scores.reduce((sum, value) => sum + value, 0);
    this.note.textContent = this.given
      ? `${place}   mean ${signedText(this.meanOf(scores, state))} = logit`
      : `${place}   sum ${signedText(total)}`;
    this.element.setAttribute("aria-valuemax", this.count);
    this.element.setAttribute("aria-valuenow", this.group + 1);
    this.element.setAttribute(
      "aria-valuetext",
      `slice group ${this.group + 1} of ${this.count}, ${sideText(this.heightOf(this.group), 2, 0)} mm, score ${score}`,
    );
  }
}
