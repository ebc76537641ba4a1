// The slow truth: every operation of Stillhouse as a formula over plain numbers, in float64.
// Kernels are tested against this book, and this book against PyTorch's goldens and finite
// differences. It looks at no kernel, and is not fast.
//
// Letters: B sequences, T tokens of context, V vocabulary, C width, H heads, N = B·T rows. Arrays
// are row-major, flat. A gradient is `d` + the name of the value. Inputs may be any array of
// numbers; results are Float64Array.

export * from './reference/arrays';
export * from './reference/checks';
export * from './reference/distil';
export * from './reference/draw';
export * from './reference/gpt2';
export * from './reference/layers';
export * from './reference/losses';
export * from './reference/optimiser';
export * from './reference/topk';
