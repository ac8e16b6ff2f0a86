/** Lists that come in pages, item by item. */

interface Page<T> {
  readonly items: readonly T[];
  readonly cursor: string | undefined;
}

/** Asks for a page when the one before is used up. @param ask - with the cursor to go on from */
export async function* itemsOfPages<T>(
  ask: (from: { readonly cursor?: string }) => Promise<Page<T>>,
): AsyncGenerator<T> {
  let from: { readonly cursor?: string } | null = {};
  while (from !== null) {
    const { items, cursor }: Page<T> = await ask(from);
    yield* items;
    from = cursor === undefined ? null : { cursor };
  }
}
