// The theme button goes round: automatic, light, dark. boot.js applies the choice before the next page paints.
import { announce } from "./announce.js";

const THEMES = ["auto", "light", "dark"];
const root = document.documentElement;
const buttons = () => document.querySelectorAll("[data-theme-button]");

function label() {
  for (const button of buttons()) {
    const words = button.dataset[`label${root.dataset.theme[0].toUpperCase()}${root.dataset.theme.slice(1)}`];
    button.setAttribute("aria-label", words);
    button.title = words;
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-theme-button]");
  if (!button) return;
  root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {
    // Storage is off: the choice lasts for this page.
  }
  label();
  announce(button.getAttribute("aria-label"));
});
label();
