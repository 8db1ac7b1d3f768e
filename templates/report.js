// The charts' script: shows values under the pointer, hides series, zooms into a stretch of time.
// The page is whole without it: every chart is drawn already.
"use strict";
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  // Seconds between labels of the time axis.
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600];
  // A cell of the heat map whose packets were all lost.
  const NOTHING = -1;
  const notes = JSON.parse(document.getElementById("data").textContent);
  const charts = [];
  // Stretch of time in all charts over time, in seconds; null is the whole run.
  let range = null;

  function make(name, attributes, parent) {
    const element = document.createElementNS(SVG, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (parent) parent.append(element);
    return element;
  }
  function html(name, className, textContent, parent) {
    const element = Object.assign(document.createElement(name), { className, textContent });
    if (parent) parent.append(element);
    return element;
  }
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // A time as 2:05, or as 2:05.4 for steps shorter than a second.
  function clock(seconds, step = 1) {
    const tenths = Math.round(Math.max(seconds, 0) * 10);
    const whole = Math.floor(tenths / 10);
    const pad = (n) => String(n).padStart(2, "0");
    const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
    const end = step < 1 ? "." + (tenths % 10) : "";
    return (h ? `${h}:${pad(m)}` : `${m}`) + `:${pad(s)}${end}`;
  }

  // A panel's stretch of the x axis.
  const shown = (panel) => (panel.scale === "time" && range ? range : [panel.from, panel.to]);
  function toPixel(panel, frame, x) {
    const [from, to] = shown(panel);
    return frame.left + ((x - from) / (to - from)) * (frame.right - frame.left);
  }
  function toValue(panel, frame, pixel) {
    const [from, to] = shown(panel);
    return from + ((pixel - frame.left) / (frame.right - frame.left)) * (to - from);
  }
  const named = (panel) => panel.names && panel.names.length > 0;

  // The place nearest to x that has a noted value. Of a long run not every second of every series is drawn,
  // nor noted.
  function snap(panel, x) {
    let best = null;
    for (const at of places(panel)) if (best === null || Math.abs(at - x) < Math.abs(best - x)) best = at;
    return best;
  }

  // All places with noted values: middles of seconds, on a time axis. A value at a second's end is that
  // second's.
  function places(panel) {
    const seconds = panel.scale === "time" && !named(panel);
    const middle = (at) => Math.max(0, Math.ceil(at - 1e-6) - 1) + 0.5;
    return panel.series.flatMap((series) => (seconds ? series.at.map(middle) : series.at));
  }

  // A series' noted value at a place; of several in a second the last.
  function valueAt(panel, series, x) {
    const half = panel.scale === "time" && !named(panel) ? 0.5 : 1e-6;
    let found = null;
    series.at.forEach((at, n) => {
      if (at > x - half && at <= x + half + 1e-6) found = series.values[n];
    });
    return found;
  }

  // A panel's values at a place, as [ink, label, text].
  function valuesAt(chart, panel, x) {
    const rows = [];
    for (const series of panel.series) {
      if (chart.hidden.has(series.key)) continue;
      const value = valueAt(panel, series, x);
      const key = chart.notes.keys[series.key];
      if (value !== null) rows.push([key.ink, key.label, String(value)]);
    }
    return rows;
  }

  // The cell of a heat map at a place, and words for it.
  function cellAt(panel, frame, x, y) {
    const { rows, values } = panel.cells;
    const row = clamp(Math.floor(((y - frame.top) / (frame.bottom - frame.top)) * rows.length), 0, rows.length - 1);
    const columns = values[row].length;
    const share = (x - panel.from) / (panel.to - panel.from);
    const column = clamp(Math.floor(share * columns), 0, columns - 1);
    const width = (panel.to - panel.from) / columns;
    const value = values[row][column];
    const text = value === null ? "no packet sent" : value === NOTHING ? "nothing came back" : `${value} ms`;
    const from = panel.from + column * width;
    const time = clock(from) + (width > 1.5 ? ` to ${clock(from + width)}` : "");
    return { name: rows[row], time, text, middle: from + width / 2 };
  }

  function heading(panel, x) {
    if (named(panel)) {
      const near = panel.names.find(([at]) => Math.abs(at - x) < 1e-6);
      if (near) return panel.scale === "time" ? `${near[1]}, ${clock(x, 0.1)}` : near[1];
    }
    return panel.scale === "time" ? `${clock(x)} (second ${Math.floor(x)})` : "";
  }

  function clearCursor(chart) {
    chart.tip.hidden = true;
    chart.cursor = null;
    for (const drawing of chart.drawings) drawing.over.replaceChildren();
  }

  // Shows the values at x; y matters in a heat map alone.
  function point(chart, drawing, number, x, y) {
    const panel = chart.notes.panels[number];
    const frame = drawing.frames[number];
    const place = panel.cells ? x : snap(panel, x);
    if (place === null) return clearCursor(chart);
    chart.cursor = { drawing, number, x: place, y };
    drawing.over.replaceChildren();
    chart.tip.replaceChildren();
    let middle = place;
    if (panel.cells) {
      const cell = cellAt(panel, frame, place, y);
      middle = cell.middle;
      html("strong", "", cell.name, chart.tip);
      html("p", "", cell.time, chart.tip);
      html("p", "value", cell.text, chart.tip);
    } else {
      html("strong", "", heading(panel, place), chart.tip);
    }
    chart.notes.panels.forEach((other, n) => {
      const together = n === number || (other.scale === "time" && panel.scale === "time" && !other.cells);
      if (!together) return;
      const at = toPixel(other, drawing.frames[n], middle);
      const { top, bottom } = drawing.frames[n];
      make("line", { x1: at, x2: at, y1: top, y2: bottom, class: "cursor" }, drawing.over);
      const rows = other.cells ? [] : valuesAt(chart, other, place);
      if (rows.length && chart.notes.panels.length > 1) html("p", "", other.title, chart.tip);
      for (const [ink, label, text] of rows) {
        const line = html("div", "", "", chart.tip);
        html("i", "", "", line).style.background = ink;
        html("span", "", label, line);
        html("b", "value", text, line);
      }
    });
    if (!panel.cells && !chart.tip.querySelector(".value")) html("p", "", "nothing recorded", chart.tip);
    placeTip(chart, drawing, toPixel(panel, frame, middle), panel.cells ? y : frame.top);
  }

  function placeTip(chart, drawing, x, y) {
    chart.tip.hidden = false;
    const spot = new DOMPoint(x, y).matrixTransform(drawing.svg.getScreenCTM());
    const [box, width] = [chart.figure.getBoundingClientRect(), chart.tip.offsetWidth];
    const right = spot.x - box.left + 14;
    const left = right + width <= box.width ? right : spot.x - box.left - 14 - width;
    chart.tip.style.left = `${clamp(left, 0, Math.max(box.width - width, 0))}px`;
    chart.tip.style.top = `${spot.y - box.top + 8}px`;
  }

  function toggle(chart, key) {
    const off = !chart.hidden.delete(key);
    if (off) chart.hidden.add(key);
    for (const drawing of chart.drawings) {
      hide(chart, drawing);
      const entry = drawing.svg.querySelector(`[data-key="${key}"]`);
      entry.classList.toggle("off", off);
      entry.setAttribute("aria-pressed", String(!off));
    }
    if (chart.cursor) {
      const { drawing, number, x, y } = chart.cursor;
      point(chart, drawing, number, x, y);
    }
  }

  function hide(chart, { svg }) {
    for (const g of svg.querySelectorAll("[data-series]")) g.classList.toggle("off", chart.hidden.has(Number(g.dataset.series)));
  }

  // Moves a mark sideways: f maps its drawn places to new ones.
  function move(mark, f) {
    const change = (name, to) => mark.setAttribute(name, to(mark.getAttribute(name)));
    const number = (name) => change(name, (x) => f(Number(x)));
    switch (mark.tagName) {
      case "polyline":
      case "polygon":
        change("points", (points) =>
          points.split(" ").map((p) => p.split(",")).map(([x, y]) => `${f(Number(x)).toFixed(1)},${y}`).join(" "));
        break;
      case "rect":
      case "image": {
        const x = Number(mark.getAttribute("x"));
        change("width", (width) => Math.max(f(x + Number(width)) - f(x), 1));
        number("x");
        break;
      }
      case "circle": number("cx"); break;
      case "text": number("x"); break;
      case "g":
        // Words and crosses keep their shape.
        if (mark.dataset.x) mark.setAttribute("transform", `translate(${f(Number(mark.dataset.x)) - Number(mark.dataset.x)} 0)`);
        else for (const child of mark.children) move(child, f);
    }
  }

  function ticks(panel, frame, axis) {
    let added = axis.nextElementSibling;
    if (!added || !added.classList.contains("ticks")) {
      added = make("g", { class: "ticks" });
      axis.after(added);
    }
    added.replaceChildren();
    axis.classList.toggle("off", range !== null);
    if (!range) return;
    const [text, line] = [axis.querySelector("text"), axis.querySelector("polyline")];
    if (!text || !line) return;
    const [from, to] = range;
    const room = (frame.right - frame.left) / (6 * Number(text.getAttribute("font-size")));
    const step = STEPS.find((s) => s >= (to - from) / room) || Math.ceil((to - from) / room / 86400) * 86400;
    for (let n = Math.ceil(from / step); n * step <= to + 1e-9; n++) {
      const at = toPixel(panel, frame, n * step);
      const label = text.cloneNode(false);
      label.setAttribute("x", at);
      label.textContent = clock(n * step, step);
      const stroke = { x1: at, x2: at, y1: frame.bottom, y2: frame.bottom + 8 };
      const look = { stroke: line.getAttribute("stroke"), "stroke-width": line.getAttribute("stroke-width") };
      make("line", { ...stroke, ...look }, added);
      added.append(label);
    }
  }

  // Shows this stretch of time in every chart over time.
  function zoom(to) {
    range = to;
    for (const chart of charts) {
      clearCursor(chart);
      chart.reset.hidden = !range || !chart.notes.panels.some((p) => p.scale === "time");
      for (const drawing of chart.drawings) {
        const { svg, frames, name } = drawing;
        for (const { group, number, drawn } of drawing.groups) {
          const [panel, frame] = [chart.notes.panels[number], frames[number]];
          if (panel.scale !== "time") continue;
          group.replaceChildren(...drawn.cloneNode(true).children);
          group.removeAttribute("clip-path");
          if (!range) continue;
          group.setAttribute("clip-path", `url(#${name}-${number})`);
          const unzoomed = (x) => panel.from + ((x - frame.left) / (frame.right - frame.left)) * (panel.to - panel.from);
          for (const mark of group.children) move(mark, (x) => toPixel(panel, frame, unzoomed(x)));
        }
        hide(chart, drawing);
        for (const axis of svg.querySelectorAll("[data-axis]")) {
          const panel = chart.notes.panels[axis.dataset.axis];
          if (panel.scale === "time") ticks(panel, frames[axis.dataset.axis], axis);
        }
      }
    }
  }

  // Zooms to a stretch of at least two seconds; less has nothing to show.
  function zoomTo(panel, one, other) {
    const low = clamp(Math.floor(Math.min(one, other)), panel.from, Math.max(panel.to - 2, panel.from));
    const high = clamp(Math.ceil(Math.max(one, other)), low + 2, Math.max(panel.to, low + 2));
    zoom([low, high]);
  }

  function listen(chart, drawing) {
    const { svg, frames } = drawing;
    const spot = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const speaks = (n) => chart.notes.panels[n].series.length > 0 || chart.notes.panels[n].cells;
    const panelAt = (p) => frames.findIndex((f, n) =>
      speaks(n) && p.x >= f.left && p.x <= f.right && p.y >= f.top && p.y <= f.bottom);
    const keyAt = (p) => [...svg.querySelectorAll("[data-key][role]")].find((entry) => {
      const box = entry.getBBox();
      return p.x >= box.x - 8 && p.x <= box.x + box.width + 8 && p.y >= box.y - 8 && p.y <= box.y + box.height + 8;
    });
    const pointAt = (p) => {
      const number = panelAt(p);
      if (number >= 0) point(chart, drawing, number, toValue(chart.notes.panels[number], frames[number], p.x), p.y);
      return number;
    };
    let drag = null;
    svg.addEventListener("pointermove", (event) => {
      const p = spot(event);
      svg.style.cursor = keyAt(p) ? "pointer" : panelAt(p) >= 0 ? "crosshair" : "";
      if (drag) {
        const frame = frames[drag.number];
        const x = clamp(p.x, frame.left, frame.right);
        drag.moved = drag.moved || Math.abs(x - drag.x) > 12;
        if (!drag.moved) return;
        drag.to = x;
        chart.tip.hidden = true;
        const [left, width] = [Math.min(x, drag.x), Math.abs(x - drag.x)];
        const box = { x: left, width, y: frame.top, height: frame.bottom - frame.top, class: "selection" };
        drawing.over.replaceChildren(make("rect", box));
        return;
      }
      if (pointAt(p) < 0) clearCursor(chart);
    });
    svg.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      const p = spot(event);
      const number = pointAt(p);
      if (number < 0 || chart.notes.panels[number].scale !== "time") return;
      drag = { number, x: p.x, to: p.x, moved: false };
      svg.setPointerCapture(event.pointerId);
    });
    svg.addEventListener("pointerup", () => {
      if (drag && drag.moved) {
        const [panel, frame] = [chart.notes.panels[drag.number], frames[drag.number]];
        zoomTo(panel, toValue(panel, frame, drag.x), toValue(panel, frame, drag.to));
      }
      drag = null;
    });
    svg.addEventListener("pointercancel", () => { drag = null; clearCursor(chart); });
    svg.addEventListener("pointerleave", (event) => {
      if (!drag && event.pointerType === "mouse") clearCursor(chart);
    });
    svg.addEventListener("click", (event) => {
      const entry = keyAt(spot(event));
      if (entry) toggle(chart, Number(entry.dataset.key));
    });
    svg.addEventListener("dblclick", () => zoom(null));
    svg.addEventListener("keydown", (event) => key(chart, drawing, event, speaks));
    svg.addEventListener("blur", () => clearCursor(chart));
  }

  // Arrows move the cursor, + and − zoom, Escape goes back; Enter or space toggles a series.
  function key(chart, drawing, event, speaks) {
    if (event.target.dataset.key) {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        toggle(chart, Number(event.target.dataset.key));
      }
      return;
    }
    const number = chart.cursor ? chart.cursor.number : chart.notes.panels.findIndex((_, n) => speaks(n));
    const panel = chart.notes.panels[number];
    if (!panel) return;
    const frame = drawing.frames[number];
    const [from, to] = shown(panel);
    const at = chart.cursor ? chart.cursor.x : from;
    const rows = panel.cells ? panel.cells.rows.length : 0;
    const height = rows ? (frame.bottom - frame.top) / rows : 0;
    const y = chart.cursor && chart.cursor.y !== undefined ? chart.cursor.y : frame.top + height / 2;
    const within = places(panel).filter((x) => x >= from && x <= to).sort((a, b) => a - b);
    const next = (way) => !panel.cells
      ? (way > 0 ? within.find((x) => x > at + 1e-6) : within.findLast((x) => x < at - 1e-6)) ?? at
      : clamp(at + way, from + 0.5, to - 0.5);
    const show = (x, y) => { chart.tip.setAttribute("aria-live", "polite"); point(chart, drawing, number, x, y); };
    const act = {
      ArrowRight: () => show(next(1), y),
      ArrowLeft: () => show(next(-1), y),
      ArrowDown: rows ? () => show(at, Math.min(y + height, frame.bottom - 1)) : null,
      ArrowUp: rows ? () => show(at, Math.max(y - height, frame.top + 1)) : null,
      "+": panel.scale === "time" ? () => zoomTo(panel, at - (to - from) / 4, at + (to - from) / 4) : null,
      "-": () => zoom(null),
      Escape: () => (range ? zoom(null) : clearCursor(chart)),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  function prepare(chart, svg, frames, name) {
    // Marks that move with the x axis, and copies of them as drawn.
    const groups = [...svg.querySelectorAll("[data-panel]")].map((group) =>
      ({ group, number: Number(group.dataset.panel), drawn: group.cloneNode(true) }));
    const drawing = { svg, frames, name, groups, over: make("g", { class: "over" }, svg) };
    const clips = make("defs", {}, svg);
    frames.forEach((f, n) => {
      const clip = make("clipPath", { id: `${name}-${n}` }, clips);
      // Faults have their numbers above the panel; a strip marks seconds below it.
      make("rect", { x: f.left, y: f.top - 60, width: f.right - f.left, height: f.bottom - f.top + 70 }, clip);
    });
    svg.setAttribute("role", "group");
    svg.setAttribute("tabindex", "0");
    chart.notes.keys.forEach((key, n) => {
      const entry = svg.querySelector(`[data-key="${n}"]`);
      if (!entry || !svg.querySelector(`[data-series="${n}"] *`)) return;
      const words = { role: "button", tabindex: "0", "aria-pressed": "true", "aria-label": key.label };
      for (const word in words) entry.setAttribute(word, words[word]);
    });
    chart.drawings.push(drawing);
    listen(chart, drawing);
  }

  for (const id in notes) {
    const figure = document.getElementById(id);
    const chart = { figure, notes: notes[id], hidden: new Set(), drawings: [], cursor: null };
    chart.reset = html("button", "reset", "Show the whole run", null);
    chart.reset.type = "button";
    chart.reset.hidden = true;
    chart.reset.addEventListener("click", () => zoom(null));
    figure.querySelector("h3").after(chart.reset);
    chart.tip = html("div", "tip", "", figure);
    chart.tip.hidden = true;
    for (const look of ["wide", "narrow"])
      prepare(chart, figure.querySelector(`.${look} svg`), notes[id][look], `${id}-${look}`);
    charts.push(chart);
  }
  document.documentElement.classList.add("live");
  // On paper the charts are whole.
  addEventListener("beforeprint", () => {
    zoom(null);
    for (const chart of charts) for (const hidden of [...chart.hidden]) toggle(chart, hidden);
  });
})();
