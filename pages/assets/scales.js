// Numbers as a reader says them, scales, and colours that the colour-blind tell apart.

// Figures are read against 3.2e-4 as against 0.032: as many digits as asked for, powers of ten where they are shorter.
function short(value, digits = 3) {
  if (value === null || value === undefined || Number.isNaN(value)) return "unknown";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e5 || size < 1e-3) {
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    text = `${Number(mantissa)}e${Number(power)}`;
  } else {
    text = size >= 100 ? grouped(value) : String(Number(value.toPrecision(digits)));
  }
  return text.replace(/-/g, "−");
}

function grouped(value) {
  return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
}

// A change in percent, as a factor once that gets long.
function change(share) {
  if (Number.isNaN(share)) return "unknown";
  if (share === Infinity) return "from 0";
  if (share >= 9.995) return `×${short(1 + share)}`;
  const percent = Number((100 * share).toPrecision(Math.abs(share) >= 0.0995 ? 3 : 2));
  return `${share < 0 ? "−" : "+"}${Math.abs(percent) < 0.005 ? "0" : String(Math.abs(percent))} %`;
}

function steps(value) {
  if (Number.isNaN(value)) return "unknown";
  return Number.isFinite(value) ? `${short(value, 4)} steps` : "no turn";
}

function scaleOf(domain, range, log) {
  const to = log ? Math.log : (value) => value;
  const back = log ? Math.exp : (value) => value;
  const [low, high] = domain.map(to);
  const span = high - low || 1;
  const scale = (value) => range[0] + ((to(value) - low) / span) * (range[1] - range[0]);
  scale.invert = (place) => back(low + ((place - range[0]) / (range[1] - range[0])) * span);
  return Object.assign(scale, { domain, range, log });
}

// About so many round values within a domain.
function ticksOf(scale, count = 5) {
  const [low, high] = scale.domain;
  if (scale.log) {
    const [from, to] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((to - from + 1) / count));
    const powers = [];
    for (let power = from; power <= to; power += every) powers.push(Number(`1e${power}`));
    if (powers.length >= 3) return powers;
    const fine = [];
    for (let power = from - 1; power <= to; power++) {
      for (const digit of high / low > 30 ? [1, 3] : [1, 2, 5]) {
        const value = Number(`${digit}e${power}`);
        if (value >= low * 0.999 && value <= high * 1.001) fine.push(value);
      }
    }
    if (fine.length >= 2) return fine;
  }
  const rough = (high - low) / count || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((each) => each * unit >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + step * 1e-9; at++) ticks.push(Number((at * step).toPrecision(12)));
  return ticks;
}

const VIRIDIS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const AROUND = ["#08418a", "#2f79b9", "#7fb2dc", "#c9dcec", "#f4f1ea", "#f3cf9f", "#e69a45", "#bf6411", "#7f3b08"];
// Okabe and Ito, without the yellow that vanishes on white; black is the page's own ink.
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];
const DASHES = ["", "7 3", "2 3", "8 3 2 3", "12 3", "4 2"];

function coloured(stops, share) {
  const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const at = Math.min(Math.floor(place), stops.length - 2);
  const [from, to] = [stops[at], stops[at + 1]].map((hex) => [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16)));
  const mixed = from.map((value, channel) => Math.round(value + (to[channel] - value) * (place - at)));
  return `rgb(${mixed.join(",")})`;
}
