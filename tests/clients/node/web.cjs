// The unmodified OFREP provider for browsers, with an event source and a storage in the browser's place.
const assert = require('node:assert/strict');
const readline = require('node:readline');
globalThis.EventSource = require('eventsource').EventSource;
const stored = new Map();
globalThis.localStorage = {
  getItem: (key) => stored.get(key) ?? null,
  setItem: (key, value) => stored.set(key, String(value)),
  removeItem: (key) => stored.delete(key),
  key: (at) => [...stored.keys()][at] ?? null,
  get length() {
    return stored.size;
  },
};
const { OpenFeature, ProviderEvents } = require('@openfeature/web-sdk');
const { OFREPWebProvider } = require('@openfeature/ofrep-web-provider');

const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);
const tell = async (what) => {
  console.log(what);
  return next();
};

async function eventually(test, what) {
  for (let i = 0; i < 1200; i++) {
    if (test()) return;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`it did not happen: ${what}`);
}

async function main() {
  const task = await next();
  await OpenFeature.setContext({ targetingKey: 'u1', plan: 'pro' });
  const headers = [['Authorization', `Bearer ${task.key}`]];
  await OpenFeature.setProviderAndWait(new OFREPWebProvider({ baseUrl: task.url, headers, cacheMode: 'network-first' }));
  const client = OpenFeature.getClient();
  assert.deepEqual(client.getObjectValue('format', {}), { style: 'markdown', words: { max: 200 } });
  assert.equal(client.getNumberValue('top_k', 0), 8);
  assert.equal(client.getNumberValue('temperature', 0), 1);
  assert.equal(client.getBooleanValue('stream_answers', false), true);
  const matched = client.getStringDetails('tier', 'none');
  assert.deepEqual([matched.value, matched.variant, matched.reason], ['gold', 'gold', 'TARGETING_MATCH']);
  assert.equal(client.getStringDetails('no_such_flag', 'mine').errorCode, 'FLAG_NOT_FOUND');
  assert.equal(client.getBooleanDetails('tier', false).errorCode, 'TYPE_MISMATCH');
  // By default the provider shows what it kept for this targeting key first, whatever the other attributes; here the
  // network comes first. It sends its old tag with the new context: a tag of the configuration alone would answer 304.
  await OpenFeature.setContext({ targetingKey: 'u1', plan: 'free' });
  assert.equal(client.getStringValue('tier', 'none'), 'tin');
  await OpenFeature.setContext({ targetingKey: 'u1', plan: 'pro' });
  assert.equal(client.getStringValue('tier', 'none'), 'gold');
  let compared = 0;
  for (const { context, answers } of task.cases) {
    await OpenFeature.setContext(context);
    for (const [flag, value] of Object.entries(answers)) {
      assert.equal(client.getStringValue(flag, 'none'), value, `${flag} ${JSON.stringify(context)}`);
      compared++;
    }
  }
  await OpenFeature.setContext({ targetingKey: 'u1', plan: 'pro' });
  let changed = 0;
  client.addHandler(ProviderEvents.ConfigurationChanged, () => changed++);
  await tell('kill');
  await eventually(() => client.getStringValue('tier', 'none') === 'tin', 'the kill');
  await eventually(() => changed > 0, 'the event of the kill');
  await tell('restart');
  await eventually(() => client.getStringValue('tier', 'none') === 'gold', 'a change during the restart');
  await tell(`done ${compared}`);
  await OpenFeature.close();
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
