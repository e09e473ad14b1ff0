// The map: one cell for each pair of values, in colour; reached by pointer and by keyboard, and read aloud.

const MAP = { left: 66, most: 190, letter: 6.8, right: 8, top: 8, bottom: 48, width: 560, height: 420 };

class CellMap {
  // hovered(cell) and pinned(cell) are told what was pointed at, and what was clicked or entered.
  constructor(view, hovered, pinned) {
    Object.assign(this, { view, hovered, pinned, current: 0 });
    this.columns = view.x ? view.axes[view.x].values.length : 1;
    this.rows = view.y ? view.axes[view.y].values.length : 1;
    const tall = Math.min(MAP.height, Math.max(120, 56 * this.rows + MAP.top + MAP.bottom));
    const names = view.y ? view.axes[view.y].values.filter((value) => typeof value === "string").map((value) => value.length) : [];
    const left = Math.min(MAP.most, Math.max(MAP.left, 30 + MAP.letter * Math.max(0, ...names)));  // room for names
    this.box = [left, MAP.width - MAP.right, MAP.top, tall - MAP.bottom];
    this.tall = tall;
    this.build();
  }

  x(column) {
    return this.box[0] + (column / this.columns) * (this.box[1] - this.box[0]);
  }

  // Numbers go up, names down.
  y(row) {
    const upwards = this.view.y && typeof this.view.axes[this.view.y].values[0] === "number";
    const fromTop = upwards ? this.rows - 1 - row : row;
    return this.box[2] + (fromTop / this.rows) * (this.box[3] - this.box[2]);
  }

  build() {
    const [wide, tall] = [this.x(1) - this.x(0), (this.box[3] - this.box[2]) / this.rows];
    this.rects = [];
    const rows = h("svg:g", { role: "rowgroup" });
    for (let row = 0; row < this.rows; row++) {
      const group = h("svg:g", { role: "row" });
      for (let column = 0; column < this.columns; column++) {
        const at = row * this.columns + column;
        const rect = h("svg:rect.cell", {
          x: this.x(column).toFixed(2), y: this.y(row).toFixed(2), width: wide.toFixed(2), height: tall.toFixed(2),
          role: "gridcell", tabindex: at === 0 ? 0 : -1, "data-at": at,
        });
        this.rects.push(rect);
        group.append(rect);
      }
      rows.append(group);
    }
    this.hatches = h("svg:g.hatches", { "aria-hidden": "true" });
    this.marks = h("svg:g.marks", { "aria-hidden": "true" });
    this.svg = h("svg:svg", { viewBox: `0 0 ${MAP.width} ${this.tall}`, role: "grid", "aria-label": "Map of cells; arrow keys move, Enter pins", "aria-multiselectable": "true" },
      hatchPatterns(), rows, this.hatches, this.marks, this.axes());
  }

  // Put the map there. What listens is no SVG: Chromium has Tab stop at elements of SVG that listen to keys.
  show(holder) {
    const to = (act) => (event) => event.target.dataset.at && act(Number(event.target.dataset.at), event);
    replace(holder, h("div", {
      onpointerover: to(this.hovered), onclick: to(this.pinned),
      onfocusin: to((at) => this.move(at, false)), onkeydown: to((_, event) => this.key(event)),
    }, this.svg));
  }

  axes() {
    const group = h("svg:g", { "aria-hidden": "true" });
    const bottom = this.box[3];
    for (const [dim, across] of [[this.view.x, true], [this.view.y, false]]) {
      if (!dim) continue;
      const { values, words, units } = this.view.axes[dim];
      const room = across ? 7 : Math.max(2, Math.floor((this.box[3] - this.box[2]) / 26));
      const every = Math.max(1, Math.ceil(values.length / room));
      values.forEach((value, at) => {
        if (at % every) return;
        const most = across ? 12 : Math.floor((this.box[0] - 30) / MAP.letter);
        const text = typeof value === "number" ? short(value, 2) : value.length > most ? `${value.slice(0, most - 1)}…` : value;
        const place = across ? { x: (this.x(at) + this.x(at + 1)) / 2, y: bottom + 16, "text-anchor": "middle" }
          : { x: this.box[0] - 6, y: this.y(at) + (bottom - this.box[2]) / this.rows / 2 + 4, "text-anchor": "end" };
        group.append(h("svg:text", place, text));
      });
      const said = units && units !== "1" ? `${words} (${units})` : words;
      const middle = (this.box[2] + bottom) / 2;
      group.append(across ? h("svg:text.axis", { x: (this.box[0] + this.box[1]) / 2, y: bottom + 38, "text-anchor": "middle" }, said)
        : h("svg:text.axis", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, said));
    }
    return group;
  }

