"use strict";
// The page's own script. Whatever comes from a run reaches the document by textContent alone.
(() => {
const $ = (id) => document.getElementById(id);
const LIVE = document.documentElement.dataset.live === "true";
const AROUND = 24;
const PAPER = 680;  // pixels of a picture on a sheet of A4
const NAME = document.title;
const SHORT = 16;  // characters of a cell that no line break may take apart
const hidden = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u;

// Elements: el("a", {href: …}, child, "text"): strings become text nodes, never markup.
function el(name, about, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(about || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key === "class") made.className = value;
    else if (key === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined) continue;
    made.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return made;
}

// A text as it can be seen: line breaks and invisible characters have a sign.
function visible(text, folded) {
  let shown = "";
  for (const one of String(text)) {
    if (one === "\n") shown += folded ? "⏎" : "⏎\n";
    else if (one === "\t") shown += "⇥\t";
    else if (one === "\r") shown += "␍";
    else shown += hidden.test(one) ? "⟨U+" + one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩" : one;
  }
  return shown;
}
const number = (value, digits = 3) => value === null || value === undefined ? "–" : Number(value.toPrecision(digits)).toLocaleString("en", {maximumSignificantDigits: digits}).replace("-", "−");
const fixed = (value) => value === null || value === undefined ? "–" : value.toFixed(3);
const count = (value) => value === null || value === undefined ? "–" : value.toLocaleString("en");
// A share of `of` things, as exact as a share of so many is, in three digits at most: as numerals.py has it.
function percent(value, of) {
  if (value === null || value === undefined) return "–";
  const first = value > 0 ? -Math.floor(Math.log10(100 * value)) : 0;
  return (100 * value).toFixed(Math.max(0, Math.min(first + 2, Math.max(first, Math.floor(Math.log10(Math.max(of, 1))) - 2)))) + " %";
}

// Blocks: base64 of gzip, unpacked when they are asked for and kept.
async function unpacked(base64) {
  const raw = atob(base64.trim());
  const bytes = new Uint8Array(raw.length);
  for (let at = 0; at < raw.length; at++) bytes[at] = raw.charCodeAt(at);
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}
const kept = new Map();
function block(name) {
  if (!kept.has(name)) kept.set(name, unpacked($("b-" + name).textContent).then(JSON.parse));
  return kept.get(name);
}
async function asked(path) {
  const answer = await fetch(path, {credentials: "same-origin"});
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || answer.statusText);
  return body;
}

let runs = [];
let order = [];  // what j and k go through: addresses of the pages beside this one
const parsed = () => { const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent); return parts[0] === "" ? [] : parts; };
const featureAt = (run, sae, id) => "#/" + run + "/feature/" + sae + "/" + id;
const sequenceAt = (run, id, sae, feature) => "#/" + run + "/sequence/" + id + (feature === undefined ? "" : "/" + sae + "/" + feature);

async function sequence(run, id) {
  if (LIVE) {
    const key = run + ":s:" + id;
    if (!kept.has(key)) kept.set(key, asked("sequence?run=" + run + "&id=" + id));
    return kept.get(key);
  }
  const row = runs[run].byId.get(id);
  if (!row || !row[5]) return null;
  return (await block(row[5])).find((one) => one.sequence_id === id) || null;
}
async function feature(run, sae, id) {
  if (LIVE) {
    const key = run + ":f:" + sae + ":" + id;
    if (!kept.has(key)) kept.set(key, asked("feature?run=" + run + "&sae=" + sae + "&id=" + id));
    return kept.get(key);
  }
  const row = runs[run].featureById[sae] && runs[run].featureById[sae].get(id);
  if (!row || !row[4]) return null;
  return (await block(row[4])).find((one) => one.id === id) || null;
}

