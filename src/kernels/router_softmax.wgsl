// The softmax of a row (token) of a router's logits: p = exp(logit − largest) / total, and
// lse = ln Σ exp(logits) = largest + ln total. The kernel declares `params.E` and `logits`, and
// where TAUGHT `teacher`, the logits of the teacher's router. Constants: TAUGHT (0 or 1).

struct Softmax { largest: f32, total: f32 }

fn softmax_at(first: u32) -> Softmax {
  var largest = logits[first];
  for (var e = 1u; e < params.E; e++) { largest = max(largest, logits[first + e]); }
  var total = 0.0;
  for (var e = 0u; e < params.E; e++) { total += exp(logits[first + e] - largest); }
  return Softmax(largest, total);
}

#if TAUGHT
fn teacher_softmax_at(first: u32) -> Softmax {
  var largest = teacher[first];
  for (var e = 1u; e < params.E; e++) { largest = max(largest, teacher[first + e]); }
  var total = 0.0;
  for (var e = 0u; e < params.E; e++) { total += exp(teacher[first + e] - largest); }
  return Softmax(largest, total);
}
#endif

fn probability(logit: f32, row: Softmax) -> f32 { return exp(logit - row.largest) / row.total; }
fn log_sum_exp(row: Softmax) -> f32 { return row.largest + log(row.total); }
