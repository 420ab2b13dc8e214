// Form controls: segmented choices, sliders, check boxes, lists to choose from.

import { make } from "./dom.js";

/** Radio buttons drawn as one segmented control. `choices`: value -> text. */
export function segmented(legend, name, choices, onChange) {
  const inputs = Object.entries(choices).map(([value, text]) => {
    const input = make("input", {
      type: "radio",
      name,
      value,
      id: `${name}-${value}`,
      change: () => onChange(value),
    });
    return [input, make("label", { for: `${name}-${value}` }, text)];
  });
  const element = make(
    "fieldset",
    { class: "segmented" },
    make("legend", {}, legend),
    make("span", { class: "segments" }, ...inputs.flat()),
  );
  const show = (value) => {
    for (const [input] of inputs) input.checked = input.value === value;
  };
  return { element, show };
}

/** A labelled range input with its value beside it. */
export function slider(text, id, attributes, onInput) {
  const output = make("output", { for: id });
  const input = make("input", {
    type: "range",
    id,
    ...attributes,
    input: () => onInput(Number(input.value)),
  });
  const element = make("div", { class: "slider" }, make("label", { for: id }, text), output, input);
  const show = (value, shown) => {
    if (Number(input.value) !== value) input.value = value;
    output.textContent = shown;
    input.setAttribute("aria-valuetext", shown);
  };
  return { element, show };
}

export function checkbox(text, id, shortcut, onChange) {
  const input = make("input", {
    type: "checkbox",
    id,
    "aria-keyshortcuts": shortcut,
    change: () => onChange(input.checked),
  });
  const element = make(
    "label",
    { class: "check", for: id },
    input,
    make("span", {}, text),
    make("kbd", {}, shortcut),
  );
  return { element, show: (value) => (input.checked = value) };
}

/** A list to choose one of; `names`: what it says, in order. */
export function choice(text, id, names, onChange) {
  const select = make(
    "select",
    { id, change: () => onChange(Number(select.value)) },
    ...names.map((name, n) => make("option", { value: n }, name)),
  );
  const element = make("label", { class: "choice", for: id }, make("span", {}, text), select);
  return { element, show: (n) => (select.value = n) };
}
