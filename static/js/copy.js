// <button data-copy="#id"> copies the text of #id; data-copy-text="…" copies that text.
import { announce } from "./announce.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-text]");
  if (!button) return;
  const source = button.dataset.copy && document.querySelector(button.dataset.copy);
  const text = button.dataset.copyText ?? source?.value ?? source?.textContent ?? "";
  try {
    await navigator.clipboard.writeText(text.trim());
  } catch {
    // No permission or no secure origin: select it, so that the keyboard can.
    if (source) getSelection()?.selectAllChildren(source);
    announce(button.dataset.copyFailed);
    return;
  }
  button.dataset.copied = "";
  announce(button.dataset.copyDone);
  setTimeout(() => delete button.dataset.copied, 1600);
});
