// Groups of rows that predict the same text: for each of the student's rows, the first and the last
// row of its group, and the first and the last of the teacher's. See data/aligned.ts.

const NO_GROUP = 0xffffffffu; // first of a row that is not compared
// Below this a probability counts as this, and has no gradient.
const LEAST = 1e-8;

fn is_last_of(span: vec4u, row: u32) -> bool {
  return span.x != NO_GROUP && span.y == row;
}
#if CHANCES

// The student's probability of a group's tokens before the last, and the teacher's.
fn chances(span: vec4u, compared: bool) -> vec2f {
  var c = vec2f(1.0);
  if (!compared) { return c; }
  for (var r = span.x; r < span.y; r++) { c.x *= max(exp(likelihood[r]), LEAST); }
  for (var r = span.z; r < span.w; r++) { c.y *= max(exp(teacher_likelihood[r]), LEAST); }
  return c;
}
#endif
