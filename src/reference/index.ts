// The reference: every operation of Stillhouse as a formula over plain arrays, in float64. Kernels
// are tested against these functions, and these functions against PyTorch's results and finite
// differences. It is written to be read, not to be fast, and it knows nothing of GPUs.
//
// How to read it: begin with gpt2.ts, a whole model forward and backward. Its layers are in
// layers.ts, each backward under its forward. llama.ts, llama-layers.ts and experts.ts are the same
// for the Llama family; model.ts tells the two apart. losses.ts has cross-entropy, the divergences
// and what an evaluation measures; topk.ts has the loss against a teacher's cached top-k.
// optimiser.ts turns gradients into a step. distil.ts puts all of it together into one training
// step. The rest helps: arrays.ts (products, sums, strided copies), half.ts (float16), sample.ts
// (the next token) and checks.ts (what tests compare with).
//
// Letters: B sequences in a batch, T tokens of context, V tokens in the vocabulary, C channels (the
// model's width), NH attention heads of D = C / NH channels, N = B·T rows. Arrays are flat and
// row-major; a comment gives the shape, e.g. (B, T, V). A gradient is named `d` + its value: dx is
// d loss / d x. Inputs may be any array of numbers; results are Float64Array.

export * from './aligned';
export * from './arrays';
export * from './checks';
export * from './distil';
export * from './experts';
export * from './gpt2';
export * from './half';
export * from './int8';
export * from './layers';
export * from './llama';
export * from './llama-layers';
export * from './losses';
export * from './model';
export * from './optimiser';
export * from './sample';
export * from './topk';
