export function StrideLab() {
  return <main />;
}
