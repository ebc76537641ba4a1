// Rotary positions, in place: turns the first `rotated` heads in each row of x (rows, heads, D).
// Elements i and i + D / 2 of a head are a pair, (x, y), which row t of a sequence turns by an
// angle whose cosine and sine are in `table`:
//
//   (x, y) = (x cos − y sin, y cos + x sin)
//
// With `direction` −1 it turns back, which is the backward pass. Aliases: scalar.

struct Params { T: u32, rows: u32, heads: u32, rotated: u32, half_size: u32, direction: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<vec2f>; // (T, half_size): cosine, sine
@group(0) @binding(2) var<storage, read_write> x: array<scalar>; // (rows, heads, 2, half_size)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= params.rotated * params.half_size) { return; }
  let row = id.y;
  let i = id.x % params.half_size;
  let at = (row * params.heads + id.x / params.half_size) * 2 * params.half_size + i;
  let turn = table[(row % params.T) * params.half_size + i];
  let pair = vec2f(f32(x[at]), f32(x[at + params.half_size]));
  let sine = params.direction * turn.y;
  x[at] = scalar(pair.x * turn.x - pair.y * sine);
  x[at + params.half_size] = scalar(pair.y * turn.x + pair.x * sine);
}
