/** Numbers out of Prometheus' text format. */

/** Sum of the samples of a metric whose labels contain all that are given; NaN if there is none. */
export function metricSum(
  text: string,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number {
  const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
  let sum = Number.NaN;
  for (const line of text.split("\n")) {
    if (!line.startsWith(name)) continue;
    const rest = line.slice(name.length);
    const close = rest.lastIndexOf("}");
    if (rest[0] !== " " && rest[0] !== "{") continue;
    const found = rest[0] === "{" ? rest.slice(1, close).split(",") : [];
    if (!wanted.every((label) => found.includes(label))) continue;
    const value = Number(
      rest
        .slice(close + 1)
        .trim()
        .split(" ")[0],
    );
    sum = Number.isNaN(sum) ? value : sum + value;
  }
  return sum;
}
