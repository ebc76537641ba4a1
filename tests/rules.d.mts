// The types of rules.mjs, for its unit test.
export function checkTree(tree: Map<string, string>): string[];