// Tokens
function heat(level) { return level ? "background: rgba(var(--heat), " + (0.08 + 0.72 * level / 255).toFixed(3) + ")" : ""; }
function signed(share) { const a = Math.min(1, Math.abs(share)); return a < 0.02 ? "" : "background: rgba(" + (share > 0 ? "43, 123, 186" : "var(--below)") + ", " + (0.75 * a).toFixed(3) + ")"; }
function token(text, about) { return el("bdi", {class: "tok" + (about.special ? " special" : "") + (about.branch ? " branch" : "") + (about.at ? " at" : ""), style: about.style, tabindex: about.hover ? "-1" : null, "data-position": about.position, on: about.hover ? {mouseenter: about.hover, focus: about.hover, mouseleave: unhover, blur: unhover, click: about.click || (() => {})} : {}}, visible(text, about.folded)); }
// Of the tokens of a strip, or the buttons of a picture, one is a stop of Tab; the arrow keys go on to the others.
function roving(box, name) {
  const items = [...box.querySelectorAll("[tabindex]")];
  items.forEach((item, at) => { item.tabIndex = at ? -1 : 0; });
  if (items.length) { box.dataset.roving = ""; box.setAttribute("role", "group"); box.setAttribute("aria-label", name); }
  return box;
}
function moved(event) {
  const box = event.target.closest("[data-roving]");
  if (!box) return false;
  const items = [...box.querySelectorAll("[tabindex]")], here = items.indexOf(event.target), last = items.length - 1;
  const ahead = getComputedStyle(event.target.parentElement).direction === "rtl" ? -1 : 1;
  const to = {ArrowRight: here + ahead, ArrowLeft: here - ahead, Home: 0, End: last}[event.key];
  if (to !== undefined) { const next = items[Math.max(0, Math.min(last, to))]; event.target.tabIndex = -1; next.tabIndex = 0; next.focus(); }
  else if (event.key === "Enter" || event.key === " ") event.target.click();
  else return false;
  event.preventDefault();
  return true;
}
function hover(event, ...lines) {
  const box = $("hover");
  box.replaceChildren(...lines.map((line) => el("div", null, line)));
  box.hidden = false;
  const at = event.target.getBoundingClientRect();
  const left = Math.min(at.left, innerWidth - box.offsetWidth - 8);
  const below = at.bottom + 6 + box.offsetHeight < innerHeight;
  box.style.left = Math.max(4, left) + "px";
  box.style.top = (below ? at.bottom + 6 : Math.max(4, at.top - box.offsetHeight - 6)) + "px";
}
function unhover() { $("hover").hidden = true; }
function featuresOf(view, at, sae) {
  const found = view.features && view.features[sae] && view.features[sae][at];
  return found && found.length ? found[0].map((id, index) => [id, found[1][index]]) : [];
}
// Each token keeps its own direction. Those of one direction stand in a run that has it too: else the letters of a
// Hebrew word, a token each, would stand from left to right.
const RIGHT_TO_LEFT = /[\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}\p{Script=Thaana}\p{Script=Nko}\p{Script=Adlam}]/u, LETTER = /\p{L}/u;
function directionOf(text) {
  for (const one of text) if (LETTER.test(one)) return RIGHT_TO_LEFT.test(one) ? "rtl" : "ltr";
  return null;
}
function directed(pieces) {
  const ways = pieces.map((piece) => piece.matches(".special, .bound") ? null : directionOf(piece.textContent));
  const base = ways.find((way) => way) || "ltr", box = el("div", {class: "strip", dir: base});
  let place = null;
  pieces.forEach((piece, at) => {
    const way = ways[at] || (place ? place.dir : base);
    if (!place || place.dir !== way) box.append(place = el("bdi", {dir: way}));
    place.append(piece);
  });
  return box;
}
function strip(run, view, colour, from, to) {
  const special = new Set(view.special), made = [];
  view.texts.forEach((text, at) => {
    const first = view.first[at];
    if (first < from || first >= to) return;
    if (first === view.response && first > from) made.push(el("span", {class: "bound", title: "the response begins"}, "│"));
    const painted = colour.of(at);
    made.push(token(text, {
      special: special.has(at), branch: view.parent !== null && first === view.start, style: painted.style, position: first,
      hover: (event) => hover(event, "position " + first + (painted.says ? ": " + painted.says : ""), ...(view.features || []).map((_, sae) => featuresOf(view, at, sae).slice(0, 6).map(([id, level]) => id + ": " + number(level / 255 * scaleOf(run, sae, id))).join("  ")).filter(Boolean)),
      click: () => choose(run, view, at),
    }));
  });
  return roving(directed(made), "Tokens");
}
function scaleOf(run, sae, id) { return (runs[run].scales[sae] || [])[id] || 0; }
function choose(run, view, at) {
  const box = $("chosen");
  if (!box) return;
  const lines = (view.features || []).flatMap((_, sae) => featuresOf(view, at, sae).map(([id, level]) => el("tr", null,
    el("td", null, el("a", {href: featureAt(run, sae, id)}, id)), el("td", {class: "n"}, number(level / 255 * scaleOf(run, sae, id))), el("td", null, (runs[run].saes[sae] || {}).name))));
  box.replaceChildren(el("h3", null, "Position " + view.first[at] + ": ", el("bdi", null, visible(view.texts[at]))), lines.length ? el("table", null, el("thead", null, el("tr", null, el("th", null, "feature"), el("th", {class: "n"}, "activation"), el("th", null, "SAE"))), el("tbody", null, lines)) : el("p", null, "No feature is stored here."));
}
function coloursOf(run, view, wanted) {
  const found = [];
  const none = {name: "nothing", of: () => ({style: ""})};
  if (view.values) for (const one of view.values) {
    const special = new Set(view.special), known = one.values.filter((value, at) => value !== null && !special.has(at));
    const middle = known.reduce((sum, value) => sum + value, 0) / (known.length || 1), top = Math.max(1e-9, ...known.map((value) => Math.abs(value - middle)));
    found.push({name: one.name, key: "blue above, orange below the text's mean; full colour: " + number(top) + " away from it", of: (at) => one.values[at] === null || one.values[at] === undefined ? {style: ""} : {style: signed((one.values[at] - middle) / top), says: number(one.values[at], 4)}});
  }
  (view.features || []).forEach((of, sae) => {
    if (!of.some((one) => one.length)) return;
    const most = Math.max(1, ...of.map((one) => one.length ? one[0].length : 0));
    if (wanted && wanted[0] === sae) found.unshift({name: "feature " + wanted[1], key: "orange: from 0 to its largest anywhere, " + number(scaleOf(run, sae, wanted[1])), of: (at) => { const hit = featuresOf(view, at, sae).find(([id]) => id === wanted[1]); return {style: heat(hit ? hit[1] : 0), says: hit ? number(hit[1] / 255 * scaleOf(run, sae, wanted[1])) : "not active"}; }});
    found.push({name: "active features shown, " + (runs[run].saes[sae] || {}).name, key: "orange: from none to " + count(most), of: (at) => { const n = featuresOf(view, at, sae).length; return {style: heat(160 * n / most), says: n + " features"}; }});
  });
  found.push(none);
  return found;
}

