// How the attention kernels share their loads on a software adapter, where a load costs more than
// the arithmetic on it: the four lanes of a quad load one position each and give it to the others.
// A lane has whole rows to itself. Put behind the kernels. Wants the subgroups feature, and a
// workgroup that is one subgroup or less, its lanes in order.

/** The one of the four positions after `first` that this lane loads. */
fn positions(first: u32, lane: u32) -> vec4u {
  return vec4u(first + lane % 4);
}

/** What the quad's lanes have loaded, as columns. All four arguments are this lane's own load. */
fn together(own: vec4f, again: vec4f, and_again: vec4f, once_more: vec4f) -> mat4x4f {
  return mat4x4f(quadBroadcast(own, 0), quadBroadcast(own, 1), quadBroadcast(own, 2), quadBroadcast(own, 3));
}

fn whole(sums: mat4x4f, lane: u32) -> mat4x4f {
  return sums;
}
