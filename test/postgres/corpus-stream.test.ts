/** The corpus through a pooler that uses Node's streams in public ways only, as where its shorter way is missing. */
import { comparesWithDirect } from './corpus-fixture.ts';

comparesWithDirect({ version: 18, mode: 'transaction', directIo: false, manner: 'steps', onlyShort: true });
comparesWithDirect({ version: 18, mode: 'transaction', directIo: false, manner: 'packet', onlyShort: true });
