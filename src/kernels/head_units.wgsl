// What head_norm.wgsl and its backward norm at a time: a head, or all of q, or all of k. A row has
// NQ units of q_size elements, then NK of k_size, then as many of v, which is not normed. half_size
// is half a head's size, by which elements are turned in pairs.

struct Unit {
  first: u32, // element
  size: u32,
  gain: u32, // where its gains begin
}

fn unit_at(row: u32, index: u32) -> Unit {
  let start = row * (params.NQ * params.q_size + 2 * params.NK * params.k_size);
  if (index < params.NQ) { return Unit(start + index * params.q_size, params.q_size, 0u); }
  let after_q = start + params.NQ * params.q_size;
  return Unit(after_q + (index - params.NQ) * params.k_size, params.k_size, params.q_size);
}

// The first of a unit's pair; the other is half_size behind it.
fn first_of_pair(pair: u32) -> u32 {
  return pair / params.half_size * 2 * params.half_size + pair % params.half_size;
}
