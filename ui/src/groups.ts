/** Held requests as people take them: one card for each caller and policy, the others behind it. */

import type { Card } from "./types";

/** What waits of one caller under one policy. */
export interface Group {
  key: string;
  /** What has waited longest. */
  head: Card;
  rest: Card[];
}

/** Groups `cards`, the oldest first, in the order of their heads. */
export function grouped(cards: Card[]): Group[] {
  const groups = new Map<string, Group>();
  for (const card of cards) {
    const key = JSON.stringify([card.issuer, card.subject, card.address, card.policy]);
    const group = groups.get(key);
    if (group) group.rest.push(card);
    else groups.set(key, { key, head: card, rest: [] });
  }
  return [...groups.values()];
}
