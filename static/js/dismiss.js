// <button data-dismiss> takes its nearest [data-dismissable] away.
document.addEventListener("click", (event) => {
  event.target.closest("[data-dismiss]")?.closest("[data-dismissable]")?.remove();
});
