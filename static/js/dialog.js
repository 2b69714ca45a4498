// Opens and closes dialogs in browsers that do not know `command` and `closedby` yet.
if (!("command" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const target = button && document.getElementById(button.getAttribute("commandfor"));
    if (!(target instanceof HTMLDialogElement)) return;
    if (button.getAttribute("command") === "show-modal") target.showModal();
    if (button.getAttribute("command") === "close") target.close();
  });
}
if (!("closedBy" in HTMLDialogElement.prototype)) {
  document.addEventListener("click", (event) => {
    if (event.target instanceof HTMLDialogElement && event.target.getAttribute("closedby") === "any") event.target.close();
  });
}
