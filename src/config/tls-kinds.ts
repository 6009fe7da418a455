/** The kinds of value that only settings of TLS have. */
import { describeNode, type TreeNode } from './config-tree.ts';
import type { Kind } from './setting-kinds.ts';

/** From the oldest to the newest. */
export const TLS_PROTOCOLS = ['tlsv1.0', 'tlsv1.1', 'tlsv1.2', 'tlsv1.3'] as const;
export type TlsProtocol = (typeof TLS_PROTOCOLS)[number];

const SECURE: readonly TlsProtocol[] = Object.freeze(['tlsv1.2', 'tlsv1.3']);

const WORDS: ReadonlyMap<string, readonly TlsProtocol[]> = new Map([
  ['all', TLS_PROTOCOLS],
  ['legacy', TLS_PROTOCOLS],
  ['tlsv1', TLS_PROTOCOLS],
  ['secure', SECURE],
  ['default', SECURE],
  ...TLS_PROTOCOLS.map((protocol) => [protocol, [protocol]] as const),
]);

/** Versions of TLS by PgBouncer's names; `!` in front takes one out again. */
export const tlsProtocols: Kind<readonly TlsProtocol[]> = {
  type: 'list',
  values: 'secure, all, or versions separated by commas: tlsv1.0, tlsv1.1, tlsv1.2, tlsv1.3',
  parse(node) {
    const found = new Set<TlsProtocol>();
    for (const part of partsOf(node)) {
      const isOut = part.startsWith('!');
      const protocols = WORDS.get(isOut ? part.slice(1).trim() : part);
      if (protocols === undefined) return { problem: `expected ${tlsProtocols.values}, found ${describeNode(node)}` };
      // A list that begins with an exception is about all of them.
      if (isOut && found.size === 0) for (const protocol of TLS_PROTOCOLS) found.add(protocol);
      for (const protocol of protocols) {
        if (isOut) found.delete(protocol);
        else found.add(protocol);
      }
    }
    if (found.size === 0) return { problem: 'no version of TLS is left' };
    return { value: Object.freeze(TLS_PROTOCOLS.filter((protocol) => found.has(protocol))) };
  },
  format: (value) => (value.join() === SECURE.join() ? 'secure' : value.join(', ')),
};

function partsOf(node: TreeNode): readonly string[] {
  const texts = node.kind === 'list' ? node.items.map(textOf) : textOf(node).split(/[,:]/);
  return texts.map((text) => text.trim().toLowerCase());
}

function textOf(node: TreeNode): string {
  return node.kind === 'scalar' ? (node.text ?? '') : '';
}
