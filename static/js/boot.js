// Runs before the first paint, so it stays this small: the chosen theme, and the one policy that htmx needs.
{
  const root = document.documentElement;
  root.dataset.script = "";
  try {
    root.dataset.theme = localStorage.getItem("theme") || "auto";
  } catch {
    // Storage is off: the browser's own preference holds.
  }
  // HTML alone passes, since htmx swaps what our server rendered; script and script-URL sinks stay closed.
  window.trustedTypes?.createPolicy("default", { createHTML: (html) => html });
}
