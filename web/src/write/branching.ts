// The tree of a draft as rows: the present story runs straight down, other branches step aside.
import type { TreeNode } from "../api";

export interface Spot {
  node: TreeNode;
  row: number;
  column: number;
  /** Spot of the parent, of the row before and after among the same parent's children, and of the first child. */
  parent: Spot | null;
  children: Spot[];
}

export function laidOut(nodes: readonly TreeNode[]): Spot[] {
  const spots = new Map<number, Spot>();
  for (const node of nodes) spots.set(node.id, { node, row: 0, column: 0, parent: null, children: [] });
  const roots: Spot[] = [];
  for (const spot of spots.values()) {
    const parent = spot.node.parent === null ? undefined : spots.get(spot.node.parent);
    if (parent) {
      spot.parent = parent;
      parent.children.push(spot);
    } else roots.push(spot);
  }
  const rows: Spot[] = [];
  // Without recursion: a story may fork a thousand times.
  const waiting: [Spot, number][] = ordered(roots).reverse().map((root, i) => [root, i]);
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [spot, column] = next;
    spot.row = rows.length;
    spot.column = column;
    rows.push(spot);
    const children = ordered(spot.children);
    // The line that goes straight on comes last, below the branches beside it.
    children.forEach((child, i) => waiting.push([child, column + i]));
  }
  return rows;
}

/** The branch that goes straight on first: that of the present story, else the oldest. */
function ordered(spots: Spot[]): Spot[] {
  return [...spots].sort((a, b) => Number(b.node.on_path) - Number(a.node.on_path) || a.node.id - b.node.id);
}
