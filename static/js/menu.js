// Menus of the top bar are <details>: close them on a click elsewhere and on Escape, which gives the focus back.
const open = () => document.querySelectorAll("details.menu[open]");

document.addEventListener("click", (event) => {
  for (const menu of open()) if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of open()) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// The rail is a popover on narrow screens; on a wide one it must not stay in the top layer.
const rail = document.getElementById("rail");
matchMedia("(width >= 50rem)").addEventListener("change", (query) => {
  if (query.matches && rail?.matches(":popover-open")) rail.hidePopover();
});
