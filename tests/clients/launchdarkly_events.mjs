// Evaluates and tracks with the unmodified server-side SDK for Node: launchdarkly_events.mjs URL KEY COUNT
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { init } = createRequire(join(process.cwd(), 'package.json'))('@launchdarkly/node-server-sdk');
const [url, key, count] = process.argv.slice(2);
const quiet = { error: console.error, warn: console.error, info() {}, debug() {} };
const client = init(key, { baseUri: url, streamUri: url, eventsUri: url, flushInterval: 0.3, logger: quiet });
await client.waitForInitialization({ timeout: 10 });
const seen = new Set();
for (let number = 0; number < Number(count); number += 1) {
  const context = { kind: 'user', key: `node-${number % 500}` };
  if (number < 500) {
    const style = await client.variation('answer_style', context, 'none');
    if (style !== 'short' && style !== 'long') throw new Error(`unexpected: ${style}`);
    seen.add(context.key);
  }
  client.track('helpful', context, undefined, 1);
  if (number % 500 === 499) await client.flush();
}
await client.flush();
console.log(JSON.stringify({ evaluated: seen.size, tracked: Number(count) }));
client.close();
