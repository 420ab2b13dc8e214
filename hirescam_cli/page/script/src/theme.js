import { byId } from "./dom.js";
/** A button that goes through light, dark, and as the system has it. */
export function themeButton() {
  const names = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const order = Object.keys(names);
  const button = byId("theme-button");
  let theme = "auto";
  const show = () => {
    button.textContent = names[theme];
    document.documentElement.dataset.theme = theme;
  };
  button.addEventListener("click", () => {
    theme = order[(order.indexOf(theme) + 1) % order.length];
    show();
  });
  show();
}
