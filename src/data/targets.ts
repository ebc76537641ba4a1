/** The target of a position that does not count, as in PyTorch. */
export const IGNORED_TARGET = -100;
