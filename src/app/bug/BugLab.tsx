export function BugLab() {
  return <main />;
}
