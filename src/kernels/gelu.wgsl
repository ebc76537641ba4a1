// GELU as GPT-2 has it ("gelu_new"), forward and backward, on four elements:
//
//   gelu(x)  = ½ x (1 + tanh u),  u = √(2/π) (x + 0.044715 x³)
//   gelu'(x) = ½ (1 + tanh u) + ½ x (1 − tanh² u) u'
//
// The matrix products apply it where they store, since a pass of its own would read and write the
// widest activations once more.

fn gelu(x: vec4f) -> vec4f {
  // In some compilers tanh overflows for large arguments. Beyond ±10 it is ±1 in f32.
  let u = clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), vec4f(-10.0), vec4f(10.0));
  return 0.5 * x * (1.0 + tanh(u));
}

fn gelu_derivative(x: vec4f) -> vec4f {
  // Beyond ±10 the derivative is 1 or 0. There x² would multiply tanh's rounding error.
  let v = clamp(x, vec4f(-10.0), vec4f(10.0));
  let t = tanh(clamp(0.7978845608028654 * (v + 0.044715 * v * v * v), vec4f(-10.0), vec4f(10.0)));
  return 0.5 * (1.0 + t)
    + 0.5 * v * (1.0 - t * t) * 0.7978845608028654 * (1.0 + 3.0 * 0.044715 * v * v);
}
