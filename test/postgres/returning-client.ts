/** A client that connects again when it has lost its connection, and knows what may end one under fire. */
import { TcpClient } from '../support/corpus/tcp-client.ts';
import type { PoolerFixture } from '../support/pooler-fixture.ts';
import { LostConnection } from './lost-connection.ts';

/** What may end a session under fire; anything else is the pooler's fault. */
const ENDS = new Set(['57P01', '08006']);

export class ReturningClient {
  readonly #pool: PoolerFixture;
  #client: TcpClient | null = null;
  connects = 0;

  constructor(pool: PoolerFixture) {
    this.#pool = pool;
  }

  async connection(): Promise<TcpClient> {
    if (this.#client === null) {
      this.connects++;
      this.#client = await TcpClient.login(this.#pool, { user: 'dave', database: this.#pool.database });
    }
    return this.#client;
  }

  /** Throws `LostConnection` if the connection ends before `count` ReadyForQuery. */
  async answers(client: TcpClient, count: number): Promise<TcpClient['messages']> {
    await client.reach('Z', count);
    if (!client.ended || client.messages.filter(({ type }) => type === 'Z').length >= count)
      return client.take('Z', count);
    const sqlstate = await client.fatal();
    if (sqlstate !== 'none' && !ENDS.has(sqlstate)) throw new Error(`the session ended with ${sqlstate}`);
    await this.vanish('fin');
    throw new LostConnection(sqlstate);
  }

  async vanish(how: 'fin' | 'rst'): Promise<void> {
    await this.#client?.drop(how);
    this.#client = null;
  }

  async leave(): Promise<void> {
    await this.#client?.leave();
    this.#client = null;
  }
}
