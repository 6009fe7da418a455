/** A resolver in a world of tables, and what its callers and its log were told. */
import { expect } from 'vitest';
import type { LogFields, Logger } from '../../src/base/logger.ts';
import { type ResolveResult, Resolver, type ResolverOptions } from '../../src/net/resolver.ts';
import { FakeDnsEnvironment } from './fake-dns-environment.ts';

export class ResolverFixture {
  readonly environment = new FakeDnsEnvironment();
  /** `level: message` */
  readonly log: string[] = [];

  constructor() {
    this.environment.files.set('/etc/hosts', '127.0.0.1 localhost\n');
    this.environment.files.set('/etc/resolv.conf', 'nameserver 10.0.0.53\n');
  }

  resolver(options: Partial<ResolverOptions> = {}): Resolver {
    const write = (level: string) => (_fields: LogFields, message: string) => {
      this.log.push(`${level}: ${message}`);
    };
    const logger: Logger = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
    return new Resolver(this.environment, logger, {
      mode: 'builtin',
      maxTtlMs: 15_000,
      notFoundTtlMs: 15_000,
      resolvConfPath: null,
      ...options,
    });
  }

  /** `name type`, in the order in which the name servers were asked. */
  asked(): string[] {
    return this.environment.questions.map(({ name, type }) => `${name} ${type}`);
  }

  /** The caller's answer, which must come within that time, and only once. */
  async answerFor(resolver: Resolver, host: string, withinMs = 0): Promise<string[]> {
    const told = ask(resolver, host);
    await this.environment.advance(withinMs);
    expect(told).toHaveLength(1);
    return told[0] ?? [];
  }
}

/** What a caller is told: the addresses, or the kind of error. Empty until then. */
export function ask(resolver: Resolver, host: string): string[][] {
  const told: string[][] = [];
  resolver.resolve(host, (result) => told.push(plain(result)));
  return told;
}

export function plain(result: ResolveResult): string[] {
  return 'addresses' in result ? [...result.addresses] : [result.error.kind];
}
