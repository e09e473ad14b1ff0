// What the page holds: JSON, in which arrays are base64 of deflated float32, bytes of one significance together.

const DATA = JSON.parse(document.getElementById("data").textContent);

async function unpack(told) {
  const text = atob(told.packed);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) bytes[at] = text.charCodeAt(at);
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(plain).arrayBuffer());
  if (told.kind === "flag") return planes;
  const count = planes.length / 4;
  const joined = new Uint8Array(planes.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let at = 0; at < count; at++) joined[4 * at + plane] = planes[plane * count + at];
  }
  return new Float32Array(joined.buffer);
}

// Every variable gets values, and the stride of each of its axes.
async function unpacked(view) {
  const variables = {};
  await Promise.all(Object.entries(view.variables).map(async ([name, told]) => {
    const strides = {};
    let stride = 1;
    for (let at = told.dims.length - 1; at >= 0; at--) {
      strides[told.dims[at]] = stride;
      stride *= told.shape[at];
    }
    variables[name] = { ...told, name, strides, values: await unpack(told) };
  }));
  return { ...view, variables };
}

// Where the number at a place stands, {axis: index}; axes that the variable lacks do not matter.
function offsetOf(variable, place) {
  let at = 0;
  for (const dim of variable.dims) at += variable.strides[dim] * (place[dim] || 0);
  return at;
}

function valueAt(variable, place) {
  const value = variable.values[offsetOf(variable, place)];
  return variable.kind === "flag" ? Boolean(value) : value;
}
