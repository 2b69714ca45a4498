// A hidden tab asks for nothing. Trigger filters would need eval, which the policy forbids, so it is done here.
document.addEventListener("htmx:beforeRequest", (event) => {
  const polls = event.detail.elt.getAttribute("hx-trigger")?.includes("every");
  if (polls && document.hidden) event.preventDefault();
});
