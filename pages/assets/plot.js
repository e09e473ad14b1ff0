// Elements, and plots of curves as SVG: axes, bands, lines, marks, and a guide that reads values off.

const SVG = "http://www.w3.org/2000/svg";

// An element: h("p.note", {title: "..."}, "text", child); names before a colon are of SVG, as in "svg:rect".
function h(kind, attributes = {}, ...children) {
  const [full, ...classes] = kind.split(".");
  const made = full.startsWith("svg:") ? document.createElementNS(SVG, full.slice(4)) : document.createElement(full);
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false) made.append(child);
  }
  return made;
}

function replace(parent, ...children) {
  parent.replaceChildren(...children.flat().filter((child) => child !== null && child !== false));
}

function path(points, x, y) {
  let [text, drawing] = ["", false];
  for (const [across, up] of points) {
    const known = Number.isFinite(across) && Number.isFinite(up) && (!y.log || up > 0);
    if (known) text += `${drawing ? "L" : "M"}${x(across).toFixed(1)},${y(up).toFixed(1)}`;
    drawing = known;
  }
  return text;
}

function area(points, x, y) {
  const known = points.filter(([, low, high]) => Number.isFinite(low) && Number.isFinite(high) && (!y.log || low > 0));
  if (known.length < 2) return "";
  const there = known.map(([across, , high]) => `${x(across).toFixed(1)},${y(high).toFixed(1)}`);
  const back = known.reverse().map(([across, low]) => `${x(across).toFixed(1)},${y(low).toFixed(1)}`);
  return `M${there.join("L")}L${back.join("L")}Z`;
}

const STAR = "M0,-8L2,-2.6L7.6,-2.5L3.2,1L4.7,6.5L0,3.3L-4.7,6.5L-3.2,1L-7.6,-2.5L-2,-2.6Z";

// Draw into a figure. Of spec: title, label (read aloud), x and y {domain, log, words}, and lists of bands {points: [x,
// low, high], colour}, lines {points, colour, dash, width}, dots {points, colour}, stars and rules {x, ...}, spans.
function plot(figure, spec) {
  const [width, height] = [spec.width || 560, spec.height || 300];
  const [left, right, top, bottom] = [62, width - 22, 12, height - 44];
  const x = scaleOf(spec.x.domain, [left, right], spec.x.log);
  const y = scaleOf(spec.y.domain, [bottom, top], spec.y.log);
  const clip = `clip-${figure.id}`;
  const drawn = h("svg:svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label });
  drawn.append(h("svg:clipPath", { id: clip }, h("svg:rect", { x: left - 4, y: top - 6, width: right - left + 8, height: bottom - top + 6 })));
  drawn.append(...axesOf(spec, x, y, [left, right, top, bottom]));
  const inside = h("svg:g", { "clip-path": `url(#${clip})` });
  for (const { points, colour } of spec.bands || []) inside.append(h("svg:path.band", { d: area(points, x, y), fill: colour }));
  for (const { at, dash, colour } of spec.rules || []) {
    inside.append(h("svg:line.rule", { x1: x(at), x2: x(at), y1: top, y2: bottom, "stroke-dasharray": dash, stroke: colour || "var(--soft)" }));
  }
  for (const { at, colour } of spec.levels || []) {
    inside.append(h("svg:line.rule", { x1: left, x2: right, y1: y(at), y2: y(at), stroke: colour }));
  }
  for (const { points, colour, dash, width: thick, name } of spec.lines || []) {
    inside.append(h("svg:path.line", { d: path(points, x, y), stroke: colour, "stroke-dasharray": dash, "stroke-width": thick || 2, "data-name": name }));
  }
  for (const { points, colour } of spec.dots || []) {
    for (const [across, up] of points) {
      if (Number.isFinite(up) && (!y.log || up > 0)) inside.append(h("svg:circle.dot", { cx: x(across).toFixed(1), cy: y(up).toFixed(1), r: 2.6, stroke: colour }));
    }
  }
  for (const { from, to, colour, row } of spec.spans || []) {
    const up = bottom - 5 - 6 * row;
    inside.append(h("svg:line.span", { x1: x(from), x2: Math.max(x(to), x(from) + 2), y1: up, y2: up, stroke: colour }));
  }
  for (const { at: [across, up], colour } of spec.stars || []) {
    if (Number.isFinite(across) && up > 0) inside.append(h("svg:path.star", { d: STAR, fill: colour, transform: `translate(${x(across).toFixed(1)},${y(up).toFixed(1)})` }));
  }
  drawn.append(inside);
  if (spec.read) guide(drawn, x, [left, right, top, bottom], spec.read, figure);
  replace(figure.querySelector(".drawing"), drawn);
  return { x, y };
}

function axesOf(spec, x, y, [left, right, top, bottom]) {
  const parts = [h("svg:path.frame", { d: `M${left},${top - 6}V${bottom}H${right}` })];
  for (const tick of ticksOf(x, 6)) {
    parts.push(h("svg:path.frame", { d: `M${x(tick).toFixed(1)},${bottom}v4` }));
    parts.push(h("svg:text", { x: x(tick).toFixed(1), y: bottom + 17, "text-anchor": "middle" }, short(tick)));
  }
  for (const tick of ticksOf(y, 5)) {
    parts.push(h("svg:path.grid", { d: `M${left},${y(tick).toFixed(1)}H${right}` }));
    parts.push(h("svg:text", { x: left - 7, y: (y(tick) + 4).toFixed(1), "text-anchor": "end" }, short(tick)));
  }
  const middle = (top + bottom) / 2;
  parts.push(h("svg:text.axis", { x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, spec.x.words));
  parts.push(h("svg:text.axis", { x: 13, y: middle, "text-anchor": "middle", transform: `rotate(-90 13 ${middle})` }, spec.y.words));
  return parts;
}

// A line under the pointer, and what the curves are there, in words below the plot.
function guide(drawn, x, [left, right, top, bottom], read, figure) {
  const line = h("svg:line.guide", { y1: top, y2: bottom, visibility: "hidden" });
  const told = figure.querySelector(".reading");
  drawn.append(line);
  drawn.addEventListener("pointermove", (event) => {
    const box = drawn.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * drawn.viewBox.baseVal.width;
    if (across < left || across > right) return;
    const { at, words } = read(x.invert(across));
    line.setAttribute("x1", x(at));
    line.setAttribute("x2", x(at));
    line.setAttribute("visibility", "visible");
    told.textContent = words;
  });
  drawn.addEventListener("pointerleave", () => {
    line.setAttribute("visibility", "hidden");
    told.textContent = "";
  });
}

// The least and largest finite values above 0 (or any, if not log), a little apart.
function extent(values, log, floor = 1e-9) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (!Number.isFinite(value) || (log && value <= 0)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return log ? [0.1, 1] : [0, 1];
  if (log) return [Math.max(low / 1.3, high * floor), high === low ? 2 * high : high * 1.3];
  const room = (high - low || Math.abs(high) || 1) * 0.05;
  return [low - room, high + room];
}
