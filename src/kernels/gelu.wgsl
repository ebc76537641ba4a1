// gelu(x) = ½ x (1 + tanh u), u = √(2/π) (x + 0.044715 x³), GPT-2's "gelu_new", and its slope ½ (1
// + tanh u) + ½ x (1 − tanh² u) u'. Put behind the matrix products, which take it where they store:
// gelu would be a pass of its own over the widest activations.

fn gelu(x: vec4f) -> vec4f {
  // tanh of a large argument overflows in some compilers; beyond ±10 it is ±1 in f32.
  let u = clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), vec4f(-10.0), vec4f(10.0));
  return 0.5 * x * (1.0 + tanh(u));
}

fn gelu_slope(x: vec4f) -> vec4f {
  // Beyond ±10 the slope is 1 or 0, and x² would multiply what little tanh is off from ±1.
  let v = clamp(x, vec4f(-10.0), vec4f(10.0));
  let t = tanh(clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), vec4f(-10.0), vec4f(10.0)));
  return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v);
}