// Pages
function crumbs(run, ...more) { return el("p", {class: "crumbs"}, el("a", {href: "#/"}, "overview"), " › ", runs.length > 1 ? "AB"[run] + " › " : null, ...more); }
async function sequencePage(run, id, wanted) {
  const view = await sequence(run, id);
  if (!view) {
    const goOn = runs[run].sequences.filter((row) => row[7] === id);
    if (!goOn.length) return [crumbs(run, "text " + id), el("p", null, "Text " + id + " is not in this page. "), notes(run)];
    const said = "Text " + id + " is what " + (goOn.length > 1 ? "these texts begin" : "this text begins") + " with.";
    const [above, heading, ...below] = await sequencePage(run, goOn[0][0], wanted);
    return [above, heading, el("p", null, said), ...below];
  }
  const siblings = [view];
  const paired = runs[run].sequences.filter((row) => row[1] === view.record_id && row[0] !== id && row[2] && view.side && row[5] !== null);
  for (const row of paired) { const other = await sequence(run, row[0]); if (other) siblings.push(other); }
  siblings.sort((a, b) => a.sequence_id - b.sequence_id);
  const select = el("select", {id: "colour", "aria-label": "Colour by"}), key = el("span", {id: "key"}), shown = el("div");
  const names = [...new Set(siblings.flatMap((one) => coloursOf(run, one, wanted).map((colour) => colour.name)))];
  names.forEach((name) => select.append(el("option", {value: name}, name)));
  const draw = () => {
    const pick = (one) => coloursOf(run, one, wanted).find((colour) => colour.name === select.value) || {of: () => ({style: ""})};
    shown.replaceChildren();
    key.textContent = pick(view).key ? " " + pick(view).key : "";
    const shared = siblings.length > 1 && siblings.every((one) => one.parent !== null && one.parent === siblings[0].parent) ? siblings[0].start : 0;
    if (shared) shown.append(el("h3", null, "shared by both"), strip(run, siblings[0], pick(siblings[0]), 0, shared));
    shown.append(el("div", {class: siblings.length > 1 ? "sidebyside" : ""}, siblings.map((one) => el("div", null, siblings.length > 1 ? el("h3", null, visible(one.side || "text"), ", ", count(one.n_tokens), " tokens") : null, strip(run, one, pick(one), shared, Infinity)))));
  };
  select.addEventListener("change", draw);
  draw();
  order = runs[run].sequences.filter((row) => row[5] !== null).map((row) => sequenceAt(run, row[0]));
  const about = [["record", view.record_id], ["side", view.side], ["label", view.label], ["group", view.group], ["template", view.template], ["split", view.split], ["source", view.source], ["tokens", count(view.n_tokens)], ["cut off", view.n_truncated || null]];
  return [crumbs(run, el("a", {href: "#/" + run + "/sequences"}, "texts"), " › text " + id), el("h1", null, "Text " + id), facts(about), el("p", {class: "legend"}, "coloured by ", select, key), shown, el("div", {id: "chosen"})];
}
function facts(rows) { return el("dl", null, rows.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) => [el("dt", null, name), el("dd", null, value instanceof Node ? value : visible(value))])); }
function notes(run) { return el("div", {class: "legend"}, (runs[run].missing || []).map((one) => el("p", null, one + "."))); }

