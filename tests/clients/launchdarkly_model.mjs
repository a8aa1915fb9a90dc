// Follows the model flag with the unmodified server-side SDK for Node and prints a line whenever a value changes.
// Arguments: address, SDK key, and the contexts by name as JSON.

import { createRequire } from 'node:module';

const require = createRequire(`${process.cwd()}/`);
const { init } = require('@launchdarkly/node-server-sdk');

const [url, key, contexts] = process.argv.slice(2);
const people = Object.entries(JSON.parse(contexts));
const client = init(key, {
  baseUri: url,
  streamUri: url,
  eventsUri: url,
  sendEvents: false,
  diagnosticOptOut: true,
  logger: { debug() {}, info() {}, warn() {}, error() {} },
});

async function values() {
  const all = {};
  for (const [name, context] of people) {
    all[name] = await client.variation('inference_model', context, 'default');
  }
  return all;
}

const print = (what) => console.log(JSON.stringify(what));

try {
  await client.waitForInitialization({ timeout: 10 });
} catch (error) {
  print({ failed: true });
  process.exit(0);
}
let last = '';
async function look() {
  const now = await values();
  if (JSON.stringify(now) !== last) {
    last = JSON.stringify(now);
    print(now);
  }
}
client.on('update', look);
await look();
process.stdin.resume();
process.stdin.on('end', async () => {
  client.close();
  process.exit(0);
});
