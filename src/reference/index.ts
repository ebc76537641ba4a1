// The slow truth: every operation of Stillhouse as a formula over plain numbers, in float64.
// Kernels are tested against this book, and this book against PyTorch's goldens and finite
// differences. It looks at no kernel, and is not fast.
//
// Letters: B sequences, T tokens of context, V vocabulary, C width, H heads, N = B·T rows. Arrays
// are row-major, flat. A gradient is `d` + the name of the value. Inputs may be any array of
// numbers; results are Float64Array.

export * from './arrays';
export * from './checks';
export * from './distil';
export * from './gpt2';
export * from './layers';
export * from './losses';
export * from './optimiser';
export * from './sample';
export * from './topk';
