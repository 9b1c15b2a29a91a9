// The clickable panel: shows escaped HTML and reports clicks on elements that carry data-event.
// The text in data.html was escaped when it was made. The template element is inert (nothing in it loads or runs), and
// what is not on the lists below is thrown away before anything is shown: a second wall behind the first.
const TAGS = new Set(("B BLOCKQUOTE BUTTON CODE DETAILS DIV EM H3 H4 I LI MARK OL P PRE SECTION SMALL SPAN STRONG " +
  "SUMMARY TABLE TBODY TD TH THEAD TR UL BR HR").split(" "));
const ATTRIBUTES = new Set(["class", "title", "role", "type", "style", "id", "open", "disabled", "tabindex"]);
const harmless = (name) => ATTRIBUTES.has(name) || name.startsWith("data-") || name.startsWith("aria-");
function clean(node) {
  for (const child of [...node.children]) {
    if (!TAGS.has(child.tagName)) { child.remove(); continue; }
    for (const {name} of [...child.attributes]) if (!harmless(name)) child.removeAttribute(name);
    clean(child);
  }
}
const same = (a, b) => a && b && a.dataset.event === b.dataset.event && a.dataset.value === b.dataset.value;
// data-picture="0.4": bring that share of the height of the dialog's picture to the middle, once the picture is there.
function scrollPicture(root, patience = 40) {
  const share = parseFloat(root.querySelector("[data-picture]")?.dataset.picture);
  if (!(share > 0)) return;
  const picture = root.closest('[role="dialog"]')?.querySelector("img");
  if (!(picture?.clientHeight > 50)) {
    if (patience > 0) setTimeout(() => scrollPicture(root, patience - 1), 100);
    return;
  }
  const mark = document.createElement("span");
  mark.style.cssText = `position:absolute;width:1px;height:1px;top:${picture.offsetTop + share * picture.clientHeight}px`;
  picture.parentElement.append(mark);
  mark.scrollIntoView({ block: "center" });
  mark.remove();
}
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".rk-panel");
  if (root.rkShown !== data.html) {
    const next = document.createElement("template");
    next.innerHTML = data.html;
    clean(next.content);
    const focused = root.contains(document.activeElement) ? document.activeElement : null;
    root.replaceChildren(next.content);
    root.rkShown = data.html;
    if (focused) [...root.querySelectorAll("[data-event]")].find((item) => same(item, focused))?.focus();
    const wanted = root.querySelector("[data-scroll]");
    if (wanted) setTimeout(() => wanted.scrollIntoView({ block: "center" }), 150); // once what is below has its height
    scrollPicture(root);
  }
  root.onclick = (click) => {
    const item = click.target.closest("[data-event]");
    if (item) setTriggerValue("event", { name: item.dataset.event, value: item.dataset.value || "" });
  };
}
