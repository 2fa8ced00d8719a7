// Draws the plots of a backtest's report. Data is read from the page; every text reaches it as text, never as markup.
(() => {
  "use strict";
  const STATES = ["pending", "firing", "recovering"];
  const LINES = ["#2f6fde", "#c2571a", "#3b8f4a", "#8a5cd1", "#b0457f", "#7d6a00", "#2c8f99", "#8a6552"];
  const data = JSON.parse(document.getElementById("charts").textContent);
  const plots = new Map();
  const whole = {
    min: Math.min(...data.map((chart) => chart.start)),
    max: Math.max(...data.map((chart) => chart.start + chart.step * longest(chart))),
  };
  let range = null; // the stretch that all plots show; null for all of it
  let drawing = false;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function amount(value, unit) {
    if (value === null || value === undefined) return "–";
    if (unit === "ratio") return +(100 * value).toPrecision(4) + "%";
    if (unit === "ms" && Math.abs(value) >= 1000) return +(value / 1000).toPrecision(4) + " s";
    const size = Math.abs(value);
    const number = size >= 1e6 ? value.toLocaleString("en", { notation: "compact", maximumFractionDigits: 2 })
      : size >= 1000 ? value.toLocaleString("en", { maximumFractionDigits: 1 }) : +value.toPrecision(4);
    return unit === "usd" ? "$" + number : unit === "count" ? "" + number : number + " " + unit;
  }

  const two = (number) => String(number).padStart(2, "0");
  function moment(seconds) {
    const at = new Date(1000 * seconds);
    return `${at.getUTCFullYear()}-${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())} ` +
      `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  }

  function longest(chart) {
    return Math.max(...Object.values(chart.lines).map((line) => line.length)) - 1;
  }

  // The columns of a plot: times, then each line, then the limit or each line's own.
  function columns(chart) {
    const names = Object.keys(chart.lines);
    const times = Array.from({ length: longest(chart) + 1 }, (_, number) => chart.start + number * chart.step);
    const limits = chart.limit === null ? Object.entries(chart.limits) : [["", times.map(() => chart.limit)]];
    return { names, limits, data: [times, ...names.map((name) => chart.lines[name]), ...limits.map(([, line]) => line)] };
  }

  function series(chart, names, limits) {
    const value = (_, found) => amount(found, chart.unit);
    const lines = names.map((name, number) => ({
      label: name, value, stroke: LINES[number % LINES.length], width: 1.5, points: { size: 4 },
    }));
    const bounds = limits.map(([name]) => ({
      label: names.length > 1 && name ? "limit of " + name : "limit", value, width: 1.5, dash: [6, 4],
      stroke: () => (names.length > 1 && name ? LINES[names.indexOf(name)] : colour("limit")), points: { show: false },
    }));
    return [{ label: "UTC", value: (_, at) => (at === null ? "–" : moment(at)) }, ...lines, ...bounds];
  }

  // States lie behind the values: a shade over the whole height, and a strip under it that also tells them in print.
  function drawBands(plot, chart) {
    const { left, top, width, height } = plot.bbox, context = plot.ctx, strip = 5 * devicePixelRatio;
    context.save();
    context.beginPath();
    context.rect(left, top, width, height + strip);
    context.clip();
    for (const [from, to, state] of chart.bands) {
      const begin = plot.valToPos(from, "x", true);
      const wide = Math.max(devicePixelRatio, plot.valToPos(to, "x", true) - begin);
      context.fillStyle = colour(state);
      context.globalAlpha = 0.16;
      context.fillRect(begin, top, wide, height);
      context.globalAlpha = 1;
      context.fillRect(begin, top + height, wide, strip);
    }
    context.restore();
  }

  function drawMarks(plot, chart) {
    const { left, top, width } = plot.bbox, context = plot.ctx, size = 5 * devicePixelRatio;
    context.save();
    for (const mark of chart.marks) {
      const x = plot.valToPos(mark.at, "x", true);
      if (x < left || x > left + width) continue;
      const y = top + (mark.kind === "action" ? 3 : 1) * size;
      context.fillStyle = colour(mark.kind);
      context.beginPath();
      if (mark.kind === "action") context.rect(x - size, y - size, 2 * size, 2 * size);
      else [[x - size, y - size], [x + size, y - size], [x, y + size]].forEach(([a, b]) => context.lineTo(a, b));
      context.fill();
    }
    context.restore();
  }

  // What is known to have happened: a bar above the plot, so that it is seen beside what was found.
  function drawKnown(plot, chart) {
    const { left, top, width } = plot.bbox, context = plot.ctx, high = 5 * devicePixelRatio;
    context.save();
    context.beginPath();
    context.rect(left, top - high, width, high);
    context.clip();
    context.fillStyle = colour("known");
    for (const [from, to] of chart.known) {
      const begin = plot.valToPos(from, "x", true);
      context.fillRect(begin, top - high, Math.max(2 * devicePixelRatio, plot.valToPos(to, "x", true) - begin), high);
    }
    context.restore();
  }

  // What happened under the cursor: the state, and the messages and actions within a few pixels.
  function told(plot, chart) {
    const { left } = plot.cursor;
    if (left === null || left === undefined || left < 0) return "";
    const at = plot.posToVal(left, "x"), near = plot.posToVal(left + 8, "x") - at;
    const band = chart.bands.find(([from, to]) => from <= at && at < to);
    const marks = chart.marks.filter((mark) => Math.abs(mark.at - at) <= near);
    const lines = marks.slice(0, 8).map((mark) => `${moment(mark.at)} ${mark.text}`);
    if (marks.length > 8) lines.push(`and ${marks.length - 8} more`);
    const known = chart.known.filter(([from, to]) => from <= at && at <= to).map(([, , text]) => "known: " + text);
    return [...(band ? [band[2]] : []), ...known, ...lines].join("\n");
  }

  function tip(plot, chart) {
    const shown = plot.root.querySelector(".tip");
    const text = told(plot, chart);
    shown.hidden = !text;
    shown.textContent = text;
    const right = plot.cursor.left > plot.over.clientWidth / 2;
    shown.style.left = right ? "" : plot.over.offsetLeft + plot.cursor.left + 12 + "px";
    shown.style.right = right ? plot.root.clientWidth - plot.over.offsetLeft - plot.cursor.left + 12 + "px" : "";
    shown.style.top = plot.over.offsetTop + 24 + "px";
  }

  // A stretch that is chosen in one plot is shown in all; those that are drawn later begin with it.
  function follow(plot, scale) {
    if (scale !== "x" || drawing) return;
    const { min, max } = plot.scales.x;
    const all = min <= whole.min && max >= whole.max;
    if (all ? !range : range && range.min === min && range.max === max) return;
    range = all ? null : { min, max };
    for (const other of plots.values()) if (other !== plot) other.setScale("x", range || whole);
  }

  // What holds all of a plot's values is the whole stretch, so that the plots lie under each other.
  const stretch = (times) => (_, min, max) =>
    min <= times[0] && max >= times[times.length - 1] ? [whole.min, whole.max] : [min, max];

  // Hours, and under the first of each day its date.
  function moments(_, ticks, __, ___, step) {
    return ticks.map((at, number) => {
      const [day, hour] = moment(at).split(" ");
      const first = !number || moment(ticks[number - 1]).split(" ")[0] !== day;
      return step >= 86400 ? day : first ? `${hour}\n${day}` : hour;
    });
  }

  // From zero, but where all values lie so far above it that they would look alike.
  function heights(_, low, high) {
    if (low === null || high === null) return [0, 1];
    return uPlot.rangeNum(low > high / 2 && low < high ? low : Math.min(low, 0), high, 0.12, true);
  }

  function options(chart, names, limits, times, width) {
    const grid = () => ({ stroke: () => colour("line"), width: 1 });
    const axis = { stroke: () => colour("soft"), grid: grid(), ticks: grid() };
    return {
      width, height: 240, tzDate: (seconds) => uPlot.tzDate(new Date(1000 * seconds), "UTC"),
      cursor: {
        drag: { x: true, y: false, dist: 4 },
        sync: { key: "report", scales: ["x", null], filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } },
      },
      scales: { x: { range: stretch(times) }, y: { range: heights } },
      axes: [{ ...axis, values: moments, space: 70 }, { ...axis, size: 78, values: (_, ticks) => ticks.map((value) => amount(value, chart.unit)) }],
      series: series(chart, names, limits),
      hooks: {
        init: [(plot) => plot.root.append(Object.assign(document.createElement("div"), { className: "tip", hidden: true }))],
        drawClear: [(plot) => drawBands(plot, chart)],
        draw: [(plot) => drawKnown(plot, chart), (plot) => drawMarks(plot, chart)],
        setCursor: [(plot) => tip(plot, chart)],
        setScale: [follow],
      },
    };
  }

  function draw(place) {
    const chart = data[place.dataset.chart];
    if (plots.has(place) || place.closest("details:not([open])")) return;
    const { names, limits, data: found } = columns(chart);
    drawing = true;
    const plot = new uPlot(options(chart, names, limits, found[0], place.clientWidth), found, place);
    plots.set(place, plot);
    if (range) plot.setScale("x", range);
    queueMicrotask(() => (drawing = false));
  }

  function key() {
    const list = document.createElement("ul");
    list.className = "key";
    const known = data.some((chart) => chart.known.length) ? ["known"] : [];
    for (const name of [...STATES, "message", "action", ...known]) {
      const item = document.createElement("li"), swatch = document.createElement("i");
      swatch.style.background = `var(--${name})`;
      item.append(swatch, { message: "page (▼)", action: "action (■)", known: "known incident (above)" }[name] || name);
      list.append(item);
    }
    const hint = document.createElement("li");
    hint.textContent = "Drag to look closer, double-click to see all.";
    list.append(hint);
    return list;
  }

  const places = [...document.querySelectorAll("[data-chart]")];
  const drawAll = () => places.forEach(draw);
  const redraw = () => plots.forEach((plot) => plot.redraw(false, true));
  if (places.length) places[0].closest("section").querySelector("h2").after(key());
  drawAll();
  document.querySelectorAll("details").forEach((each) => each.addEventListener("toggle", drawAll));
  addEventListener("resize", () => plots.forEach((plot, place) =>
    place.clientWidth && plot.setSize({ width: place.clientWidth, height: 240 })));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  addEventListener("beforeprint", () => { document.documentElement.dataset.print = ""; redraw(); });
  addEventListener("afterprint", () => { delete document.documentElement.dataset.print; redraw(); });
  window.tocsin = { plots: () => [...plots.values()] };
})();
