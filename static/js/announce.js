// Says what changed in the page's one live region. An element with data-announce speaks when a swap brings it
// with other words than it had before; an element without an id speaks once, when it arrives.
const region = document.getElementById("live");
const known = new Map();

export function announce(text) {
  if (!region || !text) return;
  region.textContent = "";
  // A region that is emptied and filled in one go is not read again.
  requestAnimationFrame(() => (region.textContent = text));
}

function remember(root) {
  const changed = [];
  for (const element of root.querySelectorAll("[data-announce]")) {
    const words = element.dataset.announce;
    if (!element.id || (known.has(element.id) && known.get(element.id) !== words)) changed.push(words);
    if (element.id) known.set(element.id, words);
  }
  return changed;
}

remember(document);
document.addEventListener("htmx:afterSettle", () => announce(remember(document).join(". ")));