async function contextRow(run, sae, page, context) {
  let texts = [], levels = [], at = 0, sequenceId = context.sequence, first = [];
  if (context.text !== undefined) {
    let begin = 0;
    texts = context.sizes.map((size) => { const piece = context.text.slice(begin, begin + size); begin += size; return piece; });
    levels = context.levels; at = context.at;
  } else {
    const view = await sequence(run, context.sequence);
    if (!view) return null;
    const near = new Map(context.near);
    view.texts.forEach((text, box) => {
      const last = box + 1 < view.first.length ? view.first[box + 1] - 1 : view.n_tokens - 1;
      if (last < context.position - AROUND || view.first[box] > context.position + AROUND) return;
      let level = 0;
      for (let position = view.first[box]; position <= last; position++) level = Math.max(level, near.get(position) || 0);
      if (view.first[box] <= context.position && context.position <= last) at = texts.length;
      texts.push(text); levels.push(level); first.push(view.first[box]);
    });
  }
  const value = levels[at] / 255 * page.scale;
  return el("div", {class: "context"}, el("a", {class: "value", href: sequenceAt(run, sequenceId, sae, page.id), title: "the whole text"}, number(value)), roving(directed(texts.map((text, box) => token(text, {style: heat(levels[box]), at: box === at, folded: true, hover: (event) => hover(event, levels[box] ? "activation " + number(levels[box] / 255 * page.scale) : "not active")}))), "Tokens"));
}
async function featurePage(run, sae, id) {
  const page = await feature(run, sae, id);
  const named = (runs[run].saes[sae] || {}).name || "";
  if (!page) return [crumbs(run, "feature " + id), el("p", null, "Feature " + id + " of ", el("bdi", null, visible(named)), " has no page here: it is not active, or left out. "), notes(run)];
  order = (runs[run].features[sae] || []).filter((row) => row[4] !== null || LIVE).map((row) => featureAt(run, sae, row[0]));
  const made = [crumbs(run, el("a", {href: "#/" + run + "/features"}, "features"), " › feature " + id), el("h1", null, "Feature " + id)];
  made.push(facts([["SAE", named], ["active on", page.n_active === undefined ? null : count(page.n_active) + " tokens, " + percent(page.density, page.n_active / page.density)], ["mean", page.mean === undefined ? null : number(page.mean)], ["largest", number(page.scale)], ["rank", page.rank], ["AUROC", page.auroc === undefined ? null : fixed(page.auroc) + " (" + fixed(page.auroc_low) + " to " + fixed(page.auroc_high) + ")" + (page.auroc_heldout === undefined ? "" : ", held out " + fixed(page.auroc_heldout))], ["at equal length", page.auroc_length_adjusted === undefined ? null : fixed(page.auroc_length_adjusted)], ["q", page.q_value === undefined ? null : number(page.q_value)], ["elsewhere", page.url && /^https:\/\//.test(page.url) ? el("a", {href: page.url, rel: "noreferrer noopener", target: "_blank"}, page.url) : null]]));
  if (!page.scale) made.push(el("p", null, "Not active in this run."));
  if (page.histogram && page.scale) {
    const most = Math.log1p(Math.max(...page.histogram));
    made.push(el("h3", null, "Activations"), el("div", {class: "histogram", title: "logarithmic"}, page.histogram.map((n, bin) => el("i", {style: "height: " + (100 * Math.log1p(n) / most).toFixed(1) + "%", title: count(n) + " tokens from " + number(bin / page.histogram.length * page.scale)}))), el("p", {class: "legend"}, "0 to " + number(page.scale) + ", heights logarithmic"));
  }
  if (page.logits) made.push(el("h3", null, "Tokens that its decoder row raises and lowers most"), el("p", {class: "legend"}, page.logits.norm_folded ? "decoder row · unembedding, the final norm's weight multiplied in" : "decoder row · unembedding"), el("div", {class: "cols"}, ["top", "bottom"].map((end) => el("table", null, el("tbody", null, (page.logits[end] || []).map((one) => el("tr", null, el("td", null, el("bdi", null, visible(one.token).replace(/ /g, "·"))), el("td", {class: "n"}, number(one.logit)))))))));
  if (page.co_active && page.co_active.length) made.push(el("h3", null, "Active together"), el("table", null, el("thead", null, el("tr", null, el("th", null, "feature"), el("th", {class: "n"}, "share"), el("th", {class: "n"}, "lift"))), el("tbody", null, page.co_active.map((one) => el("tr", null, el("td", null, el("a", {href: featureAt(run, sae, one.feature_id)}, one.feature_id)), el("td", {class: "n"}, percent(one.share, page.n_active)), el("td", {class: "n"}, number(one.lift)))))));
  const rows = async (contexts) => (await Promise.all(contexts.map((one) => contextRow(run, sae, page, one)))).filter(Boolean);
  made.push(el("h3", null, "Strongest contexts"), el("p", {class: "legend"}, "one scale for all, 0 to " + number(page.scale) + "; a number opens the whole text"), ...(await rows(page.contexts)));
  const groups = [...new Set(page.quantiles.map((one) => one.quantile))].sort();
  for (const group of groups) made.push(el("h3", null, "Contexts of quantile " + (group + 1) + " of " + groups.length), ...(await rows(page.quantiles.filter((one) => one.quantile === group))));
  return made;
}
function table(columns, rows, most) {
  let shown = rows.slice(), by = null, down = true;
  const body = el("tbody"), heads = new Map(), said = el("p", {class: "legend"});
  const fill = () => { body.replaceChildren(...shown.slice(0, most).map((row) => el("tr", null, columns.map((column) => { const cell = column.cell ? column.cell(row) : column.value(row); return el("td", {class: !column.text ? "n" : String(cell).length <= SHORT ? "whole" : ""}, cell instanceof Node ? cell : column.text ? el("bdi", null, visible(cell === null || cell === undefined ? "" : cell)) : cell); })))); said.textContent = shown.length > most ? count(most) + " of " + count(shown.length) + " rows" : count(shown.length) + " rows"; };
  const sort = (column) => { down = by === column ? !down : true; by = column; shown.sort((a, b) => { const x = column.value(a), y = column.value(b); if (x === y) return 0; if (x === null || x === undefined) return 1; if (y === null || y === undefined) return -1; return (x < y ? 1 : -1) * (down ? 1 : -1); }); for (const [of, head] of heads) { if (of === by) head.setAttribute("aria-sort", down === !of.negated ? "descending" : "ascending"); else head.removeAttribute("aria-sort"); } fill(); };
  const headed = (column) => { const head = el("th", {class: column.text ? "" : "n", "data-sort": ""}, el("button", {type: "button", on: {click: () => sort(column)}}, column.name)); heads.set(column, head); return head; };
  fill();
  return [said, el("table", {class: columns.some((column) => column.text) ? "" : "figures"}, el("thead", null, el("tr", null, columns.map(headed))), body)];
}
function featuresPage(run) {
  const made = [crumbs(run, "features"), el("h1", null, "Features")];
  runs[run].features.forEach((rows, sae) => {
    const every = [{name: "feature", value: (row) => row[0], cell: (row) => el("a", {href: featureAt(run, sae, row[0])}, row[0])}, {name: "active on", value: (row) => row[1], cell: (row) => count(row[1])}, {name: "density", value: (row) => row[2], cell: (row) => percent(row[2], row[1] / row[2])}, {name: "largest", value: (row) => row[3], cell: (row) => number(row[3])}];
    const columns = every.filter((column) => rows.some((row) => column.value(row) !== null));
    if (rows.some((row) => row[5])) columns.push({name: "rank", negated: true, value: (row) => row[5] === null ? null : -row[5], cell: (row) => count(row[5])}, {name: "AUROC", value: (row) => row[6], cell: (row) => fixed(row[6])}, {name: "q", negated: true, value: (row) => row[7] === null ? null : -row[7], cell: (row) => number(row[7], 2)});
    made.push(el("h3", null, el("bdi", null, visible(runs[run].saes[sae].name))), ...table(columns, rows, 1000));
  });
  made.push(notes(run));
  return made;
}
function sequencesPage(run) {
  const columns = [{name: "text", value: (row) => row[0], cell: (row) => row[5] === null ? row[0] : el("a", {href: sequenceAt(run, row[0])}, row[0])}, {name: "record", value: (row) => row[1], cell: (row) => count(row[1])}, {name: "side", value: (row) => row[2], text: true}, {name: "label", value: (row) => row[3], text: true}, {name: "tokens", value: (row) => row[4], cell: (row) => count(row[4])}, {name: "begins", value: (row) => row[6], text: true}];
  return [crumbs(run, "texts"), el("h1", null, "Texts"), ...table(columns.filter((column) => !column.text || runs[run].sequences.some((row) => column.value(row))), runs[run].sequences, 1000), notes(run)];
}
function searchPage(text) {
  const made = [crumbs(0, "search"), el("h1", null, "Features active on ", el("bdi", null, visible(text).replace(/ /g, "·")))];
  runs.forEach((run, at) => {
    const same = run.tokens.filter((one) => one[0] === text || one[0].trim() === text.trim());
    const near = same.length ? same : run.tokens.filter((one) => one[0].toLowerCase().includes(text.trim().toLowerCase())).slice(0, 20);
    if (runs.length > 1) made.push(el("h2", null, "AB"[at]));
    if (!near.length) made.push(el("p", null, run.tokens.length ? "No token that occurs three times or more among the commonest texts reads so." : "This run has no features."));
    for (const [token, n, saes] of near) saes.forEach((rows, sae) => {
      made.push(el("h3", null, el("bdi", null, visible(token).replace(/ /g, "·")), ", " + count(n) + " tokens"), ...table([{name: "feature", value: (row) => row[0], cell: (row) => el("a", {href: featureAt(at, sae, row[0])}, row[0])}, {name: "recall", value: (row) => row[1] / n, cell: (row) => percent(row[1] / n, n)}, {name: "precision", value: (row) => row[1] / row[2], cell: (row) => percent(row[1] / row[2], row[2])}, {name: "active on both", value: (row) => row[1], cell: (row) => count(row[1])}], rows, 50));
    });
  });
  return made;
}
async function recordPage(run, id) {
  const row = runs[run].sequences.find((one) => one[1] === id && one[5] !== null);
  if (row) return sequencePage(run, row[0]);
  if (LIVE) { const found = await asked("record?run=" + run + "&id=" + id); if (found.sequence !== null) return sequencePage(run, found.sequence); }
  return [crumbs(run, "record " + id), el("p", null, "Record " + id + " is not in this page."), notes(run)];
}
async function route() {
  unhover();
  const [first, kind, ...rest] = parsed();
  const detail = $("detail"), over = $("overview");
  document.documentElement.removeAttribute("data-page");
  if (first === undefined) {
    detail.hidden = true; over.hidden = false; order = [];
    document.documentElement.dataset.page = "overview";
    document.title = NAME;
    return;
  }
  over.hidden = true; detail.hidden = false;
  const run = Number(first);
  let made;
  try {
    if (first === "search") made = searchPage([kind, ...rest].join("/"));
    else if (!runs[run]) made = [el("p", null, "There is no such page.")];
    else if (kind === "feature") made = await featurePage(run, Number(rest[0]), Number(rest[1]));
    else if (kind === "sequence") made = await sequencePage(run, Number(rest[0]), rest[2] === undefined ? null : [Number(rest[1]), Number(rest[2])]);
    else if (kind === "record") made = await recordPage(run, Number(rest[0]));
    else if (kind === "features") made = featuresPage(run);
    else if (kind === "sequences") made = sequencesPage(run);
    else made = [el("p", null, "There is no such page.")];
  } catch (error) { made = [crumbs(0, "?"), el("p", {class: "warning"}, String(error.message || error))]; }
  detail.replaceChildren(...made);
  scrollTo(0, 0);
  const heading = detail.querySelector("h1");
  if (heading) { document.title = heading.textContent + " · " + NAME; heading.tabIndex = -1; if (document.documentElement.dataset.ready) heading.focus({preventScroll: true}); }
  document.documentElement.dataset.page = location.hash;
}

// Pictures
const dark = () => document.documentElement.dataset.theme === "dark";
function themed() {
  const of = dark() ? {font: "#e6e6e3", paper: "#16181b", grid: "#34373b", zero: "#7d8085"} : {font: "#1c1c1c", paper: "#ffffff", grid: "#e3e3e0", zero: "#9a9a96"};
  const about = {"font.color": of.font, paper_bgcolor: of.paper, plot_bgcolor: of.paper};
  return (layout) => { for (const key of Object.keys(layout)) if (/^[xy]axis\d*$/.test(key)) Object.assign(about, {[key + ".gridcolor"]: of.grid, [key + ".linecolor"]: of.zero, [key + ".tickcolor"]: of.zero}); return about; };
}
async function draw(place) {
  const figure = await block(place.dataset.plot);
  place.style.height = (figure.layout.height || 420) + "px";
  const layout = figure.layout;
  delete layout.width;
  await Plotly.newPlot(place, figure.data, {...layout, autosize: true}, {responsive: true, displaylogo: false, showLink: false, modeBarButtonsToRemove: ["sendDataToCloud", "editInChartStudio"]});
  await Plotly.relayout(place, themed()(layout));
  const opens = figure.opens, run = Number(place.dataset.run);
  if (opens) place.on("plotly_click", (event) => {
    const custom = event.points[0].customdata, id = Array.isArray(custom) ? custom[0] : custom;
    if (id !== undefined && id !== null) location.hash = opens === "feature" ? featureAt(run, figure.sae || 0, id) : "#/" + run + "/" + opens + "/" + id;
  });
  const said = place.closest("figure").querySelectorAll("h2, .says"), named = [...said].map((one) => one.textContent).join(". ");
  place.querySelectorAll(".main-svg").forEach((drawing, at) => { if (at) drawing.setAttribute("aria-hidden", "true"); else { drawing.setAttribute("role", "img"); drawing.setAttribute("aria-label", named); } });
  const reachable = () => {
    const buttons = place.querySelectorAll(".modebar-btn:not([tabindex])");
    for (const button of buttons) { button.tabIndex = -1; button.setAttribute("role", "button"); button.setAttribute("aria-label", button.dataset.title || "Plotly"); }
    if (buttons.length) roving(place.querySelector(".modebar"), "Tools of this picture");
  };
  reachable();
  place.on("plotly_afterplot", reachable);
  place.dataset.drawn = "true";
}
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  for (const place of document.querySelectorAll(".plot[data-drawn]")) Plotly.relayout(place, themed()(place.layout));
}
function keys(event) {
  if (event.target.matches("input, select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
  if (event.ctrlKey || event.metaKey || event.altKey || moved(event)) return;
  if (event.key === "/") { if ($("search")) { event.preventDefault(); $("search").focus(); } }
  else if (event.key === "Escape") location.hash = "#/";
  else if (event.key === "j" || event.key === "k") {
    const step = event.key === "j" ? 1 : -1;
    if (!$("overview").hidden) {
      const all = [...document.querySelectorAll(".picture")], here = all.indexOf(document.activeElement);
      const next = all[Math.max(0, Math.min(all.length - 1, here < 0 ? (step > 0 ? 0 : all.length - 1) : here + step))];
      if (next) { next.tabIndex = -1; next.focus({preventScroll: true}); next.scrollIntoView({block: "start"}); scrollBy(0, -60); }
    } else {
      const bare = location.hash.split("/").slice(0, location.hash.includes("/sequence/") ? 4 : 5).join("/"), at = order.indexOf(bare);
      if (at >= 0 && order[at + step]) location.hash = order[at + step];
    }
  }
}
async function begin() {
  setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => setTheme(event.matches ? "dark" : "light"));
  $("theme").addEventListener("click", () => setTheme(dark() ? "light" : "dark"));
  // On paper: light, and as wide as the paper.
  let shown = null;
  addEventListener("beforeprint", () => { if (shown) return; shown = document.documentElement.dataset.theme; setTheme("light"); for (const place of document.querySelectorAll(".plot[data-drawn]")) Plotly.relayout(place, {width: PAPER}); });
  addEventListener("afterprint", () => { for (const place of document.querySelectorAll(".plot[data-drawn]")) Plotly.relayout(place, {width: null, autosize: true}); if (shown) setTheme(shown); shown = null; });
  addEventListener("keydown", keys);
  addEventListener("hashchange", route);
  if ($("search")) $("search").addEventListener("keydown", (event) => {
    const text = event.target.value;
    if (event.key !== "Enter" || !text.trim()) return;
    const sae = runs.findIndex((run) => run.features.length);
    location.hash = /^\s*\d+\s*$/.test(text) && sae >= 0 ? featureAt(sae, 0, Number(text)) : "#/search/" + encodeURIComponent(text);
  });
  runs = await block("index");
  for (const run of runs) { run.byId = new Map(run.sequences.map((row) => [row[0], row])); run.featureById = run.features.map((rows) => new Map(rows.map((row) => [row[0], row]))); }
  for (const run of runs) for (const one of run.missing) document.querySelector("footer").append(el("p", {class: "missing"}, one + "."));
  await route();
  document.documentElement.dataset.ready = "true";
  const source = await unpacked($("b-plotly").textContent), script = el("script", {src: URL.createObjectURL(new Blob([source], {type: "text/javascript"}))});
  await new Promise((done, failed) => { script.onload = done; script.onerror = failed; document.head.append(script); });
  for (const place of document.querySelectorAll(".plot")) { await draw(place); await new Promise((done) => setTimeout(done, 0)); }
  const tester = $("js-plotly-tester");  // what plotly measures texts in
  if (tester) tester.setAttribute("aria-hidden", "true");
  document.documentElement.dataset.drawn = "true";
}
begin();
})();
