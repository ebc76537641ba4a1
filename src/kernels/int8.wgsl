// w (count) = scale · level: a matrix whose weights are stored in 8 bits, as the products read it.
// levels has four signed bytes to a word, the first in the lowest bits; each 64 of them share a
// scale. Both may be the end of longer arrays. Aliases: scalar.

struct Params {
  count: u32,
  first_word: u32, // of levels, where w begins
  first_scale: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> levels: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> w: array<scalar>; // (count)

const WORDS_OF_A_SCALE = 16u;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let words = (params.count + 3) / 4;
  for (var i = id.x; i < words; i += 64 * groups.x) {
    let four = bitcast<i32>(levels[params.first_word + i]);
    let scale = scales[params.first_scale + i / WORDS_OF_A_SCALE];
    for (var e = 0u; e < 4; e++) {
      let at = 4 * i + e;
      if (at < params.count) { w[at] = scalar(scale * f32(extractBits(four, 8 * e, 8u))); }
    }
  }
}
