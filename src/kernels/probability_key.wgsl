// Probabilities as integers whose ascending order is the probabilities' descending one.

const ONE = 0x3f800000u; // the bits of 1.0
const UNMATCHED = 0xffffffffu; // a token that the other model has no token for

fn probability_key(p: f32) -> u32 {
  return ONE - min(bitcast<u32>(max(p, 0.0)), ONE);
}

fn probability_of(key: u32) -> f32 {
  return bitcast<f32>(ONE - key);
}
