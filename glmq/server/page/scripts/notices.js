// Short notices at the edge of the page, and words for those who listen to it.
import { byId, iconButton, make } from "./elements.js";

const SECONDS = 20;
const MAX_SHOWN = 3;

/** Show a notice. undo: what takes back what it tells. */
export function tell(text, { undo = null, isError = false } = {}) {
  const notice = make("div", { class: isError ? "notice error" : "notice", role: isError ? "alert" : "status" }, make("span", {}, text));
  const remove = () => notice.remove();
  const undoButton = () => make("button", { type: "button", class: "link-button", onclick: () => { remove(); undo(); } }, "Undo");
  if (undo) notice.append(undoButton());
  notice.append(iconButton("close", "Dismiss", remove));
  const shown = byId("notices");
  for (const same of Array.from(shown.children)) if (same.firstChild.textContent === text) same.remove();
  shown.append(notice);
  while (shown.children.length > MAX_SHOWN) shown.firstChild.remove();
  if (!isError) removeLater(notice);
}

/** Remove a notice after a while, but not while it is pointed at or has the focus. */
function removeLater(notice) {
  setTimeout(() => (notice.matches(":hover, :focus-within") ? removeLater(notice) : notice.remove()), SECONDS * 1000);
}

/** Have a text read out, without showing it. */
export function announce(text) {
  const words = make("p", {}, text);
  const region = byId("announcements");
  region.append(words);
  while (region.children.length > 20) region.firstChild.remove();
}