  key(event) {
    const upwards = this.y(0) > this.y(this.rows - 1) ? 1 : -1;
    const [row, column] = [Math.floor(this.current / this.columns), this.current % this.columns];
    const moves = {
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1], ArrowUp: [row + upwards, column], ArrowDown: [row - upwards, column],
      Home: [row, 0], End: [row, this.columns - 1], PageUp: [upwards > 0 ? this.rows - 1 : 0, column], PageDown: [upwards > 0 ? 0 : this.rows - 1, column],
    };
    if (event.key === "Enter" || event.key === " ") this.pinned(this.current);
    else if (moves[event.key]) {
      const [to, along] = moves[event.key];
      const at = Math.min(Math.max(to, 0), this.rows - 1) * this.columns + Math.min(Math.max(along, 0), this.columns - 1);
      this.move(at, true);
    } else return;
    event.preventDefault();
  }

  move(at, focus) {
    this.rects[this.current].setAttribute("tabindex", -1);
    this.current = at;
    this.rects[at].setAttribute("tabindex", 0);
    if (focus) this.rects[at].focus();
    this.hovered(at);
  }

  // Colours, hatches, the line around cells that turn, and numbers of pinned cells.
  paint({ fills, labels, troubles, turned, pins, boundary }) {
    this.rects.forEach((rect, at) => {
      rect.setAttribute("fill", fills[at] || "var(--empty)");
      rect.setAttribute("aria-label", labels[at]);
      rect.setAttribute("aria-selected", pins.has(at));
    });
    const kinds = {};
    troubles.forEach((kind, at) => kind && (kinds[kind] = kinds[kind] || []).push(at));
    replace(this.hatches, Object.entries(kinds).map(([kind, list]) => h(`svg:path`, {
      d: list.map((at) => this.outline(at)).join(""), fill: `url(#hatch-${kind})`, "data-kind": kind,
    })));
    replace(this.marks, boundary && ["halo", "boundary"].map((look) => h(`svg:path.${look}`, { d: this.edge(turned) })), [...pins].map(([at, number]) => this.mark(at, number)));
  }

  corners(at) {
    const [row, column] = [Math.floor(at / this.columns), at % this.columns];
    const tall = (this.box[3] - this.box[2]) / this.rows;
    return [this.x(column), this.x(column + 1), this.y(row), this.y(row) + tall];
  }

  outline(at) {
    const [left, right, top, bottom] = this.corners(at).map((value) => value.toFixed(2));
    return `M${left},${top}H${right}V${bottom}H${left}Z`;
  }

  // Edges between cells that turn and cells that do not.
  edge(turned) {
    let text = "";
    for (let at = 0; at < turned.length; at++) {
      const [left, right, top, bottom] = this.corners(at).map((value) => value.toFixed(2));
      const beside = (at + 1) % this.columns ? at + 1 : -1;
      const above = at + this.columns < turned.length ? at + this.columns : -1;
      if (beside > 0 && turned[at] !== turned[beside]) text += `M${right},${top}V${bottom}`;
      const line = this.y(0) > this.y(this.rows - 1) ? top : bottom;
      if (above > 0 && turned[at] !== turned[above]) text += `M${left},${line}H${right}`;
    }
    return text;
  }

  mark(at, number) {
    const [left, right, top, bottom] = this.corners(at);
    const [x, y] = [(left + right) / 2, (top + bottom) / 2];
    return h("svg:g.pin", {}, h("svg:circle", { cx: x, cy: y, r: 9 }), h("svg:text", { x, y: y + 4.5, "text-anchor": "middle" }, String(number)));
  }
}

// Light strokes on dark ones: seen on any colour of a cell, in light and in dark.
function hatchPatterns() {
  const looks = { unstable: "M-2,6l4,4M0,0l8,8M6,-2l4,4", some: "M0,0l8,8M8,0l-8,8" };
  const pattern = (kind, ...inside) => h("svg:pattern", { id: `hatch-${kind}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" }, ...inside);
  const stroke = (d, colour, width) => h("svg:path", { d, stroke: colour, "stroke-width": width, fill: "none" });
  return h("svg:defs", {},
    pattern("never", stroke("M-2,2l4,-4M0,8l8,-8M6,10l4,-4", "var(--hatch)", 1.2)),
    pattern("none"),
    Object.entries(looks).map(([kind, d]) => pattern(kind, stroke(d, "#16191d", 2.6), stroke(d, "#ffffff", 1.2))),
    pattern("all", h("svg:rect", { width: 8, height: 8, fill: "#2b3138" }), h("svg:rect", { x: 3, y: 3, width: 2, height: 2, fill: "#ffffff" })));
}
