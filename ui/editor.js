// A text editor for prompt templates: line numbers, placeholders coloured, lines with problems tinted. What is typed goes
// to the server shortly after the last key. Text reaches the page through textContent only.
const WAIT = 350;
const PIECES = /(\{\{|\}\}|\{[^{}\n]*\}?|\})/;
function paint(view, text, names, bad) {
  const lines = text.split("\n").map((line, index) => {
    const row = document.createElement("div");
    row.className = "rk-line" + (bad.includes(index + 1) ? " rk-line-bad" : "");
    const key = /^[A-Za-z_]+(?=\s*=)/.exec(line)?.[0] ?? "";
    const parts = key ? [key, ...line.slice(key.length).split(PIECES)] : line.split(PIECES);
    parts.forEach((part, place) => {
      if (!part) return;
      const span = document.createElement("span");
      span.textContent = part;
      if (key && place === 0) span.className = "rk-key";
      else if (line.trimStart().startsWith("#")) span.className = "rk-remark";
      else if (/^\{[^{]/.test(part)) span.className = names.includes(part.slice(1, -1)) ? "rk-variable" : "rk-unknown";
      row.append(span);
    });
    if (!line) row.append(document.createElement("br"));
    return row;
  });
  view.replaceChildren(...lines);
}
export default function ({ data, parentElement, setStateValue }) {
  const root = parentElement.querySelector(".rk-editor");
  const area = root.querySelector("textarea");
  const view = root.querySelector(".rk-view");
  const place = `ragkit-draft:${data.version}`;
  const repaint = () => paint(view, area.value, data.names, data.lines);
  const send = () => {
    clearTimeout(root.rkTimer);
    if (area.value === data.saved) sessionStorage.removeItem(place);
    else sessionStorage.setItem(place, JSON.stringify({ saved: data.saved, text: area.value }));
    if (root.rkSent !== area.value) setStateValue("text", (root.rkSent = area.value));
  };
  if (root.rkVersion !== data.version) {
    clearTimeout(root.rkTimer);
    root.rkVersion = data.version;
    area.value = root.rkSent = data.text;
    area.readOnly = data.fixed;
    // What was typed and not saved outlives a reload of the page, as long as the saved text is still the same.
    const draft = JSON.parse(sessionStorage.getItem(place) ?? "null");
    if (!data.fixed && draft?.saved === data.saved && draft.text !== data.text) {
      area.value = draft.text;
      root.rkTimer = setTimeout(send, WAIT);
    }
  }
  area.oninput = () => {
    repaint();
    clearTimeout(root.rkTimer);
    root.rkTimer = setTimeout(send, WAIT);
  };
  area.onblur = send;
  repaint();
}
